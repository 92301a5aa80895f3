//! Still to come.
use crate::call::Handlers;
pub(super) const HANDLERS: Handlers = &[];
