//! Access tokens of an OAuth issuer, as a resource server checks them (RFC 9068, RFC 9728).
//!
//! A token counts if it is signed with a key that the issuer publishes, by one of the algorithms of
//! the settings, for this server, now. What it may do follows from its scopes and the settings.
//!
//! *Invariant:* while the issuer's keys are not at hand nothing is accepted, and that is said.

mod claims;
mod document;
mod keys;
mod provider;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use estate::Access;
use guard::{Grant, Principal, Scope};
use jsonwebtoken::{Algorithm, Header, Validation};
use stdx::Clock;
use stdx::http::{HttpError, HttpOptions};
use stdx::tls::{TlsOptions, TlsPolicy};

use self::claims::Claims;
use self::keys::{KeyError, Keys};
use super::failure::{AuthFailure, Reason};

/// Whose tokens are taken, and for what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuerOptions {
    /// The issuer as its tokens and its metadata spell it.
    pub issuer: String,
    /// What a token must be made for: one of these.
    pub audience: Vec<String>,
    /// The address of this server's endpoint as clients write it.
    pub resource: String,
    /// Where the keys are; `None` where the issuer's metadata says it.
    pub jwks_url: Option<String>,
    /// What the scopes of a token allow.
    pub scopes: BTreeMap<String, Scope>,
    /// A scope that every token must have besides.
    pub required_scope: Option<String>,
    /// The names of the signatures that are taken, of RS256, PS256, ES256 and EdDSA.
    pub algorithms: Vec<String>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// How long keys are used before they are fetched again.
    pub jwks_refresh: Duration,
    /// How long an unknown key is not looked for again, so that nobody makes us ask all the time.
    pub lookup_pause: Duration,
    /// How the issuer's address proves itself.
    pub tls: TlsPolicy,
}

/// An issuer that cannot be used as it is set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// A signature that nobody could check, or everybody could forge.
    #[error("take tokens signed by {0:?}: it takes RS256, PS256, ES256 and EdDSA")]
    Algorithm(String),
    /// There is none at all.
    #[error("take tokens without any algorithm, audience or scope")]
    Nothing,
    /// The connection to the issuer cannot be set up.
    #[error("prepare the connection to the issuer {issuer}")]
    Http {
        /// The issuer.
        issuer: String,
        /// The cause.
        #[source]
        source: HttpError,
    },
}

/// One issuer, ready to check tokens.
pub struct Issuer {
    options: IssuerOptions,
    algorithms: Vec<Algorithm>,
    keys: Keys,
    clock: Arc<dyn Clock>,
}

// === impl IssuerOptions ===

impl IssuerOptions {
    /// An issuer of tokens for this resource, with the scopes `proxmox.read`, `proxmox.operate` and
    /// `proxmox.destroy` and the defaults of the settings.
    pub fn new(issuer: impl Into<String>, resource: impl Into<String>) -> Self {
        let resource = resource.into();
        let scopes = [Access::Read, Access::Operate, Access::Destroy]
            .map(|tier| (format!("proxmox.{tier}"), Scope::tier(tier)));
        Self {
            issuer: issuer.into(),
            audience: vec![resource.clone()],
            resource,
            jwks_url: None,
            scopes: scopes.into(),
            required_scope: None,
            algorithms: ["RS256", "PS256", "ES256", "EdDSA"].map(str::to_owned).into(),
            leeway: Duration::from_secs(30),
            jwks_refresh: Duration::from_hours(1),
            lookup_pause: Duration::from_secs(10),
            tls: TlsPolicy::System,
        }
    }
}

// === impl Issuer ===

impl Issuer {
    /// Makes ready; nothing is asked of the issuer before the first token.
    ///
    /// # Errors
    ///
    /// When an algorithm is not one of the four, or the TLS settings cannot be used.
    pub fn new(options: IssuerOptions, clock: Arc<dyn Clock>) -> Result<Self, IssuerError> {
        provider::install();
        let algorithm = |name: &String| {
            provider::ALGORITHMS
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, algorithm)| *algorithm)
                .ok_or_else(|| IssuerError::Algorithm(name.clone()))
        };
        let algorithms = options.algorithms.iter().map(algorithm).collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() || options.audience.is_empty() || options.scopes.is_empty() {
            return Err(IssuerError::Nothing);
        }
        let tls = TlsOptions { policy: options.tls.clone(), server_name: None };
        let client = stdx::http::client(&HttpOptions::with_tls(tls))
            .map_err(|source| IssuerError::Http { issuer: options.issuer.clone(), source })?;
        let keys = Keys::new(client, &options);
        Ok(Self { options, algorithms, keys, clock })
    }

    /// The issuer as it calls itself.
    pub fn name(&self) -> &str {
        &self.options.issuer
    }

    /// The grant of this token.
    pub(super) async fn check(&self, token: &str) -> Result<Grant, AuthFailure> {
        let header = self.header(token)?;
        let keys = self.keys.find(header.kid.as_deref(), header.alg).await;
        let keys = keys.map_err(|error| self.no_key(&error))?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&self.options.audience);
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // Times are judged by our own clock, below.
        validation.validate_exp = false;
        let mut failed = None;
        for key in &keys {
            match jsonwebtoken::decode::<Claims>(token, key, &validation) {
                Ok(data) => return self.judge(&data.claims),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.map_or_else(|| invalid("no key fits the token"), |error| self.refused(&error)))
    }

    /// The header, if it is one of a token that could be good.
    fn header(&self, token: &str) -> Result<Header, AuthFailure> {
        let taken = self.options.algorithms.join(", ");
        let Ok(header) = jsonwebtoken::decode_header(token) else {
            return Err(invalid(format!("the token is no JWT signed by one of {taken}")));
        };
        if !self.algorithms.contains(&header.alg) {
            return Err(invalid(format!(
                "the token is signed by {:?}, and {taken} are taken",
                header.alg
            )));
        }
        if header.crit.is_some() {
            return Err(invalid("the token's header has extensions that are not understood"));
        }
        // RFC 9068 says `at+jwt`; most issuers say `JWT` or nothing.
        let typ = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(typ.as_str(), "jwt" | "at+jwt" | "application/at+jwt") {
            return Err(invalid("the token is of another type than an access token"));
        }
        Ok(header)
    }

    /// What the library does not look at: time, binding, subject and scopes.
    fn judge(&self, claims: &Claims) -> Result<Grant, AuthFailure> {
        let now = self.clock.now().as_second() as f64;
        let leeway = self.options.leeway.as_secs_f64();
        if claims.exp.is_nan() || claims.exp + leeway <= now {
            return Err(invalid("the token has expired"));
        }
        if claims.nbf.is_some_and(|nbf| nbf.is_nan() || nbf - leeway > now) {
            return Err(invalid("the token is not valid yet"));
        }
        if claims.iss != self.options.issuer {
            return Err(invalid("the token is of another issuer"));
        }
        if claims.cnf.is_some() {
            let detail = "the token is bound to a key (DPoP or mTLS), which this server cannot check: \
                          ask the issuer for a bearer token";
            return Err(invalid(detail));
        }
        let Ok(principal) = Principal::oauth(&claims.iss, &claims.sub) else {
            return Err(invalid("the token's subject cannot be used as a name"));
        };
        let scopes = claims.scopes();
        let missing = self.options.required_scope.as_deref().filter(|name| !scopes.contains(name));
        if let Some(name) = missing {
            return Err(AuthFailure::new(
                Reason::Scope,
                format!("the token lacks the scope `{name}`"),
            ));
        }
        let scope = self.widest(&scopes).ok_or_else(|| {
            let known = self.scope_names().join("`, `");
            AuthFailure::new(Reason::Scope, format!("the token has none of the scopes `{known}`"))
        })?;
        Ok(Grant::new(principal, scope))
    }

    /// What the scopes allow together. Where one scope cannot say that without saying more, the
    /// higher tier counts: never more than the issuer gave.
    fn widest(&self, names: &BTreeSet<&str>) -> Option<Scope> {
        let known = self.options.scopes.iter().filter(|(name, _)| names.contains(name.as_str()));
        let mut scopes: Vec<&Scope> = known.map(|(_, scope)| scope).collect();
        scopes.sort_by(|one, other| other.access.cmp(&one.access).then_with(|| one.cmp(other)));
        let (first, rest) = scopes.split_first()?;
        let widest = rest.iter().fold((*first).clone(), |widest, scope| {
            let union = widest.union(scope);
            union.unwrap_or(widest)
        });
        Some(widest)
    }

    /// Every scope that means something here, from the lowest tier up.
    pub(super) fn scope_names(&self) -> Vec<String> {
        let mut scopes: Vec<_> = self.options.scopes.iter().collect();
        scopes.sort_by_key(|(_, scope)| scope.access);
        let required = self.options.required_scope.iter();
        let mut names: Vec<String> =
            required.chain(scopes.into_iter().map(|(name, _)| name)).cloned().collect();
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    /// The scopes that a caller needs for this tier, all of them; `None` where no scope goes so far.
    pub(super) fn scopes_for(&self, tier: Access) -> Option<Vec<String>> {
        let reaching = || self.options.scopes.iter().filter(|(_, scope)| scope.allows(tier));
        let least = reaching().map(|(_, scope)| scope.access).min()?;
        let of_least = || reaching().filter(|(_, scope)| scope.access == least);
        let is_narrower =
            |scope: &Scope| of_least().any(|(_, other)| other != scope && other.covers(scope));
        let needed = of_least().filter(|(_, scope)| !is_narrower(scope)).map(|(name, _)| name);
        Some(self.options.required_scope.iter().chain(needed).cloned().collect())
    }

    /// The address of this server's endpoint.
    pub(super) fn resource(&self) -> &str {
        &self.options.resource
    }

    fn no_key(&self, error: &KeyError) -> AuthFailure {
        match error {
            KeyError::Unknown => invalid(format!(
                "the token is signed with a key that {} does not publish",
                self.options.issuer
            )),
            KeyError::Unreachable { retry_after } => AuthFailure::new(
                Reason::Unavailable,
                format!(
                    "the keys of {} cannot be fetched; the server's log says why",
                    self.options.issuer
                ),
            )
            .retry_after(*retry_after),
        }
    }

    /// What is wrong with a token, without anything of it.
    fn refused(&self, error: &jsonwebtoken::errors::Error) -> AuthFailure {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidSignature => invalid("the token's signature is wrong"),
            ErrorKind::InvalidIssuer => invalid("the token is of another issuer"),
            ErrorKind::InvalidAudience => {
                let audience = self.options.audience.join(" or ");
                invalid(format!("the token is made for somebody else than {audience}"))
            }
            ErrorKind::MissingRequiredClaim(name) => {
                invalid(format!("the token has no proper `{name}`"))
            }
            _ => invalid("the token cannot be read"),
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The issuer that a token names, unchecked.
pub(super) fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Claimed {
        iss: String,
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Claimed>(token)
        .ok()
        .map(|claimed| claimed.iss)
}

fn invalid(detail: impl Into<String>) -> AuthFailure {
    AuthFailure::new(Reason::Invalid, detail)
}
