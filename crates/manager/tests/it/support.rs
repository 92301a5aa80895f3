//! A manager over a toy of an app.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use guard::approval::Approver;
use guard::ports::{
    Announcement, Approval, ApprovalId, ApprovalState, Approvals, ConsentChannel, KeptCall,
    NewApproval, Outcome as Ended, PortError,
};
use guard::{Grant, PlanForm, Principal};
use jiff::{SignedDuration, Timestamp};
use manager::approve::{Attestor, Book, CodeSecret, Entry, Links, SealedKey, SigningKey};
use manager::events::Events;
use manager::{
    About, Books, ControlSocket, Deciding, Desk, Engine, Lock, Parts, Peer, Ran, Recovered,
    Supervisor, Worker,
};
use mcp_protocol::{
    Annotations, Answer, App, CallContext, Caller, Implementation, JsonObject, Outcome, Tool,
    ToolSpec, schema_object,
};
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use stdx::seal::SealKey;
use stdx::{Clock as _, ManualClock, SystemClock};
use store::{GuardStore, LazyStore, SignedLog, StoreUrl};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) const VERSION: &str = "1.2.3";

/// A manager that runs in this process.
pub(crate) struct Running {
    pub(crate) inside: Inside,
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

/// RFC 6238's secret; its code at second 59 is 287082.
pub(crate) const CODE_SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// A manager's inside, without its door.
pub(crate) struct Inside {
    pub(crate) clock: ManualClock,
    pub(crate) store: GuardStore,
    pub(crate) audit: LazyStore,
    pub(crate) book: Book,
    pub(crate) links: Arc<Links>,
    pub(crate) worker: Arc<Toiler>,
    pub(crate) channel: Arc<Heard>,
    pub(crate) engine: Engine,
    pub(crate) deciding: Deciding,
    pub(crate) ada: &'static SigningKey,
}

/// Runs nothing but the books: what was approved is claimed and done at once.
pub(crate) struct Toiler {
    store: GuardStore,
    clock: ManualClock,
    pub(crate) book: Book,
    pub(crate) ran: Mutex<Vec<ApprovalId>>,
    /// Work waits for this, if told to.
    pub(crate) hold: AtomicBool,
    pub(crate) go: Notify,
}

/// A channel that keeps what it was told.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) announced: Mutex<Vec<Announcement>>,
    pub(crate) settled: Mutex<Vec<Approval>>,
    pub(crate) deaf: AtomicBool,
}

#[async_trait]
impl Worker for Toiler {
    async fn recover(&self) -> Result<Recovered, PortError> {
        Ok(Recovered::default())
    }

    async fn run_approved(&self, id: ApprovalId) -> Result<Ran, PortError> {
        let approval = self.store.approval(id).await?.expect("it was approved");
        // As the gate does: what does not prove itself is never run.
        for decision in &approval.decisions {
            if guard::ports::Approvers::may_decide(&self.book, &approval, decision).is_err() {
                self.store.void(id, "its decisions do not count", None, self.clock.now()).await?;
                return Ok(Ran::Moved(None));
            }
        }
        let Ok(_) = self.store.claim(id, &approval.digest, self.clock.now()).await else {
            return Ok(Ran::Not);
        };
        if self.hold.load(Ordering::SeqCst) {
            self.go.notified().await;
        }
        self.ran.lock().unwrap().push(id);
        let result = json!({"did": approval.form.tool});
        let done = self.store.finish(id, Ended::Done, result, self.clock.now()).await?;
        Ok(Ran::Ended(done))
    }

    async fn expire(&self) -> Result<(), PortError> {
        self.store.expire(self.clock.now()).await.map(|_| ())
    }

    async fn revert_due(&self) -> Result<usize, PortError> {
        Ok(0)
    }
}

#[async_trait]
impl ConsentChannel for Heard {
    fn name(&self) -> &'static str {
        "heard"
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), String> {
        if self.deaf.load(Ordering::SeqCst) {
            return Err("nobody listens".to_owned());
        }
        self.announced.lock().unwrap().push(announcement.clone());
        Ok(())
    }

    async fn settled(&self, approval: &Approval) -> Result<(), String> {
        self.settled.lock().unwrap().push(approval.clone());
        Ok(())
    }
}

/// Ada's key, unlocked once for all tests: that is slow on purpose.
fn ada() -> &'static SigningKey {
    static KEY: std::sync::OnceLock<SigningKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| {
        let passphrase = "three words nobody says".into();
        SealedKey::make("ada", &passphrase).unwrap().unlock(&passphrase).unwrap()
    })
}

/// Noon of a day; tests move the clock.
pub(crate) fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// Ada (key, codes, account 2001, a chat), Bob (account 2002), and the group 900.
pub(crate) fn inside() -> Inside {
    let clock = ManualClock::at(noon());
    let audit = LazyStore::new(StoreUrl::Memory);
    let store = GuardStore::new(audit.clone(), SealKey::new(&[3; 32]));
    let signing = ada();
    let mut ada = Approver::new("ada");
    ada.principals =
        [Principal::local(2001), Principal::channel("discord", "4711").unwrap()].into();
    ada.teams = ["ops".to_owned()].into();
    (ada.has_key, ada.has_code) = (true, true);
    let mut bob = Approver::new("bob");
    bob.principals = [Principal::local(2002)].into();
    let mut group = Approver::new("group");
    group.gid = Some(900);
    let code = Arc::new(CodeSecret::try_new(&CODE_SECRET.into()).unwrap());
    let entries = vec![
        Entry { approver: ada, key: Some(signing.public()), code: Some(code) },
        Entry { approver: bob, key: None, code: None },
        Entry { approver: group, key: None, code: None },
    ];
    let book = Book::new(entries, Arc::new(Attestor::new(&[5; 32])));
    let links = Arc::new(Links::new(&[7; 32], "https://mcp.example.lan/"));
    let channel = Arc::new(Heard::default());
    let worker = Arc::new(Toiler {
        store: store.clone(),
        clock: clock.clone(),
        book: book.clone(),
        ran: Mutex::default(),
        hold: AtomicBool::new(false),
        go: Notify::new(),
    });
    let engine = Engine::new(Parts {
        worker: Arc::<Toiler>::clone(&worker),
        approvals: Arc::new(store.clone()),
        channels: vec![Arc::<Heard>::clone(&channel)],
        book: book.clone(),
        links: Some(Arc::clone(&links)),
        clock: Arc::new(clock.clone()),
    });
    let (freezes, actions) = (Arc::new(store.clone()), Arc::new(store.clone()));
    let (brakes, log) = (Arc::new(store.clone()), SignedLog::new(audit.clone()));
    let deciding = Deciding::new(engine.clone(), freezes, actions, brakes, log);
    Inside { clock, store, audit, book, links, worker, channel, engine, deciding, ada: signing }
}

impl Inside {
    /// Account 1000 asks for something.
    pub(crate) async fn ask(&self, needed: u32, of: &[&str]) -> Approval {
        self.ask_as(Principal::local(1000), needed, of).await
    }

    pub(crate) async fn ask_as(&self, who: Principal, needed: u32, of: &[&str]) -> Approval {
        let form = PlanForm {
            principal: who.to_string(),
            tool: "guest_delete".to_owned(),
            calls: Vec::new(),
            targets: [("lab/104".to_owned(), [("status".to_owned(), "stopped".to_owned())].into())]
                .into(),
        };
        let question = NewApproval {
            form,
            requested_by: who,
            expires_at: noon() + SignedDuration::from_hours(1),
            rule: "default.destroy".to_owned(),
            needed,
            of: of.iter().map(|name| (*name).to_owned()).collect(),
            client_counts: false,
            summary: "deletion of lab/104 web".to_owned(),
            call: KeptCall { tool: "guest_delete".to_owned(), arguments: JsonObject::new() },
        };
        self.store.ask(question, self.clock.now()).await.unwrap()
    }

    pub(crate) async fn state(&self, id: ApprovalId) -> ApprovalState {
        self.store.approval(id).await.unwrap().unwrap().state_at(self.clock.now())
    }
}

/// Somebody of this system.
pub(crate) fn account(uid: u32) -> Peer {
    Peer { uid, gid: uid, groups: Vec::new(), pid: None }
}

pub(crate) fn start() -> Running {
    start_with(None)
}

pub(crate) fn start_with(events: Option<Events>) -> Running {
    let inside = inside();
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
    let supervisor = Supervisor::new(clock);
    inside.engine.start(&supervisor);
    let books = Books {
        events,
        engine: inside.engine.clone(),
        deciding: inside.deciding.clone(),
        actions: Arc::new(inside.store.clone()),
        confirms: Arc::new(inside.store.clone()),
        audit: inside.audit.clone(),
    };
    let desk = Desk::new(about, Arc::new(move |_: &Grant| app.clone()), books, supervisor);
    let stop = CancellationToken::new();
    let served = tokio::spawn({
        let stop = stop.clone();
        async move {
            manager::serve(socket, desk, stop).await;
            drop(lock);
        }
    });
    Running { inside, folder, socket: path, dropped, stop, served }
}

pub(crate) fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}
