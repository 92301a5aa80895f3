//! What is wrong with an output's settings.

use event_core::ComponentId;

/// An output's settings cannot be used. Nothing secret stands in it.
#[derive(Debug, thiserror::Error)]
#[error("set up the output `{output}`: {message}")]
pub struct InvalidConfig {
    output: ComponentId,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

// === impl InvalidConfig ===

impl InvalidConfig {
    /// This is wrong, and this is what to write instead.
    pub(crate) fn new(output: &ComponentId, message: impl Into<String>) -> Self {
        Self { output: output.clone(), message: message.into(), source: None }
    }

    /// What is wrong, and what to write instead; without the output's name and what it comes from.
    pub fn reason(&self) -> &str {
        &self.message
    }

    /// With what it comes from.
    pub(crate) fn because(
        mut self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}
