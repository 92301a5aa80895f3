//! An issuer that misbehaves: away, slow, endless, or not who it says it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use expect_test::expect;
use gateway::auth::{AuthFailure, Authenticator, Issuer, IssuerOptions, Reason};
use guard::Grant;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use stdx::tls::TlsPolicy;
use stdx::{Clock as _, ManualClock, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::auth::bearer;

const RESOURCE: &str = "https://mcp.example.lan/mcp";
const METADATA: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// What an address answers.
#[derive(Clone)]
enum Reply {
    Json(Value),
    Status(u16),
    /// Redirects there.
    Elsewhere(String),
    /// Sends bytes for as long as somebody takes them.
    Endless,
}

/// An issuer that does as it is told.
struct Scripted {
    url: String,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    asked: Arc<AtomicUsize>,
    key: Ed25519KeyPair,
    listening: tokio::task::JoinHandle<()>,
}

// === impl Scripted ===

impl Scripted {
    /// An issuer as it should be.
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let replies: Arc<Mutex<HashMap<String, Reply>>> = Arc::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, count) = (Arc::clone(&replies), Arc::clone(&asked));
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&told), Arc::clone(&count)));
            }
        });
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let scripted = Self { url, replies, asked, key, listening };
        scripted.reply(METADATA, Reply::Json(scripted.metadata()));
        scripted.reply("/jwks", Reply::Json(json!({ "keys": [scripted.jwk()] })));
        scripted
    }

    fn metadata(&self) -> Value {
        json!({ "issuer": self.url, "jwks_uri": format!("{}/jwks", self.url) })
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x })
    }

    fn reply(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A token with these additions to a good header and good claims; null takes one away.
    fn token(&self, header: &Value, claims: &Value) -> String {
        let mut head = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "k1" });
        let mut body = json!({
            "iss": self.url, "sub": "alice", "aud": RESOURCE, "scope": "proxmox.read",
            "exp": SystemClock.now().as_second() + 600,
        });
        for (whole, more) in [(&mut head, header), (&mut body, claims)] {
            let whole = whole.as_object_mut().unwrap();
            whole.extend(more.as_object().unwrap().clone());
            whole.retain(|_, value| !value.is_null());
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&head), encode(&body));
        let signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn good(&self) -> String {
        self.token(&json!({}), &json!({}))
    }

    fn trusted_by(&self, change: impl FnOnce(&mut IssuerOptions)) -> Authenticator {
        let mut options = IssuerOptions::new(&self.url, RESOURCE);
        options.tls = TlsPolicy::Insecure;
        change(&mut options);
        let clock = ManualClock::at(SystemClock.now());
        Authenticator::new(None, vec![Issuer::new(options, Arc::new(clock)).unwrap()])
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    asked: Arc<AtomicUsize>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let reply = replies.lock().unwrap().get(path).cloned();
    let text = match reply.unwrap_or(Reply::Status(404)) {
        Reply::Json(body) => {
            let body = body.to_string();
            format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        }
        Reply::Status(status) => {
            format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        }
        Reply::Elsewhere(url) => format!(
            "HTTP/1.1 302 Found\r\nlocation: {url}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        ),
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\":[").await.ok();
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
            return;
        }
    };
    stream.write_all(text.as_bytes()).await.ok();
}

async fn ask(server: &Authenticator, token: &str) -> Result<Grant, AuthFailure> {
    server.authenticate(&bearer(token)).await
}

#[tokio::test]
async fn claims_and_headers_that_only_look_good() {
    let issuer = Scripted::start().await;
    let server = issuer.trusted_by(|_| {});
    let now = SystemClock.now().as_second();
    let mut table = String::new();
    for (header, claims) in [
        (json!({}), json!({})),
        (
            json!({ "typ": null, "kid": null }),
            json!({ "aud": ["x", RESOURCE], "scope": null, "scp": ["proxmox.operate"] }),
        ),
        (json!({ "typ": "JWT" }), json!({ "nbf": now, "exp": now as f64 + 0.5 })),
        (json!({}), json!({ "nbf": now + 20 })),
        (json!({}), json!({ "nbf": now + 40 })),
        (json!({}), json!({ "nbf": (now + 9000).to_string() })),
        (json!({}), json!({ "exp": (now + 9000).to_string() })),
        (json!({}), json!({ "exp": now - 31 })),
        (json!({}), json!({ "exp": null })),
        (json!({}), json!({ "exp": 1e300 })),
        (json!({}), json!({ "aud": null })),
        (json!({}), json!({ "aud": [] })),
        (json!({}), json!({ "aud": format!("{RESOURCE}/") })),
        (json!({}), json!({ "aud": { "0": RESOURCE } })),
        (json!({}), json!({ "iss": null })),
        (json!({}), json!({ "iss": [issuer.url] })),
        (json!({}), json!({ "iss": format!("{}/", issuer.url) })),
        (json!({}), json!({ "sub": null })),
        (json!({}), json!({ "sub": "" })),
        (json!({}), json!({ "sub": "alice for token:root" })),
        (json!({}), json!({ "cnf": { "jkt": "x" } })),
        (json!({}), json!({ "scope": "Proxmox.read proxmox.readx" })),
        (json!({ "typ": "logout+jwt" }), json!({})),
        (json!({ "crit": ["b64"], "b64": false }), json!({})),
        (json!({ "kid": "k2" }), json!({})),
        (json!({ "alg": "RS256" }), json!({})),
        (json!({ "jwk": issuer.jwk(), "kid": null }), json!({ "sub": "embedded-key" })),
    ] {
        let outcome = match ask(&server, &issuer.token(&header, &claims)).await {
            Ok(grant) => format!("{} may {}", grant.principal, grant.scope),
            Err(failure) => format!("{} {}", failure.status().as_u16(), failure.detail()),
        };
        let line = format!("{header} {claims}: {outcome}\n").replace(&issuer.url, "ISSUER");
        // Times differ from run to run.
        let line =
            [now, now + 20, now + 40, now + 9000, now - 31].iter().fold(line, |line, time| {
                line.replace(&time.to_string(), &format!("now{:+}", time - now))
            });
        table += &line.replace(&URL_SAFE_NO_PAD.encode(issuer.key.public_key()), "…");
    }
    expect![[r#"
        {} {}: oauth:ISSUER#alice may read
        {"typ":null,"kid":null} {"aud":["x","https://mcp.example.lan/mcp"],"scope":null,"scp":["proxmox.operate"]}: oauth:ISSUER#alice may operate
        {"typ":"JWT"} {"nbf":now+0,"exp":now+0.5}: oauth:ISSUER#alice may read
        {} {"nbf":now+20}: oauth:ISSUER#alice may read
        {} {"nbf":now+40}: 401 the token is not valid yet
        {} {"nbf":"now+9000"}: 401 the token cannot be read
        {} {"exp":"now+9000"}: 401 the token cannot be read
        {} {"exp":now-31}: 401 the token has expired
        {} {"exp":null}: 401 the token cannot be read
        {} {"exp":1e+300}: 401 the token has no proper `exp`
        {} {"aud":null}: 401 the token has no proper `aud`
        {} {"aud":[]}: 401 the token is made for somebody else than https://mcp.example.lan/mcp
        {} {"aud":"https://mcp.example.lan/mcp/"}: 401 the token is made for somebody else than https://mcp.example.lan/mcp
        {} {"aud":{"0":"https://mcp.example.lan/mcp"}}: 401 the token has no proper `aud`
        {} {"iss":null}: 401 the token is neither one of this server nor a JWT of an issuer
        {} {"iss":["ISSUER"]}: 401 the token is neither one of this server nor a JWT of an issuer
        {} {"iss":"ISSUER/"}: 401 the token is of another issuer
        {} {"sub":null}: 401 the token cannot be read
        {} {"sub":""}: 401 the token's subject cannot be used as a name
        {} {"sub":"alice for token:root"}: 401 the token's subject cannot be used as a name
        {} {"cnf":{"jkt":"x"}}: 401 the token is bound to a key (DPoP or mTLS), which this server cannot check: ask the issuer for a bearer token
        {} {"scope":"Proxmox.read proxmox.readx"}: 403 the token has none of the scopes `proxmox.read`, `proxmox.operate`, `proxmox.destroy`
        {"typ":"logout+jwt"} {}: 401 the token is of another type than an access token
        {"crit":["b64"],"b64":false} {}: 401 the token's header has extensions that are not understood
        {"kid":"k2"} {}: 401 the token is signed with a key that ISSUER does not publish
        {"alg":"RS256"} {}: 401 the token is signed with a key that ISSUER does not publish
        {"jwk":{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"…"},"kid":null} {"sub":"embedded-key"}: oauth:ISSUER#embedded-key may read
    "#]].assert_eq(&table);
}

#[test]
fn an_issuer_in_trouble_is_never_taken_at_its_word() {
    testkit::alone("oauth_limits::an_issuer_in_trouble_is_never_taken_at_its_word", in_trouble());
}

async fn in_trouble() {
    let log = crate::auth::listen();
    let mut table = String::new();
    let other = Scripted::start().await;
    for (what, path, reply) in [
        ("metadata of another issuer", METADATA, Reply::Json(other.metadata())),
        ("metadata without keys", METADATA, Reply::Json(json!({ "issuer": "ISSUER" }))),
        (
            "keys in a file",
            METADATA,
            Reply::Json(json!({ "issuer": "ISSUER", "jwks_uri": "file:///etc/passwd" })),
        ),
        ("metadata that is no object", METADATA, Reply::Json(json!([]))),
        ("metadata fails", METADATA, Reply::Status(500)),
        ("no metadata at all", METADATA, Reply::Status(404)),
        ("metadata moved", METADATA, Reply::Elsewhere(format!("{}{METADATA}", other.url))),
        ("keys fail", "/jwks", Reply::Status(503)),
        ("keys are elsewhere", "/jwks", Reply::Elsewhere(format!("{}/jwks", other.url))),
        ("keys without an end", "/jwks", Reply::Endless),
        ("keys of another shape", "/jwks", Reply::Json(json!({ "keys": "none" }))),
        ("no keys", "/jwks", Reply::Json(json!({ "keys": [] }))),
        (
            "a shared secret among the keys",
            "/jwks",
            Reply::Json(json!({ "keys": [{ "kty": "oct", "kid": "k1", "k": "c2VjcmV0" }] })),
        ),
    ] {
        let issuer = Scripted::start().await;
        let reply = match reply {
            Reply::Json(mut body) => {
                if body["issuer"] == "ISSUER" {
                    body["issuer"] = json!(issuer.url);
                }
                Reply::Json(body)
            }
            reply => reply,
        };
        issuer.reply(path, reply);
        let server = issuer.trusted_by(|_| {});
        let failure = ask(&server, &issuer.good()).await.unwrap_err();
        let told: Vec<String> = log.try_iter().collect();
        let told = told.iter().find(|line| line.contains("cannot be fetched"));
        let told = told.map(String::as_str).unwrap_or_default();
        let told = told.split_once("error=").map_or("-", |(_, error)| error.trim());
        let line =
            format!("{what}: {} {}\n    {told}\n", failure.status().as_u16(), failure.detail());
        table += &line.replace(&issuer.url, "ISSUER").replace(&other.url, "OTHER");
    }
    expect![[r#"
        metadata of another issuer: 503 the keys of ISSUER cannot be fetched; the server's log says why
            believe ISSUER/.well-known/oauth-authorization-server: it is of the issuer "OTHER"
        metadata without keys: 503 the keys of ISSUER cannot be fetched; the server's log says why
            use the keys of ISSUER/.well-known/oauth-authorization-server: it names no safe place for them
        keys in a file: 503 the keys of ISSUER cannot be fetched; the server's log says why
            use the keys of ISSUER/.well-known/oauth-authorization-server: it names no safe place for them
        metadata that is no object: 503 the keys of ISSUER cannot be fetched; the server's log says why
            read ISSUER/.well-known/oauth-authorization-server as an issuer's metadata: invalid length 0, expected struct Metadata with 2 elements at line 1 column 2
        metadata fails: 503 the keys of ISSUER cannot be fetched; the server's log says why
            get ISSUER/.well-known/oauth-authorization-server: it answers with status 500
        no metadata at all: 503 the keys of ISSUER cannot be fetched; the server's log says why
            find the metadata of ISSUER: none of its usual places has any
        metadata moved: 503 the keys of ISSUER cannot be fetched; the server's log says why
            find the metadata of ISSUER: none of its usual places has any
        keys fail: 503 the keys of ISSUER cannot be fetched; the server's log says why
            get ISSUER/jwks: it answers with status 503
        keys are elsewhere: 503 the keys of ISSUER cannot be fetched; the server's log says why
            get ISSUER/jwks: it answers with status 302
        keys without an end: 503 the keys of ISSUER cannot be fetched; the server's log says why
            get ISSUER/jwks: it is larger than 256 KiB
        keys of another shape: 503 the keys of ISSUER cannot be fetched; the server's log says why
            read ISSUER/jwks as a set of keys: invalid type: string "none", expected a sequence at line 1 column 14
        no keys: 401 the token is signed with a key that ISSUER does not publish
            -
        a shared secret among the keys: 401 the token is signed with a key that ISSUER does not publish
            -
    "#]].assert_eq(&table);
    assert_eq!(other.asked(), 0, "nobody is sent elsewhere");
}

#[tokio::test]
async fn openid_metadata_does_as_well_and_a_given_address_needs_none() {
    let issuer = Scripted::start().await;
    issuer.reply(METADATA, Reply::Status(404));
    issuer.reply(OPENID, Reply::Json(issuer.metadata()));
    assert!(ask(&issuer.trusted_by(|_| {}), &issuer.good()).await.is_ok());
    issuer.reply(OPENID, Reply::Status(404));
    let url = format!("{}/jwks", issuer.url);
    assert!(
        ask(&issuer.trusted_by(|options| options.jwks_url = Some(url)), &issuer.good())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn keys_are_fetched_once_and_not_for_everybody_who_makes_one_up() {
    let issuer = Scripted::start().await;
    let server = Arc::new(issuer.trusted_by(|_| {}));
    assert_eq!(issuer.asked(), 0, "nothing is asked before the first token");
    let asking: Vec<_> = (0..32)
        .map(|_| {
            let (server, token) = (Arc::clone(&server), issuer.good());
            tokio::spawn(async move { ask(&server, &token).await.is_ok() })
        })
        .collect();
    for asked in asking {
        assert!(asked.await.unwrap());
    }
    assert_eq!(issuer.asked(), 2, "metadata and keys, once for all");
    for number in 0..20 {
        let token = issuer.token(&json!({ "kid": format!("made-up-{number}") }), &json!({}));
        assert_eq!(ask(&server, &token).await.unwrap_err().reason(), Reason::Invalid);
    }
    assert_eq!(issuer.asked(), 2);
    assert!(ask(&server, &issuer.good()).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_is_away_lets_nobody_new_in() {
    let issuer = Scripted::start().await;
    // Nobody listens there any more.
    issuer.listening.abort();
    while TcpStream::connect(issuer.url.trim_start_matches("http://")).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let server = issuer.trusted_by(|_| {});
    for _ in 0..3 {
        let failure = ask(&server, &issuer.good()).await.unwrap_err();
        assert_eq!((failure.reason(), failure.status().as_u16()), (Reason::Unavailable, 503));
        assert!(failure.retry_after_secs().is_some() && failure.challenge().is_none());
    }
}

#[tokio::test]
async fn known_keys_outlast_a_short_absence_and_no_long_one() {
    let issuer = Scripted::start().await;
    let server = issuer.trusted_by(|options| {
        options.jwks_refresh = Duration::from_hours(1);
        options.lookup_pause = Duration::ZERO;
    });
    let later = async |minutes| {
        // Only for the jump: while the issuer is asked, time runs as it does.
        tokio::time::pause();
        tokio::time::advance(Duration::from_mins(minutes)).await;
        tokio::time::resume();
    };
    assert!(ask(&server, &issuer.good()).await.is_ok());
    issuer.reply("/jwks", Reply::Status(500));
    // Fresh keys need nobody; an unknown one cannot be told from a new one now.
    assert!(ask(&server, &issuer.good()).await.is_ok());
    let unknown = issuer.token(&json!({ "kid": "k2" }), &json!({}));
    assert_eq!(ask(&server, &unknown).await.unwrap_err().reason(), Reason::Unavailable);
    assert!(ask(&server, &issuer.good()).await.is_ok());
    later(61).await;
    let asked = issuer.asked();
    assert!(ask(&server, &issuer.good()).await.is_ok());
    assert!(issuer.asked() > asked, "old keys are asked for again");
    assert!(ask(&server, &issuer.good()).await.is_ok());
    later(60).await;
    assert_eq!(ask(&server, &issuer.good()).await.unwrap_err().reason(), Reason::Unavailable);
    issuer.reply("/jwks", Reply::Json(json!({ "keys": [issuer.jwk()] })));
    later(1).await;
    assert!(ask(&server, &issuer.good()).await.is_ok());
    // One that is gone is gone with the next look.
    issuer.reply("/jwks", Reply::Json(json!({ "keys": [] })));
    later(61).await;
    assert_eq!(ask(&server, &issuer.good()).await.unwrap_err().reason(), Reason::Invalid);
}
