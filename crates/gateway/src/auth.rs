//! Who asks: from a request's credentials to a grant, or to a challenge that says what to bring.
//!
//! Two kinds of credentials are taken, both as `Authorization: Bearer …` and nowhere else: tokens
//! that `proxmox-mcp token new` made ([`Tokens`]), and access tokens of an OAuth issuer ([`Issuer`]).
//!
//! ```no_run
//! # async fn example(request: http::request::Parts) {
//! use gateway::auth::{Authenticator, TokenFile, Tokens};
//!
//! let tokens = Tokens::new(TokenFile::new("/var/lib/proxmox-mcp"), stdx::SystemClock::shared());
//! let authenticator = Authenticator::new(Some(tokens), Vec::new());
//! match authenticator.authenticate(&request).await {
//!     Ok(grant) => println!("{} may {}", grant.principal, grant.scope),
//!     Err(failure) => println!("{} {:?}", failure.status(), failure.challenge()),
//! }
//! # }
//! ```
//!
//! *Invariant:* what cannot be checked is refused. *Invariant:* no credential leaves this module: what
//! comes out is a [`Grant`], which holds a name and a scope, so nothing can be passed on to Proxmox.

mod bearer;
mod failure;
mod metadata;
mod oauth;
mod secret;
mod token_file;
mod tokens;

use std::collections::BTreeSet;

use estate::Access;
use guard::{Grant, PrincipalKind};

pub use failure::{AuthFailure, Reason};
pub use metadata::ProtectedResource;
pub use oauth::{Issuer, IssuerError, IssuerOptions};
pub use token_file::{TokenError, TokenFile, TokenInfo};
pub use tokens::Tokens;

use failure::Challenge;

/// Finds out who asks.
#[derive(Debug)]
pub struct Authenticator {
    open: Option<Grant>,
    tokens: Option<Tokens>,
    issuers: Vec<Issuer>,
    resource: Option<ProtectedResource>,
}

// === impl Authenticator ===

impl Authenticator {
    /// Asks nobody: everyone gets this grant. Only for an address that nobody else can reach.
    pub fn none(grant: Grant) -> Self {
        Self { open: Some(grant), tokens: None, issuers: Vec::new(), resource: None }
    }

    /// Takes these tokens, and those of these issuers.
    pub fn new(tokens: Option<Tokens>, issuers: Vec<Issuer>) -> Self {
        let names: Vec<String> = issuers.iter().map(|issuer| issuer.name().to_owned()).collect();
        let scopes = distinct(issuers.iter().flat_map(Issuer::scope_names));
        let resource = issuers
            .first()
            .and_then(|issuer| ProtectedResource::new(issuer.resource(), &names, &scopes));
        Self { open: None, tokens, issuers, resource }
    }

    /// The static tokens, where they are taken.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Whether everyone is let in.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether nobody can be let in, because there is neither a token nor an issuer.
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
            && self.issuers.is_empty()
            && self.tokens.as_ref().is_none_or(Tokens::is_empty)
    }

    /// Who sent this request, and how far they may go.
    ///
    /// # Errors
    ///
    /// The answer to give instead of going on.
    pub async fn authenticate(&self, request: &http::request::Parts) -> Result<Grant, AuthFailure> {
        if let Some(grant) = &self.open {
            return Ok(grant.clone());
        }
        let checked = match bearer::token(request) {
            Ok(token) => self.check(token).await,
            Err(failure) => Err(failure),
        };
        checked.map_err(|failure| {
            // What every caller needs, and no more: clients ask for all that is named here.
            let scopes = self.scopes_for(Access::Read);
            failure.challenged(self.challenge(scopes))
        })
    }

    /// The answer to a caller whose grant does not allow what was asked for, naming every OAuth
    /// scope that would be needed.
    pub fn insufficient_scope(&self, grant: &Grant, needed: Access) -> AuthFailure {
        let (principal, scope) = (&grant.principal, &grant.scope);
        let have = format!("this needs the scope `{needed}`, and {principal} has `{scope}`");
        let (scopes, hint) = if principal.kind() == PrincipalKind::OAuth {
            let issuers = self.issuers.iter();
            let issuer = issuers.into_iter().find(|it| Some(it.name()) == principal.issuer());
            match issuer.and_then(|issuer| issuer.scopes_for(needed)) {
                Some(scopes) => {
                    let hint = format!("ask the issuer for `{}`", scopes.join("`, `"));
                    (scopes, hint)
                }
                None => (Vec::new(), "no scope of its issuer goes that far".to_owned()),
            }
        } else {
            let hint =
                format!("`proxmox-mcp token new --scope {needed}` makes a token that has it");
            (Vec::new(), hint)
        };
        AuthFailure::new(Reason::Scope, format!("{have}; {hint}"))
            .challenged(self.challenge(scopes))
    }

    /// The metadata of the protected resource (RFC 9728); `None` where no OAuth issuer is set.
    pub fn resource(&self) -> Option<&ProtectedResource> {
        self.resource.as_ref()
    }

    async fn check(&self, token: &str) -> Result<Grant, AuthFailure> {
        let unknown = |detail: &str| Err(AuthFailure::new(Reason::Invalid, detail));
        if secret::is_ours(token) {
            return match &self.tokens {
                Some(tokens) => tokens.check(token).await,
                None => unknown("this server takes tokens of its OAuth issuer only"),
            };
        }
        if self.issuers.is_empty() {
            return unknown("no token of this server looks like that: they begin with `pmx_`");
        }
        // What a token says about its issuer is believed only as far as whose keys it is checked with.
        let Some(claimed) = oauth::claimed_issuer(token) else {
            return unknown("the token is neither one of this server nor a JWT of an issuer");
        };
        match self.issuers.iter().find(|issuer| issuer.name() == claimed) {
            Some(issuer) => issuer.check(token).await,
            None => unknown("the token is of another issuer"),
        }
    }

    fn scopes_for(&self, tier: Access) -> Vec<String> {
        distinct(self.issuers.iter().filter_map(|issuer| issuer.scopes_for(tier)).flatten())
    }

    fn challenge(&self, scopes: Vec<String>) -> Challenge {
        let metadata = self.resource.as_ref().map(|resource| resource.url().to_owned());
        Challenge { metadata, scopes }
    }
}

/// The names, each once, in their order.
fn distinct(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}
