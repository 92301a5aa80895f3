//! From the raw table to the checked form: every reason and hint that a person gets.

use std::{fmt, path::Path, time::Duration};

use estate::{ClusterKey, NodeName, VmId};
use secrecy::{ExposeSecret, SecretString};
use stdx::{
    http::{Proxy, without_login},
    tls::{Fingerprint, TlsOptions, TlsPolicy},
};
use url::{Host, Url};

use super::{
    Credential, EndpointConfig, EndpointOptions, ExpectedOff, OneOrMany, ReadFile, Target,
};
use crate::auth::TotpSecret;

/// A table that can be used, and what should be said about it all the same.
#[derive(Clone, Debug)]
pub struct Checked<T> {
    /// The checked form.
    pub value: T,
    /// What works and is not good.
    pub warnings: Vec<Warning>,
}

/// Something that works and is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The key, in full: `pve.home.token_file`.
    pub key: String,
    /// What is not good.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

/// A value that cannot be used. `Display` gives key and reason, the hint is apart; where the key
/// stands (file, line, variable) is added by whoever read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The key, in full: `pve.home.token_file`.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

/// Checks one table, noting warnings on the way.
struct Check<'a> {
    product: &'a str,
    key: &'a str,
    files: &'a dyn ReadFile,
    warnings: Vec<Warning>,
}

impl EndpointConfig {
    /// Checks the table `[<product>.<key>]` and reads the files that it names.
    ///
    /// # Errors
    ///
    /// The first value that cannot be used.
    pub fn check(
        &self,
        product: &str,
        default_port: u16,
        key: &str,
        files: &dyn ReadFile,
    ) -> Result<Checked<EndpointOptions>, ConfigError> {
        let mut check = Check { product, key, files, warnings: Vec::new() };
        let cluster = ClusterKey::try_new(key).map_err(|error| ConfigError {
            key: format!("{product}.{key}"),
            reason: error.to_string(),
            hint: "rename the table".into(),
        })?;
        let mut targets = check.endpoints(&self.endpoints, default_port)?;
        check.tls(self, &mut targets)?;
        let credential = check.credential(self)?;
        let operate = check.operate(self)?;
        let options = EndpointOptions {
            key: cluster,
            targets,
            credential,
            operate,
            labels: self.labels.clone(),
            expected_off: check.expected_off(&self.expected_off)?,
            proxy: check.proxy(self.proxy.as_deref())?,
            connect_timeout: check.seconds("connect_timeout_secs", self.connect_timeout_secs, 5)?,
            request_timeout: check.seconds(
                "request_timeout_secs",
                self.request_timeout_secs,
                35,
            )?,
            deadline: check.seconds("deadline_secs", self.deadline_secs, 60)?,
            concurrency: match self.concurrency {
                Some(0) => {
                    return Err(check.error(
                        "concurrency",
                        "is zero",
                        "use 1 to 64; 8 is the default",
                    ));
                }
                given => given.unwrap_or(8).min(64),
            },
        };
        if self.request_timeout_secs.is_some_and(|secs| secs <= 3) {
            check.warn(
                "request_timeout_secs",
                "a refused login takes the server three seconds, so it will look like a timeout",
                "use more than 3; the default is 35, as proxied calls take up to 30",
            );
        }
        Ok(Checked { value: options, warnings: check.warnings })
    }
}

// === impl Check ===

impl Check<'_> {
    fn full(&self, field: &str) -> String {
        format!("{}.{}.{field}", self.product, self.key)
    }

    fn error(
        &self,
        field: &str,
        reason: impl fmt::Display,
        hint: impl fmt::Display,
    ) -> ConfigError {
        ConfigError { key: self.full(field), reason: reason.to_string(), hint: hint.to_string() }
    }

    fn warn(&mut self, field: &str, reason: impl fmt::Display, hint: impl fmt::Display) {
        let ConfigError { key, reason, hint } = self.error(field, reason, hint);
        self.warnings.push(Warning { key, reason, hint });
    }

    fn endpoints(&self, given: &[String], default_port: u16) -> Result<Vec<Target>, ConfigError> {
        const FIELD: &str = "endpoints";
        let example = format!("write [\"https://host:{default_port}\"]");
        if given.is_empty() {
            return Err(self.error(FIELD, "names no endpoint", example));
        }
        let mut targets: Vec<Target> = Vec::new();
        for text in given {
            let target = self.endpoint(text.trim(), default_port, &example)?;
            if targets.iter().any(|other| other.url == target.url) {
                return Err(self.error(
                    FIELD,
                    format!("{} stands twice", target.url),
                    "remove one",
                ));
            }
            targets.push(target);
        }
        Ok(targets)
    }

    fn endpoint(
        &self,
        text: &str,
        default_port: u16,
        example: &str,
    ) -> Result<Target, ConfigError> {
        let wrong = |reason: String| self.error("endpoints", reason, example);
        // For what is told: whoever puts a login there must not find it in a log.
        let told = without_login(text);
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&full)
            .map_err(|error| wrong(format!("{told:?} is not an address: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            let reason = "an address carries a user name or password";
            return Err(self.error(
                "endpoints",
                reason,
                "use token_id and token_file, and an address without them",
            ));
        }
        if url.scheme() != "https" {
            let hint = "the API is served over HTTPS only; for a certificate that no authority signed use fingerprints or ca_file";
            return Err(self.error("endpoints", format!("{told:?} is not https"), hint));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(format!("{told:?} has a query or fragment")));
        }
        let prefix = url.path().trim_end_matches('/');
        let prefix = prefix.trim_end_matches("/api2/json").trim_end_matches("/api2");
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(wrong(format!("{told:?} names no host"))),
        };
        // `Url` forgets a port that is the scheme's own, so `:443` must be looked for.
        let authority = full["https://".len()..].split('/').next().unwrap_or_default();
        let port = match url.port() {
            Some(port) => port,
            None if authority.ends_with(":443") => 443,
            None => default_port,
        };
        let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let url = format!("https://{shown}:{port}{prefix}");
        Ok(Target { url, host, port, tls: TlsOptions::default() })
    }

    fn tls(&mut self, config: &EndpointConfig, targets: &mut [Target]) -> Result<(), ConfigError> {
        let pinned = !config.fingerprints.is_empty() || config.fingerprint.is_some();
        let ways = [
            (config.ca_file.is_some(), "ca_file"),
            (!config.fingerprints.is_empty(), "fingerprints"),
            (config.fingerprint.is_some(), "fingerprint"),
            (config.insecure, "insecure"),
        ];
        let chosen: Vec<&str> =
            ways.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
        if let [first, second, ..] = chosen[..] {
            let reason = format!("{first} and {second} are both given");
            return Err(self.error(
                second,
                reason,
                "keep one: ca_file where the cluster has its own root, else fingerprints",
            ));
        }
        if let Some(name) = &config.server_name {
            if pinned || config.insecure {
                let hint = "remove it: a pinned certificate is believed whatever names it carries";
                return Err(self.error(
                    "server_name",
                    "has no effect with fingerprints or insecure",
                    hint,
                ));
            }
            let policy =
                TlsOptions { policy: TlsPolicy::Insecure, server_name: Some(name.clone()) };
            stdx::tls::client_config(&policy).map_err(|error| {
                self.error(
                    "server_name",
                    stdx::Chain(&error),
                    "write a host name or an address, without port",
                )
            })?;
        }
        let policies = if config.insecure {
            self.warn(
                "insecure",
                "any certificate is believed: whoever is on the way can read the credentials",
                "use fingerprints or ca_file",
            );
            vec![TlsPolicy::Insecure; targets.len()]
        } else if let Some(path) = &config.ca_file {
            let pem = self.file("ca_file", path)?.bytes;
            let policy = TlsPolicy::CaPem(pem);
            let tls = TlsOptions { policy: policy.clone(), server_name: None };
            stdx::tls::client_config(&tls).map_err(|error| {
                let reason = format!("{}: {}", path.display(), stdx::Chain(&error));
                self.error(
                    "ca_file",
                    reason,
                    "give the root certificate in PEM: /etc/pve/pve-root-ca.pem on a PVE node",
                )
            })?;
            vec![policy; targets.len()]
        } else if let Some(one) = &config.fingerprint {
            if targets.len() > 1 {
                let hint = "each node has its own certificate: write fingerprints = { node1 = \"AB:…\", node2 = \"CD:…\" }";
                return Err(self.error("fingerprint", "there are several endpoints", hint));
            }
            vec![TlsPolicy::Pins(self.pins("fingerprint", one)?)]
        } else if pinned {
            self.policies_of_pins(config, targets)?
        } else {
            vec![TlsPolicy::System; targets.len()]
        };
        for (target, policy) in targets.iter_mut().zip(policies) {
            target.tls = TlsOptions { policy, server_name: config.server_name.clone() };
        }
        Ok(())
    }

    /// A key that names an endpoint's host pins that endpoint. Keys that name none (node names
    /// where the endpoints are addresses) are good for every endpoint that no key names.
    fn policies_of_pins(
        &mut self,
        config: &EndpointConfig,
        targets: &[Target],
    ) -> Result<Vec<TlsPolicy>, ConfigError> {
        let mut own: Vec<Vec<Fingerprint>> = vec![Vec::new(); targets.len()];
        let mut shared = Vec::new();
        for (name, texts) in &config.fingerprints {
            let pins = self.pins(&format!("fingerprints.{name}"), texts)?;
            let mut named = false;
            for (target, own) in targets.iter().zip(&mut own) {
                if names(name, target) {
                    own.extend(&pins);
                    named = true;
                }
            }
            if !named {
                shared.extend(pins);
            }
        }
        let policies = targets.iter().zip(own).map(|(target, own)| {
            let pins = if own.is_empty() { shared.clone() } else { own };
            if pins.is_empty() {
                let reason = format!("none for {}", target.url);
                let hint = format!(
                    "add {} = \"AB:…\"; `proxmox-mcp test` prints what the endpoint shows",
                    target.host
                );
                return Err(self.error("fingerprints", reason, hint));
            }
            Ok(TlsPolicy::Pins(pins))
        });
        policies.collect()
    }

    fn pins(&self, field: &str, texts: &OneOrMany) -> Result<Vec<Fingerprint>, ConfigError> {
        let hint = "copy the SHA-256 line of `openssl x509 -noout -fingerprint -sha256` or of the node's certificate page";
        if texts.0.is_empty() {
            return Err(self.error(field, "is empty", hint));
        }
        let pins =
            texts.0.iter().map(|text| text.parse().map_err(|error| self.error(field, error, hint)));
        pins.collect()
    }

    fn credential(&mut self, config: &EndpointConfig) -> Result<Credential, ConfigError> {
        let has_token =
            config.token_id.is_some() || config.token.is_some() || config.token_file.is_some();
        match (has_token, &config.username) {
            (true, Some(_)) => Err(self.error(
                "username",
                "a token and a user name are both given",
                "keep one; a token is better",
            )),
            (true, None) => {
                if config.password.is_some() || config.password_file.is_some() {
                    return Err(self.error("password", "a token needs no password", "remove it"));
                }
                self.token(
                    "",
                    config.token_id.as_deref(),
                    config.token.as_ref(),
                    config.token_file.as_deref(),
                )
            }
            (false, Some(username)) => self.password(username, config),
            (false, None) => {
                let hint = "add token_id = \"user@realm!name\" and token_file; `proxmox-mcp config add` makes a token with least privilege";
                Err(self.error("token_id", "there is no credential", hint))
            }
        }
    }

    fn operate(&mut self, config: &EndpointConfig) -> Result<Option<Credential>, ConfigError> {
        let (id, secret, file) = (
            config.operate_token_id.as_deref(),
            config.operate_token.as_ref(),
            config.operate_token_file.as_deref(),
        );
        if id.is_none() && secret.is_none() && file.is_none() {
            return Ok(None);
        }
        let operate = self.token("operate_", id, secret, file)?;
        if config.token_id.as_deref() == id {
            self.warn(
                "operate_token_id",
                "is the same token as token_id",
                "make a second token, or remove the operate_ keys",
            );
        }
        Ok(Some(operate))
    }

    fn token(
        &mut self,
        prefix: &str,
        id: Option<&str>,
        secret: Option<&SecretString>,
        file: Option<&Path>,
    ) -> Result<Credential, ConfigError> {
        let field = |name: &str| format!("{prefix}{name}");
        let shape = "write user@realm!name, such as mcp@pve!agent";
        let Some(id) = id.map(str::trim) else {
            return Err(self.error(&field("token_id"), "is missing", shape));
        };
        let well_formed = id.split_once('!').is_some_and(|(user, name)| {
            !name.is_empty()
                && user
                    .split_once('@')
                    .is_some_and(|(name, realm)| !name.is_empty() && !realm.is_empty())
        });
        if !well_formed
            || id.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '=' | ':'))
        {
            return Err(self.error(
                &field("token_id"),
                format!("{id:?} is not a token's id"),
                shape,
            ));
        }
        let secret = self.secret(&field("token"), secret, file)?.ok_or_else(|| {
            self.error(
                &field("token_file"),
                "the token's secret is missing",
                "put it into a file that only you can read, and name that file",
            )
        })?;
        if secret.expose_secret().contains(['=', '!', '@']) {
            let hint = "give only the secret, the part after the token's id";
            return Err(self.error(&field("token"), "holds more than the secret", hint));
        }
        Ok(Credential::Token { id: id.to_owned(), secret })
    }

    fn password(
        &mut self,
        username: &str,
        config: &EndpointConfig,
    ) -> Result<Credential, ConfigError> {
        if !username.contains('@') || username.contains('!') {
            let reason = format!("{username:?} is not a user with realm");
            return Err(self.error("username", reason, "write user@realm, such as root@pam"));
        }
        let password =
            self.secret("password", config.password.as_ref(), config.password_file.as_deref())?;
        let password = password.ok_or_else(|| {
            self.error(
                "password_file",
                "the password is missing",
                "put it into a file that only you can read, and name that file",
            )
        })?;
        let totp = self.secret(
            "totp_secret",
            config.totp_secret.as_ref(),
            config.totp_secret_file.as_deref(),
        )?;
        let totp = match totp {
            None => None,
            Some(secret) => Some(TotpSecret::try_new(&secret).map_err(|error| {
                self.error(
                    "totp_secret",
                    error,
                    "copy the secret that stands beside the QR code at enrolment",
                )
            })?),
        };
        Ok(Credential::Password { username: username.to_owned(), password, totp })
    }

    /// A secret given in place or by file, not both; without the line break at a file's end.
    fn secret(
        &mut self,
        field: &str,
        given: Option<&SecretString>,
        file: Option<&Path>,
    ) -> Result<Option<SecretString>, ConfigError> {
        let file_field = format!("{field}_file");
        let (field, text) = match (given, file) {
            (Some(_), Some(_)) => {
                return Err(self.error(
                    &file_field,
                    format!("{field} and {file_field} are both given"),
                    "keep the file",
                ));
            }
            (None, None) => return Ok(None),
            (Some(secret), None) => (field.to_owned(), secret.expose_secret().to_owned()),
            (None, Some(path)) => {
                let content = self.file(&file_field, path)?;
                if content.world_readable == Some(true) {
                    let reason =
                        format!("{} can be read by everybody on this machine", path.display());
                    self.warn(&file_field, reason, format!("chmod 600 {}", path.display()));
                }
                let text = String::from_utf8(content.bytes).map_err(|_| {
                    self.error(&file_field, "is not text", "put only the secret into the file")
                })?;
                (file_field, text)
            }
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(self.error(&field, "is empty", "put the secret there"));
        }
        if text.chars().any(char::is_control) {
            return Err(self.error(
                &field,
                "has several lines or control characters",
                "put only the secret there",
            ));
        }
        Ok(Some(text.into()))
    }

    fn file(&self, field: &str, path: &Path) -> Result<super::FileContent, ConfigError> {
        self.files.read(path).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::NotFound => "create the file, or correct its path",
                std::io::ErrorKind::PermissionDenied => {
                    "let the user that runs this program read it"
                }
                _ => "see that it is a readable file",
            };
            self.error(field, format!("cannot read {}: {error}", path.display()), hint)
        })
    }

    fn expected_off(&self, given: &[String]) -> Result<Vec<ExpectedOff>, ConfigError> {
        let parse = |text: &String| {
            if text.bytes().all(|b| b.is_ascii_digit()) {
                let id = text
                    .parse::<VmId>()
                    .map_err(|e| self.error("expected_off", e, "write guest ids from 100 on"))?;
                return Ok(ExpectedOff::Guest(id));
            }
            let node = text.parse::<NodeName>();
            node.map(ExpectedOff::Node)
                .map_err(|e| self.error("expected_off", e, "write node names and guest ids"))
        };
        given.iter().map(parse).collect()
    }

    fn proxy(&self, given: Option<&str>) -> Result<Proxy, ConfigError> {
        match given {
            None | Some("none" | "") => Ok(Proxy::None),
            Some("env") => Ok(Proxy::FromEnv),
            Some(text) => {
                let fits = Url::parse(text)
                    .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
                if fits {
                    return Ok(Proxy::Url(text.to_owned()));
                }
                Err(self.error(
                    "proxy",
                    "is not the address of an HTTP proxy",
                    "write none, env or http://host:port",
                ))
            }
        }
    }

    fn seconds(
        &self,
        field: &str,
        given: Option<u64>,
        default: u64,
    ) -> Result<Duration, ConfigError> {
        match given {
            Some(0) => Err(self.error(field, "is zero", format!("the default is {default}"))),
            given => Ok(Duration::from_secs(given.unwrap_or(default).min(24 * 3600))),
        }
    }
}

/// Whether a key of the fingerprints names this endpoint: `host`, `host:port` or the first label of
/// the host's name.
fn names(key: &str, target: &Target) -> bool {
    let key = key.trim_matches(['[', ']']);
    let label = target.host.split('.').next().unwrap_or_default();
    let is_name = target.host.parse::<std::net::IpAddr>().is_err();
    key.eq_ignore_ascii_case(&target.host)
        || (is_name && key.eq_ignore_ascii_case(label))
        || key
            .strip_suffix(&format!(":{}", target.port))
            .is_some_and(|host| host.trim_matches(['[', ']']).eq_ignore_ascii_case(&target.host))
}
