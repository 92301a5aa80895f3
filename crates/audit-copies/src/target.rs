//! Where copies go, as settings say it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use stdx::http::without_login;

/// A receiver of copies. `Debug` and `Display` leave out what may be secret in a webhook's address.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Syslog (RFC 5424) over UDP: `udp://host:port`.
    Udp(String),
    /// Syslog (RFC 5424) on a datagram socket of this machine: `unix:///dev/log`.
    Unix(PathBuf),
    /// A webhook: `https://…`, or `http://…`.
    Webhook(String),
}

/// The text names no receiver. It is not repeated: a webhook's address may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it takes udp://HOST:PORT, unix:///PATH, https://… or http://…")]
pub struct InvalidTarget;

// === impl Target ===

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(address) = text.strip_prefix("udp://") {
            let (host, port) = address.rsplit_once(':').ok_or(InvalidTarget)?;
            let port: u16 = port.parse().map_err(|_| InvalidTarget)?;
            let is_good = port > 0 && !host.is_empty() && !host.contains(['/', '@', ' ']);
            return if is_good { Ok(Self::Udp(address.to_owned())) } else { Err(InvalidTarget) };
        }
        if let Some(path) = text.strip_prefix("unix://") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(InvalidTarget) };
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !rest.contains(' ') => {
                Ok(Self::Webhook(text.to_owned()))
            }
            _ => Err(InvalidTarget),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            // The path of a webhook is often its password.
            Self::Webhook(url) => {
                let url = without_login(url);
                let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                write!(f, "{scheme}://{host}")
            }
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_hide_what_may_be_secret() {
        for (text, shown) in [
            ("udp://log.lan:514", "udp://log.lan:514"),
            ("udp://[::1]:5514", "udp://[::1]:5514"),
            ("unix:///dev/log", "unix:///dev/log"),
            ("https://hooks.lan/services/T0/s3cret?k=1", "https://hooks.lan"),
            ("http://u:p@hooks.lan:8080/x", "http://[redacted]@hooks.lan:8080"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.to_string(), format!("{target:?}")), (shown.into(), shown.into()));
        }
        for text in
            ["", "udp://log", "udp://:514", "udp://log:0", "unix://dev/log", "https://", "ftp://x"]
        {
            assert_eq!(text.parse::<Target>(), Err(InvalidTarget), "{text}");
        }
    }
}
