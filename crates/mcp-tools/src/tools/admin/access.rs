//! `access_explain`: who may do what on a path, and through which line.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ask::few,
    book::{Keeper, Read},
    page::Page,
    rights::{Book, Rights, Through, clean},
};
use crate::{
    error::ToolError,
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "access_explain";

/// Privileges that let their holder take more, or break much.
pub(super) const POWERFUL: &[&str] = &[
    "Permissions.Modify",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.PowerManagement",
    "Realm.Allocate",
    "User.Modify",
    "VM.Allocate",
    "VM.GuestAgent.Unrestricted",
    "VM.Monitor",
    "Datastore.Allocate",
    "Datastore.Modify",
    "Datastore.Prune",
];

/// How many of them a row shows.
const SHOWN: usize = 3;

/// Explains permissions.
pub struct AccessExplain;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    path: Option<String>,
    who: Option<String>,
    privilege: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[async_trait]
impl EstateTool for AccessExplain {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Explain access",
            description: "Who may do what on a path; with who: what that user, token or group may do; with privilege: who has it. Says through which line.",
            input: Input::new()
                .cluster()
                .text("path", "/vms/104, /storage/nas, /")
                .text("who", "user@realm, user@realm!token or group")
                .text("privilege", "VM.PowerMgmt")
                .paged(),
            output: Output::new()
                .fact("allowed", "boolean")
                .fact("privileges", "array")
                .table("principals")
                .table("paths"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let query = args.clone();
        let args: Args = cx.args(args)?;
        let page = Page::of(NAME, &query, args.cursor.as_deref(), args.limit)?;
        let keeper = Keeper::find(cx, args.cluster.as_deref())?;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let (path, who, privilege) = (given(&args.path), given(&args.who), given(&args.privilege));
        let path = path.map(|path| clean(path.trim()));
        let Read { book, gaps } = keeper.read(cx).await?;
        if let Some(privilege) = &privilege {
            known_privilege(&book, privilege)?;
        }
        let ask = Ask { cx, keeper: &keeper, book: &book, privilege: privilege.as_deref() };
        let who = who.map(|who| ask.principal(who.trim())).transpose()?;
        let report = match (who, path) {
            (Some(who), Some(path)) => ask.one(&who, &path).await,
            (Some(who), None) => ask.of_principal(&who, page),
            (None, path) => ask.of_path(&path.unwrap_or_else(|| "/".to_owned()), page),
        };
        Ok(gaps.into_iter().fold(report, Report::note))
    }
}

/// Whoever is asked about.
enum Principal {
    /// A user or a token.
    One(String),
    Group(String),
}

/// A question and what answers it.
struct Ask<'a> {
    cx: &'a Cx,
    keeper: &'a Keeper,
    book: &'a Book,
    privilege: Option<&'a str>,
}

fn known_privilege(book: &Book, privilege: &str) -> Result<(), ToolError> {
    let all: BTreeSet<&str> = book.roles.values().flatten().map(String::as_str).collect();
    if all.is_empty() || all.contains(privilege) {
        return Ok(());
    }
    let word = privilege.to_ascii_lowercase();
    let last = word.rsplit('.').next().unwrap_or_default();
    let close = all.iter().filter(|it| it.to_ascii_lowercase().contains(last));
    let close: Vec<&&str> = close.take(8).collect();
    let privilege = stdx::untrusted::line(privilege, 60);
    let error = ToolError::not_found(format!("no privilege is called `{privilege}`"));
    Err(if close.is_empty() {
        error.hint("privileges are written as in VM.PowerMgmt")
    } else {
        let close: Vec<&str> = close.into_iter().copied().collect();
        error.hint(format!("there are: {}", close.join(", ")))
    })
}

impl Ask<'_> {
    /// Finds who is meant: a user, a token, or a group (`@group` as well).
    fn principal(&self, given: &str) -> Result<Principal, ToolError> {
        let bare = given.strip_prefix('@').unwrap_or(given);
        if self.book.groups.contains_key(bare) {
            return Ok(Principal::Group(bare.to_owned()));
        }
        let all = self.book.principals();
        if all.contains(given) {
            return Ok(Principal::One(given.to_owned()));
        }
        // A name without its realm is taken where only one has it.
        let fits: Vec<&String> = all
            .iter()
            .filter(|it| it.split('@').next() == Some(given) && !it.contains('!'))
            .collect();
        if let [one] = fits.as_slice() {
            return Ok(Principal::One((*one).clone()));
        }
        let shown = stdx::untrusted::line(given, 60);
        let error = ToolError::not_found(format!("{} has no `{shown}`", self.keeper.key()));
        let mut table = Table::new("principals", &["who"]);
        let users = all.iter().filter(|it| !it.contains('!')).take(40);
        users.for_each(|user| table.push(vec![Cell::text(user)]));
        let groups = self.book.groups.keys().take(20);
        groups.for_each(|group| table.push(vec![Cell::text(format!("@{group}"))]));
        Err(error.choices(table))
    }

    /// Everybody who may do something on the path.
    fn of_path(&self, path: &str, page: Page) -> Report {
        let key = self.keeper.key();
        let now = self.cx.now();
        let (mut able, mut barred) = (Vec::new(), Vec::new());
        for who in self.book.principals() {
            let rights = self.book.rights(&who, path);
            let holds = match self.privilege {
                Some(privilege) => rights.privileges.contains_key(privilege),
                None => !rights.privileges.is_empty(),
            };
            if !holds {
                continue;
            }
            let bar = self.book.barred(&who, now);
            let row = self.principal_row(&who, &rights, bar);
            if bar.is_some() { barred.push(row) } else { able.push(row) }
        }
        let (count, out) = (able.len(), barred.len());
        let what = self.privilege.map_or("do something", |_| "do it");
        let asked = self.privilege.map_or_else(String::new, |it| format!("{it}: "));
        let users = if count == 1 { "1 user or token" } else { "users and tokens" };
        let lead = if count == 1 {
            format!("{asked}{users} may {what} on {path} of {key}")
        } else {
            format!("{asked}{count} {users} may {what} on {path} of {key}")
        };
        let mut report = Report::new(lead).fact("path", path).fact("principal_count", count);
        if out > 0 {
            report = report.note(format!("{out} more would, but cannot log in: the last rows"));
        }
        let columns = ["who", "privileges", "powerful", "barred", "through"];
        let mut table = Table::new("principals", &columns);
        able.extend(barred);
        page.fill(&mut table, able);
        report.table(table)
    }

    fn principal_row(&self, who: &str, rights: &Rights, bar: Option<&str>) -> Vec<Cell> {
        vec![
            Cell::text(who),
            Cell::number(rights.privileges.len()),
            powerful(rights),
            Cell::opt(bar),
            Cell::text(self.through(who, rights)),
        ]
    }

    /// The lines in words.
    fn through(&self, who: &str, rights: &Rights) -> String {
        if who == "root@pam" {
            return "root@pam may do everything".to_owned();
        }
        let (user, token) = who.split_once('!').map_or((who, None), |(u, t)| (u, Some(t)));
        let facts = token
            .and_then(|token| self.book.users.get(user)?.tokens.get(token))
            .map(|facts| facts.separate);
        let mut lines: Vec<String> = rights.through.iter().map(Through::sentence).collect();
        lines.dedup();
        let mut text = lines.join("; ");
        match facts {
            Some(true) => text.push_str(" (at most what its user has)"),
            Some(false) => text = format!("as its user: {text}"),
            None => {}
        }
        text
    }

    /// What one may do on one path, and why.
    async fn one(&self, who: &Principal, path: &str) -> Report {
        let who = match who {
            Principal::One(who) => who,
            Principal::Group(group) => return self.group(group, Some(path)),
        };
        let key = self.keeper.key();
        let rights = self.book.rights(who, path);
        let bar = self.book.barred(who, self.cx.now());
        let through = self.through(who, &rights);
        let mut report = match self.privilege {
            Some(privilege) => {
                let allowed = rights.privileges.contains_key(privilege);
                let lead = if allowed {
                    format!("yes: {who} has {privilege} on {path} of {key}, through {through}")
                } else {
                    let why = self.why_not(who, path, privilege, &rights);
                    format!("no: {who} has no {privilege} on {path} of {key}: {why}")
                };
                Report::new(lead).fact("allowed", allowed)
            }
            None if rights.privileges.is_empty() => {
                let why = self.why_nothing(who, path, &rights);
                Report::new(format!("{who} may do nothing on {path} of {key}: {why}"))
            }
            None => {
                let count = counted(rights.privileges.len(), "privilege");
                Report::new(format!("{who} has {count} on {path} of {key}, through {through}"))
            }
        };
        report = report.fact("who", who.as_str()).fact("path", path);
        if let Some(bar) = bar {
            report = report.note(format!("{bar}, so none of it can be used now"));
        }
        if self.privilege.is_none() {
            report = told_privileges(report, &rights);
        }
        if !rights.capped.is_empty() {
            let capped: Vec<&String> = rights.capped.iter().collect();
            report = report.note(format!(
                "the token's own lines also give {}, which its user lacks here",
                few(&capped)
            ));
        }
        self.compare(report, who, path, &rights).await
    }

    /// Asks the server itself, whose answer counts, and says where the two differ.
    async fn compare(&self, report: Report, who: &str, path: &str, rights: &Rights) -> Report {
        let told = match self.keeper.told(who, Some(path)).await {
            Ok(told) => told,
            Err(error) if error.kind() == api_core::ErrorKind::PermissionDenied => {
                return report
                    .note("worked out from the access control list; the token may not ask the server about others");
            }
            Err(error) => {
                return report
                    .note(format!("not confirmed by the server: {}", stdx::Chain(&error)));
            }
        };
        let told: BTreeSet<&String> = told.get(path).into_iter().flat_map(BTreeMap::keys).collect();
        let ours: BTreeSet<&String> = rights.privileges.keys().collect();
        if told == ours {
            return report.fact("confirmed", true);
        }
        let extra: Vec<&&String> = told.difference(&ours).collect();
        let less: Vec<&&String> = ours.difference(&told).collect();
        let names =
            |all: &[&&String]| all.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ");
        let mut report = report.fact("confirmed", false);
        if !extra.is_empty() {
            report = report.note(format!("the server itself also gives {}: rely on that, the lines that this token sees are not all", names(&extra)));
        }
        if !less.is_empty() {
            report = report
                .note(format!("the server itself does not give {}: rely on that", names(&less)));
        }
        report
    }

    fn why_not(&self, who: &str, path: &str, privilege: &str, rights: &Rights) -> String {
        if rights.capped.contains(privilege) {
            return "its own lines give it, but its user lacks it, and a token has at most what its user has".to_owned();
        }
        if rights.through.is_empty() {
            return self.why_nothing(who, path, rights);
        }
        let through = self.through(who, rights);
        let above = self
            .above(who, path)
            .into_iter()
            .find(|(_, higher)| higher.privileges.contains_key(privilege));
        match above {
            Some((higher, _)) => format!(
                "it has it on {higher}, but {through} is deeper and replaces what comes from above"
            ),
            None => format!("{through} does not bring it"),
        }
    }

    fn why_nothing(&self, who: &str, path: &str, rights: &Rights) -> String {
        if rights.none {
            return format!("{} takes everything away", self.through(who, rights));
        }
        if !rights.capped.is_empty() {
            return "a token has at most what its user has, and that is nothing here".to_owned();
        }
        let near = self.above(who, path).into_iter().next();
        match near {
            Some((higher, _)) => format!("what it has on {higher} does not reach further down"),
            None => "no line names it, its groups or anything above".to_owned(),
        }
    }

    /// What it may do on the levels above, from the nearest up, where that is anything.
    fn above(&self, who: &str, path: &str) -> Vec<(String, Rights)> {
        let mut found = Vec::new();
        let mut path = path;
        while let Some(end) = path.rfind('/').filter(|_| path != "/") {
            path = if end == 0 { "/" } else { &path[..end] };
            let rights = self.book.rights(who, path);
            if !rights.privileges.is_empty() {
                found.push((path.to_owned(), rights));
            }
        }
        found
    }

    /// Where one may do what.
    fn of_principal(&self, who: &Principal, page: Page) -> Report {
        let who = match who {
            Principal::One(who) => who,
            Principal::Group(group) => return self.group(group, None),
        };
        let key = self.keeper.key();
        let mut rows = Vec::new();
        let mut all: BTreeSet<String> = BTreeSet::new();
        let mut before: Option<(String, Rights)> = None;
        let mut places = 0;
        // What a pool lends to all its guests is told once.
        let mut lent: BTreeMap<String, (Vec<String>, Rights)> = BTreeMap::new();
        for path in self.book.paths() {
            let rights = self.book.rights(who, &path);
            let holds = match self.privilege {
                Some(privilege) => rights.privileges.contains_key(privilege),
                None => !rights.privileges.is_empty() || rights.none,
            };
            // A path that only repeats what reaches it from above says nothing.
            let repeats = before.as_ref().is_some_and(|(above, higher)| {
                (above == "/" || path.starts_with(&format!("{above}/")))
                    && higher.privileges == rights.privileges
                    && higher.through == rights.through
            });
            if !holds || repeats {
                continue;
            }
            all.extend(rights.privileges.keys().cloned());
            places += 1;
            if rights.through.iter().all(|it| it.pool.is_some()) && !rights.through.is_empty() {
                let known = lent.entry(self.through(who, &rights));
                known.or_insert_with(|| (Vec::new(), rights.clone())).0.push(path);
                continue;
            }
            rows.push(self.path_row(who, Cell::text(&path), &rights));
            if rights.privileges.values().any(|below| *below) {
                before = Some((path, rights));
            }
        }
        for (paths, rights) in lent.values() {
            let text = few(paths).replace(", ", ",");
            rows.push(self.path_row(who, Cell::with(paths.clone(), text), rights));
        }
        let (count, places) = (counted(all.len(), "privilege"), counted(places, "path"));
        let lead = match self.privilege {
            Some(privilege) if rows.is_empty() => {
                format!("{who} has {privilege} nowhere on {key}")
            }
            Some(privilege) => format!("{who} has {privilege} on {places} of {key}"),
            None if rows.is_empty() => format!("{who} may do nothing on {key}"),
            None => format!("{who} has {count} on {places} of {key}"),
        };
        let mut table = Table::new("paths", &["path", "privileges", "powerful", "through"]);
        page.fill(&mut table, rows);
        let mut report = Report::new(lead).fact("who", who.as_str()).table(table);
        if let Some(bar) = self.book.barred(who, self.cx.now()) {
            report = report.note(format!("{bar}, so none of it can be used now"));
        }
        report.next(NAME, json!({"cluster": key, "who": who, "path": "/"}))
    }

    fn path_row(&self, who: &str, path: Cell, rights: &Rights) -> Vec<Cell> {
        vec![
            path,
            Cell::number(rights.privileges.len()),
            powerful(rights),
            Cell::text(self.through(who, rights)),
        ]
    }

    /// What the lines give to a group.
    fn group(&self, group: &str, path: Option<&str>) -> Report {
        let key = self.keeper.key();
        let members: Vec<&String> = self.book.groups.get(group).into_iter().flatten().collect();
        let lines = self.book.lines.iter().filter(|line| {
            line.is_group
                && line.who == group
                && path.is_none_or(|path| {
                    line.path == path
                        || line.propagate
                            && (line.path == "/" || path.starts_with(&format!("{}/", line.path)))
                })
        });
        let mut table = Table::new("paths", &["path", "role", "below", "privileges"]);
        for line in lines {
            let privileges = self.book.roles.get(&line.role).map_or(0, BTreeSet::len);
            table.push(vec![
                Cell::text(&*line.path),
                Cell::text(&*line.role),
                Cell::with(line.propagate, if line.propagate { "yes" } else { "no" }),
                Cell::number(privileges),
            ]);
        }
        let lead = format!(
            "group {group} of {key} has {} and {}",
            counted(members.len(), "member"),
            counted(table.rows.len(), "line")
        );
        let names: Vec<String> = members.into_iter().cloned().collect();
        Report::new(lead)
            .fact("who", format!("@{group}"))
            .detail("members", Cell::words(&names))
            .table(table)
            .note("a line that names a user itself goes before those of its groups; ask with a user as who for what counts")
    }
}

/// Which of the privileges let their holder take more, or break much.
fn powerful(rights: &Rights) -> Cell {
    let held = POWERFUL.iter().filter(|it| rights.privileges.contains_key(**it));
    let held: Vec<String> = held.map(|it| (*it).to_owned()).collect();
    match held.len() {
        0..=SHOWN => Cell::words(&held),
        count => {
            let text = format!("{},+{}", held[..SHOWN].join(","), count - SHOWN);
            Cell::with(held, text)
        }
    }
}

/// The privileges by their first word: `VM: Audit, Backup, PowerMgmt`.
fn told_privileges(report: Report, rights: &Rights) -> Report {
    let mut by_kind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for privilege in rights.privileges.keys() {
        let (kind, rest) = privilege.split_once('.').unwrap_or((privilege, ""));
        by_kind.entry(kind).or_default().push(rest);
    }
    let parts = by_kind.iter().map(|(kind, names)| format!("{kind}: {}", names.join(", ")));
    let text = parts.collect::<Vec<_>>().join("; ");
    if text.is_empty() {
        return report;
    }
    let names: Vec<Value> = rights.privileges.keys().map(|it| Value::from(it.as_str())).collect();
    let here: Vec<&String> =
        rights.privileges.iter().filter(|(_, below)| !**below).map(|(name, _)| name).collect();
    let report = report.detail("privileges", Cell::with(names, text));
    match here.len() {
        0 => report,
        all if all == rights.privileges.len() => report.note("none of it reaches further down"),
        _ => report.note(format!("on this path only: {}", few(&here))),
    }
}
