//! `cargo xtask bench`: what a start, an idle server and a call cost.
//!
//! Every figure of a call stands beside the same request made by the bare HTTP client in the same
//! run, one after the other in turn, because the machines that this runs on are noisy: the ratio
//! is what counts.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use stdx::{
    http::HttpOptions,
    tls::{TlsOptions, TlsPolicy},
};

const GUESTS: u32 = 1000;
const NODES: u32 = 10;
const STARTS: usize = 40;
const CALLS: usize = 400;

/// The goals of the product, printed beside what was measured.
mod goal {
    pub(super) const START_MS: f64 = 15.0;
    pub(super) const RESIDENT_MIB: f64 = 15.0;
    pub(super) const ONE_GUEST: f64 = 2.5;
    pub(super) const ALL_GUESTS: f64 = 4.0;
}

/// Builds what is measured, by this cargo profile, measures, prints a table.
pub(crate) fn run(rebuild: bool, profile: &str) -> Result<()> {
    let root = crate::workspace::root();
    if rebuild {
        build(root, profile)?;
    }
    let binaries = root.join("target").join(profile);
    let folder = tempfile::tempdir().context("make a folder for the run")?;
    let sim = Sim::start(&binaries, folder.path())?;
    let server = binaries.join("proxmox-mcp");
    let config = folder.path().join("bench.toml");
    let settings = std::fs::read_to_string(folder.path().join("settings.toml"))?;
    // All rows in one answer, so that one call of ours stands against one request.
    std::fs::write(&config, format!("{settings}\n[server]\nanswer_max_bytes = 262144\n"))?;

    println!("{:<46} {:>12} {:>12} {:>8}  goal", "what", "ours", "bare", "ratio");
    let starts = starts(&server, &["serve", "--config", path(&config)?])?;
    row("start to initialize answered, ms (median)", median(&starts), None, goal::START_MS);
    let starts = self::starts(&server, &["serve", "--demo"])?;
    row("the same with --demo, ms (median)", median(&starts), None, goal::START_MS);

    let mut client = Client::start(&server, &["serve", "--config", path(&config)?])?;
    let tools = client.call("tools/list", &json!({}))?;
    ensure!(tools["result"]["tools"].is_array(), "tools/list has no tools: {tools}");
    row("resident after tools/list, MiB", client.resident_mib()?, None, goal::RESIDENT_MIB);
    row("  of it allocated, MiB", client.private_mib()?, None, f64::NAN);
    let mut demo = Client::start(&server, &["serve", "--demo"])?;
    demo.call("tools/list", &json!({}))?;
    row("the same with --demo, MiB", demo.resident_mib()?, None, goal::RESIDENT_MIB);
    row("  of it allocated, MiB", demo.private_mib()?, None, f64::NAN);
    drop(demo);

    let bare = Bare::connect(folder.path())?;
    let guest = bare.first_guest()?;
    let one = client.against(
        &bare,
        &json!({"name": "guest_get", "arguments": {"guest": guest.address, "include": ["status"]}}),
        &guest.status_path,
    )?;
    print_pair("one guest's status, ms (median)", &one, goal::ONE_GUEST);
    let all = client.against(
        &bare,
        &json!({"name": "guests_list", "arguments": {"limit": GUESTS}}),
        "/api2/json/cluster/resources",
    )?;
    ensure!(all.answer_rows == Some(GUESTS as usize), "not all guests came: {:?}", all.answer_rows);
    print_pair("all of 1,000 guests on ten nodes, ms (median)", &all, goal::ALL_GUESTS);
    row("resident after the calls, MiB", client.resident_mib()?, None, f64::NAN);
    row("  of it allocated, MiB", client.private_mib()?, None, f64::NAN);

    println!();
    tool_bytes(&server)?;
    drop(sim);
    Ok(())
}

/// The size of the tool lists: what every conversation pays.
fn tool_bytes(server: &Path) -> Result<()> {
    println!("{:<46} {:>12} {:>12} {:>8}", "bytes of tools/list", "paid", "full wire", "tools");
    for toolset in ["default", "classic", "all"] {
        let mut client = Client::start(server, &["serve", "--demo", "--toolsets", toolset])?;
        let answer = client.call("tools/list", &json!({}))?;
        let tools = answer["result"]["tools"].as_array().context("tools/list has no tools")?;
        let paid = tools.iter().map(|tool| {
            json!({
                "name": tool["name"], "description": tool["description"],
                "inputSchema": tool["inputSchema"],
            })
        });
        let paid = Value::Array(paid.collect()).to_string().len();
        let wire = answer.to_string().len();
        println!("{toolset:<46} {paid:>12} {wire:>12} {:>8}", tools.len());
    }
    Ok(())
}

fn build(root: &Path, profile: &str) -> Result<()> {
    let status = Command::new("cargo")
        .args(["build", "--profile", profile])
        .args(["--package", "proxmox-mcp", "--package", "proxmox-sim"])
        .current_dir(root)
        .status()
        .context("run cargo build")?;
    ensure!(status.success(), "cargo build failed");
    Ok(())
}

/// The simulator in a process of its own.
struct Sim(Child);

impl Sim {
    fn start(binaries: &Path, folder: &Path) -> Result<Self> {
        let mut child = Command::new(binaries.join("proxmox-sim"))
            .args(["--estate", "scale", "--nodes", &NODES.to_string()])
            .args(["--guests", &GUESTS.to_string(), "--settings-dir", path(folder)?])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start proxmox-sim")?;
        let stdout = child.stdout.take().context("proxmox-sim has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.trim() == "ready");
        ensure!(ready, "proxmox-sim ended before it was ready");
        // It may print more later; a full pipe must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self(child))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An MCP client over the standard streams of a server that it started.
struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    id: u64,
}

impl Client {
    fn start(server: &Path, args: &[&str]) -> Result<Self> {
        let mut child = Command::new(server)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", server.display()))?;
        let input = child.stdin.take().context("the server has no input")?;
        let output = BufReader::new(child.stdout.take().context("the server has no output")?);
        let mut client = Self { child, input, output, id: 0 };
        client.call(
            "initialize",
            &json!({
                "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": {"name": "bench", "version": "0"},
            }),
        )?;
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(client)
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        writeln!(self.input, "{message}").context("write to the server")?;
        self.input.flush().context("write to the server")
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        Ok(self.timed_call(method, params)?.0)
    }

    /// The answer, and how long it took to come; reading it is the client's own affair, as it is for
    /// the bare client.
    fn timed_call(&mut self, method: &str, params: &Value) -> Result<(Value, Duration)> {
        self.id += 1;
        let id = self.id;
        let start = Instant::now();
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).context("read from the server")?;
            let took = start.elapsed();
            ensure!(read > 0, "the server ended");
            let message: Value = serde_json::from_str(&line).context("the server sent no JSON")?;
            if message["id"] == id {
                ensure!(message.get("error").is_none(), "{method} was refused: {message}");
                return Ok((message, took));
            }
        }
    }

    /// All that is mapped and in memory; the pages of the program itself, of which the kernel brings
    /// in more or fewer than are needed, are most of it.
    fn resident_mib(&self) -> Result<f64> {
        self.memory_mib("VmRSS:")
    }

    /// What the program allocated.
    fn private_mib(&self) -> Result<f64> {
        self.memory_mib("RssAnon:")
    }

    fn memory_mib(&self, what: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("read the server's memory")?;
        let line = status.lines().find(|line| line.starts_with(what));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        let kib = kib.with_context(|| format!("no {what}"))?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }

    /// Calls a tool and makes the bare request in turn.
    fn against(&mut self, bare: &Bare, call: &Value, path: &str) -> Result<Pair> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut answer = Value::Null;
        for round in 0..CALLS + 20 {
            let our;
            (answer, our) = self.timed_call("tools/call", call)?;
            ensure!(answer["result"]["isError"] != true, "the call failed: {answer}");
            let start = Instant::now();
            bare.get(path)?;
            let their = start.elapsed();
            // The first rounds fill caches and pools on both sides.
            if round >= 20 {
                ours.push(our);
                theirs.push(their);
            }
        }
        let rows = &answer["result"]["structuredContent"]["guests"]["rows"];
        let answer_rows = rows.as_array().map(Vec::len);
        Ok(Pair { ours: median(&ours), bare: median(&theirs), answer_rows })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two medians in milliseconds.
struct Pair {
    ours: f64,
    bare: f64,
    answer_rows: Option<usize>,
}

/// The same requests without us: the HTTP client alone.
struct Bare {
    runtime: tokio::runtime::Runtime,
    get: Get,
}

type Get = Box<dyn Fn(&tokio::runtime::Runtime, &str) -> Result<Vec<u8>>>;

struct Guest {
    address: String,
    status_path: String,
}

impl Bare {
    /// Reads address, certificate and token from the files that the simulator wrote.
    fn connect(folder: &Path) -> Result<Self> {
        let settings: toml::Value =
            toml::from_str(&std::fs::read_to_string(folder.join("settings.toml"))?)?;
        let table = &settings["pve"]["lab"];
        let text = |key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let base = table["endpoints"][0].as_str().context("no endpoint")?.to_owned();
        let file = |key: &str| -> Result<String> {
            let name: PathBuf = text(key).with_context(|| format!("no {key}"))?.into();
            let name = if name.is_absolute() { name } else { folder.join(name) };
            std::fs::read_to_string(&name).with_context(|| format!("read {}", name.display()))
        };
        let id = text("token_id").context("no token_id")?;
        let token = format!("PVEAPIToken={id}={}", file("token_file")?.trim());
        let policy = TlsPolicy::CaPem(file("ca_file")?.into_bytes());
        let tls = TlsOptions { policy, ..TlsOptions::default() };
        let client = stdx::http::client(&HttpOptions::with_tls(tls))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let get = move |runtime: &tokio::runtime::Runtime, path: &str| {
            runtime.block_on(async {
                let request = client.get(format!("{base}{path}")).header("authorization", &token);
                let answer = request.send().await?;
                ensure!(answer.status().is_success(), "{path}: {}", answer.status());
                Ok(answer.bytes().await?.to_vec())
            })
        };
        Ok(Self { runtime, get: Box::new(get) })
    }

    fn get(&self, path: &str) -> Result<Vec<u8>> {
        (self.get)(&self.runtime, path)
    }

    fn first_guest(&self) -> Result<Guest> {
        let rows: Value = serde_json::from_slice(&self.get("/api2/json/cluster/resources")?)?;
        let rows = rows["data"].as_array().context("no resources")?;
        let running = |row: &&Value| row["type"] == "qemu" && row["status"] == "running";
        let Some(row) = rows.iter().find(running) else { bail!("no guest is running") };
        let (node, vmid) = (row["node"].as_str().unwrap_or_default(), &row["vmid"]);
        Ok(Guest {
            address: format!("lab/{vmid}"),
            status_path: format!("/api2/json/nodes/{node}/qemu/{vmid}/status/current"),
        })
    }
}

fn starts(server: &Path, args: &[&str]) -> Result<Vec<Duration>> {
    (0..STARTS)
        .map(|_| {
            let start = Instant::now();
            let client = Client::start(server, args)?;
            let took = start.elapsed();
            drop(client);
            Ok(took)
        })
        .collect()
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

fn print_pair(what: &str, pair: &Pair, goal: f64) {
    row(what, pair.ours, Some(pair.bare), goal);
}

fn row(what: &str, ours: f64, bare: Option<f64>, goal: f64) {
    let (bare, ratio, reached) = match bare {
        Some(bare) => (format!("{bare:.3}"), format!("{:.2}", ours / bare), ours / bare),
        None => ("-".to_owned(), "-".to_owned(), ours),
    };
    let verdict = match goal.is_nan() {
        true => String::new(),
        false if reached <= goal => format!("{goal} reached"),
        false => format!("{goal} MISSED"),
    };
    println!("{what:<46} {ours:>12.3} {bare:>12} {ratio:>8}  {verdict}");
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("the path is no text")
}
