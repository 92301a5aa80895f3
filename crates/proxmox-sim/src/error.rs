//! Why a simulator could not start.

use std::io;

/// Why a simulator could not be started or steered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A certificate could not be made.
    #[error("make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// TLS could not be set up.
    #[error("set up TLS")]
    TlsKey(#[source] rustls::Error),
    /// A listener could not be bound.
    #[error("listen on {address}")]
    Listen {
        /// The address that was tried.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The embedded table of methods is broken.
    #[error("read the table of methods: {0}")]
    Table(String),
    /// A lever names a target that is not simulated.
    #[error("no target {0:?}")]
    NoTarget(String),
    /// A lever names a node that the target does not have.
    #[error("no node {node:?} in target {target:?}")]
    NoNode {
        /// The target.
        target: String,
        /// The node.
        node: String,
    },
    /// A lever's other argument makes no sense.
    #[error("{0}")]
    BadLever(String),
}
