//! `[guard]`, `[policy.<name>]` and `[approver.<name>]`: into the guard's own types.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use condition::Condition;
use estate::{Access, GuestRef};
use guard::Principal;
use guard::approval::Approver;
use guard::breaker::Limits;
use guard::budget::Budget;
use guard::policy::{
    ClientTrust, Defaults, Effect, Matchers, Policy, PolicyError, Rule, SHAPE, Transport,
};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::error::Complaint;
use crate::keys::did_you_mean;
use crate::layers::{self, Merged};
use crate::load::Loader;

/// `[guard]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuardSettings {
    /// Whether everything that changes something is refused.
    pub frozen: bool,
    /// The guest that this server runs in.
    pub own_guest: OwnGuest,
    /// Guests with one of these tags are protected.
    pub protected_tags: Vec<String>,
    /// What the built-in lines of the policy use.
    pub defaults: Defaults,
    /// How long a person may take to answer in the client.
    pub client_within: Duration,
    /// How much one caller may change.
    pub budget: Budget,
    /// When a caller is stopped.
    pub breaker: Limits,
    /// How long a change that can cut the operator off waits to be confirmed.
    pub commit_confirm: Duration,
    /// Further names of fields whose values are never shown.
    pub secret_fields: Vec<String>,
}

/// How the guest that this server runs in is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnGuest {
    /// By what the machine knows of itself.
    #[default]
    Auto,
    /// It runs in none.
    None,
    /// It is this one.
    Guest(GuestRef),
}

/// One `[approver.<name>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApproverSettings {
    /// Who they are.
    pub approver: Approver,
    /// The public half of their key, as it is written.
    pub key: Option<String>,
    /// Where the secret of their one-time codes is. It is not read here: whoever serves tools is not
    /// to hold it.
    pub totp_secret_file: Option<PathBuf>,
}

/// Texts and numbers, one or several.
#[derive(Default)]
struct Words(Vec<String>);

/// `[guard]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGuard {
    frozen: bool,
    own_guest: String,
    protected_tags: Vec<String>,
    client_approves: String,
    client_within_secs: u64,
    ask_within_secs: u64,
    unasked_per_hour: u32,
    changes_per_hour: u32,
    breaker_identical: u32,
    breaker_failing: u32,
    breaker_window_secs: u64,
    breaker_pause_secs: u64,
    commit_confirm_secs: u64,
    secret_fields: Vec<String>,
}

/// `[policy.<name>]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine {
    order: u32,
    decision: String,
    about: Option<String>,
    #[serde(default)]
    principal: Words,
    #[serde(default)]
    transport: Words,
    #[serde(default)]
    tool: Words,
    #[serde(default)]
    toolset: Words,
    #[serde(default)]
    tier: Words,
    #[serde(default)]
    cluster: Words,
    #[serde(default)]
    node: Words,
    #[serde(default)]
    pool: Words,
    #[serde(default)]
    tag: Words,
    #[serde(default)]
    vmid: Words,
    #[serde(default)]
    hours: Words,
    #[serde(default)]
    protected: bool,
    when: Option<String>,
    of: Option<Words>,
    count: Option<u32>,
    within_secs: Option<u64>,
    client: Option<bool>,
    per_hour: Option<u32>,
    reason: Option<String>,
}

/// `[approver.<name>]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApprover {
    uid: Option<u32>,
    group: Option<String>,
    key: Option<String>,
    totp_secret_file: Option<PathBuf>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    teams: Vec<String>,
}

/// What is wrong in one table: the key below it, and the complaint.
type Wrong = Vec<(&'static str, Complaint)>;

// === impl Loader ===

impl Loader<'_> {
    /// `[guard]`, or `None` after an error that says why not.
    pub(crate) fn guard(&mut self, merged: &Merged) -> Option<GuardSettings> {
        let raw: RawGuard = self.extract(merged, &["guard"])?;
        let mut wrong = Wrong::new();
        let own_guest = match raw.own_guest.trim() {
            "auto" => OwnGuest::Auto,
            "none" => OwnGuest::None,
            text => match text.parse::<GuestRef>() {
                Ok(guest) if merged.tables("pve").contains_key(guest.cluster.as_str()) => {
                    OwnGuest::Guest(guest)
                }
                Ok(guest) => {
                    let reason =
                        format!("names the cluster {}, which is not set up", guest.cluster);
                    let known: Vec<&str> = merged.tables("pve").into_keys().collect();
                    let hint = did_you_mean(guest.cluster.as_str(), &known, "clusters");
                    wrong.push(("own_guest", Complaint::new(reason, hint)));
                    OwnGuest::None
                }
                Err(_) => {
                    let hint = "it takes auto, none or cluster/vmid, such as home/104";
                    let reason = format!("is {:?}", text.chars().take(60).collect::<String>());
                    wrong.push(("own_guest", Complaint::new(reason, hint)));
                    OwnGuest::None
                }
            },
        };
        let client = ClientTrust::ALL.into_iter().find(|it| it.as_str() == raw.client_approves)?;
        let is_good = wrong.is_empty();
        self.complain(merged, &["guard"], wrong);
        is_good.then(|| GuardSettings {
            frozen: raw.frozen,
            own_guest,
            protected_tags: raw.protected_tags,
            defaults: Defaults {
                unasked_per_hour: raw.unasked_per_hour,
                within: Duration::from_secs(raw.ask_within_secs),
                client,
                ..Defaults::default()
            },
            client_within: Duration::from_secs(raw.client_within_secs),
            budget: Budget {
                changes_per_hour: Some(raw.changes_per_hour).filter(|limit| *limit > 0),
                unasked_per_hour: None,
            },
            breaker: Limits {
                identical: raw.breaker_identical,
                failing: raw.breaker_failing,
                window: Duration::from_secs(raw.breaker_window_secs),
                pause: Duration::from_secs(raw.breaker_pause_secs),
                ..Limits::default()
            },
            commit_confirm: Duration::from_secs(raw.commit_confirm_secs),
            secret_fields: raw.secret_fields,
        })
    }

    /// The approvers by the names of their tables; without those that errors speak of.
    pub(crate) fn approvers(&mut self, merged: &Merged) -> BTreeMap<String, ApproverSettings> {
        let mut approvers = BTreeMap::new();
        for (name, _) in merged.tables("approver") {
            let path = ["approver", name];
            let Some(raw) = self.extract::<RawApprover>(merged, &path) else { continue };
            let mut wrong = Wrong::new();
            let approver = self.approver(name, raw, &mut wrong);
            let is_good = wrong.is_empty();
            self.complain(merged, &path, wrong);
            if !is_good {
                continue;
            }
            if !approver.approver.has_a_way() {
                let hint = "give them uid, group, key, totp_secret_file or channels";
                let complaint = Complaint::new("can decide by no way", hint);
                let at = merged.origin(&owned(&path));
                self.findings.warn(&at, format!("approver.{name}"), complaint);
            }
            approvers.insert(name.to_owned(), approver);
        }
        approvers
    }

    fn approver(&self, name: &str, raw: RawApprover, wrong: &mut Wrong) -> ApproverSettings {
        let mut principals: BTreeSet<Principal> =
            raw.uid.map(Principal::local).into_iter().collect();
        for channel in &raw.channels {
            match channel.split_once(':').map(|(channel, id)| Principal::channel(channel, id)) {
                Some(Ok(principal)) => {
                    principals.insert(principal);
                }
                _ => {
                    let shown: String = channel.chars().take(60).collect();
                    let hint = "write channel:id, such as discord:4711";
                    wrong.push(("channels", Complaint::new(format!("lists {shown:?}"), hint)));
                }
            }
        }
        let gid = raw.group.as_deref().and_then(|group| match self.gid(group) {
            Ok(gid) => Some(gid),
            Err(complaint) => {
                wrong.push(("group", complaint));
                None
            }
        });
        if let Some(key) = &raw.key
            && key.trim().is_empty()
        {
            let hint = "`proxmox-mcp approver add` makes one and prints its line";
            wrong.push(("key", Complaint::new("is empty", hint)));
        }
        let approver = Approver {
            teams: raw.teams.into_iter().collect(),
            principals,
            gid,
            has_key: raw.key.is_some(),
            has_code: raw.totp_secret_file.is_some(),
            ..Approver::new(name)
        };
        ApproverSettings { approver, key: raw.key, totp_secret_file: raw.totp_secret_file }
    }

    /// The number of a system group.
    fn gid(&self, group: &str) -> Result<u32, Complaint> {
        if let Ok(gid) = group.parse::<u32>() {
            return Ok(gid);
        }
        let file = self.files.read(Path::new("/etc/group")).map(|file| file.bytes);
        let text = String::from_utf8_lossy(file.as_deref().unwrap_or_default()).into_owned();
        let found = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(group)).then(|| fields.nth(1)?.parse::<u32>().ok())?
        });
        found.ok_or_else(|| {
            let shown: String = group.chars().take(40).collect();
            let hint = "make the group, or write its number (`getent group NAME`)";
            Complaint::new(format!("names the group {shown:?}, which /etc/group has not"), hint)
        })
    }

    /// The policy; `None` after errors that say why not.
    pub(crate) fn policy(
        &mut self,
        merged: &Merged,
        defaults: Defaults,
        approvers: &BTreeMap<String, ApproverSettings>,
    ) -> Option<Policy> {
        let before = self.findings.errors.len();
        let mut rules = Vec::new();
        for (name, origin) in merged.tables("policy") {
            self.check_required(merged, "policy", name, origin);
            let path = ["policy", name];
            let Some(raw) = self.extract::<RawLine>(merged, &path) else { continue };
            let mut wrong = Wrong::new();
            let rule = raw.check(name, approvers, &mut wrong);
            self.complain(merged, &path, wrong);
            self.check_clusters(merged, &rule);
            rules.push(rule);
        }
        // What is wrong with one line makes others look wrong.
        if self.findings.errors.len() > before {
            return None;
        }
        for PolicyError { line, key, reason, hint, .. } in Policy::problems(&mut rules) {
            let mut path = owned(&["policy", &line]);
            path.extend(key.map(str::to_owned));
            let origin = merged.origin(&path);
            self.findings.error(&origin, layers::name(&path), Complaint::new(reason, hint));
        }
        if self.findings.errors.len() > before {
            return None;
        }
        Policy::try_new(rules, defaults).ok()
    }

    /// A name that no table has is probably a slip.
    fn check_clusters(&mut self, merged: &Merged, rule: &Rule) {
        let known: Vec<&str> =
            merged.tables("pve").into_keys().chain(merged.tables("pbs").into_keys()).collect();
        for pattern in &rule.matchers.clusters {
            if known.iter().any(|key| pattern.fits(key)) {
                continue;
            }
            let path = owned(&["policy", &rule.name, "cluster"]);
            let reason = format!("names {pattern}, which no cluster or server is called");
            let hint = did_you_mean(pattern.as_str(), &known, "they are called");
            let origin = merged.origin(&path);
            self.findings.warn(&origin, layers::name(&path), Complaint::new(reason, hint));
        }
    }

    fn complain(&mut self, merged: &Merged, table: &[&str], wrong: Wrong) {
        for (key, complaint) in wrong {
            let mut path = owned(table);
            path.push(key.to_owned());
            let origin = merged.origin(&path);
            self.findings.error(&origin, layers::name(&path), complaint);
        }
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|&segment| segment.to_owned()).collect()
}

// === impl RawLine ===

impl RawLine {
    fn check(
        self,
        name: &str,
        approvers: &BTreeMap<String, ApproverSettings>,
        wrong: &mut Wrong,
    ) -> Rule {
        self.check_companions(wrong);
        let when = self.when.as_deref().and_then(|source| {
            Condition::compile(source, SHAPE)
                .map_err(|error| {
                    let reason = match error.line() {
                        1 => format!("at column {}: {}", error.column(), error.reason()),
                        line => {
                            format!("at line {line}, column {}: {}", error.column(), error.reason())
                        }
                    };
                    wrong.push(("when", Complaint::new(reason, error.hint())));
                })
                .ok()
        });
        let effect = match self.decision.as_str() {
            "allow" => Effect::Allow { per_hour: self.per_hour },
            "ask" => {
                let of = self.of.unwrap_or_default().0;
                let count = self.count.unwrap_or(1);
                check_approvers(&of, count, approvers, wrong);
                let within = self.within_secs.map(Duration::from_secs);
                Effect::Ask { of, count, within, client: self.client }
            }
            _ => Effect::Deny { reason: self.reason },
        };
        let matchers = Matchers {
            principals: read(&self.principal, "principal", wrong),
            transports: words(
                &self.transport,
                "transport",
                &Transport::ALL,
                Transport::as_str,
                wrong,
            ),
            tools: read(&self.tool, "tool", wrong),
            toolsets: read(&self.toolset, "toolset", wrong),
            tiers: words(
                &self.tier,
                "tier",
                &[Access::Read, Access::Operate, Access::Destroy],
                Access::as_str,
                wrong,
            ),
            clusters: read(&self.cluster, "cluster", wrong),
            nodes: read(&self.node, "node", wrong),
            pools: read(&self.pool, "pool", wrong),
            tags: read(&self.tag, "tag", wrong),
            vmids: read(&self.vmid, "vmid", wrong),
            hours: read(&self.hours, "hours", wrong),
            protected: self.protected,
            when,
        };
        Rule { name: name.to_owned(), order: self.order, about: self.about, matchers, effect }
    }

    /// Keys that mean something with one decision only.
    fn check_companions(&self, wrong: &mut Wrong) {
        let decision = self.decision.as_str();
        let companions = [
            ("of", "ask", self.of.is_some()),
            ("count", "ask", self.count.is_some()),
            ("within_secs", "ask", self.within_secs.is_some()),
            ("client", "ask", self.client.is_some()),
            ("per_hour", "allow", self.per_hour.is_some()),
            ("reason", "deny", self.reason.is_some()),
        ];
        for (key, with, is_set) in companions {
            if is_set && decision != with {
                let reason = format!("means nothing with decision = {decision:?}");
                let hint = format!("take it out, or let the line {with}");
                wrong.push((key, Complaint::new(reason, hint)));
            }
        }
    }
}

/// Whoever is asked must be somebody, and enough of them.
fn check_approvers(
    of: &[String],
    count: u32,
    approvers: &BTreeMap<String, ApproverSettings>,
    wrong: &mut Wrong,
) {
    let all = || approvers.values().map(|it| &it.approver);
    let mut known: Vec<&str> = approvers.keys().map(String::as_str).collect();
    known.extend(all().flat_map(|approver| approver.teams.iter().map(String::as_str)));
    known.sort_unstable();
    known.dedup();
    for name in of {
        if known.contains(&name.as_str()) {
            continue;
        }
        let shown: String = name.chars().take(40).collect();
        let reason = format!("names {shown:?}, who is no approver and no team");
        let hint = match known.as_slice() {
            [] => format!("add a table [approver.{shown}]"),
            _ => did_you_mean(name, &known, "approvers and teams"),
        };
        wrong.push(("of", Complaint::new(reason, hint)));
        return;
    }
    let eligible = all().filter(|approver| approver.is_one_of(of)).count();
    if count as usize > eligible.max(1) {
        let reason = format!("is {count}, and {eligible} can decide");
        let hint = "name more approvers, or ask for fewer; the asker is never one of several";
        wrong.push(("count", Complaint::new(reason, hint)));
    }
}

/// Each word as a matcher's type.
fn read<T>(words: &Words, key: &'static str, wrong: &mut Wrong) -> Vec<T>
where
    T: std::str::FromStr<Err: fmt::Display>,
{
    let mut read = Vec::new();
    for word in &words.0 {
        match word.parse() {
            Ok(value) => read.push(value),
            Err(error) => {
                let complaint = Complaint::new(format!("is not valid: {error}"), "");
                wrong.push((key, complaint));
            }
        }
    }
    read
}

/// Each word as one of a few.
fn words<T: Copy>(
    words: &Words,
    key: &'static str,
    all: &[T],
    as_str: impl Fn(T) -> &'static str,
    wrong: &mut Wrong,
) -> Vec<T> {
    let mut read = Vec::new();
    for word in &words.0 {
        match all.iter().find(|one| as_str(**one) == word) {
            Some(one) => read.push(*one),
            None => {
                let known: Vec<&str> = all.iter().map(|one| as_str(*one)).collect();
                let shown: String = word.chars().take(40).collect();
                let hint = did_you_mean(word, &known, "it takes");
                wrong.push((key, Complaint::new(format!("lists {shown:?}"), hint)));
            }
        }
    }
    read
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Words, E> {
                Ok(Words(vec![text.to_owned()]))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Words, E> {
                Ok(Words(vec![number.to_string()]))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Words, E> {
                Ok(Words(vec![number.to_string()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Words, A::Error> {
                let mut all = Vec::new();
                while let Some(Words(words)) = seq.next_element()? {
                    all.extend(words);
                }
                Ok(Words(all))
            }
        }

        deserializer.deserialize_any(Any)
    }
}
