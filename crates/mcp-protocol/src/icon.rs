//! Icons: pictures that clients may show beside a name.

use serde::{Deserialize, Serialize};

/// A picture beside a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icon {
    /// Where it is: an `https:` or `data:` URI.
    pub src: String,
    /// Such as `image/svg+xml`.
    pub mime_type: Option<String>,
    /// Such as `48x48`, or `any` for what scales; empty says nothing.
    pub sizes: Vec<String>,
}

// === impl Icon ===

impl Icon {
    /// A picture of which only the address is said.
    pub fn new(src: impl Into<String>) -> Self {
        Self { src: src.into(), mime_type: None, sizes: Vec::new() }
    }
}
