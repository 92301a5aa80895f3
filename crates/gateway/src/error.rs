//! Why the gateway cannot listen, in words that say what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A listener or its certificate cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// Everybody on the network could call the tools.
    #[error(
        "listen on {address} without authentication: others than this machine could reach it; \
         leave out --no-auth and make a token with `proxmox-mcp token new`, or listen on 127.0.0.1"
    )]
    OpenToOthers {
        /// Where.
        address: SocketAddr,
    },
    /// There is nowhere to listen.
    #[error("listen: no address and no socket was given")]
    Nowhere,
    /// The address cannot be had.
    #[error("listen on {address}{}", in_use(.source))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The socket belongs to a server that runs.
    #[error("listen on {path}: another server is listening there", path = .path.display())]
    SocketInUse {
        /// Where.
        path: PathBuf,
    },
    /// Something that is no socket stands there.
    #[error(
        "listen on {path}: that is not a socket; move it away or choose another path",
        path = .path.display()
    )]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("make the socket {path}", path = .path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The certificate and its key cannot be used.
    #[error(transparent)]
    Tls(#[from] CertificateError),
}

/// A certificate and its key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("read {path}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("read {path} as PEM", path = .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate file holds no certificate.
    #[error("find a certificate in {path}: it has no CERTIFICATE block", path = .path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// The two do not belong together, or cannot be used at all.
    #[error("use the certificate {certificate} with the key {key}", certificate = .certificate.display(), key = .key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
}

fn in_use(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            ": another program has it; choose another address (port 0 takes any that is free)"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need a privilege",
        _ => "",
    }
}
