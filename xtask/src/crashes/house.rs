//! A simulated estate, the program over it, and what people and callers do meanwhile.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use control_api::{
    ActionFilter, Approval, ApprovalFilter, Client, DecisionParams, Proof, ToolCallParams,
    ToolEvent,
};
use manager::approve::{SealedKey, SigningKey, Statement};
use secrecy::SecretString;
use serde_json::{Value, json};
use stdx::Clock as _;
use tokio::sync::oneshot;

use super::steps::{Fate, Found, Moment, Program, Step};
use super::store;
use crate::sim::{self, Sim};
use crate::workspace::path;

/// Nothing here takes longer, unless something is wrong.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at something.
const LOOK: Duration = Duration::from_millis(30);
/// The change that is asked for: whose power is off comes up, whose is on goes down.
const TOOL: &str = "guest_power";

/// An approver's key, made once: that is slow on purpose.
pub(super) struct Key {
    signing: SigningKey,
    public: String,
}

/// Makes it.
pub(super) fn key() -> Result<Key> {
    let passphrase = SecretString::from("three words nobody says");
    let sealed = SealedKey::make("ada", &passphrase).context("make an approver's key")?;
    let public = sealed.public().to_string();
    Ok(Key { signing: sealed.unlock(&passphrase)?, public })
}

/// One estate with one state folder.
pub(super) struct House<'a> {
    sim: Sim,
    config: PathBuf,
    binaries: &'a Path,
    key: &'a Key,
    program: Program,
    running: Option<Child>,
}

impl<'a> House<'a> {
    pub(super) fn start(binaries: &'a Path, key: &'a Key, program: Program) -> Result<Self> {
        // Tasks end at once.
        let flags = ["--estate", "demo", "--task-speed", "1000", "--auth-delay", "0"];
        let sim = Sim::with(binaries, &flags)?;
        let sections = format!("[approver.ada]\nkey = \"{}\"\n", key.public);
        let config = sim.settings("", &sections)?;
        Ok(Self { sim, config, binaries, key, program, running: None })
    }

    fn state(&self) -> PathBuf {
        self.sim.folder().join("state")
    }

    fn store(&self) -> PathBuf {
        self.state().join("store.db")
    }

    fn command(&self, program: &str, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.binaries.join(program));
        command.args(args).args(["--config", path(&self.config)?]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Makes the store, and keeps in mind what reaches the estate.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        self.lever(&json!({"lever": "keep_heads"}))?;
        match self.program {
            Program::Manager => {
                self.run_manager()?;
                self.client().await?.status().await?;
            }
            Program::Serve => {
                self.command("proxmox-mcp", &["freeze", "status"])?.output()?;
            }
        }
        ensure!(self.store().exists(), "there is no store at {}", self.store().display());
        Ok(())
    }

    fn run_manager(&mut self) -> Result<()> {
        let mut command = self.command("proxmox-manager", &[])?;
        let log = std::fs::File::create(self.sim.folder().join("manager.log"))?;
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        self.running =
            Some(child.context("start proxmox-manager; without --no-build it is built")?);
        Ok(())
    }

    /// A connection to the manager, as soon as it answers.
    async fn client(&self) -> Result<Client> {
        let socket = self.state().join(control_api::SOCKET);
        let version = env!("CARGO_PKG_VERSION");
        let begun = tokio::time::Instant::now();
        loop {
            match Client::connect(&socket, version).await {
                Ok(client) => return Ok(client),
                Err(error) if begun.elapsed() > PATIENCE => {
                    return Err(error).context("wait for the manager");
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Lets the change be made, and kills the program when the step has come.
    pub(super) async fn until_killed(&mut self, step: &Step) -> Result<()> {
        if !matches!(step.at, Moment::Replanned(..)) {
            self.arm(step)?;
        }
        let (caught, all) = match self.program {
            Program::Manager => {
                let client = self.client().await?;
                tokio::select! {
                    all = self.ask_and_agree(&client, step) => (Ok(()), all.map(|()| true)),
                    caught = self.caught(step) => (caught, Ok(false)),
                }
            }
            Program::Serve => {
                let ended = self.serve()?;
                tokio::select! {
                    all = ended => (Ok(()), all.context("serve has ended")),
                    caught = self.caught(step) => (caught, Ok(false)),
                }
            }
        };
        caught?;
        ensure!(!all?, "the action ended, and this step never came");
        self.kill()
    }

    fn arm(&self, step: &Step) -> Result<()> {
        let (method, part, done) = match step.at {
            Moment::Write(table, event, when) => {
                return store::trap(&self.store(), table, event, when);
            }
            Moment::Arrived(method, part) | Moment::Replanned(method, part) => {
                (method, part, false)
            }
            Moment::Done(method, part) => (method, part, true),
            Moment::Afterwards(..) => ("POST", "/status/", true),
        };
        self.hold(method, part, done)
    }

    fn hold(&self, method: &str, part: &str, done: bool) -> Result<()> {
        let lever = json!({
            "lever": "hold", "target": "lab", "method": method, "path": part, "done": done,
        });
        self.lever(&lever).map(drop)
    }

    fn holds_call(&self) -> Result<bool> {
        Ok(self.lever(&json!({"lever": "held"}))?.as_u64().unwrap_or(0) > 0)
    }

    fn release(&self) -> Result<()> {
        self.lever(&json!({"lever": "release"})).map(drop)
    }

    /// Comes back when the step has come.
    async fn caught(&self, step: &Step) -> Result<()> {
        let begun = tokio::time::Instant::now();
        let mut is_second = false;
        loop {
            let held = match step.at {
                Moment::Write(..) => {
                    // The action goes on meanwhile, in this very task.
                    let store = self.store();
                    tokio::task::spawn_blocking(move || store::is_held(&store)).await??
                }
                _ => self.holds_call()?,
            };
            if let (true, Moment::Afterwards(method, part), false) = (held, step.at, is_second) {
                // The change was made: from now on it is only looked at.
                self.hold(method, part, false)?;
                self.release()?;
                is_second = true;
                continue;
            }
            if held {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the step never came");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask_and_agree(&self, client: &Client, step: &Step) -> Result<()> {
        let arguments = json!({"guest": "lab/124", "action": "shutdown"});
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let call = ToolCallParams { name: TOOL.to_owned(), arguments, progress: false };
        let mut called = client.call_tool(call).await?;
        let answer = loop {
            match called.next().await.context("the manager is gone")?? {
                ToolEvent::Ended { answer, .. } => break answer,
                ToolEvent::Refused { message } => bail!("the call was refused: {message}"),
                ToolEvent::Progress { .. } => {}
            }
        };
        let pending = client.approvals(ApprovalFilter::pending()).await?;
        let approval = pending.first().with_context(|| format!("nobody was asked: {answer}"))?;
        if matches!(step.at, Moment::Replanned(..)) {
            self.arm(step)?;
        }
        self.agree(client, approval).await?;
        client.wait(&approval.id, PATIENCE).await?;
        Ok(())
    }

    async fn agree(&self, client: &Client, approval: &Approval) -> Result<()> {
        let digest = approval.digest.clone();
        let statement =
            Statement::Decide { id: approval.id.parse()?, digest: digest.clone(), agrees: true };
        let at = stdx::SystemClock.now();
        let signature = self.key.signing.sign(&statement, "ada", at).to_base64();
        let proof = Proof::Signature { approver: "ada".to_owned(), at, signature };
        let id = approval.id.clone();
        let decision = DecisionParams { id, digest, approve: true, proof, note: None };
        client.decide(decision).await?;
        Ok(())
    }

    /// Starts `serve` and calls the tool; what comes back tells whether it was answered.
    fn serve(&mut self) -> Result<oneshot::Receiver<bool>> {
        let mut command = self.command("proxmox-mcp", &["serve"])?;
        let log = std::fs::File::create(self.sim.folder().join("serve.log"))?;
        let mut child = command.stdin(Stdio::piped()).stderr(log).spawn()?;
        let mut input = child.stdin.take().context("serve has no input")?;
        let output = BufReader::new(child.stdout.take().context("serve has no output")?);
        self.running = Some(child);
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || {
            let call = json!({"name": TOOL, "arguments": {"guest": "lab/125", "action": "start"}});
            let hello = json!({
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": {"name": "crashes", "version": "0"},
            });
            let mut say = |message: Value| writeln!(input, "{message}");
            let said = say(
                json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}),
            )
            .and_then(|()| say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})))
            .and_then(|()| {
                say(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
            });
            let is_answer =
                |line: &String| line.contains("\"id\":1,") || line.contains("\"id\":1}");
            let answered =
                said.is_ok() && output.lines().map_while(Result::ok).any(|line| is_answer(&line));
            // Without an answer it was killed, and nobody waits for this any more.
            let _ = sender.send(answered);
        });
        Ok(receiver)
    }

    /// SIGKILL: nothing is cleaned up, nothing is said.
    fn kill(&mut self) -> Result<()> {
        let mut child = self.running.take().context("nothing runs")?;
        child.kill().context("kill it")?;
        child.wait().context("wait for its end")?;
        Ok(())
    }

    /// Starts it again, lets people answer what is still asked, and waits until nothing is open.
    pub(super) async fn again(&mut self, step: &Step) -> Result<()> {
        store::untrap(&self.store())?;
        if step.fate == Fate::Done {
            self.release()?;
        }
        let begun = tokio::time::Instant::now();
        match self.program {
            Program::Manager => {
                self.run_manager()?;
                let client = self.client().await?;
                loop {
                    for pending in client.approvals(ApprovalFilter::pending()).await? {
                        self.agree(&client, &pending).await?;
                    }
                    let approvals = client.approvals(ApprovalFilter::default()).await?;
                    let actions = client.actions(ActionFilter::default()).await?;
                    let is_open = approvals.iter().any(|it| !it.is_over())
                        || actions.iter().any(|it| it.state == "running");
                    if !is_open || begun.elapsed() > PATIENCE / 2 {
                        return Ok(());
                    }
                    tokio::time::sleep(LOOK).await;
                }
            }
            // Whoever takes the lock of the folder settles what was left in it.
            Program::Serve => {
                self.run_manager()?;
                self.client().await?;
                while begun.elapsed() < PATIENCE / 2 {
                    if self.actions().await?.iter().all(|state| state != "running") {
                        return Ok(());
                    }
                    tokio::time::sleep(LOOK).await;
                }
                Ok(())
            }
        }
    }

    /// The states of all actions, the newest first.
    async fn actions(&self) -> Result<Vec<String>> {
        if self.program == Program::Manager {
            let actions = self.client().await?.actions(ActionFilter::default()).await?;
            return Ok(actions.into_iter().map(|it| it.state).collect());
        }
        let mut command = self.command("proxmox-mcp", &["actions", "list", "--all", "--json"])?;
        let said = String::from_utf8(command.output()?.stdout)?;
        let state = |line: &str| {
            let action: Value = serde_json::from_str(line)?;
            Ok(action["state"].as_str().unwrap_or_default().to_owned())
        };
        said.lines().filter(|line| line.starts_with('{')).map(state).collect()
    }

    /// Looks at what there is.
    pub(super) async fn look(&mut self) -> Result<Found> {
        let approval = match self.program {
            Program::Serve => "none".to_owned(),
            Program::Manager => {
                let found = self.client().await?.approvals(ApprovalFilter::default()).await?;
                let states: Vec<String> = found.into_iter().map(|it| it.state).collect();
                if states.is_empty() { "none".to_owned() } else { states.join("+") }
            }
        };
        let actions = self.actions().await?;
        let unknown = actions.iter().filter(|state| *state == "unknown").count();
        let audit = self.command("proxmox-mcp", &["audit", "verify"])?.output()?;
        let verdict = [&audit.stdout[..], &audit.stderr].concat();
        let verdict = format!(", chain: {}", String::from_utf8_lossy(&verdict).trim());
        let audit = if audit.status.success() { String::new() } else { verdict };
        // Last: whatever was sent again would have been by now.
        self.release()?;
        let heads = self.lever(&json!({"lever": "heads"}))?;
        let heads = heads.as_array().context("the simulator does not say what it heard")?;
        let changes = heads.iter().filter_map(Value::as_str).filter(|it| !it.starts_with("GET "));
        Ok(Found { sent: changes.count(), approval, unknown, actions, audit })
    }

    /// Pulls a lever of the simulator.
    fn lever(&self, lever: &Value) -> Result<Value> {
        sim::pull(&self.sim.control, lever)
    }
}

impl Drop for House<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
