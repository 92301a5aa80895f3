//! Inputs and outputs: what works, what does not and why, and a test message only where it is asked for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use checks::{Beat, Finding, Plan, Ways};
use event_core::{
    ComponentId, Cursor, Delivery, EventSink, EventSource, Receipt, Retry, RunContext, Signal,
    SinkError, SourceError, SourceErrorKind, Stand,
};
use expect_test::expect;
use futures::stream::BoxStream;
use guard::Mode;

/// An input or output that says this when it is asked; nothing for one that never answers.
struct Way {
    id: ComponentId,
    says: Option<Result<&'static str, SourceErrorKind>>,
    told: Mutex<Vec<Stand>>,
}

impl Way {
    fn new(id: &str, says: Option<Result<&'static str, SourceErrorKind>>) -> Arc<Self> {
        Arc::new(Self { id: id.parse().unwrap(), says, told: Mutex::default() })
    }

    async fn says(&self) -> Result<String, SourceErrorKind> {
        match self.says {
            Some(said) => said.map(str::to_owned),
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl EventSource for Way {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        self.says().await.map_err(|kind| SourceError::new(kind, "bind 127.0.0.1:514"))
    }

    fn run(
        &self,
        _cx: RunContext,
        _resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        Box::pin(futures::stream::empty())
    }
}

#[async_trait]
impl EventSink for Way {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SinkError> {
        self.says().await.map_err(|_| SinkError::new(Retry::Never, "the webhook is gone"))
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        self.told.lock().unwrap().push(delivery.message.stand);
        Ok(Receipt::default())
    }
}

async fn found(ways: Ways) -> String {
    let mut plan = Plan::new(Mode::ReadOnly, []);
    plan.events = ways;
    plan.deadline = Duration::from_secs(5);
    let mut text = String::new();
    for it in checks::run(plan, |_| {}).await {
        let Finding { subject, check, detail, hints, .. } = &it;
        text += &[it.status.as_str(), " ", subject, " ", check, ": ", detail, "\n"].concat();
        for hint in hints {
            text += &["    ", hint, "\n"].concat();
        }
    }
    text
}

#[tokio::test(start_paused = true)]
async fn each_is_asked_and_nobody_is_told_unless_that_is_wanted() {
    let good = Way::new("ops", Some(Ok("answers")));
    let gone = Way::new("old", Some(Err(SourceErrorKind::Unavailable)));
    let mut ways = Ways::default();
    ways.inputs = vec![
        Way::new("log", Some(Ok("listens on 127.0.0.1:514"))),
        Way::new("taken", Some(Err(SourceErrorKind::Settings))),
        Way::new("slow", None),
    ];
    ways.outputs = vec![good.clone(), gone.clone()];
    let beat = |id: &str, works: bool| Beat {
        id: id.parse().unwrap(),
        check: Arc::new(move || {
            Box::pin(async move {
                let gone = || SinkError::new(Retry::Backoff, "no connection came about");
                works.then(|| "hc.example:443 takes connections".to_owned()).ok_or_else(gone)
            })
        }),
    };
    ways.heartbeats = vec![beat("alive", true), beat("dead", false)];
    expect![[r#"
        ok input log input: listens on 127.0.0.1:514
        FAILED input taken input: bind 127.0.0.1:514
            set it right in its table of the settings
        FAILED input slow reach: no answer within 5 s
            see whether its server can be reached from here
        ok output ops output: answers
        FAILED output old output: the webhook is gone
            set it right in its table of the settings: trying again does not help
        ok output alive output: hc.example:443 takes connections
        FAILED output dead output: no connection came about
            see whether its server runs and can be reached from here
    "#]]
    .assert_eq(&found(ways.clone()).await);
    assert!(good.told.lock().unwrap().is_empty());

    ways.send = true;
    ways.is_taken = true;
    expect![[r#"
        ok input log input: listens on 127.0.0.1:514
        skipped input taken input: bind 127.0.0.1:514; a manager runs, and may be who has it
            `proxmox-mcp events status` says how the manager's inputs are doing
        FAILED input slow reach: no answer within 5 s
            see whether its server can be reached from here
        ok output ops output: answers
        ok output ops send: a test message was taken
        FAILED output old output: the webhook is gone
            set it right in its table of the settings: trying again does not help
        skipped output old send: not sent, since the output does not work
        ok output alive output: hc.example:443 takes connections
        FAILED output dead output: no connection came about
            see whether its server runs and can be reached from here
    "#]]
    .assert_eq(&found(ways).await);
    assert_eq!(*good.told.lock().unwrap(), [Stand::Test]);
    assert!(gone.told.lock().unwrap().is_empty(), "what does not work is not tried");
}
