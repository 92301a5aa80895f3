//! What the operator chooses, and the limits that few will want to change.

use std::time::Duration;

/// How the gateway behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Names under which clients may reach the server: a host, or a host with a port. Those of loopback and an address
    /// that is listened on are allowed without being named.
    pub allowed_hosts: Vec<String>,
    /// Web pages whose scripts may call the server, as `scheme://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Requests of one principal a minute; `None` without a limit. A fifth of it, at least ten, may come at once.
    pub rate_per_minute: Option<u32>,
    /// Attempts with bad credentials from one address a minute.
    pub failures_per_minute: u32,
    /// Whether `/metrics` is answered without a credential.
    pub metrics_public: bool,
    /// How long an older client's session is kept without a request.
    pub session_idle: Duration,
    /// The sessions of one principal.
    pub sessions_per_principal: usize,
    /// Whether older clients get sessions.
    pub legacy_sessions: bool,
    /// The connections there may be at a time; half of them from one address that is not loopback.
    pub max_connections: usize,
    /// For how long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// For how long the head of a request may take, and a connection wait for the next one.
    pub head_timeout: Duration,
    /// For how long a request's body may take.
    pub body_timeout: Duration,
    /// For how long a client may take nothing of what is waiting to be sent to it.
    pub write_timeout: Duration,
    /// For how long requests that are under way may go on after the server was told to stop.
    pub drain: Duration,
    /// How often the files of the certificate are looked at.
    pub reload_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_body_bytes: 4 * 1024 * 1024,
            rate_per_minute: Some(600),
            failures_per_minute: 20,
            metrics_public: false,
            session_idle: Duration::from_mins(15),
            sessions_per_principal: 32,
            legacy_sessions: true,
            max_connections: 4096,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            reload_every: Duration::from_secs(10),
        }
    }
}
