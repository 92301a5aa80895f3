//! `users_list`: users, tokens, groups and realms; whoever stands out first. No secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use serde::Deserialize;

use super::{
    ask::few,
    book::Keeper,
    page::{Page, Rows},
    rights::Book,
};
use crate::{
    error::ToolError,
    fleet::GATHER_DEADLINE,
    report::{Cell, Report, Table, age, rfc3339},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::{parts, tally::counted},
};

const NAME: &str = "users_list";

/// Lists users.
pub struct UsersList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A user of either product.
struct User {
    id: String,
    enabled: bool,
    expires: Option<Timestamp>,
    locked: bool,
    groups: Vec<String>,
    tokens: Vec<Token>,
    comment: Option<String>,
}

struct Token {
    name: String,
    separate: bool,
    expires: Option<Timestamp>,
    disabled: bool,
    comment: Option<String>,
}

/// What one cluster or server has.
struct People {
    users: Vec<User>,
    groups: Vec<(String, usize, Option<String>)>,
    realms: Vec<(String, String, Option<String>)>,
    /// Kinds of second factors by user; what could not be read has a reason instead.
    factors: Result<BTreeMap<String, BTreeSet<String>>, Error>,
    /// Who may change who may do what, if the lines could be read.
    book: Option<Book>,
}

/// The rows of all tables.
#[derive(Default)]
struct Parts {
    users: Rows,
    tokens: Rows,
    groups: Rows,
    realms: Rows,
    notes: Vec<String>,
}

#[async_trait]
impl EstateTool for UsersList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List users",
            description: "Users, API tokens, groups and realms: state, expiry, second factor, administrators; what stands out first.",
            input: Input::new().cluster().paged(),
            output: Output::new()
                .fact("user_count", "integer")
                .fact("token_count", "integer")
                .table("users")
                .table("tokens")
                .table("groups")
                .table("realms"),
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
        let (clusters, servers) = cx.fleet.members_for(args.cluster.as_deref())?;
        let now = cx.now();
        let (pve, pbs) = futures::join!(
            cx.fleet.gather(clusters, GATHER_DEADLINE, |member| async move {
                let people = of_cluster(cx, &member);
                let (people, held) = futures::join!(people, sight::of_pve(&member, now));
                Ok::<_, Error>((people?, held))
            }),
            cx.fleet.gather(servers, GATHER_DEADLINE, |member| async move {
                let people = of_server(cx, &member);
                let (people, held) = futures::join!(people, sight::of_pbs(&member, now));
                Ok::<_, Error>((people?, held))
            }),
        );
        let mut parts = Parts::default();
        let mut report = Report::default();
        for (member, (people, held)) in &pve.answers {
            let key = member.key.as_str();
            // Without these the list has one's own factors only, and that is no sign of none.
            let sees = held.as_deref().is_some_and(|held| {
                let path = "/access/groups";
                held.has(path, "Sys.Audit") || held.has(path, "User.Modify")
            });
            report = parts.add(report, key, people, sees, now);
            report = sight::tell(report, key, held.as_deref(), &["access"]);
        }
        for (member, (people, held)) in &pbs.answers {
            let key = member.key.as_str();
            let sees =
                held.as_deref().is_some_and(|held| held.has("/access/users", "Permissions.Modify"));
            report = parts.add(report, key, people, sees, now);
            report = sight::tell(report, key, held.as_deref(), &["pbs_access"]);
        }
        let is_dark = pve.answers.is_empty() && pbs.answers.is_empty();
        let report = parts.report(report, is_dark, page);
        Ok(pbs.tell(pve.tell(report)))
    }
}

async fn of_cluster(cx: &Cx, member: &Arc<crate::fleet::Pve>) -> Result<People, Error> {
    use pve_client::access;

    let client = &member.client;
    let keeper = Keeper::Pve(Arc::clone(member));
    let (users, groups, realms, factors, book) = futures::join!(
        client.call(access::users(true)),
        client.call(access::groups()),
        client.call(access::realms()),
        client.call(access::factors()),
        keeper.read(cx),
    );
    let users = users?.into_iter().map(|user| User {
        enabled: user.enabled.unwrap_or(true),
        expires: user.expires,
        locked: user.totp_locked == Some(true) || user.tfa_locked_until.is_some(),
        groups: user.groups,
        tokens: user
            .tokens
            .into_iter()
            .map(|token| Token {
                name: token.name,
                separate: token.separate,
                expires: token.expires,
                disabled: false,
                comment: token.comment,
            })
            .collect(),
        comment: user.comment,
        id: user.id,
    });
    let groups = groups?.into_iter().map(|group| (group.id, group.users.len(), group.comment));
    let realms = realms?.into_iter().map(|realm| (realm.realm, realm.kind, realm.tfa));
    let factors = factors.map(|all| {
        let all = all.into_iter().map(|user| {
            let on = user.entries.into_iter().filter(|it| it.enabled != Some(false));
            (user.user, on.map(|it| it.kind).collect())
        });
        all.collect()
    });
    Ok(People {
        users: users.collect(),
        groups: groups.collect(),
        realms: realms.collect(),
        factors,
        book: book.ok().filter(|read| read.gaps.is_empty()).map(|read| read.book),
    })
}

async fn of_server(cx: &Cx, member: &Arc<crate::fleet::Pbs>) -> Result<People, Error> {
    use pbs_client::access;

    let client = &member.client;
    let keeper = Keeper::Pbs(Arc::clone(member));
    let (users, realms, factors, book) = futures::join!(
        client.call(access::users(true)),
        client.call(access::realms()),
        client.call(access::factors()),
        keeper.read(cx),
    );
    let users = users?.into_iter().map(|user| User {
        enabled: user.enabled.unwrap_or(true),
        expires: user.expires,
        locked: user.totp_locked == Some(true) || user.tfa_locked_until.is_some(),
        groups: Vec::new(),
        tokens: user
            .tokens
            .into_iter()
            .map(|token| Token {
                name: token.name.unwrap_or_else(|| {
                    token.id.split_once('!').map_or_else(String::new, |(_, name)| name.to_owned())
                }),
                separate: true,
                expires: token.expires,
                disabled: token.enabled == Some(false),
                comment: token.comment,
            })
            .collect(),
        comment: user.comment,
        id: user.id,
    });
    let realms = realms?.into_iter().map(|realm| (realm.realm, realm.kind, None));
    let factors = factors.map(|all| {
        let all = all.into_iter().map(|user| {
            let on = user.entries.into_iter().filter(|it| it.enabled != Some(false));
            (user.user, on.map(|it| it.kind).collect())
        });
        all.collect()
    });
    Ok(People {
        users: users.collect(),
        groups: Vec::new(),
        realms: realms.collect(),
        factors,
        book: book.ok().filter(|read| read.gaps.is_empty()).map(|read| read.book),
    })
}

// === impl Parts ===

impl Parts {
    /// Adds the people of one server; `sees` whether others' second factors are to be seen.
    fn add(
        &mut self,
        report: Report,
        key: &str,
        people: &People,
        sees: bool,
        now: Timestamp,
    ) -> Report {
        let report = match &people.factors {
            Ok(_) if sees => report,
            Ok(_) => {
                report.note(format!("{key}: others' second factors are not shown to this token"))
            }
            Err(error) => parts::missing(report, &format!("{key} second factors"), error),
        };
        let mut bare = Vec::new();
        for user in &people.users {
            let is_admin = people.book.as_ref().is_some_and(|book| {
                book.rights(&user.id, "/").privileges.contains_key("Permissions.Modify")
            });
            let factors = people.factors.as_ref().ok().filter(|_| sees);
            let factors = factors.map(|all| all.get(&user.id));
            let has_none = factors.is_some_and(|it| it.is_none_or(BTreeSet::is_empty));
            let can_log_in = user.state(now) == "enabled";
            if is_admin && has_none && can_log_in && user.tokens.is_empty() {
                bare.push(user.id.as_str());
            }
            self.user(key, user, factors.flatten(), is_admin, now);
            user.tokens.iter().for_each(|token| self.token(key, user, token, is_admin, now));
        }
        if !bare.is_empty() {
            self.notes.push(format!(
                "{key}: may change permissions and has no second factor: {}",
                few(&bare)
            ));
        }
        for (group, members, comment) in &people.groups {
            let row = vec![
                Cell::text(format!("{key}/{group}")),
                Cell::number(*members),
                Cell::opt(comment.as_deref().map(Cell::foreign)),
            ];
            self.groups.push(false, row);
        }
        for (realm, kind, tfa) in &people.realms {
            let row = vec![
                Cell::text(format!("{key}/{realm}")),
                Cell::text(&**kind),
                Cell::opt(tfa.clone()),
            ];
            self.realms.push(false, row);
        }
        report
    }

    fn user(
        &mut self,
        key: &str,
        user: &User,
        factors: Option<&BTreeSet<String>>,
        is_admin: bool,
        now: Timestamp,
    ) {
        let state = user.state(now);
        let factors: Vec<String> = factors.into_iter().flatten().cloned().collect();
        self.users.push(
            state != "enabled",
            vec![
                Cell::text(format!("{key}/{}", user.id)),
                Cell::text(state),
                until(user.expires, now),
                Cell::words(&user.groups),
                Cell::number(user.tokens.len()),
                Cell::words(&factors),
                Cell::with(is_admin, if is_admin { "yes" } else { "-" }),
                Cell::opt(user.comment.as_deref().map(Cell::foreign)),
            ],
        );
    }

    fn token(&mut self, key: &str, user: &User, token: &Token, is_admin: bool, now: Timestamp) {
        let is_over = token.expires.is_some_and(|end| end <= now);
        let problem = match (token.disabled, is_over, token.separate) {
            (true, ..) => Some("disabled"),
            (_, true, _) => Some("expired"),
            (_, _, false) if is_admin => Some("may do all that its administrator may"),
            (_, _, false) => Some("may do all that its user may"),
            _ => None,
        };
        self.tokens.push(
            problem.is_some(),
            vec![
                Cell::text(format!("{key}/{}!{}", user.id, token.name)),
                Cell::with(token.separate, if token.separate { "own" } else { "user's" }),
                until(token.expires, now),
                Cell::opt(problem),
                Cell::opt(token.comment.as_deref().map(Cell::foreign)),
            ],
        );
    }

    fn report(self, mut report: Report, is_dark: bool, page: Page) -> Report {
        let (users, tokens) = (self.users.len(), self.tokens.len());
        let lead = if is_dark {
            sight::NOBODY.to_owned()
        } else {
            let out = match self.users.wrong() {
                0 => String::new(),
                out => format!(" ({out} cannot log in)"),
            };
            format!(
                "{}{out}, {}, {}",
                counted(users, "user"),
                counted(tokens, "API token"),
                counted(self.groups.len(), "group")
            )
        };
        report.lead = lead;
        report.notes.splice(0..0, self.notes);
        let columns =
            ["user", "state", "expires", "groups", "tokens", "factors", "admin", "comment"];
        let mut all = Table::new("users", &columns);
        page.fill(&mut all, self.users.into_rows(true));
        let mut report = report
            .fact("user_count", (!is_dark).then_some(users))
            .fact("token_count", (!is_dark).then_some(tokens))
            .table(all);
        let tokens = ["token", "rights", "expires", "problem", "comment"];
        let groups = ["group", "members", "comment"];
        let realms = ["realm", "type", "factor"];
        for (name, columns, rows) in [
            ("tokens", &tokens[..], self.tokens),
            ("groups", &groups[..], self.groups),
            ("realms", &realms[..], self.realms),
        ] {
            let mut table = Table::new(name, columns);
            table.rows = rows.into_rows(true);
            if !table.rows.is_empty() {
                report = report.table(table);
            }
        }
        report
    }
}

// === impl User ===

impl User {
    fn state(&self, now: Timestamp) -> &'static str {
        if !self.enabled {
            "disabled"
        } else if self.expires.is_some_and(|end| end <= now) {
            "expired"
        } else if self.locked {
            "locked"
        } else {
            "enabled"
        }
    }
}

fn until(end: Option<Timestamp>, now: Timestamp) -> Cell {
    let Some(end) = end else { return Cell::none() };
    let text = age(end, now);
    let text = match text.strip_prefix("in ") {
        Some(left) => format!("in_{left}"),
        None => format!("{text}_ago"),
    };
    Cell::with(rfc3339(end), text)
}
