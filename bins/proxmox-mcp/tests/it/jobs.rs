//! Long work across the life of the program: killed and started again, and stopped over each transport.

use std::{io::Write as _, net::TcpStream, path::PathBuf, time::Duration};

use proxmox_sim::{Sim, SimConfig};
use serde_json::{Value, json};
use testkit::{Progress, wait_for};

use crate::{http, serve};

const PATIENCE: Duration = Duration::from_mins(1);

/// An estate whose tasks take their time, and the settings of programs over it.
pub(crate) struct Setup {
    _sim: Sim,
    _folder: tempfile::TempDir,
    config: PathBuf,
}

impl Setup {
    pub(crate) async fn new(speed: f64) -> Self {
        let sim = Sim::start(SimConfig::fast().with_task_speed(speed)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let members = sim.settings_toml(folder.path()).unwrap();
        let policy = "[policy.tests]\norder = 1\ndecision = \"allow\"\nprincipal = \"local:*\"\ntier = \"operate\"";
        let server = format!(
            "mode = \"trusted\"\ntoolsets = [\"all\"]\nstate_dir = \"{}\"",
            state.display()
        );
        let config = folder.path().join("config.toml");
        std::fs::write(&config, format!("{members}\n[server]\n{server}\n{policy}\n")).unwrap();
        Self { _sim: sim, _folder: folder, config }
    }

    pub(crate) fn over_http(&self) -> http::Server {
        let config = self.config.to_str().unwrap();
        http::Server::with(&["--config", config, "--http", "127.0.0.1:0", "--no-auth"])
    }

    fn over_stdio(&self) -> serve::Server {
        serve::Server::start(&["--config", self.config.to_str().unwrap()])
    }
}

/// A request of a client that knows tasks.
fn request(id: u32, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":
            {"extensions": {"io.modelcontextprotocol/tasks": {}}},
    });
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn ask(server: &http::Server, method: &str, name: &str, params: Value) -> Value {
    let headers =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", method), ("mcp-name", name)];
    let message = server.mcp(&headers, &request(1, method, params)).message();
    assert!(message["result"].is_object(), "{message}");
    message["result"].clone()
}

/// Begins work that becomes a task, and gives its id.
fn begin(server: &http::Server, tool: &str, args: &Value) -> String {
    let result = ask(server, "tools/call", tool, json!({"name": tool, "arguments": args}));
    assert_eq!(result["resultType"], "task", "{result}");
    result["taskId"].as_str().unwrap().to_owned()
}

fn task(server: &http::Server, id: &str) -> Value {
    ask(server, "tasks/get", id, json!({"taskId": id}))
}

fn job(server: &http::Server, id: &str) -> Value {
    let answer = server.get(&format!("/api/v1/jobs/{id}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

async fn ended(server: &http::Server, id: &str) -> Value {
    wait_for("the task to end", PATIENCE, async || match task(server, id) {
        task if task["status"] == "working" => Progress::Pending(task.to_string()),
        task => Progress::Ready(task),
    })
    .await
}

/// The lines of a list that name tasks of this kind.
fn tasks_in(text: &str, kind: &str) -> Vec<String> {
    let kind = format!(":{kind}:");
    text.lines().filter(|line| line.contains(&kind)).map(str::to_owned).collect()
}

fn tasks(server: &http::Server, kind: &str) -> Vec<String> {
    let answer = server.tool("tasks_list", &json!({"cluster": "lab", "since": "1h"})).json();
    tasks_in(answer["text"].as_str().unwrap(), kind)
}

/// Waits until the one clone that there is runs, or does not any more.
async fn clone_runs(server: &http::Server, runs: bool) {
    wait_for("the clone to run, or not", PATIENCE, async || {
        match tasks(server, "qmclone").as_slice() {
            [line] if line.contains("running") == runs => Progress::Ready(()),
            other => Progress::Pending(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_no_job_and_what_is_said_of_it_is_so() {
    let setup = Setup::new(0.4).await;
    let server = setup.over_http();
    let one = begin(&server, "guest_clone", &json!({"guest": "lab/100", "name": "one"}));
    let args = json!({"guest": "lab/101", "name": "two", "start": true});
    let two = begin(&server, "guest_clone", &args);
    server.kill();

    let server = setup.over_http();
    let (first, second) = (ended(&server, &one).await, ended(&server, &two).await);
    assert_eq!(first["status"], "completed", "{first}");
    assert_eq!(first["result"]["isError"], false, "{first}");
    let text = serve::text(&first["result"]);
    assert!(text.starts_with("clone of lab/100 web-01 as lab/"), "{text}");
    assert!(text.contains(" one is done\nnote: the server was restarted meanwhile"), "{text}");
    let rest = job(&server, &one);
    assert_eq!((&rest["state"], &rest["text"]), (&json!("done"), &json!(text)));

    // Nobody has started it: that is said, and not that all is well.
    assert_eq!(second["result"]["isError"], true, "{second}");
    let text = serve::text(&second["result"]);
    assert!(text.contains(" was interrupted: the server ended at step 1 of 2 ("), "{text}");
    assert!(text.ends_with("its task ended well, and the step after it was not begun"), "{text}");
    let rest = job(&server, &two);
    assert_eq!((&rest["state"], &rest["text"]), (&json!("unknown"), &json!(text)));
    assert_eq!(tasks(&server, "qmstart"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_takes_nobody_the_way_to_stop_what_runs() {
    let setup = Setup::new(0.2).await;
    let server = setup.over_http();
    let args = json!({"guest": "lab/100", "name": "one", "start": true});
    let id = begin(&server, "guest_clone", &args);
    server.kill();

    let server = setup.over_http();
    assert_eq!(task(&server, &id)["status"], "working");
    assert_eq!(job(&server, &id)["state"], "running");
    let stopped = server.send("DELETE", &format!("/api/v1/jobs/{id}"), &[], "");
    assert_eq!((stopped.status, &stopped.json()["state"]), (200, &json!("cancelled")));
    assert_eq!(task(&server, &id)["status"], "cancelled");
    clone_runs(&server, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_on_one_store_leave_each_others_jobs_alone() {
    let setup = Setup::new(0.2).await;
    let (server, other) = (setup.over_http(), setup.over_http());
    let args = json!({"guest": "lab/100", "name": "one", "start": true});
    let id = begin(&server, "guest_clone", &args);
    assert_eq!(task(&other, &id)["status"], "working");
    assert_eq!(job(&other, &id)["state"], "running");
    // It can be stopped there, and whoever works on it goes on with nothing.
    ask(&other, "tasks/cancel", &id, json!({"taskId": id}));
    assert_eq!(task(&server, &id)["status"], "cancelled");
    clone_runs(&server, false).await;
    assert_eq!(tasks(&server, "qmstart"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_cancelled_over_http_is_stopped() {
    let setup = Setup::new(0.2).await;
    let server = setup.over_http();
    let args = json!({"guest": "lab/100", "name": "one", "start": true});
    let id = begin(&server, "guest_clone", &args);
    assert!(tasks(&server, "qmclone")[0].contains("running"));
    ask(&server, "tasks/cancel", &id, json!({"taskId": id}));
    assert_eq!(ended(&server, &id).await["status"], "cancelled");
    assert!(!tasks(&server, "qmclone")[0].contains("running"));
    assert_eq!(tasks(&server, "qmstart"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_over_http_is_stopped() {
    let setup = Setup::new(0.2).await;
    let server = setup.over_http();
    let args = json!({"guest": "lab/100", "name": "one", "start": true});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "guest_clone", "arguments": args,
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    let body = body.to_string();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: tools/call\r\nmcp-name: guest_clone\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    clone_runs(&server, true).await;
    drop(stream);
    clone_runs(&server, false).await;
    assert_eq!(tasks(&server, "qmstart"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_over_stdio_is_stopped() {
    let setup = Setup::new(0.2).await;
    let mut server = setup.over_stdio();
    server.initialize("2025-11-25");
    let args = json!({"guest": "lab/100", "name": "one", "start": true});
    let params = json!({"name": "guest_clone", "arguments": args});
    let call = json!({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": params});
    server.send(&call.to_string());
    let mut id = 100;
    let mut tasks = |server: &mut serve::Server, kind: &str| {
        id += 1;
        let result = server.call(id, "tasks_list", &json!({"cluster": "lab", "since": "1h"}));
        tasks_in(serve::text(&result), kind)
    };
    let began = std::time::Instant::now();
    while !tasks(&mut server, "qmclone").iter().any(|line| line.contains("running")) {
        assert!(began.elapsed() < PATIENCE, "the clone does not begin");
    }
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": 99}});
    server.send(&cancelled.to_string());
    while tasks(&mut server, "qmclone").iter().any(|line| line.contains("running")) {
        assert!(began.elapsed() < PATIENCE, "the clone is not stopped");
    }
    assert_eq!(tasks(&mut server, "qmstart"), [""; 0]);
}
