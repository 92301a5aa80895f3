//! A manager over a toy of an app.

use std::path::PathBuf;
use std::sync::Arc;

use guard::Grant;
use manager::{About, ControlSocket, Desk, Lock, Supervisor};
use mcp_protocol::{
    Annotations, Answer, App, CallContext, Caller, Implementation, JsonObject, Outcome, Tool,
    ToolSpec, async_trait, schema_object,
};
use serde_json::json;
use stdx::{Clock as _, SystemClock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) const VERSION: &str = "1.2.3";

/// A manager that runs in this process.
pub(crate) struct Running {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) dropped: Arc<Notify>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: tokio::task::JoinHandle<()>,
}

/// Says who calls, waits for ever, or fails, as its argument says.
struct Toy {
    spec: ToolSpec,
    dropped: Arc<Notify>,
}

/// Tells when the future that holds it goes.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait]
impl Tool for Toy {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, cx: &CallContext, args: JsonObject) -> Outcome {
        match args.get("do").and_then(|it| it.as_str()) {
            Some("wait") => {
                let _gone = Gone(Arc::clone(&self.dropped));
                cx.progress(1.0, Some(2.0), Some("half")).await;
                std::future::pending().await
            }
            Some("fail") => Outcome::failed("it failed"),
            _ => {
                let grant = cx.caller().get::<Grant>().expect("the desk says who calls");
                let asks = cx.capabilities().elicitation_form;
                let text = format!("{} asks:{asks}", grant.principal);
                let structured = schema_object(json!({"who": grant.principal.to_string()}));
                Outcome::Done(Answer::text(text).with_structured(structured))
            }
        }
    }
}

pub(crate) fn app(dropped: Arc<Notify>) -> App {
    let schema = schema_object(json!({
        "type": "object", "properties": {"do": {"type": "string"}}, "additionalProperties": false,
    }));
    let spec = ToolSpec::new("toy", "Toy", "Plays.", schema, Annotations::READ);
    App::builder(Implementation::new("toy", "Toy", VERSION), "Play with it.")
        .caller(Caller::new("nobody"))
        .tool(Arc::new(Toy { spec, dropped }))
        .build()
        .expect("nothing contradicts itself")
}

pub(crate) fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let lock = Lock::take(folder.path()).unwrap();
    let path = folder.path().join(control_api::SOCKET);
    let socket = ControlSocket::bind(&lock, &path, None).unwrap();
    let dropped = Arc::new(Notify::new());
    let app = app(Arc::clone(&dropped));
    let clock = SystemClock::shared();
    let about = About {
        version: VERSION.to_owned(),
        started: clock.now(),
        mode: guard::Mode::Guarded,
        members: vec!["lab".to_owned()],
        uid: own_uid(),
    };
    let desk = Desk::new(about, Arc::new(move |_: &Grant| app.clone()), Supervisor::new(clock));
    let stop = CancellationToken::new();
    let served = tokio::spawn({
        let stop = stop.clone();
        async move {
            manager::serve(socket, desk, stop).await;
            drop(lock);
        }
    });
    Running { folder, socket: path, dropped, stop, served }
}

pub(crate) fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}
