//! Tells the service manager how it goes: `sd_notify`, which is a line to a datagram socket.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the service manager listens, if it does.
#[derive(Debug, Default)]
pub(crate) struct Service {
    socket: Option<PathBuf>,
    watchdog: Option<Duration>,
}

// === impl Service ===

impl Service {
    /// From the variables that the service manager sets.
    pub(crate) fn from_variables(variables: &[(String, String)], pid: u32) -> Self {
        let value = |name: &str| {
            variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        // The watchdog may be meant for another process of the service.
        let is_ours = value("WATCHDOG_PID").is_none_or(|it| it.parse() == Ok(pid));
        let micros = value("WATCHDOG_USEC").filter(|_| is_ours).and_then(|it| it.parse().ok());
        let socket = value("NOTIFY_SOCKET").filter(|it| !it.is_empty()).map(PathBuf::from);
        Self { socket, watchdog: micros.filter(|it| *it > 0).map(Duration::from_micros) }
    }

    /// How often it wants to hear that all is well: twice within its patience.
    pub(crate) fn heartbeat(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|patience| patience / 2)
    }

    /// Says something, if anybody listens.
    pub(crate) fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket, state) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

fn send(socket: &Path, state: &str) -> std::io::Result<()> {
    let from = UnixDatagram::unbound()?;
    let name = socket.as_os_str().as_bytes();
    // `@` in front stands for a name that is in no folder.
    match name.strip_prefix(b"@") {
        Some(name) => from.send_to_addr(state.as_bytes(), &abstract_address(name)?)?,
        None => from.send_to(state.as_bytes(), socket)?,
    };
    Ok(())
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> std::io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> std::io::Result<SocketAddr> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn it_is_told_over_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let service = Service::from_variables(
            &variables(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "30000000")]),
            7,
        );
        service.tell("READY=1\n");
        let mut buffer = [0; 64];
        let length = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\n");
        assert_eq!(service.heartbeat(), Some(Duration::from_secs(15)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_without_a_folder_are_known() {
        let name = format!("proxmox-manager-test-{}", std::process::id());
        let listener =
            UnixDatagram::bind_addr(&abstract_address(name.as_bytes()).unwrap()).unwrap();
        let socket = format!("@{name}");
        let service = Service::from_variables(&variables(&[("NOTIFY_SOCKET", &socket)]), 7);
        service.tell("STOPPING=1");
        let mut buffer = [0; 64];
        assert_eq!(listener.recv(&mut buffer).unwrap(), 10);
        assert_eq!(service.heartbeat(), None);
    }

    #[test]
    fn nobody_listens_and_watchdogs_of_others_are_nothing() {
        let service = Service::from_variables(&[], 7);
        service.tell("READY=1");
        let others = [("NOTIFY_SOCKET", "/x"), ("WATCHDOG_USEC", "5"), ("WATCHDOG_PID", "8")];
        assert_eq!(Service::from_variables(&variables(&others), 7).heartbeat(), None);
        let own = [("NOTIFY_SOCKET", "/x"), ("WATCHDOG_USEC", "4"), ("WATCHDOG_PID", "7")];
        let own = Service::from_variables(&variables(&own), 7);
        assert_eq!(own.heartbeat(), Some(Duration::from_micros(2)));
    }
}
