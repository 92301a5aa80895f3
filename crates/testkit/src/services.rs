//! Real services that tests may use, as `cargo xtask services start` left them running.
//!
//! Each is found by an environment variable or by the state file `.services/<name>.url` in the
//! workspace. Where it is absent, a test prints that it skips and goes on; with
//! `REQUIRE_SERVICES=1` it fails.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use crate::fixtures::workspace_root;
use crate::skip::{read_env, required, skip};

const VARIABLE: &str = "REQUIRE_SERVICES";

/// The URL of a PostgreSQL whose user may create schemas, or `None` after saying so.
///
/// `TEST_POSTGRES_URL` comes before the state file.
///
/// # Panics
///
/// When there is none and `REQUIRE_SERVICES=1`.
pub fn postgres_url() -> Option<String> {
    find("postgres", "TEST_POSTGRES_URL")
}

/// The address of an OAuth issuer (`xtask/services/issuer.mjs` says what it offers), or `None` after
/// saying so.
///
/// `TEST_ISSUER_URL` comes before the state file.
///
/// # Panics
///
/// When there is none and `REQUIRE_SERVICES=1`.
pub fn issuer_url() -> Option<String> {
    find("issuer", "TEST_ISSUER_URL")
}

/// The address of a Dovecot with the password that any name has a mailbox of its own with
/// (`imap://events:<password>@127.0.0.1:<port>`), or `None` after saying so.
///
/// `TEST_IMAP_URL` comes before the state file.
///
/// # Panics
///
/// When there is none and `REQUIRE_SERVICES=1`.
pub fn imap_url() -> Option<String> {
    find("dovecot", "TEST_IMAP_URL")
}

/// The address of an ntfy server (`http://127.0.0.1:<port>`) that lets anybody post and read, without limits for
/// requests, or `None` after saying so.
///
/// `TEST_NTFY_URL` comes before the state file.
///
/// # Panics
///
/// When there is none and `REQUIRE_SERVICES=1`.
pub fn ntfy_url() -> Option<String> {
    find("ntfy", "TEST_NTFY_URL")
}

/// Where the programs of a service stand that tests start themselves, or `None` after saying so.
pub(crate) fn programs(service: &str) -> Option<Programs> {
    let file = workspace_root().join(".services").join(format!("{service}.programs"));
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines();
    let found = lines.next().zip(lines.next()).map(|(root, libraries)| Programs {
        root: PathBuf::from(root),
        libraries: libraries.to_owned(),
    });
    let found = found.filter(|programs| programs.root.is_dir());
    if found.is_none() {
        let hint = format!("`cargo xtask services start {service}` fetches them");
        missing(&format!("programs of {service}"), &hint);
    }
    found
}

/// Says that something is missing that a service needs.
///
/// # Panics
///
/// When `REQUIRE_SERVICES=1`.
pub(crate) fn missing(what: &str, hint: &str) {
    skip(what, VARIABLE, required(VARIABLE), hint);
}

/// Programs that are unpacked in a folder and not installed.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) root: PathBuf,
    /// The folders of their libraries, as `LD_LIBRARY_PATH` takes them.
    pub(crate) libraries: String,
}

fn find(service: &str, variable: &str) -> Option<String> {
    let announced = read_env(variable).filter(|url| !url.is_empty()).or_else(|| {
        let file = workspace_root().join(".services").join(format!("{service}.url"));
        let text = std::fs::read_to_string(file).ok()?;
        Some(text.trim().to_owned())
    });
    // A state file outlives its service, so only one that answers counts.
    let running = announced.filter(|url| answers(url));
    if running.is_none() {
        let hint = format!("`cargo xtask services start {service}` starts it");
        missing(&format!("service {service}"), &hint);
    }
    running
}

/// Whether something accepts connections at the URL's host and port.
fn answers(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let Ok(mut addresses) = address.to_socket_addrs() else { return false };
    addresses.any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_service_that_answers_counts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(answers(&format!("postgres://user:pass@{address}/db?x=y")));
        drop(listener);
        assert!(!answers(&format!("postgres://{address}/db")));
        assert!(!answers("garbage"));
    }
}
