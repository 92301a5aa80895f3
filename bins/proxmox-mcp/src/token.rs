//! `proxmox-mcp token …`: makes, lists and revokes the bearer tokens of `serve --http`.
//!
//! *Invariant:* a token is written to standard output once, when it is made, and nowhere else.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use gateway::auth::{TokenError, TokenFile, TokenInfo};
use guard::Scope;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use settings::Loaded;
use stdx::{Clock, SystemClock};

use crate::cli::SourceArgs;
use crate::estate;
use crate::output::{self, Said};

/// A call failed: no token has that name.
const FAILED: u8 = 1;
/// Longer than this a token is meant to be good for ever, and should say so.
const LONGEST: SignedDuration = SignedDuration::from_hours(20 * 366 * 24);

const NEW_EXAMPLES: &str = "\
A scope is a tier (read, operate, destroy) and what it is kept to, with commas between:
  --scope read                                   every read
  --scope read,toolset:default                   the reads of one toolset
  --scope operate,cluster:home                   start, stop and snapshot in one cluster

Examples:
  proxmox-mcp token new --name n8n --scope read,toolset:default --expires 90d
  TOKEN=$(proxmox-mcp token new --name ci)";

/// What to do with tokens.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "read once from the command line")]
pub(crate) enum TokenCommand {
    /// Make a token; it is printed once, and only its hash is kept.
    #[command(after_help = NEW_EXAMPLES)]
    New {
        /// Its name: who calls with it, in the audit log and in `token list`
        #[arg(long)]
        name: String,
        /// What it allows at most
        #[arg(long, default_value = "read", value_parser = parse_scope)]
        scope: Scope,
        /// When it ends: 90d, 12h, or a date that it is still good on (2027-01-31) [default: never]
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// Print one JSON object instead of the token alone
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// List the tokens: names, scopes, when they were made, used, and when they end.
    List {
        /// Print one JSON document instead of a table
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Take a token back; a server that runs refuses it from the next request on.
    Revoke {
        /// Its name
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// Where the tokens are.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PlaceArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The folder that the tokens are in, whatever the settings say [default: `server.state_dir`]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "env_file"])]
    state_dir: Option<PathBuf>,
}

/// The folder of the tokens, and the settings if they were asked.
struct Place {
    file: TokenFile,
    loaded: Option<Loaded>,
}

/// Runs a command on the streams of this process.
pub(crate) fn run(command: TokenCommand) -> anyhow::Result<ExitCode> {
    execute(command, &SystemClock, &TimeZone::system())?.print()
}

fn execute(command: TokenCommand, clock: &dyn Clock, zone: &TimeZone) -> anyhow::Result<Said> {
    match command {
        TokenCommand::New { name, scope, expires, json, place } => {
            let place = place.find()?;
            if let Some(loaded) = &place.loaded {
                assembly::check_scope(loaded, &scope)?;
            }
            let now = clock.now();
            let expires = expires.map(|text| end(&text, now, zone)).transpose()?;
            let (token, info) = place.file.create(&name, &scope, expires, now)?;
            let token = token.expose_secret();
            let ends = info
                .expires
                .map_or("never ends".to_owned(), |at| format!("ends {}", day(at, zone)));
            let err = format!(
                "token:{name} may {scope} and {ends}; it is shown only now, its hash is in {}\n",
                place.file.path().display()
            );
            let out = if json {
                let mut object = described(&info);
                object["token"] = json!(token);
                object.to_string()
            } else {
                token.to_owned()
            };
            Ok(Said { out, err, code: 0 })
        }
        TokenCommand::List { json, place } => {
            let file = place.find()?.file;
            let tokens = file.list()?;
            if json {
                let tokens: Vec<Value> = tokens.iter().map(described).collect();
                let out = json!({ "file": file.path(), "tokens": tokens }).to_string();
                return Ok(Said { out, ..Said::default() });
            }
            if tokens.is_empty() {
                let hint = "`proxmox-mcp token new --name NAME` makes one";
                let err = format!("no token is in {}; {hint}\n", file.path().display());
                return Ok(Said { err, ..Said::default() });
            }
            Ok(Said { out: table(&tokens, clock.now(), zone), ..Said::default() })
        }
        TokenCommand::Revoke { name, json, place } => {
            let file = place.find()?.file;
            match file.revoke(&name) {
                Ok(info) if json => {
                    let out = json!({ "revoked": described(&info) }).to_string();
                    Ok(Said { out, ..Said::default() })
                }
                Ok(info) => {
                    let out = format!("revoked token:{}", info.name);
                    Ok(Said { out, ..Said::default() })
                }
                Err(error @ TokenError::Unknown { .. }) => {
                    let err = format!("error: {error}\n");
                    Ok(Said { err, code: FAILED, ..Said::default() })
                }
                Err(error) => Err(error.into()),
            }
        }
    }
}

// === impl PlaceArgs ===

impl PlaceArgs {
    fn find(&self) -> anyhow::Result<Place> {
        if let Some(folder) = &self.state_dir {
            return Ok(Place { file: TokenFile::new(folder), loaded: None });
        }
        let loaded = settings::load(&estate::sources(&self.source)).context(
            "find the folder of the tokens in the settings (--state-dir names it without them)",
        )?;
        let file = TokenFile::new(&loaded.settings.server.state_dir);
        Ok(Place { file, loaded: Some(loaded) })
    }
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|error: guard::InvalidScope| error.to_string())
}

/// The moment that `--expires` means.
fn end(text: &str, now: Timestamp, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    let utc = now.to_zoned(TimeZone::UTC);
    let end = if let Ok(date) = text.parse::<Date>() {
        // Good through that day, as people here count days.
        let next = date.tomorrow().context("the date is too late")?;
        next.to_zoned(zone.clone()).context("the date is none here")?.timestamp()
    } else {
        let Ok(span) = text.parse::<Span>() else {
            bail!("--expires takes a time such as 90d or 12h, or a date such as 2027-01-31");
        };
        utc.checked_add(span).context("--expires is too late")?.timestamp()
    };
    if end <= now {
        bail!("--expires {text} is over already");
    }
    if end.duration_since(now) > LONGEST {
        bail!("--expires is more than twenty years away: leave it out for a token that never ends");
    }
    Ok(end)
}

fn described(info: &TokenInfo) -> Value {
    json!({
        "name": info.name,
        "principal": format!("token:{}", info.name),
        "id": info.id,
        "scope": info.scope.to_string(),
        "created": info.created.to_string(),
        "expires": info.expires.map(|time| time.to_string()),
        "last_used": info.last_used.map(|day| day.to_string()),
    })
}

/// Columns for people.
fn table(tokens: &[TokenInfo], now: Timestamp, zone: &TimeZone) -> String {
    let head = ["NAME", "SCOPE", "MADE", "ENDS", "LAST USED"].map(str::to_owned);
    let rows = tokens.iter().map(|info| {
        let ends = match info.expires {
            None => "never".to_owned(),
            Some(at) if at <= now => format!("{} (over)", day(at, zone)),
            Some(at) => day(at, zone),
        };
        let used = info.last_used.map_or("never".to_owned(), |day| day.to_string());
        [info.name.clone(), info.scope.to_string(), day(info.created, zone), ends, used]
    });
    output::columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// A moment as people here write it, to the minute.
fn day(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use clap::Parser as _;
    use expect_test::expect;
    use stdx::ManualClock;

    use super::*;
    use crate::cli::{Cli, Command};

    fn clock() -> ManualClock {
        ManualClock::at("2026-11-20T12:00:00Z".parse().unwrap())
    }

    /// What a command line says, with the folder's name and the token taken out.
    fn say(folder: &std::path::Path, line: &str) -> String {
        let state = folder.to_str().unwrap();
        let args = ["proxmox-mcp", "token"].into_iter().chain(line.split(' '));
        let cli = match Cli::try_parse_from(args.chain(["--state-dir", state])) {
            Ok(cli) => cli,
            Err(error) => return error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let Command::Token(command) = cli.command else { panic!("another command") };
        let said = match execute(command, &clock(), &TimeZone::UTC) {
            Ok(said) => format!("[{}] {}{}", said.code, said.err, said.out),
            Err(error) => format!("error: {error:#}"),
        };
        let mut text = said.replace(state, "DIR");
        while let Some(at) = text.find("pmx_") {
            text.replace_range(at..at + 77, "TOKEN");
        }
        // Ids are random.
        match text.find("\"id\":\"") {
            Some(at) => text[..at + 6].to_owned() + "ID" + &text[at + 14..],
            None => text,
        }
    }

    #[test]
    fn a_token_is_made_listed_and_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let mut story = String::new();
        for line in [
            "list",
            "new --name n8n --scope read,toolset:default --expires 90d",
            "new --name ci",
            "new --name n8n",
            "new --name ops --scope operate,cluster:home --expires 2027-01-31 --json",
            "new --name bad --scope write",
            "new --name bad --scope toolset:default",
            "new --name bad --expires soon",
            "new --name bad --expires 2026-11-19",
            "new --name bad --expires 0d",
            "new --name bad --expires 50y",
            "new --name bad/name",
            "list",
            "revoke n8n",
            "revoke n8n",
            "revoke ops --json",
            "list --json",
        ] {
            let said = say(folder.path(), line);
            let _ = writeln!(story, "$ token {line}\n{}", said.trim_end());
        }
        expect![[r#"
            $ token list
            [0] no token is in DIR/tokens.toml; `proxmox-mcp token new --name NAME` makes one
            $ token new --name n8n --scope read,toolset:default --expires 90d
            [0] token:n8n may read,toolset:default and ends 2027-02-18 12:00; it is shown only now, its hash is in DIR/tokens.toml
            TOKEN
            $ token new --name ci
            [0] token:ci may read and never ends; it is shown only now, its hash is in DIR/tokens.toml
            TOKEN
            $ token new --name n8n
            error: make the token: there is one called "n8n"; revoke it first, or choose another name
            $ token new --name ops --scope operate,cluster:home --expires 2027-01-31 --json
            [0] token:ops may operate,cluster:home and ends 2027-02-01 00:00; it is shown only now, its hash is in DIR/tokens.toml
            {"name":"ops","principal":"token:ops","id":"ID","scope":"operate,cluster:home","created":"2026-11-20T12:00:00Z","expires":"2027-02-01T00:00:00Z","last_used":null,"token":"TOKEN"}
            $ token new --name bad --scope write
            error: invalid value 'write' for '--scope <SCOPE>': `write` is not a scope: use read, operate, destroy, toolset:NAME, cluster:KEY, node:NAME, pool:NAME, tag:NAME, vmid:100-199, hours:mon-fri/08:00-18:00@ZONE, rate:60, changes:5 or guests:10
            $ token new --name bad --scope toolset:default
            error: invalid value 'toolset:default' for '--scope <SCOPE>': the scope has no tier: add read, operate or destroy
            $ token new --name bad --expires soon
            error: --expires takes a time such as 90d or 12h, or a date such as 2027-01-31
            $ token new --name bad --expires 2026-11-19
            error: --expires 2026-11-19 is over already
            $ token new --name bad --expires 0d
            error: --expires 0d is over already
            $ token new --name bad --expires 50y
            error: --expires is more than twenty years away: leave it out for a token that never ends
            $ token new --name bad/name
            error: name a token "bad/name": use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit
            $ token list
            [0] NAME  SCOPE                 MADE              ENDS              LAST USED
            ci    read                  2026-11-20 12:00  never             never
            n8n   read,toolset:default  2026-11-20 12:00  2027-02-18 12:00  never
            ops   operate,cluster:home  2026-11-20 12:00  2027-02-01 00:00  never
            $ token revoke n8n
            [0] revoked token:n8n
            $ token revoke n8n
            [1] error: find a token called "n8n"; there are ci, ops
            $ token revoke ops --json
            [0] {"revoked":{"name":"ops","principal":"token:ops","id":"ID","scope":"operate,cluster:home","created":"2026-11-20T12:00:00Z","expires":"2027-02-01T00:00:00Z","last_used":null}}
            $ token list --json
            [0] {"file":"DIR/tokens.toml","tokens":[{"name":"ci","principal":"token:ci","id":"ID","scope":"read","created":"2026-11-20T12:00:00Z","expires":null,"last_used":null}]}
        "#]].assert_eq(&story);
    }
}
