//! Credentials, as transports around a transport.
//!
//! [`TokenAuth`] puts one header on every request. [`TicketAuth`] logs in, sends the ticket as a
//! cookie and the CSRF token with writes, renews the ticket before it ends, and logs in anew once
//! after a 401. How the headers are spelt is the product's business: see its client.
//!
//! *Invariant:* no secret is in an error, in `Debug`, or in a header that is not marked sensitive.

mod ticket;
mod totp;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::{HeaderValue, Request, Response, header};
use secrecy::{ExposeSecret, SecretString};

pub use ticket::{Password, TicketAuth};
pub use totp::{InvalidTotpSecret, TotpSecret};

use crate::{Body, Transport, TransportError};

/// Sends an API token with every request.
pub struct TokenAuth {
    inner: Arc<dyn Transport>,
    header: HeaderValue,
}

/// A credential that cannot be written into a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write the credential into a header: it has blanks, line breaks or other characters that no credential has"
)]
pub struct InvalidCredential;

// === impl TokenAuth ===

impl TokenAuth {
    /// Sends `authorization` as the `Authorization` header.
    pub fn new(
        inner: Arc<dyn Transport>,
        authorization: &SecretString,
    ) -> Result<Self, InvalidCredential> {
        Ok(Self { inner, header: sensitive(authorization.expose_secret())? })
    }

    /// The header, for what is not sent through a transport (websockets).
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

#[async_trait]
impl Transport for TokenAuth {
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, TransportError> {
        request.headers_mut().insert(header::AUTHORIZATION, self.header.clone());
        self.inner.send(request).await
    }
}

impl fmt::Debug for TokenAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenAuth")
    }
}

/// A header value that logs and `Debug` leave out.
fn sensitive(text: &str) -> Result<HeaderValue, InvalidCredential> {
    let mut value = HeaderValue::from_str(text).map_err(|_| InvalidCredential)?;
    value.set_sensitive(true);
    Ok(value)
}
