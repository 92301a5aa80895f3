//! Who calls, by which way, and within which scope.

use guard::{Grant, Principal, PrincipalKind, Scope, policy::Transport};
use mcp_protocol::CallContext;

use crate::app::Options;

/// The caller of one call.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) principal: Principal,
    pub(crate) scope: Option<Scope>,
    pub(crate) transport: Transport,
}

impl Who {
    /// As authentication has found them; where it has not, whoever runs the program.
    pub(crate) fn of(call: &CallContext, options: &Options) -> Self {
        let grant = call.caller().get::<Grant>();
        let principal = grant.map_or_else(|| options.principal.clone(), |it| it.principal.clone());
        let transport = match (principal.kind(), grant) {
            (PrincipalKind::Automation, _) => Transport::Automation,
            (PrincipalKind::Channel, _) => Transport::Channel,
            // Whoever comes over HTTP without showing anything is the local user, but not at home.
            (_, Some(grant)) => grant.via,
            (_, None) => Transport::Local,
        };
        Self { principal, scope: grant.map(|grant| grant.scope.clone()), transport }
    }
}
