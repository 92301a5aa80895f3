//! HTTP clients, all made here.

pub mod limits;

use std::{borrow::Cow, fmt, time::Duration};

use crate::tls::{self, TlsError, TlsOptions};

/// A client that [`client`] made, and what it is answered.
pub use reqwest::{Client, Response};

/// How a client connects.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// How long name lookup, connection and TLS may take together.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept. Proxmox VE closes after five seconds, so four.
    pub pool_idle: Duration,
    /// How the server proves itself.
    pub tls: TlsOptions,
    /// Whether requests go through a proxy.
    pub proxy: Proxy,
    /// What the client calls itself.
    pub user_agent: String,
}

/// Whether requests go through a proxy. `Debug` leaves out a login in its address.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Directly, whatever the environment says.
    #[default]
    None,
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    FromEnv,
    /// Through this one: `http://host:port`, with `user:password@` before the host if it asks for
    /// that.
    Url(String),
}

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The TLS settings cannot be used.
    #[error("prepare TLS")]
    Tls(#[from] TlsError),
    /// The proxy's address cannot be used. Without the cause, which would quote it.
    #[error("use the proxy: its address is not understood")]
    Proxy,
    /// The client itself refused.
    #[error("build the HTTP client")]
    Build(#[source] reqwest::Error),
}

// === impl HttpOptions ===

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            pool_idle: Duration::from_secs(4),
            tls: TlsOptions::default(),
            proxy: Proxy::None,
            user_agent: concat!("proxmox-mcp/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl HttpOptions {
    /// The defaults with these TLS settings.
    pub fn with_tls(tls: TlsOptions) -> Self {
        Self { tls, ..Self::default() }
    }
}

// === impl Proxy ===

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::FromEnv => f.write_str("FromEnv"),
            Self::Url(url) => f.debug_tuple("Url").field(&without_login(url)).finish(),
        }
    }
}

/// The address without a user name and password that stand in it, for messages and logs. Whatever
/// comes before the last `@` is taken for them, whether or not the text is a proper address.
pub fn without_login(address: &str) -> Cow<'_, str> {
    let start = address.find("://").map_or(0, |at| at + "://".len());
    match address[start..].rfind('@') {
        None => Cow::Borrowed(address),
        Some(at) => {
            let (scheme, rest) = (&address[..start], &address[start + at..]);
            Cow::Owned(format!("{scheme}[redacted]{rest}"))
        }
    }
}

/// Makes a client: HTTP/1.1, gzip, no redirects followed (one that comes is an answer to look at,
/// not to obey), nothing kept longer than `pool_idle`.
///
/// Reads the system's root certificates only if the TLS policy asks for them.
pub fn client(options: &HttpOptions) -> Result<Client, HttpError> {
    let tls = tls::client_config(&options.tls)?;
    #[expect(clippy::disallowed_methods, reason = "the one place that makes HTTP clients")]
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured((*tls).clone())
        .http1_only()
        .gzip(true)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(15))
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(options.pool_idle)
        .pool_max_idle_per_host(8)
        .user_agent(&options.user_agent);
    builder = match &options.proxy {
        Proxy::None => builder.no_proxy(),
        Proxy::FromEnv => builder,
        Proxy::Url(url) => builder.proxy(proxy(url)?),
    };
    builder.build().map_err(HttpError::Build)
}

fn proxy(url: &str) -> Result<reqwest::Proxy, HttpError> {
    reqwest::Proxy::all(url).map_err(|_| HttpError::Proxy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chain, tls::TlsPolicy};

    #[test]
    fn a_login_in_an_address_is_not_shown() {
        for (address, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://bob:planted@proxy:3128", "http://[redacted]@proxy:3128"),
            ("http://bob:pl@nted/x?@proxy:3128", "http://[redacted]@proxy:3128"),
            ("bob:planted@proxy", "[redacted]@proxy"),
            ("", ""),
        ] {
            assert_eq!(without_login(address), shown);
        }
        let tls = TlsOptions { policy: TlsPolicy::Insecure, server_name: None };
        let mut options = HttpOptions::with_tls(tls);
        for address in
            ["http://bob:planted@proxy:3128", "gopher://bob:planted@proxy", "bob:planted@[x"]
        {
            options.proxy = Proxy::Url(address.to_owned());
            let refused = client(&options).err();
            let told = refused.map(|error| format!("{error:?} {}", Chain(&error)));
            let shown = format!("{options:?} {}", told.unwrap_or_default());
            assert!(shown.contains("[redacted]@") && !shown.contains("planted"), "{shown}");
        }
    }
}
