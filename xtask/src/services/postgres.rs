//! PostgreSQL from the Debian package, run by an account that is not root: it refuses root.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::debian::{
    self, Account, find_account, free_port, is_root, random_password, write_private,
};
use crate::workspace::{output, root};

const PACKAGE: &str = "postgresql";
const DEBIAN_PROGRAMS: &str = "/usr/lib/postgresql";

/// A started server, as its state files tell.
struct State {
    url: PathBuf,
    data: PathBuf,
}

/// Installs where needed, makes a cluster and starts it; nothing to do where it runs.
pub(super) fn start() -> Result<()> {
    let state = State::new();
    if let Some(folder) = state.running()? {
        println!("postgres runs already, in {}", folder.display());
        return Ok(());
    }
    state.forget()?;
    let programs = match programs() {
        Some(programs) => programs,
        None => install()?,
    };
    let account = account()?;
    let folder = state.make_folder(account.as_ref())?;
    let password = random_password()?;
    let password_file = folder.join("password");
    write_private(&password_file, &password, account.as_ref())?;

    let data = folder.join("data");
    let mut initdb = as_account(&programs.join("initdb"), account.as_ref());
    initdb.args(["--username=mcp", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
    initdb.args(["--no-sync", "--pwfile"]).arg(&password_file).arg("--pgdata").arg(&data);
    output(&mut initdb)?;

    let port = free_port()?;
    // The data is thrown away, so nothing is synced; tests still see every commit.
    let settings = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    );
    let mut pg_ctl = as_account(&programs.join("pg_ctl"), account.as_ref());
    pg_ctl.args(["start", "--wait", "--silent", "--options", &settings, "--pgdata"]).arg(&data);
    pg_ctl.arg("--log").arg(folder.join("log"));
    output(&mut pg_ctl).with_context(|| format!("its log is in {}", folder.display()))?;

    fs::write(&state.data, folder.to_str().context("the folder's name is no text")?)?;
    let url = format!("postgres://mcp:{password}@127.0.0.1:{port}/postgres");
    write_private(&state.url, &url, None)?;
    println!("postgres started on 127.0.0.1:{port}");
    Ok(())
}

/// Stops the server and removes its data.
pub(super) fn stop() -> Result<()> {
    let state = State::new();
    let Some(folder) = state.running()? else {
        println!("postgres does not run");
        return state.forget();
    };
    let programs = programs().context("the server's programs are gone")?;
    let mut pg_ctl = as_account(&programs.join("pg_ctl"), account()?.as_ref());
    pg_ctl.args(["stop", "--mode=fast", "--silent", "--pgdata"]).arg(folder.join("data"));
    output(&mut pg_ctl)?;
    println!("postgres stopped");
    state.forget()
}

/// Says whether it runs.
pub(super) fn status() -> Result<()> {
    match State::new().running()? {
        Some(folder) => println!("postgres runs, in {}", folder.display()),
        None => println!("postgres does not run"),
    }
    Ok(())
}

// === impl State ===

impl State {
    fn new() -> Self {
        let folder = root().join(".services");
        Self { url: folder.join("postgres.url"), data: folder.join("postgres.folder") }
    }

    /// The folder of the server that runs, if one does.
    fn running(&self) -> Result<Option<PathBuf>> {
        let Ok(folder) = fs::read_to_string(&self.data) else { return Ok(None) };
        let folder = PathBuf::from(folder);
        let Some(programs) = programs() else { return Ok(None) };
        let mut pg_ctl = as_account(&programs.join("pg_ctl"), account()?.as_ref());
        pg_ctl.args(["status", "--silent", "--pgdata"]).arg(folder.join("data"));
        let runs = self.url.exists() && output(&mut pg_ctl).is_ok();
        Ok(runs.then_some(folder))
    }

    /// Removes the state files, and the data if it is where we put it.
    fn forget(&self) -> Result<()> {
        if let Ok(folder) = fs::read_to_string(&self.data) {
            let folder = Path::new(&folder);
            if folder.ends_with("postgres") || folder.starts_with(std::env::temp_dir()) {
                fs::remove_dir_all(folder).ok();
            }
        }
        for file in [&self.url, &self.data] {
            if file.exists() {
                fs::remove_file(file)
                    .with_context(|| format!("cannot remove {}", file.display()))?;
            }
        }
        Ok(())
    }

    /// A folder of the account's own: beside the state where the account can get there, else among
    /// the temporary files (a checkout below `/root` is out of its reach).
    fn make_folder(&self, account: Option<&Account>) -> Result<PathBuf> {
        let near = self.data.with_extension("");
        let far = std::env::temp_dir().join(format!("proxmox-mcp-postgres-{}", std::process::id()));
        fs::create_dir_all(root().join(".services"))?;
        for folder in [near, far] {
            fs::remove_dir_all(&folder).ok();
            fs::DirBuilder::new().mode(0o700).create(&folder)?;
            if let Some(account) = account {
                chown(&folder, Some(account.uid), Some(account.gid))?;
            }
            let mut probe = as_account(Path::new("test"), account);
            if output(probe.arg("-w").arg(&folder)).is_ok() {
                return Ok(folder);
            }
            fs::remove_dir_all(&folder).ok();
        }
        bail!(
            "the account that runs the server can write neither to .services nor to the temporary folder"
        )
    }
}

/// Where the server is, if it was started.
pub(crate) fn url() -> Option<String> {
    let state = State::new();
    state.running().ok().flatten()?;
    fs::read_to_string(state.url).ok().map(|url| url.trim().to_owned())
}

/// Lets the server do this.
pub(crate) fn execute(url: &str, statement: &str) -> Result<()> {
    // Whoever lists processes reads their arguments, so the password is none of them.
    let (user, rest) =
        url.split_once("://").and_then(|it| it.1.split_once('@')).context("no user")?;
    let (name, password) = user.split_once(':').context("no password")?;
    let psql = programs().context("the server's programs are gone")?.join("psql");
    let mut psql = Command::new(psql);
    psql.env("PGPASSWORD", password).args(["--quiet", "--no-psqlrc", "--command", statement]);
    output(psql.arg("--dbname").arg(format!("postgres://{name}@{rest}"))).map(drop)
}

/// The folder of `initdb` and `pg_ctl`: the newest that Debian's packages brought, else one that
/// is on the path.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN_PROGRAMS).into_iter().flatten().flatten();
    let newest = versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists() && bin.join("pg_ctl").exists())
        .max_by_key(|bin| version_number(bin));
    newest.or_else(|| {
        let bin = output(Command::new("pg_config").arg("--bindir")).ok()?;
        let bin = PathBuf::from(bin.trim());
        bin.join("initdb").exists().then_some(bin)
    })
}

fn version_number(bin: &Path) -> u32 {
    let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn install() -> Result<PathBuf> {
    debian::install(PACKAGE)?;
    programs().context("the package brought no initdb")
}

/// The account to run the server as; `None` for the one that we are.
fn account() -> Result<Option<Account>> {
    if !is_root()? {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let found = ["postgres", "nobody"].iter().find_map(|name| find_account(&accounts, name));
    Ok(Some(found.context("there is no account `postgres` and none `nobody`")?))
}

/// A command run by the account, in a folder that every account can enter.
fn as_account(program: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C");
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts() {
        let newest = ["9", "15", "garbage"]
            .map(|version| Path::new(DEBIAN_PROGRAMS).join(version).join("bin"))
            .into_iter()
            .max_by_key(|bin| version_number(bin));
        assert!(newest.unwrap().ends_with("15/bin"));
    }
}
