//! Access tokens of a real issuer, the npm package `oidc-provider` (`cargo xtask services start issuer`).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use estate::Access;
use expect_test::expect;
use gateway::auth::{AuthFailure, Authenticator, Issuer, IssuerOptions, Reason};
use guard::Grant;
use ring::hmac;
use serde_json::{Value, json};
use stdx::http::{Client, HttpOptions};
use stdx::tls::{TlsOptions, TlsPolicy};
use stdx::{Clock as _, ManualClock, SystemClock};

use crate::auth::bearer;

const RESOURCE: &str = "https://mcp.example.lan/mcp";

/// A tenant of the issuer, with keys of its own, and a server that trusts it.
struct Tenant {
    issuer: String,
    http: Client,
    clock: ManualClock,
    server: Authenticator,
}

// === impl Tenant ===

impl Tenant {
    /// `None` after saying that the issuer is missing.
    fn new(algorithm: &str) -> Option<Self> {
        Self::with(algorithm, |_| {})
    }

    fn with(algorithm: &str, change: impl FnOnce(&mut IssuerOptions)) -> Option<Self> {
        let base = testkit::services::issuer_url()?;
        let issuer = format!("{base}/t/{algorithm}/{}", uuid::Uuid::new_v4());
        let clock = ManualClock::at(SystemClock.now());
        let server = Authenticator::new(None, vec![issuer_of(&issuer, &clock, change)]);
        Some(Self { issuer, http: client(), clock, server })
    }

    async fn token(&self, scope: &str) -> String {
        self.token_for(scope, RESOURCE).await
    }

    /// An access token by client credentials.
    async fn token_for(&self, scope: &str, resource: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&scope={}&resource={resource}",
            scope.replace(' ', "+")
        );
        let answer = self.post("/token", &form).await;
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn post(&self, path: &str, form: &str) -> Value {
        let request = self
            .http
            .post(format!("{}{path}", self.issuer))
            .header("authorization", format!("Basic {}", STANDARD.encode("tester:tester-secret")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        let bytes = request.send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    async fn rotate(&self) {
        self.post("/control/rotate", "").await;
    }

    async fn ask(&self, token: &str) -> Result<Grant, AuthFailure> {
        self.server.authenticate(&bearer(token)).await
    }
}

fn client() -> Client {
    stdx::http::client(&HttpOptions::with_tls(plain())).unwrap()
}

/// Loopback needs no roots, which a bare system does not have.
fn plain() -> TlsOptions {
    TlsOptions { policy: TlsPolicy::Insecure, server_name: None }
}

fn issuer_of(issuer: &str, clock: &ManualClock, change: impl FnOnce(&mut IssuerOptions)) -> Issuer {
    let mut options = IssuerOptions::new(issuer, RESOURCE);
    options.tls = TlsPolicy::Insecure;
    // Tests rotate keys one right after the other.
    options.lookup_pause = Duration::ZERO;
    change(&mut options);
    Issuer::new(options, Arc::new(clock.clone())).unwrap()
}

/// The outcome in one line, without what differs from run to run.
fn shown(outcome: &Result<Grant, AuthFailure>, tenant: &Tenant) -> String {
    let text = match outcome {
        Ok(grant) => format!("{} may {}", grant.principal, grant.scope),
        Err(failure) => {
            let challenge = failure.challenge();
            let challenge = challenge.as_ref().map_or("-", |it| it.to_str().unwrap());
            format!("{} {}\n    {challenge}", failure.status().as_u16(), failure.detail())
        }
    };
    text.replace(&tenant.issuer, "ISSUER")
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn scopes_become_a_grant() {
    let Some(tenant) = Tenant::with("RS256", |options| {
        let scope = |text: &str| text.parse().unwrap();
        options.scopes.insert("mcp".to_owned(), scope("operate,cluster:home"));
    }) else {
        return;
    };
    let mut table = String::new();
    for scope in [
        "proxmox.read",
        "proxmox.read proxmox.operate",
        "proxmox.destroy",
        "mcp",
        "mcp proxmox.read",
        "mcp proxmox.operate",
        "",
    ] {
        let outcome = tenant.ask(&tenant.token(scope).await).await;
        writeln!(table, "{scope:?}: {}", shown(&outcome, &tenant)).unwrap();
    }
    expect![[r#"
        "proxmox.read": oauth:ISSUER#tester may read
        "proxmox.read proxmox.operate": oauth:ISSUER#tester may operate
        "proxmox.destroy": oauth:ISSUER#tester may destroy
        "mcp": oauth:ISSUER#tester may operate,cluster:home
        "mcp proxmox.read": oauth:ISSUER#tester may operate,cluster:home
        "mcp proxmox.operate": oauth:ISSUER#tester may operate
        "": 403 the token has none of the scopes `proxmox.read`, `mcp`, `proxmox.operate`, `proxmox.destroy`
            Bearer error="insufficient_scope", error_description="the token has none of the scopes 'proxmox.read', 'mcp', 'proxmox.operate', 'proxmox.destroy'", scope="proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
    "#]].assert_eq(&table);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let Some(tenant) = Tenant::with("RS256", |options| options.required_scope = Some("mcp".into()))
    else {
        return;
    };
    let Some(stranger) = Tenant::new("RS256") else { return };
    let good = tenant.token("mcp proxmox.read").await;
    let login: Value = {
        let answer = tenant.post(&format!("/control/login?resource={RESOURCE}"), "").await;
        assert!(answer["id_token"].is_string(), "{answer}");
        answer
    };
    let header = part(&good, 0);
    let (payload, signature) = {
        let mut parts = good.split('.').skip(1);
        (parts.next().unwrap(), parts.next().unwrap())
    };
    // The oldest trick: no signature at all.
    let none = format!("{}.{payload}.", encoded(&json!({ "alg": "none", "typ": "at+jwt" })));
    let none_signed = format!("{}.{payload}.{signature}", encoded(&json!({ "alg": "None" })));
    // The second oldest: the public key as a shared secret.
    let jwks = tenant.http.get(format!("{}/jwks", tenant.issuer)).send().await.unwrap();
    let jwks: Value = serde_json::from_slice(&jwks.bytes().await.unwrap()).unwrap();
    let hs256 = |secret: &[u8]| {
        let head = encoded(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": header["kid"] }));
        let message = format!("{head}.{payload}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let modulus = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["n"].as_str().unwrap()).unwrap();
    let changed = {
        let mut claims = part(&good, 1);
        claims["scope"] = json!("mcp proxmox.destroy");
        format!("{}.{}.{signature}", good.split('.').next().unwrap(), encoded(&claims))
    };
    let another_algorithm = {
        let head = json!({ "alg": "PS256", "typ": "at+jwt", "kid": header["kid"] });
        format!("{}.{payload}.{signature}", encoded(&head))
    };
    let without_audience_of_ours = login["id_token"].as_str().unwrap().to_owned();
    let mut table = String::new();
    for (what, token) in [
        ("good", good.clone()),
        (
            "good, of a person, without the scope that is needed",
            login["access_token"].as_str().unwrap().to_owned(),
        ),
        ("the id token of a login", without_audience_of_ours),
        (
            "for another resource",
            tenant.token_for("mcp proxmox.read", "https://other.example.lan/mcp").await,
        ),
        ("of another tenant", stranger.token("mcp proxmox.read").await),
        ("no scope of ours", tenant.token("mcp").await),
        ("alg none", none),
        ("alg None with a signature", none_signed),
        ("HS256 with the modulus", hs256(&modulus)),
        ("HS256 with the document", hs256(jwks.to_string().as_bytes())),
        ("changed claims", changed),
        ("another algorithm", another_algorithm),
        ("no signature", good[..good.rfind('.').unwrap()].to_owned()),
        ("a letter less", good[..good.len() - 1].to_owned()),
        ("garbage", "garbage".to_owned()),
        ("dots", "a.b.c".to_owned()),
        ("one of ours", format!("pmx_0a1b2c3d_{}", "0".repeat(64))),
    ] {
        writeln!(table, "{what}: {}", shown(&tenant.ask(&token).await, &tenant)).unwrap();
    }
    expect![[r#"
        good: oauth:ISSUER#tester may read
        good, of a person, without the scope that is needed: 403 the token lacks the scope `mcp`
            Bearer error="insufficient_scope", error_description="the token lacks the scope 'mcp'", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        the id token of a login: 401 the token is made for somebody else than https://mcp.example.lan/mcp
            Bearer error="invalid_token", error_description="the token is made for somebody else than https://mcp.example.lan/mcp", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        for another resource: 401 the token is made for somebody else than https://mcp.example.lan/mcp
            Bearer error="invalid_token", error_description="the token is made for somebody else than https://mcp.example.lan/mcp", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        of another tenant: 401 the token is of another issuer
            Bearer error="invalid_token", error_description="the token is of another issuer", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        no scope of ours: 403 the token has none of the scopes `mcp`, `proxmox.read`, `proxmox.operate`, `proxmox.destroy`
            Bearer error="insufficient_scope", error_description="the token has none of the scopes 'mcp', 'proxmox.read', 'proxmox.operate', 'proxmox.destroy'", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        alg none: 401 the token is no JWT signed by one of RS256, PS256, ES256, EdDSA
            Bearer error="invalid_token", error_description="the token is no JWT signed by one of RS256, PS256, ES256, EdDSA", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        alg None with a signature: 401 the token is no JWT signed by one of RS256, PS256, ES256, EdDSA
            Bearer error="invalid_token", error_description="the token is no JWT signed by one of RS256, PS256, ES256, EdDSA", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        HS256 with the modulus: 401 the token is signed by HS256, and RS256, PS256, ES256, EdDSA are taken
            Bearer error="invalid_token", error_description="the token is signed by HS256, and RS256, PS256, ES256, EdDSA are taken", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        HS256 with the document: 401 the token is signed by HS256, and RS256, PS256, ES256, EdDSA are taken
            Bearer error="invalid_token", error_description="the token is signed by HS256, and RS256, PS256, ES256, EdDSA are taken", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        changed claims: 401 the token's signature is wrong
            Bearer error="invalid_token", error_description="the token's signature is wrong", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        another algorithm: 401 the token is signed with a key that ISSUER does not publish
            Bearer error="invalid_token", error_description="the token is signed with a key that ISSUER does not publish", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        no signature: 401 the token is neither one of this server nor a JWT of an issuer
            Bearer error="invalid_token", error_description="the token is neither one of this server nor a JWT of an issuer", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        a letter less: 401 the token cannot be read
            Bearer error="invalid_token", error_description="the token cannot be read", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        garbage: 401 the token is neither one of this server nor a JWT of an issuer
            Bearer error="invalid_token", error_description="the token is neither one of this server nor a JWT of an issuer", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        dots: 401 the token is neither one of this server nor a JWT of an issuer
            Bearer error="invalid_token", error_description="the token is neither one of this server nor a JWT of an issuer", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
        one of ours: 401 this server takes tokens of its OAuth issuer only
            Bearer error="invalid_token", error_description="this server takes tokens of its OAuth issuer only", scope="mcp proxmox.read", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp"
    "#]].assert_eq(&table.replace(&stranger.issuer, "STRANGER"));
}

#[tokio::test]
async fn a_token_has_its_time() {
    let Some(tenant) = Tenant::new("ES256") else { return };
    let token = tenant.token("proxmox.read").await;
    assert!(tenant.ask(&token).await.is_ok());
    // It was made for an hour; the clocks may be half a minute apart.
    tenant.clock.advance(Duration::from_secs(3600 + 20));
    assert!(tenant.ask(&token).await.is_ok());
    tenant.clock.advance(Duration::from_secs(20));
    let failure = tenant.ask(&token).await.unwrap_err();
    assert_eq!((failure.reason(), failure.detail()), (Reason::Invalid, "the token has expired"));
}

#[tokio::test]
async fn each_algorithm_is_taken_only_where_it_is_chosen() {
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let Some(tenant) = Tenant::new(algorithm) else { return };
        let token = tenant.token("proxmox.read").await;
        assert_eq!(part(&token, 0)["alg"], algorithm);
        assert!(tenant.ask(&token).await.is_ok(), "{algorithm}");
        let others =
            |options: &mut IssuerOptions| options.algorithms.retain(|name| name != algorithm);
        let others = issuer_of(&tenant.issuer, &tenant.clock, others);
        let others = Authenticator::new(None, vec![others]);
        let failure = others.authenticate(&bearer(&token)).await.unwrap_err();
        let expected = format!("the token is signed by {algorithm}, and ");
        assert!(failure.detail().starts_with(&expected), "{}", failure.detail());
    }
}

#[tokio::test]
async fn keys_are_rotated() {
    let Some(tenant) = Tenant::new("RS256") else { return };
    let old = tenant.token("proxmox.read").await;
    assert!(tenant.ask(&old).await.is_ok());
    tenant.rotate().await;
    let new = tenant.token("proxmox.read").await;
    assert_ne!(part(&old, 0)["kid"], part(&new, 0)["kid"]);
    // The unknown key is looked for, and what the issuer does not publish any more counts no longer.
    assert!(tenant.ask(&new).await.is_ok());
    let failure = tenant.ask(&old).await.unwrap_err();
    let expected =
        format!("the token is signed with a key that {} does not publish", tenant.issuer);
    assert_eq!((failure.reason(), failure.detail()), (Reason::Invalid, expected.as_str()));
    assert!(tenant.ask(&new).await.is_ok());
}

#[tokio::test]
async fn several_issuers_stand_beside_each_other_and_beside_tokens() {
    let (Some(one), Some(other)) = (Tenant::new("RS256"), Tenant::new("EdDSA")) else { return };
    let clock = ManualClock::at(SystemClock.now());
    let folder = tempfile::tempdir().unwrap();
    let file = gateway::auth::TokenFile::new(folder.path());
    let (static_token, _) =
        file.create("n8n", &guard::Scope::read_only(), None, clock.now()).unwrap();
    let tokens = gateway::auth::Tokens::new(file, Arc::new(clock.clone()));
    let issuers = [&one, &other]
        .map(|tenant| issuer_of(&tenant.issuer, &clock, |_| {}))
        .into_iter()
        .collect();
    let server = Authenticator::new(Some(tokens), issuers);
    for (token, principal) in [
        (one.token("proxmox.read").await, format!("oauth:{}#tester", one.issuer)),
        (other.token("proxmox.operate").await, format!("oauth:{}#tester", other.issuer)),
        (secrecy::ExposeSecret::expose_secret(&static_token).to_owned(), "token:n8n".to_owned()),
    ] {
        let grant = server.authenticate(&bearer(&token)).await.unwrap();
        assert_eq!(grant.principal.to_string(), principal);
    }
    // A claim to be of the other issuer does not help: its keys are what it is checked with.
    let token = one.token("proxmox.read").await;
    let mut claims = part(&token, 1);
    claims["iss"] = json!(other.issuer);
    let parts: Vec<&str> = token.split('.').collect();
    let forged = format!("{}.{}.{}", parts[0], encoded(&claims), parts[2]);
    assert_eq!(server.authenticate(&bearer(&forged)).await.unwrap_err().reason(), Reason::Invalid);
    let document = server.resource().unwrap().document();
    assert_eq!(document["authorization_servers"], json!([one.issuer, other.issuer]));
    assert_eq!(
        document["scopes_supported"],
        json!(["proxmox.read", "proxmox.operate", "proxmox.destroy"])
    );

    // What a caller is told who wants to go further than their scope.
    let grant = server.authenticate(&bearer(&token)).await.unwrap();
    let refusal = server.insufficient_scope(&grant, Access::Operate);
    expect![[r#"
        403 this needs the scope `operate`, and oauth:ISSUER#tester has `read`; ask the issuer for `proxmox.operate`
            Bearer error="insufficient_scope", error_description="this needs the scope 'operate', and oauth:ISSUER#tester has 'read'; ask the issuer for 'proxmox.operate'", scope="proxmox.operate", resource_metadata="https://mcp.example.lan/.well-known/oauth-protected-resource/mcp""#]].assert_eq(&shown(&Err(refusal), &one));
}
