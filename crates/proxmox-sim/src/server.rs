//! Listeners and connections: TLS, HTTP/1.1 as the real servers speak it, and the faults that levers set.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::Frame;
use hyper::ext::ReasonPhrase;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::call::{self, Books};
use crate::console;
use crate::error::SimError;
use crate::holds::{Hold, Holds, Moment};
use crate::http::{Answer, Data, Fault, Incoming, parse_form, parse_multipart, unescape};
use crate::plants::Plants;
use crate::schema::check::Shape;
use crate::state::levers::Faults;
use crate::state::{Estate, Home};

/// Requests answered on one connection before it is closed.
const REQUESTS: u32 = 100;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(5);
/// Bodies beyond this are dropped with their connection, uploads excepted.
const BODY: usize = 512 << 10;
const UPLOAD: usize = 256 << 20;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What all listeners share.
pub(crate) struct World {
    estate: Mutex<Estate>,
    /// The heads of requests as they came, while somebody wants to see them.
    heads: Mutex<Option<Vec<String>>>,
    plants: Mutex<Plants>,
    pub(crate) holds: Holds,
    pub(crate) books: Books,
    pub(crate) auth_delay: Duration,
}

/// One node's listener.
pub(crate) struct Port {
    pub(crate) home: Home,
    pub(crate) node: usize,
    pub(crate) address: SocketAddr,
    pub(crate) slot: Arc<crate::tls::Slot>,
    pub(crate) gate: watch::Sender<Gate>,
}

/// Whether a listener answers; a new epoch ends all its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Gate {
    pub(crate) offline: bool,
    pub(crate) stopped: bool,
    pub(crate) epoch: u64,
}

struct Connection {
    world: Arc<World>,
    home: Home,
    node: usize,
    gate: watch::Receiver<Gate>,
    epoch: u64,
    answered: AtomicU32,
}

// === impl World ===

impl World {
    pub(crate) fn new(estate: Estate, books: Books, auth_delay: Duration) -> Arc<Self> {
        let (heads, plants, holds) = (Mutex::default(), Mutex::default(), Holds::default());
        Arc::new(Self { estate: Mutex::new(estate), heads, plants, holds, books, auth_delay })
    }

    /// What is planted into replies.
    pub(crate) fn plants(&self) -> MutexGuard<'_, Plants> {
        self.plants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plants into a reply to a GET, if somebody asked for that.
    fn plant(&self, home: Home, segments: &[String], answer: &mut Answer) {
        let mut plants = self.plants();
        let Ok(reply) = answer else { return };
        if plants.planter.is_none() {
            return;
        }
        let book = match home {
            Home::Pve(_) => &self.books.pve,
            Home::Pbs(_) => &self.books.pbs,
        };
        let Some((at, _)) = book.table.find("GET", segments) else { return };
        let path = &book.table.methods[at].path;
        if let Data::Raw(raw) = &reply.data
            && let Ok(value) = serde_json::from_slice(raw)
        {
            reply.data = Data::Value(value);
        }
        if let Data::Value(value) = &mut reply.data {
            plants.put(path, value);
        }
    }

    /// The kept heads of requests.
    pub(crate) fn heads(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The estate, brought up to now.
    pub(crate) fn estate(&self) -> MutexGuard<'_, Estate> {
        let mut estate = self.estate.lock().unwrap_or_else(PoisonError::into_inner);
        let now = crate::clock::now_ms() + estate.ahead;
        estate.advance(now);
        estate
    }
}

// === impl Gate ===

impl Gate {
    fn open(self) -> bool {
        !self.offline && !self.stopped
    }
}

/// Binds a port for a node.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, SimError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| SimError::Listen { address: address.to_string(), source })
}

/// Accepts connections until the gate says stop. An offline node refuses them, and keeps its port.
pub(crate) async fn listen(
    world: Arc<World>,
    home: Home,
    node: usize,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    mut gate: watch::Receiver<Gate>,
) {
    let Ok(address) = listener.local_addr() else { return };
    let acceptor = TlsAcceptor::from(tls);
    let mut listener = Some(listener);
    let mut reserved = None;
    loop {
        let state = *gate.borrow_and_update();
        if state.stopped {
            return;
        }
        if state.offline {
            listener = None;
            if reserved.is_none() {
                reserved = reserve(address);
            }
            if gate.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            drop(reserved.take());
            match TcpListener::bind(address).await {
                Ok(bound) => listener = Some(bound),
                Err(error) => {
                    tracing::warn!(%address, %error, "simulated node cannot take its port back");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            continue;
        };
        tokio::select! {
            changed = gate.changed() => if changed.is_err() { return },
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                let connection = Connection {
                    world: Arc::clone(&world),
                    home,
                    node,
                    gate: gate.clone(),
                    epoch: state.epoch,
                    answered: AtomicU32::new(0),
                };
                tokio::spawn(serve(connection, stream, acceptor.clone()));
            },
        }
    }
}

/// A bound socket that does not listen: connections are refused and nobody else gets the port.
fn reserve(address: SocketAddr) -> Option<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
    socket.set_reuseaddr(true).ok()?;
    socket.bind(address).ok()?;
    Some(socket)
}

async fn serve(connection: Connection, stream: TcpStream, acceptor: TlsAcceptor) {
    let _ = stream.set_nodelay(true);
    let mut gate = connection.gate.clone();
    let epoch = connection.epoch;
    let closed = async move {
        let _ = gate.wait_for(|gate| !gate.open() || gate.epoch != epoch).await;
    };
    let work = async move {
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let connection = Arc::new(connection);
        let service = hyper::service::service_fn(move |request| {
            let connection = Arc::clone(&connection);
            let request: Request<hyper::body::Incoming> = request;
            let request = request.map(|body| body.map_err(io::Error::other).boxed_unsync());
            async move { connection.take(request).await }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "simulated connection ended");
        }
    };
    tokio::select! {
        () = closed => {}
        () = work => {}
    }
}

// === impl Connection ===

impl Connection {
    /// Answers, or holds the request first where a lever says so.
    async fn take(self: Arc<Self>, request: Request<Body>) -> Result<Response<Body>, io::Error> {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let Some(hold) = self.world.holds.take(self.home, method, path) else {
            return self.answer(request).await;
        };
        // What has arrived is done, although whoever sent it may hang up meanwhile.
        let held = tokio::spawn(async move { self.hold(request, &hold).await });
        held.await.map_err(io::Error::other)?
    }

    async fn hold(&self, request: Request<Body>, hold: &Hold) -> Result<Response<Body>, io::Error> {
        if hold.moment == Moment::Done {
            let response = self.answer(request).await;
            hold.wait().await;
            return response;
        }
        let (head, body) = request.into_parts();
        let body = full(body.collect().await?.to_bytes());
        hold.wait().await;
        self.answer(Request::from_parts(head, body)).await
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, io::Error> {
        let gate = *self.gate.borrow();
        if !gate.open() || gate.epoch != self.epoch {
            return Err(io::Error::other("the node is offline"));
        }
        if let Some(heads) = self.world.heads().as_mut() {
            let (method, uri, headers) = (request.method(), request.uri(), request.headers());
            heads.push(format!("{method} {uri} {headers:?}"));
        }
        let faults = self.take_faults();
        if !faults.latency.is_zero() {
            tokio::time::sleep(faults.latency).await;
        }
        if faults.drop_requests > 0 {
            return Err(io::Error::other("a lever drops this request"));
        }
        let count = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        let pve = matches!(self.home, Home::Pve(_));
        let mut response = if let Some((code, reason, _)) = &faults.status_next {
            let fault = Fault { empty: *code > 501, ..Fault::new(*code, reason.clone()) };
            drain(request).await;
            if pve { refused_pve(&fault) } else { refused_pbs(&fault) }
        } else {
            self.route(request).await?
        };
        if pve {
            let upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let close = response.status().as_u16() >= 400 || count >= REQUESTS;
            if close {
                response
                    .headers_mut()
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            } else if !upgrade && !response.headers().contains_key(header::CONNECTION) {
                let alive = HeaderValue::from_static("Keep-Alive");
                response.headers_mut().insert(header::CONNECTION, alive);
            }
        }
        Ok(spoil(response, &faults).await)
    }

    /// What the levers have in store for this request.
    fn take_faults(&self) -> Faults {
        let mut estate = self.world.estate();
        let faults = match self.home {
            Home::Pve(at) => &mut estate.clusters[at].faults,
            Home::Pbs(at) => &mut estate.vaults[at].faults,
        };
        let taken = faults.clone();
        faults.drop_requests = faults.drop_requests.saturating_sub(1);
        if taken.drop_requests > 0 {
            return taken;
        }
        if let Some((_, _, count)) = &mut faults.status_next {
            *count = count.saturating_sub(1);
            if *count == 0 {
                faults.status_next = None;
            }
        }
        faults.truncate_bodies = faults.truncate_bodies.saturating_sub(1);
        taken
    }

    async fn route(&self, request: Request<Body>) -> Result<Response<Body>, io::Error> {
        let pve = matches!(self.home, Home::Pve(_));
        let verb = request.method().as_str().to_owned();
        let path = request.uri().path().to_owned();
        if pve && !matches!(verb.as_str(), "GET" | "POST" | "PUT" | "DELETE") {
            let fault = Fault::bare(501, format!("method '{verb}' not available"));
            return Ok(refused_pve(&fault));
        }
        let viewer =
            if pve { "/pve-docs/api-viewer/apidoc.js" } else { "/docs/api-viewer/apidoc.js" };
        if path == viewer && verb == "GET" {
            let book = if pve { &self.world.books.pve } else { &self.world.books.pbs };
            let mut response = plain(200, book.apidoc());
            let kind = HeaderValue::from_static("application/javascript");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            return Ok(response);
        }
        let (extjs, below) = match path.strip_prefix("/api2/json") {
            Some(below) => (false, below),
            None => match path.strip_prefix("/api2/extjs") {
                Some(below) => (true, below),
                None if pve => return Ok(refused_pve(&Fault::bare(501, "no such file"))),
                None => {
                    return Ok(refused_pbs(&Fault::new(404, format!("Path '{path}' not found."))));
                }
            },
        };
        let segments: Vec<String> = below
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| unescape(segment, false))
            .collect();
        let mut request = request;
        let upgrade = console::wants_upgrade(&request).then(|| hyper::upgrade::on(&mut request));
        let headers = request.headers().clone();
        let query = request.uri().query().map(parse_form).unwrap_or_default();
        let limit =
            if segments.last().is_some_and(|last| last == "upload") { UPLOAD } else { BODY };
        let body = Limited::new(request.into_body(), limit)
            .collect()
            .await
            .map_err(|_| io::Error::other("the body is too large"))?
            .to_bytes();
        if pve && verb == "DELETE" && !body.is_empty() {
            let fault = Fault::bare(501, "Unexpected content for method 'DELETE'");
            return Ok(refused_pve(&fault));
        }
        let asked = segments.clone();
        let incoming = match incoming(&verb, segments, query, &headers, &body, self.node) {
            Ok(incoming) => incoming,
            Err(fault) if pve => return Ok(refused_pve(&fault)),
            Err(fault) => return Ok(refused_pbs(&fault)),
        };
        let (mut answer, protected) = {
            let mut estate = self.world.estate();
            let books = &self.world.books;
            let delay = self.world.auth_delay;
            match self.home {
                Home::Pve(at) => {
                    let ticket = call::pve(&books.pve, &mut estate, at, incoming, delay);
                    (ticket.answer, ticket.protected)
                }
                Home::Pbs(at) => (call::pbs(&books.pbs, &mut estate, at, incoming, delay), false),
            }
        };
        if verb == "GET" {
            self.world.plant(self.home, &asked, &mut answer);
        }
        if let Ok(reply) = &mut answer
            && let Some(post) = reply.post.take()
            && let Err(fault) = post.send().await
        {
            answer = Err(fault);
        }
        if let Err(fault) = &answer
            && !fault.delay.is_zero()
        {
            tokio::time::sleep(fault.delay).await;
        }
        if let Some(upgrade) = upgrade
            && let Ok(reply) = answer
        {
            let Data::Value(plan) = reply.data else {
                return Ok(refused_pve(&Fault::bare(500, "no console")));
            };
            let Home::Pve(at) = self.home else {
                return Ok(refused_pve(&Fault::bare(500, "no console")));
            };
            let whose = plan["screen"].as_str().unwrap_or_default();
            let shown = self.world.estate().clusters[at].screen(whose).subscribe();
            return Ok(console::upgrade(&headers, upgrade, plan, shown).map(|()| empty()));
        }
        let mut response = match (answer, extjs) {
            (answer, true) => extjs_reply(answer),
            (Ok(reply), false) => {
                let text = matches!(reply.data, Data::Text(_));
                let mut response = plain(200, Bytes::from(reply.body()));
                if text {
                    let kind = HeaderValue::from_static("text/plain");
                    response.headers_mut().insert(header::CONTENT_TYPE, kind);
                }
                response
            }
            (Err(fault), false) if pve => refused_pve(&fault),
            (Err(fault), false) => refused_pbs(&fault),
        };
        if protected && response.status() == StatusCode::OK {
            let both = HeaderValue::from_static("close, Keep-Alive");
            response.headers_mut().insert(header::CONNECTION, both);
        }
        Ok(response)
    }
}

/// Collects what a request says, in whatever form.
fn incoming(
    verb: &str,
    path: Vec<String>,
    mut params: Map<String, Value>,
    headers: &HeaderMap,
    body: &[u8],
    node: usize,
) -> Result<Incoming, Fault> {
    let kind = text(headers, "content-type").unwrap_or_default();
    let mut shape = Shape::Text;
    let mut upload = None;
    if !body.is_empty() {
        if kind.starts_with("application/json") {
            shape = Shape::Json;
            match serde_json::from_slice::<Value>(body) {
                Ok(Value::Object(map)) => params.extend(map),
                Ok(_) => return Err(Fault::new(500, "data is not a hash reference")),
                Err(_) => {
                    return Err(Fault::new(
                        500,
                        "malformed JSON string, neither tag, array, object, number, string or atom, at character offset 0",
                    ));
                }
            }
        } else if let Some(boundary) = kind.split("boundary=").nth(1) {
            let boundary = boundary.trim_matches('"');
            let parsed =
                parse_multipart(body, boundary).ok_or_else(|| Fault::bare(400, "Bad Request"))?;
            params.extend(parsed.0);
            if let Some(file) = &parsed.1 {
                params.insert("filename".to_owned(), Value::from(file.filename.as_str()));
            }
            upload = parsed.1;
        } else {
            for (key, value) in parse_form(&String::from_utf8_lossy(body)) {
                params.insert(key, value);
            }
        }
    }
    let cookies = text(headers, "cookie").unwrap_or_default();
    let cookies = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Ok(Incoming {
        verb: verb.to_owned(),
        path,
        params,
        shape,
        upload,
        authorization: text(headers, "authorization"),
        cookies,
        csrf: text(headers, "csrfpreventiontoken"),
        node,
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn drain(request: Request<Body>) {
    let _ = request.into_body().collect().await;
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn plain(code: u16, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn refused_pve(fault: &Fault) -> Response<Body> {
    let mut response = plain(fault.code, Bytes::from(fault.pve_body()));
    if let Ok(reason) = ReasonPhrase::try_from(fault.reason().as_bytes().to_vec()) {
        response.extensions_mut().insert(reason);
    }
    response
}

fn refused_pbs(fault: &Fault) -> Response<Body> {
    plain(fault.code, Bytes::from(fault.message.clone()))
}

/// The other format: always 200, with the outcome in the body.
fn extjs_reply(answer: Answer) -> Response<Body> {
    let body = match answer {
        Ok(reply) => {
            let body: Value = serde_json::from_slice(&reply.body()).unwrap_or_default();
            let mut body = if body.is_object() { body } else { json!({"data": body}) };
            body["success"] = json!(1);
            body
        }
        Err(fault) => {
            let errors: Map<String, Value> =
                fault.errors.iter().map(|(name, said)| (name.clone(), json!(said))).collect();
            let mut body = json!({
                "data": null, "success": 0, "message": format!("{}\n", fault.message), "status": fault.code,
            });
            if !errors.is_empty() {
                body["errors"] = Value::Object(errors);
            }
            body
        }
    };
    plain(200, Bytes::from(body.to_string()))
}

/// Slows a body down or cuts it off, if a lever says so.
async fn spoil(response: Response<Body>, faults: &Faults) -> Response<Body> {
    if faults.slow_body.is_none() && faults.truncate_bodies == 0 {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(collected) = body.collect().await else { return Response::from_parts(parts, empty()) };
    let bytes = collected.to_bytes();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let truncate = faults.truncate_bodies > 0;
    let keep = if truncate { bytes.len() / 2 } else { bytes.len() };
    let pause = faults.slow_body.unwrap_or_default();
    let size = if faults.slow_body.is_some() { (bytes.len() / 8).max(1) } else { keep.max(1) };
    let chunks: Vec<Bytes> = bytes.slice(..keep).chunks(size).map(Bytes::copy_from_slice).collect();
    let pieces = futures::stream::iter(chunks).then(move |chunk| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(Frame::data(chunk))
    });
    // What has been written goes out while the stream waits, and only then is cut off.
    let cut = futures::stream::iter(truncate.then_some(())).then(|()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::other("a lever cuts this body"))
    });
    Response::from_parts(parts, StreamBody::new(pieces.chain(cut)).boxed_unsync())
}
