//! Access tokens of a real issuer: good ones, and those that are not or not any more.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::raw::Ask;
use super::{Report, Target};

/// What the issuer's client is called with its secret, for `Authorization: Basic`.
const CLIENT: &str = "dGVzdGVyOnRlc3Rlci1zZWNyZXQ=";
/// The clocks may be so far apart. The default of half a minute would have to be waited for.
const LEEWAY_SECS: i64 = 1;
const SHORT_LIFE: Duration = Duration::from_secs(3);
/// After it has fetched the keys, the server looks for unknown ones again only when this is over.
const LOOKUP_PAUSE: Duration = Duration::from_millis(10_500);

/// An issuer of its own within the service.
pub(super) struct Tenant {
    issuer: String,
    /// Whom tokens are for.
    resource: String,
}

/// The tokens that are tried.
pub(super) struct Tokens {
    good: String,
    operate: String,
    elsewhere: String,
    unscoped: String,
    short: String,
    made: Instant,
    rotated: Vec<String>,
}

// === impl Tenant ===

impl Tenant {
    pub(super) fn new(base: &str, resource: &str) -> Self {
        let issuer = format!("{base}/t/RS256/attacks-{}", std::process::id());
        Self { issuer, resource: resource.to_owned() }
    }

    /// The table of settings that makes a server trust it.
    pub(super) fn settings(&self) -> toml::Table {
        let mut table = toml::Table::new();
        table.insert("issuer".to_owned(), self.issuer.clone().into());
        table.insert("audience".to_owned(), self.resource.clone().into());
        table.insert("required_scope".to_owned(), "mcp".into());
        table.insert("leeway_secs".to_owned(), LEEWAY_SECS.into());
        table
    }

    fn token(&self, scope: &str, resource: &str) -> Result<String> {
        let scope = scope.replace(' ', "+");
        let form = format!("grant_type=client_credentials&scope={scope}&resource={resource}");
        let answer = self.post("/token", &form)?;
        let token = answer["access_token"].as_str();
        token.map(str::to_owned).with_context(|| format!("the issuer gave no token: {answer}"))
    }

    /// Has it do what no issuer offers: other keys, another lifetime.
    fn control(&self, what: &str) -> Result<()> {
        self.post(&format!("/control/{what}"), "").map(drop)
    }

    fn post(&self, path: &str, form: &str) -> Result<Value> {
        let rest =
            self.issuer.strip_prefix("http://").context("the issuer's address is no address")?;
        let (address, tenant) = rest.split_once('/').context("the issuer has no path")?;
        let ask = Ask::new("POST", &format!("/{tenant}{path}")).body(form);
        let ask = ask.header("content-type", "application/x-www-form-urlencoded");
        let answer = ask.header("authorization", &format!("Basic {CLIENT}")).send(address)?;
        ensure!(answer.status == 200, "the issuer refused {path}: {}", answer.body);
        answer.json().context("the issuer's answer is no JSON")
    }
}

// === impl Tokens ===

impl Tokens {
    /// Has them made.
    pub(super) fn collect(target: &Target) -> Result<Self> {
        let tenant = &target.tenant;
        let own = |scope: &str| tenant.token(scope, &tenant.resource);
        let mut tokens = Self {
            good: own("mcp proxmox.read")?,
            operate: own("mcp proxmox.operate")?,
            elsewhere: tenant.token("mcp proxmox.read", "https://other.example.lan/mcp")?,
            unscoped: own("proxmox.read")?,
            short: String::new(),
            made: Instant::now(),
            rotated: Vec::new(),
        };
        tenant.control(&format!("ttl?seconds={}", SHORT_LIFE.as_secs()))?;
        tokens.short = own("mcp proxmox.read")?;
        tokens.made = Instant::now();
        tenant.control("ttl?seconds=3600")?;
        Ok(tokens)
    }

    /// Every one of them, to be looked for where none may be.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        let Self { good, operate, elsewhere, unscoped, short, made: _, rotated } = self;
        let fixed = [good, operate, elsewhere, unscoped, short];
        fixed.into_iter().chain(rotated).map(String::as_str)
    }
}

/// What a token's own words decide.
pub(super) fn accepted_and_refused(
    target: &Target,
    tokens: &Tokens,
    report: &mut Report,
) -> Result<()> {
    report.part("OAuth");
    let ask = |token: &str| target.send(Ask::tool("fleet_overview", &json!({})).bearer(token));
    let challenge = format!(
        "scope=\"mcp proxmox.read\", resource_metadata=\"http://{}/.well-known/oauth-protected-resource/mcp\"",
        target.address
    );
    let challenge = challenge.as_str();
    report.answer("a good token", &ask(&tokens.good)?, 200, &["guests"]);
    report.answer(
        "a token that lasts three seconds, at once",
        &ask(&tokens.short)?,
        200,
        &["guests"],
    );
    let none = target.send(Ask::tool("fleet_overview", &json!({})))?;
    report.answer("no token", &none, 401, &[challenge]);
    let answer = ask(&tokens.elsewhere)?;
    report.answer("made for another server", &answer, 401, &["invalid_token", challenge]);
    let answer = ask(&tokens.unscoped)?;
    report.answer("lacks a scope", &answer, 403, &["insufficient_scope", challenge]);
    let mut forged = tokens.good.clone();
    let last = if forged.pop() == Some('A') { 'Q' } else { 'A' };
    forged.push(last);
    report.answer("signature changed", &ask(&forged)?, 401, &["invalid_token", challenge]);
    let in_query = Ask::new("GET", &format!("/api/v1/tools?access_token={}", tokens.good));
    report.answer("in the query", &target.send(in_query)?, 400, &["invalid_request"]);

    let wanted = ["insufficient_scope", "scope=\"mcp proxmox.operate\""];
    let args = json!({"guest": "lab/100", "action": "start"});
    let power = Ask::tool("guest_power", &args).bearer(&tokens.good);
    report.answer("a tool above the scope, by REST", &target.send(power)?, 403, &wanted);
    let message = modern("guest_power", &args);
    let power = stateless(&message, "guest_power").bearer(&tokens.good);
    report.answer("a tool above the scope, by MCP", &target.send(power)?, 403, &wanted);
    // What it does is another matter; it is let in.
    let power = stateless(&message, "guest_power").bearer(&tokens.operate);
    report.answer("the same with the scope", &target.send(power)?, 200, &[]);

    for place in
        ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
    {
        let answer = target.send(Ask::new("GET", place))?;
        let json = answer.json().unwrap_or_default();
        let good = answer.status == 200
            && json["resource"] == target.tenant.resource
            && json["authorization_servers"] == json!([target.tenant.issuer]);
        let got = format!(
            "{}; resource {}, authorization_servers {}, scopes_supported {}",
            answer.status,
            json["resource"],
            json["authorization_servers"],
            json["scopes_supported"]
        );
        report.case(&format!("metadata at {place}"), &got, good);
    }
    Ok(())
}

/// What time and the issuer decide. Takes half a minute.
pub(super) fn rotation_and_expiry(
    target: &Target,
    tokens: &mut Tokens,
    report: &mut Report,
) -> Result<()> {
    report.part("OAuth, with time");
    let ask = |token: &str| target.send(Ask::tool("fleet_overview", &json!({})).bearer(token));
    let tenant = &target.tenant;
    let leeway = Duration::from_secs(LEEWAY_SECS.unsigned_abs() + 1);
    wait_until(tokens.made + SHORT_LIFE + leeway);
    report.answer("the token that lasted three seconds", &ask(&tokens.short)?, 401, &["expired"]);

    wait_until(tokens.made + LOOKUP_PAUSE);
    tenant.control("rotate?keep=1")?;
    let beside = tenant.token("mcp proxmox.read", &tenant.resource)?;
    report.answer("a new key beside the old one, new", &ask(&beside)?, 200, &["guests"]);
    let fetched = Instant::now();
    report.answer("a new key beside the old one, old", &ask(&tokens.good)?, 200, &["guests"]);

    wait_until(fetched + LOOKUP_PAUSE);
    tenant.control("rotate")?;
    let alone = tenant.token("mcp proxmox.read", &tenant.resource)?;
    report.answer("a new key in place of both, new", &ask(&alone)?, 200, &["guests"]);
    for (what, old) in [("first", &tokens.good), ("second", &beside)] {
        let what = format!("a new key in place of both, {what}");
        report.answer(&what, &ask(old)?, 401, &["invalid_token", "does not publish"]);
    }
    tokens.rotated = vec![beside, alone];
    Ok(())
}

/// A stateless call of a tool.
fn modern(tool: &str, args: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": tool, "arguments": args,
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }})
}

fn stateless(message: &Value, tool: &str) -> Ask {
    let ask = Ask::mcp(message).header("mcp-protocol-version", "2026-07-28");
    ask.header("mcp-method", "tools/call").header("mcp-name", tool)
}

fn wait_until(then: Instant) {
    std::thread::sleep(then.saturating_duration_since(Instant::now()));
}
