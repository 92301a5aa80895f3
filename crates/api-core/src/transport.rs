//! The seam between requests and the wire.

use std::{error::Error as StdError, fmt, pin::Pin};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A body on its way out or in.
pub enum Body {
    /// All of it at hand: can be sent again.
    Full(Bytes),
    /// As it comes: can be sent once.
    Stream(ByteStream, Option<u64>),
}

/// Pieces of a body.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// Carries one request to one place, or to one of several that are the same.
///
/// The request's URI is the path and query below the server's root (`/api2/json/version`); the
/// transport adds where. Its [`RequestMeta`](crate::RequestMeta) lies in the extensions. The answer
/// keeps the reason phrase as `hyper::ext::ReasonPhrase` in its extensions, since PVE puts the
/// cause there.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends the request and waits for the answer's head.
    async fn send(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, TransportError>;
}

/// No answer came.
#[derive(Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    sent: Sent,
    /// Where it was to go, for the message.
    endpoint: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What went wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The name does not resolve, or nothing accepts the connection.
    Connect,
    /// The certificate is not the expected one, or TLS failed otherwise.
    Tls,
    /// It took longer than allowed.
    Timeout,
    /// The connection ended before the answer did.
    Closed,
    /// The answer is larger than the caller takes.
    TooLarge,
    /// The request's own body could not be read to its end, or was not of the size that was said.
    RequestBody,
    /// Anything else, such as an answer that is no HTTP.
    Protocol,
}

/// Whether any byte of the request can have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not: safe to send again.
    No,
    /// Perhaps: only what is idempotent may be sent again.
    Maybe,
}

/// How much of a file is read at once.
const PIECE: usize = 64 << 10;

/// What the reader gives, such as an open file, in pieces as they are asked for.
pub fn read_pieces(reader: impl AsyncRead + Send + Unpin + 'static) -> ByteStream {
    let pieces = stream::try_unfold(reader, |mut reader| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        match reader.read_buf(&mut piece).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((piece.freeze(), reader))),
            Err(error) => {
                let unread = TransportErrorKind::RequestBody;
                Err(TransportError::new(unread, Sent::Maybe, "").with_source(error))
            }
        }
    });
    Box::pin(pieces)
}

/// The same request once more, if its body is at hand. Extensions are copied as far as transports
/// look at them.
pub(crate) fn copy(request: &http::Request<Body>) -> Option<http::Request<Body>> {
    let mut copy = http::Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    if let Some(meta) = request.extensions().get::<crate::RequestMeta>() {
        copy.extensions_mut().insert(meta.clone());
    }
    Some(copy)
}

// === impl Body ===

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// A copy, if all of it is at hand.
    pub fn try_clone(&self) -> Option<Self> {
        match self {
            Self::Full(bytes) => Some(Self::Full(bytes.clone())),
            Self::Stream(..) => None,
        }
    }

    /// All of it, up to `limit` bytes.
    pub async fn collect(self, limit: usize) -> Result<Bytes, TransportError> {
        use futures::TryStreamExt;

        let too_large = || {
            TransportError::new(TransportErrorKind::TooLarge, Sent::Maybe, "")
                .with_source(format!("more than {limit} bytes"))
        };
        match self {
            Self::Full(bytes) if bytes.len() > limit => Err(too_large()),
            Self::Full(bytes) => Ok(bytes),
            Self::Stream(mut stream, size) => {
                let expected = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
                let mut all = Vec::with_capacity(expected.min(limit).min(1 << 20));
                while let Some(piece) = stream.try_next().await? {
                    if all.len() + piece.len() > limit {
                        return Err(too_large());
                    }
                    all.extend_from_slice(&piece);
                }
                Ok(all.into())
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(..) => f.write_str("stream"),
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Full(bytes.into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Full(text.into())
    }
}

// === impl TransportError ===

impl TransportError {
    /// An error on the way to `endpoint`.
    pub fn new(kind: TransportErrorKind, sent: Sent, endpoint: impl Into<String>) -> Self {
        Self { kind, sent, endpoint: endpoint.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says anew whether any of the request can have arrived.
    #[must_use]
    pub fn with_sent(mut self, sent: Sent) -> Self {
        self.sent = sent;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Whether any of the request can have arrived.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Where it was to go.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::Connect => "connect",
            TransportErrorKind::Tls => "agree on TLS",
            TransportErrorKind::Timeout => "get an answer in time",
            TransportErrorKind::Closed => "get a whole answer before the connection closed",
            TransportErrorKind::TooLarge => "take an answer of this size",
            TransportErrorKind::RequestBody => "send the request's body",
            TransportErrorKind::Protocol => "understand the answer",
        })?;
        if self.endpoint.is_empty() { Ok(()) } else { write!(f, " ({})", self.endpoint) }
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
