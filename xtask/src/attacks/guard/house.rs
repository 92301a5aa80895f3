//! A manager of an account of its own over a simulated estate, a model in another account that has a
//! shell, and people in a third.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::model::{Model, short};
use crate::attacks::raw::Ask;
use crate::server::free_port;
use crate::sim::Sim;
use crate::workspace::path;

/// Nothing takes longer to start or to end.
const LONG: Duration = Duration::from_mins(1);
/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(25);
/// The group whose members may connect to the control socket.
const USERS: u32 = 6200;
/// What bob's key is locked with.
pub(super) const PASSPHRASE: &str = "correct horse battery staple";
/// The secret of carol's one-time codes.
pub(super) const CODES: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

/// The accounts. They need not exist in the system's list of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    Manager = 6201,
    Model = 6202,
    /// Ada, who approves by being this account.
    Ada = 6203,
}

pub(super) struct House {
    manager: Option<Child>,
    pub(super) sim: Sim,
    /// What accounts may pass through: programs, the socket, homes.
    public: TempDir,
    /// Where the manager serves HTTP.
    pub(super) address: String,
    /// Bearers of tokens.
    pub(super) alice: String,
    pub(super) mallory: String,
}

/// What a command said, and how it ended.
pub(super) struct Said {
    pub(super) good: bool,
    pub(super) text: String,
}

/// Whether the tests' accounts can be taken on.
pub(super) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    let is_root = id.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    is_root && Command::new("setpriv").arg("--version").output().is_ok()
}

// === impl Account ===

impl Account {
    fn id(self) -> u32 {
        self as u32
    }

    fn home(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Model => "model",
            Self::Ada => "ada",
        }
    }
}

// === impl House ===

impl House {
    pub(super) fn start(binaries: &Path) -> Result<Self> {
        let sim = Sim::with(binaries, &["--estate", "demo", "--task-speed", "1000"])?;
        let public = tempfile::Builder::new().prefix("attacks-").tempdir()?;
        fs::set_permissions(public.path(), Permissions::from_mode(0o755))?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut house = Self {
            manager: None,
            sim,
            public,
            address,
            alice: String::new(),
            mallory: String::new(),
        };
        house.lay_out(binaries)?;
        let key = house.add_bob()?;
        house.write_settings(&key)?;
        house.alice = house.token("alice")?;
        house.mallory = house.token("mallory")?;
        house.start_manager()?;
        house.sim.lever(&json!({"lever": "keep_heads"}))?;
        Ok(house)
    }

    /// Programs that every account can run, and a home for each.
    fn lay_out(&self, binaries: &Path) -> Result<()> {
        let bin = self.place("bin");
        fs::create_dir(&bin)?;
        let this = std::env::current_exe().context("find this program")?;
        let others = ["proxmox-mcp", "proxmox-manager"].map(|name| (name, binaries.join(name)));
        for (name, from) in others.into_iter().chain([("xtask", this)]) {
            let to = bin.join(name);
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
            }
        }
        for account in [Account::Manager, Account::Model, Account::Ada] {
            let home = self.home(account);
            fs::create_dir(&home)?;
            fs::set_permissions(&home, Permissions::from_mode(0o700))?;
            give(&home, account)?;
        }
        // Like /run/proxmox-mcp: others pass through, and only the manager puts something there.
        fs::create_dir(self.place("run"))?;
        give(&self.place("run"), Account::Manager)?;
        for account in [Account::Model, Account::Ada] {
            let text = format!(
                "[manager]\nsocket = {}\n[server]\nstate_dir = {}\n",
                quoted(&self.socket())?,
                quoted(&self.home(account).join("state"))?
            );
            self.write(account, "config.toml", &text)?;
        }
        Ok(())
    }

    /// Bob's key, made as he would make it: at a terminal. Its public half.
    fn add_bob(&self) -> Result<String> {
        let key = self.home(Account::Ada).join("approver-bob.key");
        let line = format!("approver add bob --out {}", path(&key)?);
        let typed = format!("{PASSPHRASE}\n{PASSPHRASE}\n");
        let said = self.at_terminal(Account::Ada, &line, &typed)?;
        let public = said.text.lines().find_map(|line| line.trim().strip_prefix("key = "));
        let public = public.with_context(|| format!("no key was made: {}", said.text))?;
        Ok(public.trim().trim_matches('"').to_owned())
    }

    fn write_settings(&self, key: &str) -> Result<()> {
        let folder = self.sim.folder();
        let estate = fs::read_to_string(folder.join("settings.toml"))?;
        let codes = self.write(Account::Manager, "carol.totp", &format!("{CODES}\n"))?;
        let (socket, state) = (quoted(&self.socket())?, quoted(&self.state())?);
        let codes = quoted(&codes)?;
        let address = &self.address;
        let text = format!(
            r#"{estate}
[server]
state_dir = {state}
toolsets = ["all"]
[guard]
own_guest = "none"
breaker_failing = 0
breaker_identical = 40
[http]
listen = "{address}"
[manager]
socket = {socket}
socket_group = "{USERS}"
http = true
public_url = "http://{address}"
[approver.ada]
uid = {ada}
[approver.bob]
key = "{key}"
[approver.carol]
totp_secret_file = {codes}
[policy.soon]
order = 1
decision = "ask"
tool = "guest_power"
vmid = [100]
within_secs = 60
"#,
            ada = Account::Ada.id()
        );
        self.write(Account::Manager, "config.toml", &text)?;
        give(folder, Account::Manager)?;
        for entry in fs::read_dir(folder)? {
            give(&entry?.path(), Account::Manager)?;
        }
        Ok(())
    }

    fn token(&self, name: &str) -> Result<String> {
        let line = ["token", "new", "--name", name, "--scope", "destroy"];
        let said = self.run(Account::Manager, &line)?;
        ensure!(said.good, "no token: {}", said.text);
        let token = said.text.lines().next().unwrap_or_default();
        Ok(token.trim().to_owned())
    }

    fn start_manager(&mut self) -> Result<()> {
        let log = File::create(self.log())?;
        let mut command = self.command(Account::Manager, "proxmox-manager");
        command.arg("--config").arg(self.config(Account::Manager)).args(["--log", "debug"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.manager = Some(command.spawn().context("start the manager")?);
        self.wait("the manager to answer", |house| {
            let manager = house.manager.as_mut().context("it was started")?;
            if let Some(status) = manager.try_wait()? {
                bail!("the manager ended with {status}: {}", fs::read_to_string(house.log())?);
            }
            let answers = house.rpc(Account::Manager, "status", &json!([]))?["result"].is_object();
            Ok((answers && Ask::new("GET", "/healthz").send(&house.address).is_ok()).then_some(()))
        })
    }

    /// Ends the manager, so that nothing holds its store.
    pub(super) fn stop_manager(&mut self) {
        let Some(mut manager) = self.manager.take() else { return };
        let _ = Command::new("kill").arg(manager.id().to_string()).status();
        let _ = manager.wait();
    }

    pub(super) fn manager_pid(&self) -> Result<u32> {
        Ok(self.manager.as_ref().context("the manager runs")?.id())
    }

    /// Waits until `look` finds something.
    pub(super) fn wait<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            ensure!(begun.elapsed() < LONG, "waited too long for {what}");
            std::thread::sleep(LOOK);
        }
    }
}

impl House {
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.public.path().join(name)
    }

    pub(super) fn home(&self, account: Account) -> PathBuf {
        self.place(account.home())
    }

    pub(super) fn config(&self, account: Account) -> PathBuf {
        self.home(account).join("config.toml")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.home(Account::Manager).join("state")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.place("run").join("control.sock")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.place("manager.log")
    }

    /// Writes a file of an account's, closed to others.
    pub(super) fn write(&self, account: Account, name: &str, text: &str) -> Result<PathBuf> {
        let place = self.home(account).join(name);
        fs::write(&place, text).with_context(|| format!("write {}", place.display()))?;
        fs::set_permissions(&place, Permissions::from_mode(0o600))?;
        give(&place, account)?;
        Ok(place)
    }

    /// A program as this account, with nothing of this environment.
    pub(super) fn command(&self, account: Account, program: &str) -> Command {
        let program = match program.strip_prefix('/') {
            Some(_) => PathBuf::from(program),
            None => self.place("bin").join(program),
        };
        let (id, users) = (account.id().to_string(), USERS.to_string());
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--groups", &users, "--no-new-privs", "--"]);
        command.arg(program).current_dir(self.public.path());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home(account));
        command
    }

    /// `proxmox-mcp` with the account's own settings, away from any terminal.
    pub(super) fn run(&self, account: Account, args: &[&str]) -> Result<Said> {
        self.run_with(account, args, "")
    }

    /// The same, with something on its standard input.
    pub(super) fn run_with(&self, account: Account, args: &[&str], typed: &str) -> Result<Said> {
        let mut command = self.command(account, "/usr/bin/setsid");
        command.arg("--wait").arg(self.place("bin").join("proxmox-mcp")).args(args);
        command.env("PROXMOX_MCP_CONFIG", self.config(account));
        said(&mut command, typed)
    }

    /// `proxmox-mcp` at a terminal that the account has made for itself.
    pub(super) fn at_terminal(&self, account: Account, line: &str, typed: &str) -> Result<Said> {
        let program = self.place("bin").join("proxmox-mcp");
        let mut command = self.command(account, "/usr/bin/script");
        command.args(["--quiet", "--return", "--command"]);
        command.arg(format!("{} {line}", path(&program)?)).arg("/dev/null");
        command.env("PROXMOX_MCP_CONFIG", self.config(account)).env("SHELL", "/bin/sh");
        said(&mut command, typed)
    }

    /// A line of the shell.
    pub(super) fn shell(&self, account: Account, line: &str) -> Result<Said> {
        let mut command = self.command(account, "/bin/sh");
        said(command.args(["-c", line]), "")
    }

    /// A call of the control API, as the account.
    pub(super) fn rpc(&self, account: Account, method: &str, params: &Value) -> Result<Value> {
        self.speak(account, &self.socket(), method, params)
    }

    pub(super) fn speak(
        &self,
        account: Account,
        socket: &Path,
        method: &str,
        params: &Value,
    ) -> Result<Value> {
        let method = format!("manager.{method}");
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut command = self.command(account, "xtask");
        let said = said(command.arg("speak").arg(socket), &message.to_string())?;
        let answer = serde_json::from_str(&said.text);
        Ok(answer.unwrap_or_else(|_| json!({"error": {"message": said.line()}})))
    }

    /// The model's server, which has no credentials and asks the manager.
    pub(super) fn model(&self) -> Result<Model> {
        let mut command = self.command(Account::Model, "proxmox-mcp");
        command.arg("serve").arg("--config").arg(self.config(Account::Model));
        Model::start(command)
    }

    /// Ada's word, from a terminal of hers.
    pub(super) fn ada(&self, word: &str, id: &str) -> Result<Said> {
        self.run(Account::Ada, &["approve", word, id])
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop_manager();
    }
}

/// A path as settings write it.
pub(super) fn quoted(place: &Path) -> Result<String> {
    Ok(toml::Value::from(path(place)?).to_string())
}

fn give(place: &Path, account: Account) -> Result<()> {
    let id = Some(account.id());
    chown(place, id, id).with_context(|| format!("give {} away", place.display()))
}

fn said(command: &mut Command, typed: &str) -> Result<Said> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start a program as another account")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that wants to hear nothing may be gone.
        let _ = stdin.write_all(typed.as_bytes());
    }
    let output = child.wait_with_output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    Ok(Said { good: output.status.success(), text: text.trim().to_owned() })
}

// === impl Said ===

impl Said {
    /// Its last line, which says how it ended.
    pub(super) fn line(&self) -> String {
        short(self.text.lines().last().unwrap_or("nothing is said"))
    }
}

/// What an answer of the control API says went wrong, or that it did not.
pub(super) fn rpc_line(answer: &Value) -> String {
    let message = answer.pointer("/error/message").and_then(Value::as_str);
    message.map_or_else(|| short(&answer["result"].to_string()), short)
}
