//! One cluster or server in the settings: the raw table, the checked form, and the transport that
//! is made of it. The clients add what is their product's: default port, how a credential is
//! spelt, what an error means.

mod check;
mod config;
mod files;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use estate::{ClusterKey, NodeName, VmId};
use secrecy::SecretString;
use stdx::{
    Clock,
    http::{HttpOptions, Proxy},
    tls::TlsOptions,
};

pub use check::{Checked, ConfigError, Warning};
pub use config::{EndpointConfig, OneOrMany};
pub use files::{Disk, FileContent, ReadFile};

use crate::{
    Endpoint, Failover, FailoverOptions, HttpTransport,
    auth::{Password, TotpSecret},
};

/// How to reach one cluster or server: checked, with every secret at hand.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointOptions {
    /// The settings key.
    pub key: ClusterKey,
    /// The addresses, in the order of the settings; at least one.
    pub targets: Vec<Target>,
    /// Who asks.
    pub credential: Credential,
    /// Who changes things, if that is somebody else.
    pub operate: Option<Credential>,
    /// The operator's own labels.
    pub labels: BTreeMap<String, String>,
    /// What is meant to be off.
    pub expected_off: Vec<ExpectedOff>,
    /// Whether requests go through a proxy.
    pub proxy: Proxy,
    /// How long name lookup, connection and TLS may take together.
    pub connect_timeout: Duration,
    /// How long an answer's head may take.
    pub request_timeout: Duration,
    /// The whole time of a request, other endpoints included.
    pub deadline: Duration,
    /// How many requests may be under way to one endpoint.
    pub concurrency: usize,
}

/// One address and how it proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Scheme, host, port and prefix, without a slash at the end.
    pub url: String,
    /// The host alone: a name or an address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How it proves itself.
    pub tls: TlsOptions,
}

/// Who asks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// An API token.
    Token {
        /// `user@realm!name`.
        id: String,
        /// The secret that was shown once.
        secret: SecretString,
    },
    /// A user's own login.
    Password {
        /// `user@realm`.
        username: String,
        /// The password.
        password: SecretString,
        /// The second factor, where the user has one.
        totp: Option<TotpSecret>,
    },
}

/// What is meant to be off, so that nobody reports it as missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedOff {
    /// A node.
    Node(NodeName),
    /// A guest.
    Guest(VmId),
}

// === impl EndpointOptions ===

impl EndpointOptions {
    /// The transport to these addresses, without credentials. Nothing is sent, and no system
    /// certificate read, until the first request.
    pub fn transport(&self, mut options: FailoverOptions, clock: Arc<dyn Clock>) -> Failover {
        let endpoints = self.targets.iter().map(|target| {
            let transport = self.target_transport(target);
            Endpoint { name: target.url.clone(), transport: Arc::new(transport) }
        });
        options.deadline = self.deadline;
        options.per_endpoint = self.concurrency;
        Failover::new(endpoints.collect(), options, clock)
    }

    /// The same connection to one address only, for checks that ask each in turn.
    #[must_use]
    pub fn only(&self, target: &Target) -> Self {
        Self { targets: vec![target.clone()], ..self.clone() }
    }

    fn target_transport(&self, target: &Target) -> HttpTransport {
        let mut http = HttpOptions::with_tls(target.tls.clone());
        http.connect_timeout = self.connect_timeout;
        http.proxy = self.proxy.clone();
        HttpTransport::new(&target.url, http, self.request_timeout)
    }

    /// Every secret, for the redactor.
    pub fn secrets(&self) -> Vec<SecretString> {
        std::iter::once(&self.credential).chain(&self.operate).map(Credential::secret).collect()
    }
}

// === impl Credential ===

impl Credential {
    /// Whose it is, as the server writes it: `user@realm` or `user@realm!name`.
    pub fn id(&self) -> &str {
        match self {
            Self::Token { id, .. } => id,
            Self::Password { username, .. } => username,
        }
    }

    /// The user behind it: `user@realm`.
    pub fn user(&self) -> &str {
        self.id().split('!').next().unwrap_or_default()
    }

    /// What [`TicketAuth`](crate::auth::TicketAuth) needs, if it is a login.
    pub fn as_password(&self) -> Option<Password> {
        match self {
            Self::Token { .. } => None,
            Self::Password { username, password, totp } => Some(Password {
                username: username.clone(),
                password: password.clone(),
                totp: totp.clone(),
            }),
        }
    }

    fn secret(&self) -> SecretString {
        match self {
            Self::Token { secret, .. } => secret.clone(),
            Self::Password { password, .. } => password.clone(),
        }
    }
}
