//! How Proxmox Backup Server wants credentials to be spelt.

use std::sync::Arc;

use api_core::{
    Transport,
    auth::{InvalidCredential, TicketAuth, TokenAuth},
    endpoint::Credential,
};
use secrecy::{ExposeSecret, SecretString};
use stdx::Clock;

/// The cookie that carries a ticket.
const COOKIE: &str = "PBSAuthCookie";

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
}

/// The value of the `Authorization` header for an API token.
fn authorization(id: &str, secret: &SecretString) -> SecretString {
    format!("PBSAPIToken={id}:{}", secret.expose_secret()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_spelt_as_the_server_wants_it() {
        let header = authorization("mcp@pbs!agent", &"0f5a".into());
        assert_eq!(header.expose_secret(), "PBSAPIToken=mcp@pbs!agent:0f5a");
    }
}
