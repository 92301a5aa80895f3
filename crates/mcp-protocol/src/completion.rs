//! Completion: suggestions for the arguments of prompts and of resource templates.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::context::CallContext;

/// The most values that one completion may carry.
pub(crate) const MAX_VALUES: usize = 100;

/// Suggests values while a person types.
#[async_trait]
pub trait Completer: Send + Sync + 'static {
    /// Values for `argument` of `target` that fit what was typed so far.
    ///
    /// `chosen` holds the arguments that the person has already filled in. An unknown target or argument has no
    /// suggestions, which is an empty completion, not an error.
    async fn complete(
        &self,
        cx: &CallContext,
        target: &CompletionRef,
        argument: &str,
        typed: &str,
        chosen: &BTreeMap<String, String>,
    ) -> Completion;
}

/// What an argument belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompletionRef {
    /// A prompt, by name.
    Prompt(String),
    /// A resource template, by its URI template.
    Resource(String),
}

/// Suggested values, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// At most 100; what is beyond is cut and told by `has_more`.
    pub values: Vec<String>,
    /// How many there are in all, where known.
    pub total: Option<u32>,
    /// Whether there are more than these.
    pub has_more: bool,
}

// === impl Completion ===

impl Completion {
    /// A completion of all `values`, of which at most 100 are sent.
    pub fn of(values: Vec<String>) -> Self {
        let total = u32::try_from(values.len()).ok();
        Self { values, total, has_more: false }.bounded()
    }

    /// The same, within the protocol's limit.
    #[must_use]
    pub(crate) fn bounded(mut self) -> Self {
        if self.values.len() > MAX_VALUES {
            self.values.truncate(MAX_VALUES);
            self.has_more = true;
        }
        self
    }
}
