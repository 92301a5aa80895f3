//! What is served, as the gateway sees it: an app for each grant.

use estate::Access;
use guard::Grant;
use mcp_protocol::App;

/// Where the apps come from. The binary implements it over the tools, tests over a toy.
pub trait Catalogue: Send + Sync + 'static {
    /// What this grant may use. Asked for with every request, so it has to be at hand.
    fn app(&self, grant: &Grant) -> App;

    /// The tier that a credential would need for this tool, where it is the tier of `grant` alone that keeps the tool from
    /// it; `None` where the caller has the tool, or nobody like this caller would.
    fn missing_tier(&self, grant: &Grant, tool: &str) -> Option<Access>;

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
