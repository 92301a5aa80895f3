//! What every output is made with.

use std::{fmt, sync::Arc};

use stdx::{Clock, http::Client};

/// The header by which an input of ours, or of another manager, knows what an output of ours sent.
pub const MARKER_HEADER: &str = "x-proxmox-mcp";

/// What stands for that header in messages that have none: the footer of Discord's embeds begins with it, and a block of
/// Slack's messages is called so.
pub const MARK: &str = "proxmox-mcp";

/// What every output is made with, besides its own settings.
#[derive(Clone)]
pub struct Kit {
    /// Made by `stdx`, with the output's TLS and proxy settings.
    pub client: Client,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What this manager calls itself: stands in footers and in the marker against echoes. Letters,
    /// digits, `.`, `_` and `-`; anything else is left out.
    pub instance: String,
}

// === impl Kit ===

impl Kit {
    /// A kit with a name that can stand in any header.
    pub fn new(client: Client, clock: Arc<dyn Clock>, instance: &str) -> Self {
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let instance: String = instance.chars().filter(plain).take(64).collect();
        let instance = if instance.is_empty() { "manager".to_owned() } else { instance };
        Self { client, clock, instance }
    }
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit").field("instance", &self.instance).finish_non_exhaustive()
    }
}
