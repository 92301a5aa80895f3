//! What has to be set up on a cluster or backup server: from what is wanted and what is there.
//!
//! *Invariant:* no I/O. *Invariant:* what is shown of a call holds no secret.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use estate::Product;
use inputs::recognize::proxmox::TEMPLATE;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

/// What target and matcher are called unless somebody says otherwise.
pub(super) const NAME: &str = "proxmox-mcp";
/// What stands in place of a secret.
const HIDDEN: &str = "«…»";
/// The name of the secret within the target.
const SECRET: &str = "token";
const COMMENT: &str = "for proxmox-mcp, by `events setup`";
/// What a message says of itself; the secret is put in by the node.
const HEADERS: [(&str, &str); 2] =
    [("Authorization", "Bearer {{ secrets.token }}"), ("Content-Type", "application/json")];
/// Jobs and datastores that tell the notification system.
const SYSTEM: &str = "notification-system";

/// What is wanted.
#[derive(Debug)]
pub(super) struct Goal {
    pub(super) product: Product,
    /// What target and matcher are called if they have to be made.
    pub(super) name: String,
    /// The hook's address.
    pub(super) url: String,
    pub(super) secret: SecretString,
    /// Whether the secret is sent again although nothing differs: it cannot be read.
    pub(super) resend: bool,
}

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) webhooks: Vec<Webhook>,
    pub(super) matchers: Vec<Matcher>,
    pub(super) mailers: Vec<Mailer>,
    pub(super) files: Vec<File>,
}

/// A webhook target.
#[derive(Clone, Debug, Default)]
pub(super) struct Webhook {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) method: String,
    /// As it is kept: in base64.
    pub(super) body: String,
    /// `name=…,value=<base64>`
    pub(super) headers: Vec<String>,
    /// The names of the secrets.
    pub(super) secrets: Vec<String>,
    pub(super) is_off: bool,
}

/// A matcher.
#[derive(Clone, Debug, Default)]
pub(super) struct Matcher {
    pub(super) name: String,
    pub(super) targets: Vec<String>,
    pub(super) is_off: bool,
    pub(super) is_inverted: bool,
    /// Its conditions by their parameter, where it has any.
    pub(super) rules: Vec<(&'static str, Vec<String>)>,
}

/// What may mail its reports past the notification system.
#[derive(Clone, Debug)]
pub(super) struct Mailer {
    pub(super) sort: Sort,
    pub(super) name: String,
    /// As it is set; nothing where it is not.
    pub(super) mode: Option<String>,
    /// What the server takes it for where it is not set.
    pub(super) unset: &'static str,
    /// Whom it mails.
    pub(super) to: Option<String>,
    /// The only node that it runs on, where there is one.
    pub(super) node: Option<String>,
}

/// What sort of thing mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    BackupJob,
    Datastore,
    TapeJob,
}

/// What `/etc/vzdump.conf` of a node says: it goes for each backup on it of which nothing else is said.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) node: String,
    /// `auto` where the file says nothing.
    pub(super) mode: String,
    pub(super) to: Option<String>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// The target's name.
    pub(super) target: String,
    pub(super) target_is: State,
    /// The matcher's name.
    pub(super) matcher: String,
    pub(super) matcher_is: State,
    pub(super) calls: Vec<Call>,
    pub(super) bypasses: Vec<Bypass>,
}

/// How something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// As it should be.
    Right,
    /// There is none.
    Missing,
    /// It differs in these.
    Differs(Vec<&'static str>),
}

/// What reaches nobody through the target, and what ends that.
#[derive(Debug)]
pub(super) struct Bypass {
    pub(super) what: String,
    pub(super) way: Way,
}

/// How something is changed.
#[derive(Debug)]
pub(super) enum Way {
    Call(Call),
    /// No call does it; a person can.
    ByHand(String),
}

/// A call that changes something, and what takes it back.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) params: Vec<Param>,
    pub(super) back: Back,
}

/// A parameter: what is sent, and what is shown of it.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) value: Value,
    pub(super) shown: Vec<String>,
}

/// The way back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Back {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) params: Map<String, Value>,
    /// What is replaced and not told, since it may hold secrets.
    pub(super) untold: Vec<&'static str>,
}

/// Where the product keeps its targets and matchers.
pub(super) fn root(product: Product) -> &'static str {
    match product {
        Product::Pve => "/cluster/notifications",
        Product::Pbs => "/config/notifications",
    }
}

// === impl Plan ===

impl Plan {
    /// What is to be done for this goal.
    pub(super) fn of(goal: &Goal, found: &Found) -> Self {
        let mut calls = Vec::new();
        let own = found.webhooks.iter().find(|it| it.name == goal.name);
        // One that a person made under another name does as well, whatever it posts: the hook takes all bodies.
        let other = found.webhooks.iter().find(|it| it.url == goal.url);
        let (target, target_is) = match (own, other) {
            (Some(own), _) => (own.name.clone(), change_target(goal, own, &mut calls)),
            (None, Some(other)) => (other.name.clone(), wake_target(goal, other, &mut calls)),
            (None, None) => {
                calls.push(make_target(goal));
                (goal.name.clone(), State::Missing)
            }
        };
        let (matcher, matcher_is) = matcher(goal, &target, &found.matchers, &mut calls);
        let by_file = found.files.iter().filter_map(File::bypass);
        let mailers = found.mailers.iter().filter_map(|it| it.bypass(&found.files));
        let bypasses = by_file.chain(mailers).collect();
        Self { target, target_is, matcher, matcher_is, calls, bypasses }
    }
}

fn make_target(goal: &Goal) -> Call {
    let place = format!("{}/endpoints/webhook", root(goal.product));
    let params = vec![
        Param::plain("name", &goal.name),
        Param::plain("method", "post"),
        Param::plain("url", &goal.url),
        headers(),
        secret(goal),
        body(),
        Param::plain("comment", COMMENT),
    ];
    let back = Back::delete(format!("{place}/{}", goal.name));
    Call { method: "POST", path: place, params, back }
}

/// Puts right what is not.
fn change_target(goal: &Goal, own: &Webhook, calls: &mut Vec<Call>) -> State {
    let mut differs = Vec::new();
    let mut params = Vec::new();
    let mut back = Map::new();
    let mut untold = Vec::new();
    if own.url != goal.url {
        differs.push("url");
        params.push(Param::plain("url", &goal.url));
        if own.url.contains(['?', '@']) {
            untold.push("url");
        } else {
            back.insert("url".to_owned(), json!(own.url));
        }
    }
    if !own.method.eq_ignore_ascii_case("post") {
        differs.push("method");
        params.push(Param::plain("method", "post"));
        back.insert("method".to_owned(), json!(own.method));
    }
    let has = |(name, value): (&str, &str)| {
        own.headers.iter().any(|it| {
            let known = pair(it);
            known.is_some_and(|(it, known)| it.eq_ignore_ascii_case(name) && known == value)
        })
    };
    if !HEADERS.into_iter().all(has) {
        differs.push("header");
        params.push(headers());
        untold.push("header");
    }
    if decoded(&own.body) != TEMPLATE {
        differs.push("body");
        params.push(body());
        untold.push("body");
    }
    let knows_secret = own.secrets.iter().any(|it| secret_name(it) == SECRET);
    if !knows_secret {
        differs.push("secret");
    }
    if !knows_secret || goal.resend {
        params.push(secret(goal));
        untold.push("secret");
    }
    if own.is_off {
        differs.push("disable");
        params.push(Param::flag("disable", false));
        back.insert("disable".to_owned(), json!(true));
    }
    if !params.is_empty() {
        let path = format!("{}/endpoints/webhook/{}", root(goal.product), own.name);
        let back = Back { untold, ..Back::put(&path, back) };
        calls.push(Call { method: "PUT", path, params, back });
    }
    if differs.is_empty() { State::Right } else { State::Differs(differs) }
}

/// Somebody else's target is only switched on.
fn wake_target(goal: &Goal, other: &Webhook, calls: &mut Vec<Call>) -> State {
    if !other.is_off {
        return State::Right;
    }
    let path = format!("{}/endpoints/webhook/{}", root(goal.product), other.name);
    let back = Map::from_iter([("disable".to_owned(), json!(true))]);
    let back = Back::put(&path, back);
    let params = vec![Param::flag("disable", false)];
    calls.push(Call { method: "PUT", path, params, back });
    State::Differs(vec!["disable"])
}

/// Sees to it that one matcher sends everything to the target; others are left alone.
fn matcher(
    goal: &Goal,
    target: &str,
    matchers: &[Matcher],
    calls: &mut Vec<Call>,
) -> (String, State) {
    let tells = |it: &Matcher| it.targets.iter().any(|it| it == target);
    let is_all = |it: &Matcher| !it.is_off && !it.is_inverted && it.rules.is_empty();
    if let Some(known) = matchers.iter().find(|it| tells(it) && is_all(it)) {
        return (known.name.clone(), State::Right);
    }
    let place = format!("{}/matchers", root(goal.product));
    let Some(own) = matchers.iter().find(|it| it.name == goal.name) else {
        let params = vec![
            Param::plain("name", &goal.name),
            Param::plain("mode", "all"),
            Param::list("target", &[target.to_owned()]),
            Param::plain("comment", COMMENT),
        ];
        let back = Back::delete(format!("{place}/{}", goal.name));
        calls.push(Call { method: "POST", path: place, params, back });
        return (goal.name.clone(), State::Missing);
    };
    let mut differs = Vec::new();
    let mut params = Vec::new();
    let mut back = Map::new();
    if !tells(own) {
        differs.push("target");
        let targets: Vec<String> = own.targets.iter().cloned().chain([target.to_owned()]).collect();
        params.push(Param::list("target", &targets));
        back.insert("target".to_owned(), json!(own.targets));
    }
    for (name, is_set) in [("invert-match", own.is_inverted), ("disable", own.is_off)] {
        if is_set {
            differs.push(name);
            params.push(Param::flag(name, false));
            back.insert(name.to_owned(), json!(true));
        }
    }
    let mut gone = Vec::new();
    for (name, rules) in &own.rules {
        differs.push(name);
        gone.push((*name).to_owned());
        back.insert((*name).to_owned(), json!(rules));
    }
    if !gone.is_empty() {
        params.push(Param::list("delete", &gone));
    }
    let path = format!("{place}/{}", own.name);
    let back = Back::put(&path, back);
    calls.push(Call { method: "PUT", path, params, back });
    (own.name.clone(), State::Differs(differs))
}

// === impl Sort ===

impl Sort {
    fn noun(self) -> &'static str {
        match self {
            Self::BackupJob => "backup job",
            Self::Datastore => "datastore",
            Self::TapeJob => "tape backup job",
        }
    }

    fn path(self, name: &str) -> String {
        match self {
            Self::BackupJob => format!("/cluster/backup/{name}"),
            Self::Datastore => format!("/config/datastore/{name}"),
            Self::TapeJob => format!("/config/tape-backup-job/{name}"),
        }
    }
}

// === impl File ===

impl File {
    fn bypass(&self) -> Option<Bypass> {
        let Self { node, mode, to } = self;
        if !goes_past(mode, to.as_deref()) {
            return None;
        }
        let told = mails(to.as_deref());
        Some(Bypass {
            what: format!(
                "/etc/vzdump.conf of {node}: what is backed up there {told} (notification-mode {mode})"
            ),
            way: Way::ByHand(format!(
                "no call writes that file: put `notification-mode: {SYSTEM}` into it on {node}"
            )),
        })
    }
}

/// Whether reports go past the notification system.
fn goes_past(mode: &str, to: Option<&str>) -> bool {
    match mode {
        "legacy-sendmail" => true,
        // Mail if it has an address, the notification system if it has none.
        "auto" => to.is_some(),
        _ => false,
    }
}

fn mails(to: Option<&str>) -> String {
    to.map_or("tells nobody".to_owned(), |to| format!("mails {to}"))
}

// === impl Mailer ===

impl Mailer {
    /// What it does by its own settings and by the files of the nodes that it runs on.
    fn bypass(&self, files: &[File]) -> Option<Bypass> {
        let none = File { mode: self.unset.to_owned(), ..File::default() };
        let here = |file: &&File| self.node.as_ref().is_none_or(|node| *node == file.node);
        let mut files: Vec<&File> = files.iter().filter(here).collect();
        if files.is_empty() {
            files.push(&none);
        }
        let (mode, to, file) = files.into_iter().find_map(|file| {
            let mode = self.mode.as_deref().unwrap_or(&file.mode);
            let to = self.to.as_deref().or(file.to.as_deref());
            goes_past(mode, to).then_some((mode, to, file))
        })?;
        let is_by_file =
            self.to.is_none() && to.is_some() || self.mode.is_none() && mode != self.unset;
        let by = if is_by_file {
            format!(" by /etc/vzdump.conf of {}", file.node)
        } else {
            String::new()
        };
        let set = if self.mode.is_some() || is_by_file { "" } else { " by default" };
        let (noun, told) = (self.sort.noun(), mails(to));
        let what = format!("{noun} {} {told}{by} (notification-mode {mode}{set})", self.name);
        let path = self.sort.path(&self.name);
        let mut back = Map::new();
        match &self.mode {
            Some(mode) => back.insert("notification-mode".to_owned(), json!(mode)),
            None if self.sort == Sort::BackupJob => {
                back.insert("delete".to_owned(), json!("notification-mode"))
            }
            None => back.insert("delete".to_owned(), json!(["notification-mode"])),
        };
        let back = Back::put(&path, back);
        let params = vec![Param::plain("notification-mode", SYSTEM)];
        Some(Bypass { what, way: Way::Call(Call { method: "PUT", path, params, back }) })
    }
}

// === impl Call ===

impl Call {
    /// The parameters as they are sent: with secrets.
    pub(super) fn sent(&self) -> Map<String, Value> {
        self.params.iter().map(|it| (it.name.to_owned(), it.value.clone())).collect()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params: Vec<_> = self.params.iter().map(|it| (it.name, &it.shown)).collect();
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("params", &params)
            .field("back", &self.back)
            .finish()
    }
}

// === impl Param ===

impl Param {
    fn plain(name: &'static str, value: &str) -> Self {
        Self { name, value: json!(value), shown: vec![value.to_owned()] }
    }

    fn flag(name: &'static str, value: bool) -> Self {
        Self { name, value: json!(value), shown: vec![value.to_string()] }
    }

    fn list(name: &'static str, values: &[String]) -> Self {
        Self { name, value: json!(values), shown: values.to_vec() }
    }
}

// === impl Back ===

impl Back {
    fn delete(path: String) -> Self {
        Self { method: "DELETE", path, params: Map::new(), untold: Vec::new() }
    }

    fn put(path: &str, params: Map<String, Value>) -> Self {
        Self { method: "PUT", path: path.to_owned(), params, untold: Vec::new() }
    }

    /// The command that does it; nothing where all that was replaced is untold.
    pub(super) fn command(&self, cluster: &str) -> Option<String> {
        if self.method == "PUT" && self.params.is_empty() {
            return None;
        }
        let mut command = format!(
            "proxmox-mcp call api_call cluster={cluster} method={} path={}",
            self.method, self.path
        );
        if !self.params.is_empty() {
            let params = Value::Object(self.params.clone()).to_string().replace('\'', "'\\''");
            // Writing to a string cannot fail.
            let _ = write!(command, " params='{params}'");
        }
        Some(command)
    }
}

fn headers() -> Param {
    let sent: Vec<String> = HEADERS
        .iter()
        .map(|(name, value)| format!("name={name},value={}", STANDARD.encode(value)))
        .collect();
    let shown = HEADERS.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    Param { name: "header", value: json!(sent), shown }
}

fn secret(goal: &Goal) -> Param {
    let value = STANDARD.encode(goal.secret.expose_secret());
    let sent = [format!("name={SECRET},value={value}")];
    Param { name: "secret", value: json!(sent), shown: vec![format!("{SECRET}: {HIDDEN}")] }
}

fn body() -> Param {
    let value = json!(STANDARD.encode(TEMPLATE));
    Param { name: "body", value, shown: vec![TEMPLATE.to_owned()] }
}

/// Name and decoded value of `name=…,value=<base64>`.
fn pair(text: &str) -> Option<(&str, String)> {
    let (name, value) = text.strip_prefix("name=")?.split_once(",value=")?;
    Some((name, decoded(value)))
}

/// The name in `name=token`, which is all that servers show.
fn secret_name(text: &str) -> &str {
    let name = text.strip_prefix("name=").unwrap_or(text);
    name.split(',').next().unwrap_or_default()
}

fn decoded(text: &str) -> String {
    let bytes = STANDARD.decode(text.trim()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
