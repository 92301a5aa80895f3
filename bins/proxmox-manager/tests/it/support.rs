//! A simulated estate, a manager over it, and the accounts that meet at its socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use control_api::Client;
use proxmox_sim::{Sim, SimConfig};
use serde_json::{Value, json};
use testkit::{Progress, wait_for};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// The members of this group may open the control socket.
const GROUP: u32 = 4711;

/// An account of the system. Where tests do not run as root all of them are the one that runs the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// Whoever runs the tests.
    Own,
    /// The manager's.
    Manager,
    /// A model's, with a shell.
    Agent,
    /// A person's.
    Carol,
}

/// A simulated estate with a manager's settings.
pub(crate) struct House {
    pub(crate) sim: Sim,
    pub(crate) folder: tempfile::TempDir,
    /// The manager's settings.
    pub(crate) config: PathBuf,
    manager: Account,
}

/// A process that is killed if the test does not end it.
pub(crate) struct Manager(Option<Child>);

/// `proxmox-mcp serve` over its streams, as a model's client starts it.
pub(crate) struct Serve {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    calls: u32,
}

/// A command on a terminal of its own, and the person before it.
pub(crate) struct Terminal {
    child: Child,
    input: ChildStdin,
    shown: Arc<(Mutex<String>, Condvar)>,
}

// === impl Account ===

impl Account {
    /// Its number, where accounts differ.
    pub(crate) fn uid(self) -> u32 {
        match self {
            _ if !is_root() => own_uid(),
            Self::Own => 0,
            Self::Manager => 3000,
            Self::Agent => 3001,
            Self::Carol => 3002,
        }
    }

    /// Lets a command run as this account.
    pub(crate) fn put_on(self, command: &mut Command) {
        if is_root() && self != Self::Own {
            command.uid(self.uid()).gid(GROUP);
        }
    }

    fn owns(self, path: &Path) {
        if is_root() && self != Self::Own {
            chown(path, Some(self.uid()), Some(GROUP)).unwrap();
        }
    }
}

// === impl House ===

impl House {
    /// Manager and callers are one account, and the socket is in the state folder.
    pub(crate) async fn new(more: &str) -> Self {
        Self::build(Account::Own, more).await
    }

    /// The manager has an account of its own, and callers come over its socket.
    pub(crate) async fn with_accounts(more: &str) -> Self {
        let house = Self::build(Account::Manager, more).await;
        for account in [Account::Agent, Account::Carol] {
            let home = house.home(account);
            std::fs::create_dir(&home).unwrap();
            let state = home.join("state");
            let text = format!(
                "[server]\nstate_dir = \"{}\"\n[manager]\nsocket = \"{}\"\n",
                state.display(),
                house.socket().display(),
            );
            std::fs::write(home.join("config.toml"), text).unwrap();
            account.owns(&home);
        }
        house
    }

    async fn build(manager: Account, more: &str) -> Self {
        let sim = Sim::start(SimConfig::fast()).await.unwrap();
        sim.levers().keep_heads();
        let folder = tempfile::tempdir().unwrap();
        // Others pass through it, as they do through /run and /home.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().join("manager");
        let run = folder.path().join("run");
        std::fs::create_dir(&home).unwrap();
        std::fs::create_dir(&run).unwrap();
        let settings = sim.settings_toml(&home).unwrap();
        let config = home.join("config.toml");
        let mut socket = String::new();
        if manager == Account::Manager {
            socket = format!(
                "socket = \"{}\"\nsocket_group = \"{}\"\n",
                run.join(control_api::SOCKET).display(),
                if is_root() { GROUP } else { own_gid() },
            );
        }
        let state = home.join("state");
        let text = format!(
            "{settings}\n[server]\nstate_dir = \"{}\"\n[manager]\n{socket}{more}",
            state.display()
        );
        std::fs::write(&config, text).unwrap();
        manager.owns(&home);
        manager.owns(&run);
        for entry in std::fs::read_dir(&home).unwrap() {
            manager.owns(&entry.unwrap().path());
        }
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { sim, folder, config, manager }
    }

    /// Where an account keeps its things.
    pub(crate) fn home(&self, account: Account) -> PathBuf {
        self.folder.path().join(match account {
            Account::Own | Account::Manager => "manager",
            Account::Agent => "agent",
            Account::Carol => "carol",
        })
    }

    /// The folder of the manager's state.
    pub(crate) fn state(&self) -> PathBuf {
        self.home(Account::Manager).join("state")
    }

    /// Where the control socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        match self.manager {
            Account::Manager => self.folder.path().join("run").join(control_api::SOCKET),
            _ => self.state().join(control_api::SOCKET),
        }
    }

    /// Adds to the manager's settings.
    pub(crate) fn add_settings(&self, text: &str) {
        let before = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, format!("{before}\n{text}\n")).unwrap();
    }

    /// A file that only this account can read.
    pub(crate) fn write_private(&self, account: Account, name: &str, text: &str) -> PathBuf {
        let path = self.home(account).join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        account.owns(&path);
        path
    }

    /// The daemon.
    pub(crate) fn command(&self) -> Command {
        let program = self.program(Path::new(env!("CARGO_BIN_EXE_proxmox-manager")));
        let mut command = Command::new(program);
        command.arg("--config").arg(&self.config).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.manager.put_on(&mut command);
        command
    }

    /// `proxmox-mcp` of an account, with that account's settings.
    pub(crate) fn mcp(&self, account: Account, args: &[&str]) -> Command {
        let mut command = Command::new(self.program(&mcp_program()));
        let config = match account {
            Account::Own | Account::Manager => self.config.clone(),
            _ => self.home(account).join("config.toml"),
        };
        command.args(args).env_clear().env("PROXMOX_MCP_CONFIG", config);
        command.env("HOME", self.home(account)).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        account.put_on(&mut command);
        command
    }

    /// Where every account can run a program: where it was built others may not pass.
    fn program(&self, built: &Path) -> PathBuf {
        if self.manager != Account::Manager || !is_root() {
            return built.to_owned();
        }
        let here = self.folder.path().join(built.file_name().unwrap());
        if !here.exists() && std::fs::hard_link(built, &here).is_err() {
            std::fs::copy(built, &here).unwrap();
        }
        here
    }

    pub(crate) async fn start(&self) -> (Manager, Client) {
        let manager = Manager(Some(self.command().spawn().unwrap()));
        (manager, connect(&self.socket()).await)
    }

    /// The calls that changed something, as the simulated servers received them: method and path.
    pub(crate) fn writes(&self) -> Vec<String> {
        let heads = self.sim.levers().heads();
        let writes = heads.iter().filter(|head| !head.starts_with("GET "));
        writes.map(|head| head.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    }
}

/// The other program, which is built beside this one.
pub(crate) fn mcp_program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_proxmox-manager")).with_file_name("proxmox-mcp")
}

/// Whether tests with the other program can run; says so where they cannot.
pub(crate) fn can_run_mcp() -> bool {
    let is_there = mcp_program().exists();
    if !is_there {
        let hint = "`cargo build -p proxmox-mcp` builds it, as testing the workspace does";
        testkit::skip_aloud("proxmox-mcp", "REQUIRE_SERVICES", hint);
    }
    is_there
}

/// Whether there are terminals; says so where there are none.
pub(crate) fn has_terminals() -> bool {
    let is_there = Command::new("script").arg("--version").output().is_ok();
    if !is_there {
        testkit::skip_aloud("a terminal", "REQUIRE_SERVICES", "`script` of util-linux makes one");
    }
    is_there
}

/// Whether there are accounts beside the own one; says so where there are none.
pub(crate) fn has_accounts() -> bool {
    if !is_root() {
        let hint = "tests of several accounts run as root";
        testkit::skip_aloud("a second account", "REQUIRE_SERVICES", hint);
    }
    is_root()
}

pub(crate) async fn connect(socket: &Path) -> Client {
    wait_for("the manager to answer", LONG, async || match Client::connect(socket, VERSION).await {
        Ok(client) => Progress::Ready(client),
        Err(error) => Progress::Pending(error.to_string()),
    })
    .await
}

pub(crate) fn is_root() -> bool {
    own_uid() == 0
}

fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(65_534, |entry| entry.uid())
}

fn own_gid() -> u32 {
    std::fs::metadata("/proc/self").map_or(65_534, |entry| entry.gid())
}

/// What a command says on both streams, and its exit code.
pub(crate) fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

// === impl Manager ===

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Manager {
    pub(crate) fn of(child: Child) -> Self {
        Self(Some(child))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub(crate) async fn ended(mut self) -> Output {
        let child = self.0.take().unwrap();
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
    }
}

// === impl Serve ===

impl Serve {
    /// Starts it, and shakes hands.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut this = Self { child, input, output, calls: 0 };
        let params = json!({
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "0"},
        });
        this.ask("initialize", &params);
        this.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        this
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    /// Asks, and returns the result, or the error as it is.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            let mut message: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            if message["id"] == id {
                let key = if message.get("error").is_some() { "error" } else { "result" };
                return message[key].take();
            }
        }
    }

    /// Calls a tool: its object, and its text.
    pub(crate) fn call(&mut self, tool: &str, args: &Value) -> (Value, String) {
        let mut result = self.ask("tools/call", &json!({"name": tool, "arguments": args}));
        let text = result["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        (result["structuredContent"].take(), text)
    }

    /// Asks for a change that asks people: the approval's id.
    pub(crate) fn asks(&mut self, tool: &str, args: &Value) -> String {
        let (object, text) = self.call(tool, args);
        assert_eq!(object["status"], "pending", "{text}");
        object["approval_id"].as_str().unwrap_or_else(|| panic!("no approval: {text}")).to_owned()
    }

    /// Waits until an approval is over.
    pub(crate) fn waits(&mut self, id: &str) -> (Value, String) {
        self.call("approval_wait", &json!({"approval_id": id, "timeout_s": 45}))
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Terminal ===

impl Terminal {
    /// Runs a command on a terminal of its own, under the account that the command has.
    pub(crate) fn run(account: Account, command: &Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let quoted: Vec<String> = words
            .map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''")))
            .collect();
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &quoted.join(" "), "/dev/null"]);
        script.env_clear().env("PATH", "/usr/bin:/bin");
        for (name, value) in command.get_envs() {
            script.env(name, value.unwrap());
        }
        if let Some(folder) = command.get_current_dir() {
            script.current_dir(folder);
        }
        account.put_on(&mut script);
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = script.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let shown: Arc<(Mutex<String>, Condvar)> = Arc::default();
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                seen.0.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
                seen.1.notify_all();
            }
        });
        Self { child, input, shown }
    }

    /// Waits until this is shown; what is shown by then.
    pub(crate) fn sees(&self, text: &str) -> String {
        let (shown, changed) = &*self.shown;
        let guard = shown.lock().unwrap();
        let wait = changed.wait_timeout_while(guard, LONG, |shown| !shown.contains(text));
        let (shown, timeout) = wait.unwrap();
        assert!(!timeout.timed_out(), "{text:?} was never shown: {shown}");
        shown.clone()
    }

    /// Waits for a question, and answers it.
    pub(crate) fn answers(&mut self, question: &str, answer: &str) {
        self.sees(question);
        writeln!(self.input, "{answer}").unwrap();
    }

    /// Waits for its end: the exit code, and all that was shown.
    pub(crate) fn ended(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap();
        drop(self.input);
        let shown = self.shown.0.lock().unwrap().clone();
        (status.code().unwrap_or(-1), shown)
    }
}
