//! A change whose answer is lost: its task is looked for, and nothing is sent again.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use api_core::{
    Body, FailoverOptions, Sent, Transport, TransportError, TransportErrorKind,
    endpoint::FileContent,
};
use async_trait::async_trait;
use expect_test::expect;
use mcp_protocol::{CallContext, Caller};
use mcp_tools::{
    fleet::{Fleet, Traits},
    tool::Cx,
};
use proxmox_sim::{Sim, SimConfig, TaskSpec};
use serde_json::json;

use crate::estate::Estate;

/// What becomes of the answer to a change.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// The connection ends after the request was handled.
    Closed,
    /// The proxy gives up waiting, and the work goes on behind it.
    GivenUp,
    /// The request never got there, and nobody can tell.
    Vanished,
    /// The answer names a task that is done, and nothing has happened.
    Pretended,
}

/// Loses the answers to changes.
struct Lossy {
    inner: Arc<dyn Transport>,
    authorization: String,
    loss: Loss,
    sent: AtomicU32,
    /// The task that [`Loss::Pretended`] names.
    pretended: String,
}

#[async_trait]
impl Transport for Lossy {
    async fn send(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<Body>, TransportError> {
        let header = self.authorization.parse().expect("a header");
        request.headers_mut().insert(http::header::AUTHORIZATION, header);
        if request.method() == http::Method::GET {
            return self.inner.send(request).await;
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let closed = || TransportError::new(TransportErrorKind::Closed, Sent::Maybe, "pve");
        match self.loss {
            Loss::Vanished => Err(closed()),
            Loss::Pretended => {
                let body = format!("{{\"data\": \"{}\"}}", self.pretended).into_bytes();
                Ok(http::Response::new(Body::from(body)))
            }
            Loss::Closed => {
                self.inner.send(request).await?;
                Err(closed())
            }
            Loss::GivenUp => {
                self.inner.send(request).await?;
                let reply = http::Response::builder().status(596).body(Body::empty());
                Ok(reply.expect("a reply"))
            }
        }
    }
}

async fn start(loss: Loss) -> (Estate, Arc<Lossy>) {
    lab(|sim, inner, authorization| {
        let done = TaskSpec::finished("qmstart", "125", "OK");
        let pretended = sim.levers().add_task("lab", "alder", &done).expect("a task");
        Lossy { inner, authorization, loss, sent: AtomicU32::new(0), pretended }
    })
    .await
}

/// The demo estate's `lab` behind a transport of the test's own, which adds the given header.
pub(crate) async fn lab<T: Transport + 'static>(
    wrap: impl FnOnce(&Sim, Arc<dyn Transport>, String) -> T,
) -> (Estate, Arc<T>) {
    let sim = Sim::start(SimConfig::fast()).await.expect("the simulator starts");
    let lab = &sim.targets()[0];
    let ca = lab.ca_pem.clone();
    let files = move |_: &Path| -> io::Result<FileContent> {
        Ok(FileContent { bytes: ca.clone().into_bytes(), world_readable: Some(false) })
    };
    let token = lab.token("agent");
    let urls: Vec<_> = lab.nodes.iter().map(|node| node.url.clone()).collect();
    let table = json!({
        "endpoints": urls, "token_id": token.id, "token": token.secret, "ca_file": "ca.pem",
    });
    let config: pve_client::Config = serde_json::from_value(table).expect("a table");
    let options = config.validate("lab", &files).expect("a valid table").value;
    let clock = stdx::SystemClock::shared();
    let inner = Arc::new(options.transport(FailoverOptions::default(), Arc::clone(&clock)));
    let authorization = format!("PVEAPIToken={}={}", token.id, token.secret);
    let transport = Arc::new(wrap(&sim, inner, authorization));
    let client = pve_client::Client::new(Arc::clone(&transport) as Arc<dyn Transport>);
    let fleet =
        Fleet::new(clock).with_pve("lab".parse().expect("a key"), &client, Traits::default());
    let mut cx = Cx::new(Arc::new(fleet), CallContext::detached(Caller::new("local:0")));
    cx.mode = guard::Mode::Trusted;
    (Estate { sim, cx }, transport)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_is_found_and_followed() {
    for loss in [Loss::Closed, Loss::GivenUp] {
        let (estate, lossy) = start(loss).await;
        let answer =
            estate.ask("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
        assert!(!answer.failed, "{loss:?}: {}", answer.text);
        assert_eq!(answer.object["state"], "running");
        assert!(answer.object["upid"].as_str().unwrap().contains(":qmstart:125:"));
        assert!(answer.text.contains("note: the answer was lost"), "{}", answer.text);
        // A failure is found as well as a success.
        let text =
            estate.failure("guest_power", json!({"guest": "lab/108", "action": "start"})).await;
        assert!(text.starts_with("start of lab/108 gpu-render failed: start failed"), "{text}");
        assert_eq!(lossy.sent.load(Ordering::Relaxed), 2, "nothing is sent twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_nobody_knows_is_said_to_be_unknown() {
    let (mut estate, lossy) = start(Loss::Vanished).await;
    // Longer than the task is looked for.
    estate.cx.task_wait = Duration::from_secs(30);
    let answer = estate.ask("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    assert!(answer.failed, "{}", answer.text);
    assert_eq!(answer.object["status"], "unknown");
    expect![[r#"
        outcome of the start of lab/125 dev-bela is unknown: the answer was lost (POST /nodes/alder/qemu/125/status/start: get a whole answer before the connection closed (pve)) and no task of it is found
        note: it was not sent again: look at what it was about, and at the tasks, first
        next: tasks_list {"cluster":"lab"}
        next: guest_get {"guest":"lab/125"}"#]].assert_eq(&answer.text);
    assert_eq!(lossy.sent.load(Ordering::Relaxed), 1, "nothing is sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ended_well_without_effect_is_contradicted() {
    let (estate, _) = start(Loss::Pretended).await;
    let answer = estate.ask("guest_power", json!({"guest": "lab/125", "action": "start"})).await;
    assert!(answer.failed, "{}", answer.text);
    assert_eq!(answer.object["state"], "stopped");
    let text = answer.text.lines().next().unwrap();
    expect!["start of lab/125 dev-bela: the task ended OK, but the guest is stopped"]
        .assert_eq(text);
    let args = json!({"guest": "lab/100", "action": "reboot"});
    let text = estate.failure("guest_power", args).await;
    assert!(text.contains("the task ended OK, but the guest has been running for"), "{text}");
    let text = estate.failure("snapshot_create", json!({"guest": "lab/100", "name": "a1"})).await;
    assert!(text.contains("the task ended OK, but the snapshot is not in the list"), "{text}");
}
