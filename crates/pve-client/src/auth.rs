//! How Proxmox VE wants credentials to be spelt.

use std::sync::Arc;

use api_core::{
    Transport, TransportError,
    auth::{InvalidCredential, TicketAuth, TokenAuth},
    endpoint::Credential,
};
use http::{HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use stdx::Clock;

/// The cookie that carries a ticket.
const COOKIE: &str = "PVEAuthCookie";

/// A transport that sends a credential, whichever kind it is.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    Token(Arc<TokenAuth>),
    Ticket(Arc<TicketAuth>),
}

// === impl Auth ===

impl Auth {
    pub(crate) fn new(
        credential: &Credential,
        inner: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidCredential> {
        Ok(match credential {
            Credential::Token { id, secret } => {
                Self::Token(Arc::new(TokenAuth::new(inner, &authorization(id, secret))?))
            }
            password => {
                let who = password.as_password().ok_or(InvalidCredential)?;
                Self::Ticket(Arc::new(TicketAuth::new(inner, who, COOKIE, clock)))
            }
        })
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        match self {
            Self::Token(auth) => Arc::clone(auth) as _,
            Self::Ticket(auth) => Arc::clone(auth) as _,
        }
    }

    /// The header that proves who asks, for what is not sent through a transport; `None` if the
    /// login is refused.
    pub(crate) async fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>, TransportError> {
        Ok(match self {
            Self::Token(auth) => Some((header::AUTHORIZATION, auth.header())),
            Self::Ticket(auth) => auth.cookie().await?.map(|cookie| (header::COOKIE, cookie)),
        })
    }
}

/// The value of the `Authorization` header for an API token.
fn authorization(id: &str, secret: &SecretString) -> SecretString {
    format!("PVEAPIToken={id}={}", secret.expose_secret()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_spelt_as_the_server_wants_it() {
        let header = authorization("mcp@pve!agent", &"0f5a".into());
        assert_eq!(header.expose_secret(), "PVEAPIToken=mcp@pve!agent=0f5a");
    }
}
