//! `backup_job_change`: makes, changes or removes a scheduled job, with a diff.
//!
//! Whatever would make more backups go than now (a removal of copies that vanished, rules that keep
//! less, a new prune job) is refused unless the call says that it is meant.

use std::{collections::BTreeMap, sync::Arc};

use api_core::Params;
use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pbs_client::jobs::{self, JobKind};
use pve_client::cluster::backup;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    overdue::few,
    spot::{self, object},
};
use crate::{
    address::quoted,
    error::ToolError,
    fleet::{Pbs, Pve},
    plan::{ActionTool, Plan, Step, Undo},
    report::{Cell, Report, Table, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::tally::counted,
};

const NAME: &str = "backup_job_change";

/// The tool.
pub struct BackupJobChange;

#[derive(Deserialize)]
struct Args {
    cluster: String,
    kind: Kind,
    action: Action,
    job: String,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    unset: Vec<String>,
    job_digest: Option<String>,
    #[serde(default)]
    allow_removal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Backup,
    Prune,
    Verify,
    Sync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Add,
    Update,
    Delete,
}

/// Whose job it is.
#[derive(Clone)]
enum Home {
    Pve(Arc<Pve>),
    Pbs(Arc<Pbs>, JobKind),
}

type Config = Map<String, Value>;

#[rustfmt::skip]
const BACKUP: &[&str] = &[
    "schedule", "enabled", "storage", "node", "all", "pool", "vmid", "exclude", "mode", "compress",
    "comment", "prune-backups", "protected", "repeat-missed", "notes-template", "notification-mode",
    "bwlimit", "fleecing", "mailto", "mailnotification", "zstd", "pbs-change-detection-mode",
];
#[rustfmt::skip]
const PRUNE: &[&str] = &[
    "store", "ns", "max-depth", "schedule", "disable", "comment", "keep-last", "keep-hourly",
    "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly",
];
#[rustfmt::skip]
const VERIFY: &[&str] = &[
    "store", "ns", "max-depth", "schedule", "comment", "ignore-verified", "outdated-after",
    "read-threads", "verify-threads",
];
#[rustfmt::skip]
const SYNC: &[&str] = &[
    "store", "ns", "remote", "remote-store", "remote-ns", "owner", "schedule", "comment", "max-depth",
    "group-filter", "remove-vanished", "resync-corrupt", "verified-only", "encrypted-only",
    "transfer-last", "rate-in", "rate-out", "sync-direction", "worker-threads",
];

#[async_trait]
impl ActionTool for BackupJobChange {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Change a backup, prune, verify or sync job",
            description: "Adds, updates or deletes a PVE backup job or a PBS prune, verify or sync job; plan shows the diff. set has the API's names: schedule, storage, vmid, pool, prune-backups, keep-daily, store, ns, remote-store.",
            input: Input::new()
                .text("cluster", "")
                .required("cluster")
                .choice("kind", &["backup", "prune", "verify", "sync"], "")
                .required("kind")
                .choice("action", &["add", "update", "delete"], "")
                .required("action")
                .text("job", "")
                .required("job")
                .object("set", "")
                .texts("unset", "")
                .text("job_digest", "of an earlier plan: refused if the job is another now")
                .boolean("allow_removal", "where backups go that would stay now"),
            output: Output::new()
                .fact("job", "string")
                .fact("job_digest", "string")
                .fact("status", "string"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, args: &JsonObject) -> Access {
        let is_delete = args.get("action").and_then(Value::as_str) == Some("delete");
        let removes = args.get("allow_removal") == Some(&Value::Bool(true));
        if is_delete || removes { Access::Destroy } else { Access::Operate }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let given = args.clone();
        let args: Args = cx.args(args)?;
        args.check()?;
        let home = match args.kind {
            Kind::Backup => Home::Pve(cx.fleet.pve(Some(&args.cluster))?.remove(0)),
            Kind::Prune => Home::Pbs(cx.fleet.pbs(Some(&args.cluster))?.remove(0), JobKind::Prune),
            Kind::Verify => {
                Home::Pbs(cx.fleet.pbs(Some(&args.cluster))?.remove(0), JobKind::Verify)
            }
            Kind::Sync => Home::Pbs(cx.fleet.pbs(Some(&args.cluster))?.remove(0), JobKind::Sync),
        };
        let label = format!("{}/{}", args.cluster, args.job);
        let all = home.list().await?;
        let found = all.iter().find(|job| job.get("id").and_then(Value::as_str) == Some(&args.job));
        let (before, server_digest) = match (args.action, found) {
            (Action::Add, Some(_)) => {
                return Err(ToolError::new(format!("{label} is there already"))
                    .hint("action update changes it"));
            }
            (Action::Add, None) => (Config::new(), None),
            (_, None) => {
                let lead = format!(
                    "{} has no {} job {}",
                    args.cluster,
                    args.kind.as_str(),
                    quoted(&args.job)
                );
                return Err(ToolError::not_found(lead).choices(choices(&all)));
            }
            (_, Some(job)) => home.read(&args.job, job).await?,
        };
        let digest = digest(&before);
        if let Some(wanted) = &args.job_digest
            && *wanted != digest
        {
            return Err(ToolError::new(format!("{label} is not as it was: nothing was done"))
                .hint("look at the plan again and give its job_digest")
                .map(|report| {
                    report.fact("job_digest", digest.as_str()).fact("status", "conflict")
                }));
        }
        let mut plan =
            Plan::new(format!("{} of {} job {label}", args.action.noun(), args.kind.as_str()))
                .fact("job", label.as_str())
                .fact("job_digest", digest.as_str())
                .target(label.as_str(), [("config", digest.as_str())]);
        let (set, unset, after) = args.apply(&before);
        if args.action == Action::Update && set.is_empty() && unset.is_empty() {
            let lead = format!("{label} is so already: nothing was done");
            return Ok(Plan::already(
                Report::new(lead).fact("job", label).fact("status", "unchanged"),
            ));
        }
        let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (old, new) = (before.get(key).map(text), after.get(key).map(text));
            if old != new {
                plan =
                    plan.change(key.as_str(), old.unwrap_or_else(dash), new.unwrap_or_else(dash));
            }
        }
        if let Some(why) = removes(args.kind, args.action, &before, &after) {
            if !args.allow_removal {
                let mut again = given;
                again.insert("allow_removal".to_owned(), true.into());
                let lead = format!("{label} was not changed: {why}");
                return Err(ToolError::from_report(Report::new(lead).fact("status", "refused"))
                    .hint("allow_removal says that this is meant")
                    .next(NAME, again));
            }
            plan = plan.warn("removes", why);
        }
        plan = home.effects(cx, &args, &before, &after, plan).await;
        plan = plan.undo(args.undo(&before, &after));
        plan = plan.step(home.step(&args, &set, &unset, server_digest.as_deref(), &label));
        let (action, job) = (args.action, args.job.clone());
        let wanted = after;
        Ok(plan.settle(move |_, done| async move {
            let all = home.list().await;
            let now = all.as_ref().ok().and_then(|all| {
                all.iter().find(|one| one.get("id").and_then(Value::as_str) == Some(&job)).cloned()
            });
            if let Err(error) = &all {
                let report = done.report(format!("{label}: the server took the change"));
                return Ok(report.note(format!("it could not be read back: {}", error.message())));
            }
            let is_so = match (action, &now) {
                (Action::Delete, None) => true,
                (Action::Delete, Some(_)) | (_, None) => false,
                (_, Some(now)) => {
                    wanted.iter().all(|(key, value)| now.get(key).map(text) == Some(text(value)))
                }
            };
            if !is_so {
                let lead = format!("{label}: the server took the change, but it reads otherwise");
                return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
            }
            let lead = format!("{label} is {}", action.done());
            let report = done.report(lead).fact("job_digest", self::digest(&wanted));
            Ok(report.next("backup_jobs", json!({"cluster": label.split('/').next()})))
        }))
    }
}

fn dash() -> String {
    "-".to_owned()
}

// === impl Kind ===

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Prune => "prune",
            Self::Verify => "verify",
            Self::Sync => "sync",
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Backup => BACKUP,
            Self::Prune => PRUNE,
            Self::Verify => VERIFY,
            Self::Sync => SYNC,
        }
    }
}

// === impl Action ===

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Add => "creation",
            Self::Update => "change",
            Self::Delete => "deletion",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Add => "made",
            Self::Update => "changed",
            Self::Delete => "deleted",
        }
    }
}

// === impl Args ===

impl Args {
    /// What can be told without asking anybody.
    fn check(&self) -> Result<(), ToolError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.job.is_empty() || !self.job.chars().all(fits) {
            return Err(ToolError::new(format!("{} cannot be a job's name", quoted(&self.job))));
        }
        if self.action == Action::Delete && !(self.set.is_empty() && self.unset.is_empty()) {
            return Err(ToolError::new("a job that is deleted takes neither set nor unset"));
        }
        let known = self.kind.keys();
        for key in self.set.keys().chain(&self.unset) {
            if !known.contains(&key.as_str()) {
                return Err(ToolError::new(format!(
                    "{} jobs have no {}",
                    self.kind.as_str(),
                    quoted(key)
                ))
                .hint(format!("they have: {}", known.join(", "))));
            }
        }
        if let Some(key) = self.set.keys().find(|key| self.unset.contains(key)) {
            return Err(ToolError::new(format!("{key} is in set and in unset")));
        }
        let required: &[&str] = match (self.action, self.kind) {
            (Action::Add, Kind::Backup) => &["schedule", "storage"],
            (Action::Add, Kind::Prune) => &["store", "schedule"],
            (Action::Add, Kind::Verify) => &["store"],
            (Action::Add, Kind::Sync) => &["store", "remote-store"],
            _ => &[],
        };
        if let Some(key) = required.iter().find(|key| !self.set.contains_key(**key)) {
            return Err(ToolError::new(format!("a new {} job takes {key}", self.kind.as_str())));
        }
        let picks = ["all", "pool", "vmid"];
        let count = picks.iter().filter(|key| self.set.contains_key(**key)).count();
        if self.kind == Kind::Backup && (count > 1 || self.action == Action::Add && count == 0) {
            return Err(ToolError::new("which guests: give one of vmid, pool and all"));
        }
        Ok(())
    }

    /// What is really set and taken away, and how the job is then.
    fn apply(&self, before: &Config) -> (Config, Vec<String>, Config) {
        if self.action == Action::Delete {
            return (Config::new(), Vec::new(), Config::new());
        }
        let is_new = |key: &str, value: &Value| before.get(key).map(text) != Some(text(value));
        let set: Config = self
            .set
            .iter()
            .filter(|(key, value)| is_new(key, value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut unset: Vec<String> =
            self.unset.iter().filter(|key| before.contains_key(*key)).cloned().collect();
        // Another way to say which guests takes the place of the one before.
        let picks = ["all", "pool", "vmid"];
        if self.kind == Kind::Backup && picks.iter().any(|key| set.contains_key(*key)) {
            for key in picks {
                if before.contains_key(key)
                    && !set.contains_key(key)
                    && !unset.iter().any(|k| k == key)
                {
                    unset.push(key.to_owned());
                }
            }
        }
        let mut after = before.clone();
        after.retain(|key, _| !unset.contains(key));
        after.extend(set.clone());
        (set, unset, after)
    }

    fn undo(&self, before: &Config, after: &Config) -> Undo {
        let call = |action: Action, set: Config, unset: Vec<String>, removal: bool| {
            let mut args = json!({
                "cluster": self.cluster, "kind": self.kind.as_str(), "action": action.as_str(), "job": self.job,
            });
            if !set.is_empty() {
                args["set"] = Value::Object(set);
            }
            if !unset.is_empty() {
                args["unset"] = unset.into();
            }
            if removal {
                args["allow_removal"] = true.into();
            }
            Undo::Call(NAME, object(args))
        };
        let known = |config: &Config| -> Config {
            let keys = self.kind.keys();
            config
                .iter()
                .filter(|(key, _)| keys.contains(&key.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect()
        };
        match self.action {
            Action::Add => call(Action::Delete, Config::new(), Vec::new(), false),
            Action::Delete => {
                let removal = removes(self.kind, Action::Add, &Config::new(), before).is_some();
                call(Action::Add, known(before), Vec::new(), removal)
            }
            Action::Update => {
                let mut old = known(before);
                old.retain(|key, value| after.get(key).map(text) != Some(text(value)));
                let unset =
                    after.keys().filter(|key| !before.contains_key(*key)).cloned().collect();
                let removal = removes(self.kind, Action::Update, after, before).is_some();
                call(Action::Update, old, unset, removal)
            }
        }
    }
}

// === impl Home ===

impl Home {
    async fn list(&self) -> Result<Vec<Config>, ToolError> {
        let answer = match self {
            Self::Pve(member) => member.client.call(backup::jobs().cast::<Vec<Config>>()).await,
            Self::Pbs(member, JobKind::Prune) => {
                member.client.call(jobs::prune_jobs(None).cast::<Vec<Config>>()).await
            }
            Self::Pbs(member, JobKind::Verify) => {
                member.client.call(jobs::verify_jobs(None).cast::<Vec<Config>>()).await
            }
            Self::Pbs(member, _) => {
                member.client.call(jobs::sync_jobs(None).cast::<Vec<Config>>()).await
            }
        };
        let mut all = answer.map_err(|error| ToolError::api("read the jobs", &error))?;
        all.iter_mut().for_each(own);
        Ok(all)
    }

    /// The job's own settings, and the digest that the server checks, where it has one.
    async fn read(&self, id: &str, listed: &Config) -> Result<(Config, Option<String>), ToolError> {
        let Self::Pbs(member, kind) = self else {
            let mut config = listed.clone();
            config.remove("id");
            return Ok((config, None));
        };
        let page = member.client.call_page(jobs::config(kind, id)).await;
        let page = page.map_err(|error| ToolError::api(format!("read job {id}"), &error))?;
        let mut config = page.data;
        own(&mut config);
        config.remove("id");
        Ok((config, page.digest))
    }

    fn step(
        &self,
        args: &Args,
        set: &Config,
        unset: &[String],
        digest: Option<&str>,
        label: &str,
    ) -> Step {
        let what = format!("{} of {label}", args.action.noun());
        let mut params = Params::new();
        for (key, value) in set {
            match value {
                Value::Array(items) if matches!(self, Self::Pbs(..)) => {
                    for item in items {
                        params.push(key.as_str(), text(item));
                    }
                }
                value => params.push(key.as_str(), text(value)),
            }
        }
        match (self, args.action) {
            (Self::Pve(member), Action::Add) => {
                let request = backup::create_job(backup::BackupJobParams {
                    id: Some(args.job.clone()),
                    ..backup::BackupJobParams::default()
                });
                Step::pve(member, what, request.params(params))
            }
            (Self::Pve(member), Action::Update) => {
                let gone: Vec<&str> = unset.iter().map(String::as_str).collect();
                let request =
                    backup::update_job(&args.job, backup::BackupJobParams::default(), &gone);
                Step::pve(member, what, request.params(params))
            }
            (Self::Pve(member), Action::Delete) => {
                Step::pve(member, what, backup::delete_job(&args.job))
            }
            (Self::Pbs(member, kind), Action::Add) => {
                Step::pbs(member, what, jobs::create(kind, &args.job, params))
            }
            (Self::Pbs(member, kind), Action::Update) => {
                Step::pbs(member, what, jobs::update(kind, &args.job, params, unset, digest))
            }
            (Self::Pbs(member, kind), Action::Delete) => {
                Step::pbs(member, what, jobs::delete_as(kind, &args.job, digest))
            }
        }
    }

    /// What is said of the change beside the diff.
    async fn effects(
        &self,
        cx: &Cx,
        args: &Args,
        before: &Config,
        after: &Config,
        mut plan: Plan,
    ) -> Plan {
        match self {
            Self::Pve(member) => {
                if args.action != Action::Add {
                    plan = covered(member, args, plan).await;
                }
                if let Some(schedule) = after.get("schedule").and_then(Value::as_str)
                    && before.get("schedule").and_then(Value::as_str) != Some(schedule)
                    && let Ok(runs) =
                        member.client.call(backup::analyze_schedule(schedule, Some(3))).await
                {
                    let times: Vec<String> =
                        runs.iter().filter_map(|run| run.time.map(rfc3339)).collect();
                    if !times.is_empty() {
                        plan = plan.effect(format!("it would run {}", times.join(", ")));
                    }
                }
            }
            Self::Pbs(member, kind) => {
                let store =
                    after.get("store").or_else(|| before.get("store")).and_then(Value::as_str);
                let path = format!("/datastore/{}", store.unwrap_or_default());
                let privilege = match kind {
                    JobKind::Verify => "Datastore.Verify",
                    JobKind::Prune => "Datastore.Modify",
                    _ => "Datastore.Backup",
                };
                if let Some(text) = spot::lacks(cx, member, &path, &[privilege]).await {
                    plan = plan.warn("privilege", text);
                }
                let what = match (kind, args.action) {
                    (JobKind::Verify, Action::Delete) => {
                        Some("new backups are not verified by it any more")
                    }
                    (JobKind::Sync, Action::Delete) => Some(
                        "copies that were made stay, and get no older ones' successors any more",
                    ),
                    (JobKind::Prune, Action::Delete) => {
                        Some("nothing is pruned by it any more: the datastore grows")
                    }
                    _ => None,
                };
                if let Some(what) = what {
                    plan = plan.effect(what);
                }
            }
        }
        plan
    }
}

/// Which guests the job takes now, and which of them no other one takes.
async fn covered(member: &Pve, args: &Args, plan: Plan) -> Plan {
    let client = &member.client;
    let Ok(all) = client.call(backup::jobs()).await else { return plan };
    let Ok(mine) = client.call(backup::included_volumes(&args.job)).await else { return plan };
    let mut others = std::collections::BTreeSet::new();
    for job in all.iter().filter(|job| job.id != args.job && job.is_enabled()) {
        let Ok(volumes) = client.call(backup::included_volumes(&job.id)).await else { return plan };
        others.extend(volumes.children.iter().filter_map(|guest| guest.vmid));
    }
    let only: Vec<String> = mine
        .children
        .iter()
        .filter(|guest| guest.vmid.is_some_and(|vmid| !others.contains(&vmid)))
        .filter_map(|guest| Some(format!("{}/{}", member.key, guest.vmid?)))
        .collect();
    let plan = plan.effect(format!("it takes {} now", counted(mine.children.len(), "guest")));
    match (args.action, only.is_empty()) {
        (Action::Delete, false) => plan.warn(
            "uncovered",
            format!("{} would be in no job: {}", counted(only.len(), "guest"), few(&only)),
        ),
        (_, false) => {
            plan.effect(format!("{} of them are in no other job: {}", only.len(), few(&only)))
        }
        (_, true) => plan,
    }
}

/// Only what is configured: what a list adds of runs is no setting.
fn own(config: &mut Config) {
    config.retain(|key, value| {
        !key.starts_with("last-run")
            && !matches!(key.as_str(), "next-run" | "digest" | "type")
            && !value.is_null()
    });
}

fn digest(config: &Config) -> String {
    let canonical: BTreeMap<&String, String> = config
        .iter()
        .filter(|(key, _)| *key != "id")
        .map(|(key, value)| (key, text(value)))
        .collect();
    let hash = Sha256::digest(json!(canonical).to_string());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

/// A setting in the form in which the servers take it; equal ones are equal.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(on) => u8::from(*on).to_string(),
        Value::String(text) if text.contains('=') && text.contains(',') => {
            let mut parts: Vec<&str> = text.split(',').map(str::trim).collect();
            parts.sort_unstable();
            parts.join(",")
        }
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let mut parts: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
            parts.sort();
            parts.join(",")
        }
        Value::Number(number) => number.to_string(),
    }
}

/// How many of each period are kept; nothing means all.
fn keeps(kind: Kind, config: &Config) -> Option<BTreeMap<String, u64>> {
    let pairs: Vec<(String, String)> = if kind == Kind::Backup {
        let rule = config.get("prune-backups").map(text)?;
        rule.split(',')
            .filter_map(|part| part.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    } else {
        config
            .iter()
            .filter(|(key, _)| key.starts_with("keep-"))
            .map(|(k, v)| (k.clone(), text(v)))
            .collect()
    };
    let pairs = pairs.into_iter().filter(|(key, _)| key != "keep-all");
    let kept: BTreeMap<String, u64> = pairs
        .filter_map(|(key, count)| Some((key, count.parse().ok()?)))
        .filter(|(_, count)| *count > 0)
        .collect();
    (!kept.is_empty()).then_some(kept)
}

/// Why backups would go that stay now, if so.
fn removes(kind: Kind, action: Action, before: &Config, after: &Config) -> Option<String> {
    if action == Action::Delete {
        return None;
    }
    let on = |config: &Config, key: &str| config.get(key).map(text).as_deref() == Some("1");
    match kind {
        Kind::Verify => None,
        Kind::Sync => {
            let now = on(after, "remove-vanished");
            (now && !on(before, "remove-vanished"))
                .then(|| "it would also remove copies whose original has vanished".to_owned())
        }
        Kind::Prune | Kind::Backup => {
            let (old, new) = (keeps(kind, before), keeps(kind, after));
            let new = new?;
            if kind == Kind::Prune && on(after, "disable") {
                return None;
            }
            let is_new = kind == Kind::Prune && (action == Action::Add || on(before, "disable"));
            if is_new {
                return Some(
                    "its runs would remove backups that nothing removes by this rule now"
                        .to_owned(),
                );
            }
            let moved = ["store", "ns", "max-depth", "storage"];
            if action == Action::Update
                && moved.iter().any(|key| before.get(*key).map(text) != after.get(*key).map(text))
            {
                return Some("its rule would remove backups in another place".to_owned());
            }
            let Some(old) = old else {
                let is_known = kind == Kind::Prune || action == Action::Update;
                return is_known.then(|| "it would keep less than all".to_owned());
            };
            let less: Vec<String> = old
                .iter()
                .filter(|(key, count)| new.get(*key).copied().unwrap_or(0) < **count)
                .map(|(key, count)| {
                    format!("{key} {count} becomes {}", new.get(key).copied().unwrap_or(0))
                })
                .collect();
            (!less.is_empty()).then(|| format!("it would keep less: {}", less.join(", ")))
        }
    }
}

fn choices(all: &[Config]) -> Table {
    let mut table = Table::new("jobs", &["job", "schedule"]);
    for job in all {
        let word = |key: &str| job.get(key).and_then(Value::as_str).map(str::to_owned);
        table.push(vec![Cell::opt(word("id")), Cell::opt(word("schedule"))]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: Value) -> Config {
        object(value)
    }

    #[test]
    fn keeping_less_is_told_from_keeping_more() {
        let why = |kind, before: Value, after: Value| {
            removes(kind, Action::Update, &config(before), &config(after)).is_some()
        };
        let seven = json!({"store": "main", "keep-daily": 7, "keep-last": 3});
        for (after, less) in [
            (json!({"store": "main", "keep-daily": 6, "keep-last": 3}), true),
            (json!({"store": "main", "keep-daily": 8, "keep-last": 3}), false),
            (json!({"store": "main", "keep-last": 3}), true),
            (json!({"store": "main"}), false),
            (json!({"store": "other", "keep-daily": 7, "keep-last": 3}), true),
            (json!({"store": "main", "keep-last": 1, "disable": true}), false),
        ] {
            assert_eq!(why(Kind::Prune, seven.clone(), after.clone()), less, "{after}");
        }
        assert!(why(Kind::Prune, json!({"store": "main"}), seven.clone()));
        let rule = |text: &str| json!({"storage": "nas", "prune-backups": text});
        assert!(why(Kind::Backup, rule("keep-last=3"), rule("keep-last=2")));
        assert!(!why(Kind::Backup, rule("keep-last=3"), rule("keep-all=1")));
        assert!(!why(
            Kind::Backup,
            rule("keep-daily=7,keep-last=3"),
            json!({"storage": "nas", "prune-backups": {"keep-last": "3", "keep-daily": "7"}})
        ));
        assert!(why(Kind::Sync, json!({}), json!({"remove-vanished": true})));
        assert!(removes(Kind::Prune, Action::Add, &Config::new(), &config(seven)).is_some());
    }
}
