//! The raw table of one cluster or server, as it stands in the settings.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use stdx::http::without_login;

/// One `[<product>.<key>]` table, unchecked. `Debug` shows what leads nowhere: no secret, and no
/// login in an address.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointConfig {
    /// The addresses, tried in order. Several only for the nodes of one cluster.
    pub endpoints: Vec<String>,
    /// `user@realm!name`.
    pub token_id: Option<String>,
    /// The token's secret.
    pub token: Option<SecretString>,
    /// A file with the token's secret.
    pub token_file: Option<PathBuf>,
    /// The token that changes things; without one `token_id` does.
    pub operate_token_id: Option<String>,
    /// Its secret.
    pub operate_token: Option<SecretString>,
    /// A file with its secret.
    pub operate_token_file: Option<PathBuf>,
    /// `user@realm`, instead of a token.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<SecretString>,
    /// A file with the password.
    pub password_file: Option<PathBuf>,
    /// The user's TOTP secret, base32.
    pub totp_secret: Option<SecretString>,
    /// A file with the TOTP secret.
    pub totp_secret_file: Option<PathBuf>,
    /// A PEM file with the root that signed the certificates.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 fingerprints by node, host or `host:port`.
    pub fingerprints: BTreeMap<String, OneOrMany>,
    /// The fingerprint of a single endpoint, or two during a change.
    pub fingerprint: Option<OneOrMany>,
    /// The name that the certificate must carry, where the address is not in it.
    pub server_name: Option<String>,
    /// Believe any certificate.
    pub insecure: bool,
    /// The operator's own labels.
    pub labels: BTreeMap<String, String>,
    /// Nodes (by name) and guests (by id) that are meant to be off.
    #[serde(deserialize_with = "names_or_numbers")]
    pub expected_off: Vec<String>,
    /// `none`, `env` or an address; `none` without.
    pub proxy: Option<String>,
    /// Seconds for name lookup, connection and TLS; 5 without.
    pub connect_timeout_secs: Option<u64>,
    /// Seconds until an answer begins; 35 without.
    pub request_timeout_secs: Option<u64>,
    /// Seconds for a request, other endpoints included; 60 without.
    pub deadline_secs: Option<u64>,
    /// How many requests may be under way to one endpoint; 8 without.
    pub concurrency: Option<usize>,
}

/// One text or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

// === impl EndpointConfig ===

impl EndpointConfig {
    /// Every key that the table can have, for messages that name the nearest one.
    pub const KEYS: &[&str] = &[
        "endpoints",
        "token_id",
        "token",
        "token_file",
        "operate_token_id",
        "operate_token",
        "operate_token_file",
        "username",
        "password",
        "password_file",
        "totp_secret",
        "totp_secret_file",
        "ca_file",
        "fingerprints",
        "fingerprint",
        "server_name",
        "insecure",
        "labels",
        "expected_off",
        "proxy",
        "connect_timeout_secs",
        "request_timeout_secs",
        "deadline_secs",
        "concurrency",
    ];
}

impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.endpoints.iter().map(|url| without_login(url)).collect();
        f.debug_struct("EndpointConfig")
            .field("endpoints", &endpoints)
            .field("token_id", &self.token_id)
            .field("operate_token_id", &self.operate_token_id)
            .field("username", &self.username)
            .field("ca_file", &self.ca_file)
            .field("insecure", &self.insecure)
            .field("proxy", &self.proxy.as_deref().map(without_login))
            .finish_non_exhaustive()
    }
}

// === impl OneOrMany ===

impl From<&str> for OneOrMany {
    fn from(one: &str) -> Self {
        Self(vec![one.to_owned()])
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(text.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

/// A list in which guest ids may stand as numbers.
fn names_or_numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Item(String);
    impl<'de> Deserialize<'de> for Item {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct NameOrNumber;
            impl Visitor<'_> for NameOrNumber {
                type Value = Item;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a node's name or a guest's id")
                }

                fn visit_str<E: de::Error>(self, text: &str) -> Result<Item, E> {
                    Ok(Item(text.to_owned()))
                }

                fn visit_u64<E: de::Error>(self, id: u64) -> Result<Item, E> {
                    Ok(Item(id.to_string()))
                }

                fn visit_i64<E: de::Error>(self, id: i64) -> Result<Item, E> {
                    Ok(Item(id.to_string()))
                }
            }
            deserializer.deserialize_any(NameOrNumber)
        }
    }
    Ok(Vec::<Item>::deserialize(deserializer)?.into_iter().map(|item| item.0).collect())
}
