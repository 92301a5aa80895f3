//! Servers that an input connects to: their address, requests, websockets, and what their refusals mean.

use std::{fmt, sync::OnceLock, time::Duration};

use bytes::{Bytes, BytesMut};
use event_core::{SourceError, SourceErrorKind};
use futures::{Stream, StreamExt as _};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
        UPGRADE,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use stdx::{
    Backoff, Chain,
    http::{Client, HttpOptions, Response},
    tls::TlsOptions,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};
use tracing::info;
use url::Url;

use crate::channel::Gone;

/// How long a connection may take to come about, and an answer to begin.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is said of a certificate that the settings do not allow.
const NOT_BELIEVED: &str = ": its certificate is not believed; name its authority or fingerprint";

/// A connection, with TLS or without.
pub(crate) type Connection = Box<dyn Io>;

/// Reads and writes.
pub(crate) trait Io: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Io for T {}

/// One server.
#[derive(Debug)]
pub(crate) struct Remote {
    base: Url,
    name: String,
    options: HttpOptions,
    client: OnceLock<Result<Client, String>>,
}

/// The pauses before what broke off is opened again, and how long that is tried before a run gives up: whoever runs it
/// then shows that it does not hear.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));
const GIVE_UP: Duration = Duration::from_mins(1);

/// Why a run stops hearing.
pub(crate) enum Stop {
    /// Nobody reads it any more.
    Gone,
    /// Something is in the way.
    Failed(SourceError),
}

/// Opens again what broke off, for a while.
#[derive(Debug)]
pub(crate) struct Reopen {
    backoff: Backoff,
    since: Option<Instant>,
}

/// What a request proves itself with: a header's name and value.
pub(crate) type Proof<'a> = Option<(&'static str, &'a SecretString)>;

// === impl Stop ===

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

impl Stop {
    /// The end of a run.
    pub(crate) fn end(result: Result<(), Self>) -> Result<(), SourceError> {
        match result {
            Ok(()) | Err(Self::Gone) => Ok(()),
            Err(Self::Failed(error)) => Err(error),
        }
    }
}

// === impl Reopen ===

impl Reopen {
    pub(crate) fn new() -> Self {
        Self { backoff: Backoff::new(AGAIN.0, AGAIN.1), since: None }
    }

    /// It was open and whole: the next trouble begins anew.
    pub(crate) fn is_well(&mut self) {
        self.backoff.reset();
        self.since = None;
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The error, where waiting does not help or has lasted for too long.
    pub(crate) async fn pause(&mut self, error: SourceError) -> Result<(), SourceError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if error.kind() != SourceErrorKind::Unavailable || since.elapsed() > GIVE_UP {
            return Err(error);
        }
        info!(error = %Chain(&error), "what an input hears is opened again");
        sleep(error.pause().unwrap_or_default().max(self.backoff.next_delay())).await;
        Ok(())
    }
}

// === impl Remote ===

impl Remote {
    /// At this address: `http://` or `https://`, a host, and perhaps a port and a path.
    pub(crate) fn try_new(server: &str, tls: TlsOptions) -> Result<Self, String> {
        Self::with_options(server, HttpOptions::with_tls(tls))
    }

    /// The same, connected to in this way, perhaps through a proxy.
    pub(crate) fn with_options(server: &str, options: HttpOptions) -> Result<Self, String> {
        let shown = stdx::http::without_login(server);
        let mut base = Url::parse(server)
            .map_err(|error| format!("`{shown}` is no address of a server: {error}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(format!("`{shown}` is no address of a server: begin it with https://"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(format!("`{shown}` holds a login: give it in a setting of its own"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(format!("`{shown}` has a question mark or hash: leave them out"));
        }
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let name = base.as_str().trim_end_matches('/').to_owned();
        Ok(Self { base, name, options, client: OnceLock::new() })
    }

    /// At the address of a websocket: `ws://` or `wss://`, a host, and the path and query that it needs.
    pub(crate) fn at_websocket(address: &str, tls: TlsOptions) -> Result<Self, String> {
        // What stands behind a question mark may be as good as a password.
        let shown = stdx::http::without_login(address);
        let shown = shown.split('?').next().unwrap_or_default();
        let mut base = Url::parse(address)
            .map_err(|error| format!("`{shown}` is no address of a websocket: {error}"))?;
        let scheme = match base.scheme() {
            "ws" => "http",
            "wss" => "https",
            _ => {
                return Err(format!(
                    "`{shown}` is no address of a websocket: begin it with wss://"
                ));
            }
        };
        if !base.username().is_empty() || base.password().is_some() {
            return Err(format!("`{shown}` holds a login: give it in a setting of its own"));
        }
        base.set_fragment(None);
        let name = base.as_str().split('?').next().unwrap_or_default();
        let name = name.trim_end_matches('/').to_owned();
        base.set_scheme(scheme).expect("these schemes stand for each other");
        Ok(Self { base, name, options: HttpOptions::with_tls(tls), client: OnceLock::new() })
    }

    /// The server's address, for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn url(&self, path: &str) -> Result<Url, SourceError> {
        let wrong = |error: url::ParseError| {
            SourceError::new(SourceErrorKind::Settings, "make an address").because(error)
        };
        self.base.join(path).map_err(wrong)
    }

    fn client(&self) -> Result<&Client, SourceError> {
        let made = self.client.get_or_init(|| {
            stdx::http::client(&self.options).map_err(|error| Chain(&error).to_string())
        });
        made.as_ref().map_err(|why| SourceError::new(SourceErrorKind::Settings, why.clone()))
    }

    /// Asks for this path and gives the body as it streams in, if the server answers 200.
    pub(crate) async fn open(
        &self,
        path: &str,
        proof: Proof<'_>,
    ) -> Result<impl Stream<Item = Result<Bytes, SourceError>> + Unpin + Send + use<>, SourceError>
    {
        let answer = self.ask(path, proof).await?;
        if answer.status() != StatusCode::OK {
            let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let wait = wait.and_then(|text| text.parse().ok()).map(Duration::from_secs);
            return Err(refused(self.name(), answer.status(), wait));
        }
        let name = self.name().to_owned();
        let stream = answer.bytes_stream();
        Ok(stream.map(move |piece| piece.map_err(|error| broken(&name, error.without_url()))))
    }

    /// Asks for this path; whatever is answered is an answer.
    pub(crate) async fn ask(&self, path: &str, proof: Proof<'_>) -> Result<Response, SourceError> {
        let mut request = self.client()?.get(self.url(path)?.as_str());
        if let Some((name, value)) = proof {
            request = request.header(name, sensitive(value)?);
        }
        let answer = timeout(PATIENCE, request.send()).await.map_err(|_| self.slow())?;
        // The address may hold a topic that is as good as a password.
        answer.map_err(|error| broken(self.name(), error.without_url()))
    }

    /// The body of an answer; `None` if it is longer than that.
    pub(crate) async fn body(
        &self,
        mut answer: Response,
        most: usize,
    ) -> Result<Option<Bytes>, SourceError> {
        let mut body = BytesMut::new();
        loop {
            let piece = timeout(PATIENCE, answer.chunk()).await.map_err(|_| self.slow())?;
            let piece = piece.map_err(|error| broken(self.name(), error.without_url()))?;
            let Some(piece) = piece else { return Ok(Some(body.freeze())) };
            body.extend_from_slice(&piece);
            if body.len() > most {
                return Ok(None);
            }
        }
    }

    /// Asks for this path and gives the whole body; `None` if it is longer than that.
    pub(crate) async fn get(
        &self,
        path: &str,
        proof: Proof<'_>,
        most: usize,
    ) -> Result<Option<Bytes>, SourceError> {
        let mut pieces = self.open(path, proof).await?;
        let mut body = BytesMut::new();
        loop {
            let piece = timeout(PATIENCE, pieces.next()).await.map_err(|_| self.slow())?;
            let Some(piece) = piece else { return Ok(Some(body.freeze())) };
            body.extend_from_slice(&piece?);
            if body.len() > most {
                return Ok(None);
            }
        }
    }

    /// Opens a websocket at this path, with messages up to that size.
    pub(crate) async fn websocket(
        &self,
        path: &str,
        proof: Proof<'_>,
        most: usize,
    ) -> Result<WebSocketStream<Connection>, SourceError> {
        let proof = match proof {
            Some((name, value)) => vec![(HeaderName::from_static(name), sensitive(value)?)],
            None => Vec::new(),
        };
        self.upgrade(self.url(path)?, proof, most).await
    }

    /// Opens the websocket at the very address, with this parameter in its query in place of any other of its name.
    pub(crate) async fn websocket_with(
        &self,
        parameter: Option<(&str, &str)>,
        headers: Vec<(HeaderName, HeaderValue)>,
        most: usize,
    ) -> Result<WebSocketStream<Connection>, SourceError> {
        let mut url = self.base.clone();
        if let Some((name, value)) = parameter {
            let others: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            let others = others.iter().filter(|(other, _)| other != name);
            url.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
        }
        self.upgrade(url, headers, most).await
    }

    /// Over the connection that an HTTP request would take: with the same trust, and through the same proxy.
    async fn upgrade(
        &self,
        url: Url,
        headers: Vec<(HeaderName, HeaderValue)>,
        most: usize,
    ) -> Result<WebSocketStream<Connection>, SourceError> {
        let key = generate_key();
        let request = self
            .client()?
            .get(url)
            .headers(headers.into_iter().collect())
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let opening = async {
            let answer =
                request.send().await.map_err(|error| broken(self.name(), error.without_url()))?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(refused(self.name(), answer.status(), None));
            }
            let accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
            if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
                let message = format!("hear {}: it is no websocket that was opened", self.name());
                return Err(SourceError::new(SourceErrorKind::Protocol, message));
            }
            let upgraded = answer.upgrade().await;
            upgraded.map_err(|error| broken(self.name(), error.without_url()))
        };
        let connection = timeout(PATIENCE, opening).await.map_err(|_| self.slow())??;
        let config =
            WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most));
        let connection: Connection = Box::new(connection);
        Ok(WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await)
    }

    /// What a websocket's error means.
    pub(crate) fn odd(&self, error: tokio_tungstenite::tungstenite::Error) -> SourceError {
        if let tokio_tungstenite::tungstenite::Error::Http(answer) = &error {
            return refused(self.name(), answer.status(), None);
        }
        broken(self.name(), error)
    }

    /// It took too long.
    pub(crate) fn slow(&self) -> SourceError {
        let message = format!("hear {} in time", self.name());
        SourceError::new(SourceErrorKind::Unavailable, message)
    }
}

/// Connects, with TLS if there are settings for it.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    tls: Option<&TlsOptions>,
) -> Result<Connection, SourceError> {
    let failed = |message: String| SourceError::new(SourceErrorKind::Unavailable, message);
    match tls {
        Some(options) => {
            let stream =
                stdx::tls::connect(host, port, options, PATIENCE).await.map_err(|error| {
                    let (kind, hint) = trouble(&error);
                    SourceError::new(kind, format!("connect to {host}:{port}{hint}")).because(error)
                })?;
            Ok(Box::new(stream))
        }
        None => {
            let connecting = timeout(PATIENCE, TcpStream::connect((host, port))).await;
            let connected =
                connecting.map_err(|_| failed(format!("connect to {host}:{port} in time")))?;
            let stream = connected
                .map_err(|error| failed(format!("connect to {host}:{port}")).because(error))?;
            Ok(Box::new(stream))
        }
    }
}

/// The value of a header that is shown to nobody.
pub(crate) fn sensitive(value: &SecretString) -> Result<HeaderValue, SourceError> {
    let text = value.expose_secret();
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        let message = "send a token that holds control characters: copy it anew";
        SourceError::new(SourceErrorKind::Settings, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn broken(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    let (kind, hint) = trouble(&error);
    SourceError::new(kind, format!("hear {name}{hint}")).because(error)
}

/// What kind of trouble a connection has, and what to do.
fn trouble(error: &(dyn std::error::Error + 'static)) -> (SourceErrorKind, &'static str) {
    if stdx::tls::rejection(error).is_some() {
        return (SourceErrorKind::Settings, NOT_BELIEVED);
    }
    (SourceErrorKind::Unavailable, "")
}

fn refused(name: &str, status: StatusCode, wait: Option<Duration>) -> SourceError {
    let (kind, hint) = match status.as_u16() {
        401 | 403 => (SourceErrorKind::Settings, ": the token is refused; make a new one there"),
        404 => (SourceErrorKind::Settings, ": there is no such thing there; look at the address"),
        429 | 500.. => (SourceErrorKind::Unavailable, ""),
        _ => (SourceErrorKind::Protocol, ": look at the address"),
    };
    let error = SourceError::new(kind, format!("hear {name}: it answers {status}{hint}"));
    match wait {
        Some(wait) => error.after(wait),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_servers_are_taken_and_logins_are_not_shown() {
        let taken = |text: &str| Remote::try_new(text, TlsOptions::default());
        for (text, name) in [
            ("https://push.example.lan", "https://push.example.lan"),
            ("http://10.0.0.1:8080/gotify/", "http://10.0.0.1:8080/gotify"),
        ] {
            let remote = taken(text).unwrap();
            assert_eq!(remote.name(), name);
            assert_eq!(remote.url("stream").unwrap().as_str(), format!("{name}/stream"));
        }
        for text in
            ["", "push.example.lan", "ftp://x", "https://bob:planted@x", "https://x?token=planted"]
        {
            let error = taken(text).unwrap_err();
            assert!(!error.contains("bob:planted"), "{error}");
        }
    }

    #[test]
    fn only_addresses_of_websockets_are_taken_and_what_proves_is_not_shown() {
        let taken = |text: &str| Remote::at_websocket(text, TlsOptions::default());
        let remote = taken("wss://feed.example.lan/v1/events/?key=planted&since=3").unwrap();
        assert_eq!(remote.name(), "wss://feed.example.lan/v1/events");
        assert_eq!(remote.base.as_str(), "https://feed.example.lan/v1/events/?key=planted&since=3");
        assert_eq!(taken("ws://10.0.0.1:81").unwrap().name(), "ws://10.0.0.1:81");
        for text in ["", "feed", "https://x", "wss://bob:planted@x", "x?key=planted", "ws://"] {
            let error = taken(text).unwrap_err();
            assert!(!error.contains("planted"), "{error}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let status = |code: u16| refused("it", StatusCode::from_u16(code).unwrap(), None).kind();
        assert_eq!(status(401), SourceErrorKind::Settings);
        assert_eq!(status(429), SourceErrorKind::Unavailable);
        assert_eq!(status(502), SourceErrorKind::Unavailable);
        assert_eq!(status(301), SourceErrorKind::Protocol);
    }
}
