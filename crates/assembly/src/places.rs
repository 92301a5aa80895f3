//! What a manager has of its own, looked at from outside: its folders, its store, its socket.
//!
//! *Invariant:* nothing is made or opened for writing: what a folder lets us do, the system says.

use std::path::Path;
use std::time::Duration;

use checks::{Finding, Status};
use control_api::{Client, ErrorKind};
use manager::Lock;
use rustix::fs::{Access, access};
use stdx::Chain;
use store::StoreUrl;

use crate::estate::Estate;
use crate::kept;

/// The longest name that a socket can have, without the byte that ends it.
const LONGEST_SOCKET: usize = 107;

/// Looks at all of them.
///
/// # Errors
/// The URL of the store is none.
pub(crate) async fn look(estate: &Estate, deadline: Duration) -> anyhow::Result<Vec<Finding>> {
    let settings = &estate.loaded.settings;
    let state = &settings.server.state_dir;
    let is_taken = Lock::is_held(state);
    let tools = estate.app()?.tool_specs().len();
    let members = settings.pve.len() + settings.pbs.len();
    let approvers = settings.approvers.len();
    let said =
        format!("good: {members} clusters and servers, {tools} tools, {approvers} approvers");
    let mut findings = vec![
        Finding::new("manager", "settings", Status::Pass, said),
        folder("state", "server.state_dir", state, is_taken),
    ];
    let url = kept::store_url(&estate.loaded)?;
    findings.push(match tokio::time::timeout(deadline, store::look(&url)).await {
        Ok(looked) => kept_in(&url, looked),
        Err(_) => {
            let seen = format!("{url} has not answered within {} s", deadline.as_secs());
            Finding::new("manager", "store", Status::Fail, seen)
                .hint("see whether its server can be reached from here")
        }
    });
    if settings.events.enabled {
        let spool = settings.events.spool_dir.clone().unwrap_or_else(|| state.join("spool"));
        findings.push(folder("spool", "events.spool_dir", &spool, false));
    }
    let socket = settings.manager.socket_in(state, control_api::SOCKET);
    findings.push(socket_at(&socket, &estate.options.version, deadline).await);
    Ok(findings)
}

fn folder(check: &'static str, key: &str, path: &Path, is_taken: bool) -> Finding {
    let shown = path.display();
    match writable(path) {
        Ok(()) if is_taken => {
            let seen = format!("{shown}; a manager runs on it now");
            Finding::new("manager", check, Status::Pass, seen)
        }
        Ok(()) => Finding::new("manager", check, Status::Pass, shown.to_string()),
        Err(why) => Finding::new("manager", check, Status::Fail, format!("{shown}: {why}"))
            .hint(format!("let this account write there, or name another folder as `{key}`")),
    }
}

/// Whether this account can write there, or make what is missing.
fn writable(path: &Path) -> Result<(), String> {
    let there = path.ancestors().find(|it| it.exists()).unwrap_or_else(|| Path::new("/"));
    if !there.is_dir() {
        return Err(format!("{} is no folder", there.display()));
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|errno| format!("{}: {}", there.display(), std::io::Error::from(errno)))
}

fn kept_in(url: &StoreUrl, looked: Result<store::Looked, store::Error>) -> Finding {
    let fail = |seen: String| Finding::new("manager", "store", Status::Fail, seen);
    let looked = match looked {
        Ok(looked) => looked,
        Err(error) if error.kind() == store::ErrorKind::NewerSchema => {
            return fail(error.to_string()).hint("run the newer program");
        }
        Err(error) => {
            return fail(Chain(&error).to_string())
                .hint("see `server.store_url`, and whether the database runs");
        }
    };
    if let (None, StoreUrl::Sqlite(file)) = (looked.version, url)
        && let Err(why) = writable(file.parent().unwrap_or(file))
    {
        return fail(format!("{url}: {why}"))
            .hint("let this account write there, or name another file as `server.store_url`");
    }
    let of = match looked.version {
        Some(version) => format!("{url}, version {version}"),
        None => format!("{url}, new"),
    };
    let of = match &looked.holder {
        Some((holder, since)) => format!("{of}; {holder} has it since {since}"),
        None => of,
    };
    if looked.version.is_some_and(|version| version < looked.known) {
        let known = looked.known;
        let seen = format!("{of}; the next program that opens it migrates it to version {known}");
        let hint = match url {
            StoreUrl::Postgres(_) => {
                "make a dump first: `pg_dump --format=custom --file=store.dump …`"
            }
            _ => "a copy is made beside it, and the way back is said",
        };
        return Finding::new("manager", "store", Status::Warn, seen).hint(hint);
    }
    Finding::new("manager", "store", Status::Pass, of)
}

async fn socket_at(socket: &Path, version: &str, deadline: Duration) -> Finding {
    let shown = socket.display();
    let fail = |seen: String| Finding::new("manager", "socket", Status::Fail, seen);
    let length = socket.as_os_str().len();
    if length > LONGEST_SOCKET {
        return fail(format!("{shown} has {length} bytes, of {LONGEST_SOCKET} at most"))
            .hint("name a shorter one as `manager.socket`");
    }
    let connected = tokio::time::timeout(deadline, Client::connect(socket, version)).await;
    match connected {
        Ok(Ok(client)) => {
            let seen = format!("{shown}; the manager of process {} answers", client.welcome().pid);
            Finding::new("manager", "socket", Status::Pass, seen)
        }
        Ok(Err(error)) if error.kind() == ErrorKind::Absent => {
            let folder = socket.parent().unwrap_or_else(|| Path::new("/"));
            match writable(folder) {
                Ok(()) => Finding::new("manager", "socket", Status::Pass, shown.to_string()),
                Err(why) => fail(format!("{shown}: {why}")).hint(
                    "let this account write there, or name another place as `manager.socket`",
                ),
            }
        }
        Ok(Err(error)) => fail(format!("{shown}: {}", Chain(&error)))
            .hint("a manager runs: see whether it is of this version"),
        Err(_) => fail(format!("{shown}: nothing answered within {} s", deadline.as_secs()))
            .hint("a manager has it and hangs: see its log"),
    }
}
