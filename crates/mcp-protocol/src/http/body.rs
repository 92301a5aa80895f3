//! Bodies: of a request, read within bounds, and of an answer.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, Stream, StreamExt as _};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{HttpOptions, reply};

/// Nothing, one JSON document, or a stream of events. Dropping it tells the server that nobody reads on.
pub struct HttpBody(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Events(BoxStream<'static, Bytes>),
}

// === impl HttpBody ===

impl HttpBody {
    pub(crate) fn empty() -> Self {
        Self(Kind::Whole(None))
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty())))
    }

    pub(crate) fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Kind::Events(events.boxed()))
    }

    /// The body, if it is one document.
    pub(crate) fn as_whole(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref(),
            Kind::Events(_) => None,
        }
    }

    /// Whether this is a stream of events, of which nobody knows when it ends.
    pub fn is_stream(&self) -> bool {
        matches!(self.0, Kind::Events(_))
    }
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Events(events) => {
                events.poll_next_unpin(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Events(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for HttpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Whole(bytes) => return f.debug_tuple("HttpBody").field(bytes).finish(),
            Kind::Events(_) => "events",
        };
        f.debug_tuple("HttpBody").field(&kind).finish()
    }
}

/// The whole body of a request, or how to refuse it.
pub(crate) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    options: &HttpOptions,
) -> Result<Bytes, Box<Response<HttpBody>>>
where
    B: Body<Data = Bytes> + Send,
    B::Error: fmt::Display,
{
    let limit = options.max_body_bytes;
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes");
        Box::new(reply::refusal(StatusCode::PAYLOAD_TOO_LARGE, &Value::Null, &message))
    };
    let announced = headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let collect = async {
        let mut whole = BytesMut::new();
        let mut body = std::pin::pin!(body);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let message = format!("the body could not be read: {error}");
                Box::new(reply::refusal(StatusCode::BAD_REQUEST, &Value::Null, &message))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if whole.len() + data.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    tokio::time::timeout(options.body_timeout, collect).await.unwrap_or_else(|_| {
        let message = "the body did not come in time";
        Err(Box::new(reply::refusal(StatusCode::REQUEST_TIMEOUT, &Value::Null, message)))
    })
}
