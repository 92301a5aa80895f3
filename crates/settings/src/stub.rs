//! What `[pve.<name>]` and `[pbs.<name>]` hold, until the client crates bring their own.
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
/// Stub.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Stub.
    pub endpoints: Vec<String>,
    token_id: Option<String>,
    token: Option<SecretString>,
    token_file: Option<String>,
    operate_token_id: Option<String>,
    operate_token: Option<SecretString>,
    operate_token_file: Option<String>,
    username: Option<String>,
    password: Option<SecretString>,
    password_file: Option<String>,
    totp_secret: Option<SecretString>,
    totp_secret_file: Option<String>,
    ca_file: Option<String>,
    fingerprint: Option<String>,
    fingerprints: Option<BTreeMap<String, String>>,
    server_name: Option<String>,
    #[serde(default)]
    insecure: bool,
    labels: Option<BTreeMap<String, String>>,
    expected_off: Option<Vec<String>>,
    proxy: Option<String>,
    connect_timeout_secs: Option<u64>,
    request_timeout_secs: Option<u64>,
    deadline_secs: Option<u64>,
    concurrency: Option<u64>,
}
