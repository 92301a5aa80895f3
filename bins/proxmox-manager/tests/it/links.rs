//! The page behind a signed link: to look decides nothing, and each link decides once.

use std::path::Path;
use std::process::Command;

use guard::ports::{Approval, Approvals as _};
use manager::approve::Links;
use secrecy::ExposeSecret as _;
use serde_json::json;
use store::{GuardStore, LazyStore, StoreUrl};
use testkit::{Progress, wait_for};

use crate::support::{Account, House, LONG, Serve, can_run_mcp};

const PUBLIC: &str = "https://mcp.example.lan:8808";

/// An answer: its status, its head in small letters, its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Asks the manager as a browser does that came by its public name.
fn browse(socket: &Path, path: &str, more: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command.args(["-s", "-S", "-i", "-H", "host: mcp.example.lan:8808", "--unix-socket"]);
    let output = command.arg(socket).args(more).arg(format!("http://localhost{path}")).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn press(socket: &Path, path: &str, decision: &str) -> Answer {
    let same = "sec-fetch-site: same-origin";
    browse(socket, path, &["-H", same, "-d", &format!("decision={decision}")])
}

/// Links as the manager makes them: with its key, which nobody else can read.
struct Mill {
    links: Links,
    store: GuardStore,
}

impl Mill {
    fn of(house: &House) -> Self {
        let key = std::fs::read(house.state().join("link.key")).unwrap();
        let store = LazyStore::new(StoreUrl::Sqlite(house.state().join("store.db")));
        Self {
            links: Links::new(&key.try_into().unwrap(), PUBLIC),
            store: GuardStore::in_folder(store, &house.state()),
        }
    }

    async fn approval(&self, id: &str) -> Approval {
        self.store.approval(id.parse().unwrap()).await.unwrap().unwrap()
    }

    /// The path of the link.
    fn path(&self, approval: &Approval, approver: &str) -> String {
        let link = self.links.link(approval, approver);
        link.expose_secret().strip_prefix(PUBLIC).unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_shows_its_plan_and_decides_once() {
    if !can_run_mcp() || Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let house = House::with_accounts(&format!("http = true\npublic_url = \"{PUBLIC}\"\n")).await;
    let socket = house.folder.path().join("run").join("http.sock");
    house.add_settings(&format!(
        "[http]\nlisten = \"127.0.0.1:0\"\nunix_socket = \"{}\"\n\
         [approver.ada]\nchannels = [\"discord:1\"]\n[approver.bob]\nchannels = [\"discord:2\"]",
        socket.display()
    ));
    let (manager, client) = house.start().await;
    wait_for("the HTTP listener", LONG, async || {
        if socket.exists() { Progress::Ready(()) } else { Progress::Pending("no socket".into()) }
    })
    .await;
    let mut agent = Serve::start(house.mcp(Account::Agent, &["serve"]));
    let id = agent.asks("guest_power", &json!({"guest": "lab/124", "action": "shutdown"}));
    let other = agent.asks("guest_power", &json!({"guest": "lab/100", "action": "stop"}));
    let mill = Mill::of(&house);
    let (approval, second) = (mill.approval(&id).await, mill.approval(&other).await);
    let path = mill.path(&approval, "ada");

    // To look, however often, decides nothing; and nothing of the page is kept or told elsewhere.
    for _ in 0..3 {
        let page = browse(&socket, &path, &[]);
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("shutdown of lab/124"), "{}", page.body);
        assert!(page.body.contains("value=\"approve\""), "{}", page.body);
        for header in [
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'; form-action 'self'; frame-ancestors 'none'",
            "x-content-type-options: nosniff",
        ] {
            assert!(page.head.contains(header), "{header} is not in {}", page.head);
        }
    }
    assert_eq!(mill.approval(&id).await.decisions, []);
    // Neither does a form of another site, an empty one, or one that says both.
    let foreign = ["-H", "sec-fetch-site: cross-site", "-d", "decision=approve"];
    assert_eq!(browse(&socket, &path, &foreign).status, 403);
    assert_eq!(browse(&socket, &path, &["-d", "decision="]).status, 400);
    assert_eq!(browse(&socket, &path, &["-d", "decision=approve&decision=refuse"]).status, 400);

    // Forged ones are all alike: for another person, another approval, another time, without an end.
    let parts: Vec<&str> = path.split('.').collect();
    let (lead, until, tag) = (parts[0], parts[2], parts[3]);
    let plain = lead.replace(&id, &other);
    for forged in [
        format!("{lead}.bob.{until}.{tag}"),
        format!("{plain}.ada.{until}.{tag}"),
        format!("{lead}.ada.9999999999.{tag}"),
        format!("{lead}.ada.{until}.AAAA"),
        lead.to_owned(),
        format!("{path}.x"),
    ] {
        assert_eq!(browse(&socket, &forged, &[]).status, 404, "{forged}");
        assert_eq!(press(&socket, &forged, "approve").status, 404, "{forged}");
    }
    // One whose time is over, although it was made with the right key.
    let late = Approval { expires_at: approval.asked_at, ..approval.clone() };
    let late = mill.path(&late, "ada");
    assert_eq!(browse(&socket, &late, &[]).status, 404);
    assert_eq!(press(&socket, &late, "approve").status, 404);
    assert_eq!(mill.approval(&id).await.decisions, []);
    assert!(house.writes().is_empty());

    // Pressed, it decides, and the work runs; pressed again, it does nothing.
    let pressed = press(&socket, &path, "approve");
    assert!(pressed.status == 200 && pressed.body.contains("You have approved this"));
    let (object, text) = agent.waits(&id);
    assert_eq!(object["status"], "ok", "{text}");
    let again = press(&socket, &path, "refuse");
    assert!(again.status == 409 && again.body.contains("Nothing was decided"), "{}", again.body);
    assert!(!browse(&socket, &path, &[]).body.contains("<form"));
    let decided = mill.approval(&id).await;
    assert_eq!(decided.decisions.len(), 1);
    assert_eq!(house.writes().len(), 1);
    // The other one is refused by somebody else's link.
    let refused = press(&socket, &mill.path(&second, "bob"), "refuse");
    assert!(refused.status == 200 && refused.body.contains("You have refused this"));
    assert_eq!(client.approval(&other).await.unwrap().approval.state, "refused");

    // No link, and no part of one that is secret, is in what the manager says or writes down.
    manager.signal("TERM");
    let output = manager.ended().await;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("a plan waits for consent"), "{log}");
    assert!(!log.contains(tag) && !log.contains("/approve/"), "{log}");
}
