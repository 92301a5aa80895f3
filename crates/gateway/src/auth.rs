//! Who asks: from a request's credentials to a grant, or to a challenge that says what to bring.
//!
//! Two kinds of credentials are taken, both as `Authorization: Bearer …` and nowhere else:
//! tokens that `proxmox-mcp token new` made, and access tokens of an OAuth issuer.
//!
//! *Invariant:* what cannot be checked is refused. *Invariant:* no credential leaves this module: what
//! comes out is a [`Grant`], which holds a name and a scope.

mod bearer;
mod failure;
mod metadata;

use estate::Access;
use guard::Grant;

pub use failure::{AuthFailure, Reason};
pub use metadata::ProtectedResource;

use failure::Challenge;

/// Finds out who asks.
#[derive(Debug)]
pub struct Authenticator {
    open: Option<Grant>,
    resource: Option<ProtectedResource>,
}

// === impl Authenticator ===

impl Authenticator {
    /// Asks nobody: everyone gets this grant. Only for an address that nobody else can reach.
    pub fn none(grant: Grant) -> Self {
        Self { open: Some(grant), resource: None }
    }

    /// Whether everyone is let in.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Who sent this request, and how far they may go.
    ///
    /// # Errors
    ///
    /// The answer to give instead of going on.
    #[expect(clippy::unused_async, reason = "looking up keys and hashes is what follows")]
    pub async fn authenticate(&self, request: &http::request::Parts) -> Result<Grant, AuthFailure> {
        if let Some(grant) = &self.open {
            return Ok(grant.clone());
        }
        bearer::token(request).map_err(|failure| failure.challenged(self.challenge()))?;
        Err(AuthFailure::new(Reason::Invalid, "no token is known").challenged(self.challenge()))
    }

    /// The answer to a caller whose grant does not allow what was asked for, naming every OAuth
    /// scope that would be needed.
    pub fn insufficient_scope(&self, grant: &Grant, needed: Access) -> AuthFailure {
        let detail = format!(
            "this needs the scope `{needed}`, and {} has `{}`",
            grant.principal, grant.scope
        );
        AuthFailure::new(Reason::Scope, detail).challenged(self.challenge())
    }

    /// The metadata of the protected resource (RFC 9728); `None` where no OAuth issuer is set.
    pub fn resource(&self) -> Option<&ProtectedResource> {
        self.resource.as_ref()
    }

    fn challenge(&self) -> Challenge {
        let metadata = self.resource.as_ref().map(|resource| resource.url().to_owned());
        Challenge { metadata, scopes: Vec::new() }
    }
}
