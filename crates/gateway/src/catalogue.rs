//! What is served, as the gateway sees it: an app for each grant.

use guard::Grant;
use mcp_protocol::App;

/// Where the apps come from. The binary implements it over the tools, tests over a toy.
pub trait Catalogue: Send + Sync + 'static {
    /// What this grant may use. Asked for with every request, so it has to be at hand.
    fn app(&self, grant: &Grant) -> App;

    /// Whether there is anything behind the tools yet.
    fn readiness(&self) -> Readiness;
}

/// Whether to send requests here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// At least one endpoint has been reached since the start. It stays so when all are lost again: answers that say what
    /// is unreachable are worth having, and a restart would not bring the estate back.
    Ready,
    /// No endpoint has been reached since the start.
    Starting,
}
