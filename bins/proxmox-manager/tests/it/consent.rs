//! A model asks over its `serve`, a person decides by a way that the model has not, and the manager works.

use std::process::Command;

use control_api::ActionFilter;
use manager::approve::SealedKey;
use proxmox_sim::Moment;
use secrecy::SecretString;
use serde_json::{Value, json};
use stdx::{Clock as _, SystemClock};
use testkit::{Progress, wait_for};

use crate::support::{
    Account, House, LONG, Manager, Serve, Terminal, can_run_mcp, connect, has_accounts,
    has_terminals, said,
};

const PASSPHRASE: &str = "three words nobody says";
/// The secret of RFC 6238's examples.
const CODE_SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

fn shutdown(vmid: u32) -> Value {
    json!({"guest": format!("lab/{vmid}"), "action": "shutdown"})
}

/// The one-time code of just now.
fn code_now() -> String {
    let secret = totp_rs::Secret::try_from_base32(CODE_SECRET).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build_noncompliant();
    totp.generate(u64::try_from(SystemClock.now().as_second()).unwrap()).to_string()
}

/// Ada's key under her passphrase, in Carol's folder, and the table that names her.
fn ada(house: &House, account: Account) -> (String, String) {
    let key = SealedKey::make("ada", &SecretString::from(PASSPHRASE)).unwrap();
    let path = house.write_private(account, "approver-ada.key", &key.to_text());
    let table = format!("[approver.ada]\nkey = \"{}\"\n", key.public());
    (path.to_str().unwrap().to_owned(), table)
}

/// One call over the control socket with nothing but a shell: `curl` as that account.
fn by_hand(house: &House, account: Account, method: &str, params: &Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let mut curl = Command::new("curl");
    curl.args(["-s", "-S", "-H", "content-type: application/json", "-d", &request.to_string()]);
    curl.arg("--unix-socket").arg(house.socket()).arg("http://localhost/");
    account.put_on(&mut curl);
    let output = curl.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_set_up_and_approves_with_a_passphrase_and_the_asker_may_be_gone() {
    if !can_run_mcp() || !has_terminals() {
        return;
    }
    let house = House::with_accounts("").await;
    let (manager, client) = house.start().await;

    // Nobody can be asked: the agent is refused, and told how somebody is set up.
    let mut agent = Serve::start(house.mcp(Account::Agent, &["serve"]));
    let (object, text) = agent.call("guest_power", &shutdown(124));
    assert_eq!(object["status"], "refused", "{text}");
    assert!(text.contains("approver add"), "{text}");

    // Carol makes a key on her terminal; the table goes into the manager's settings.
    let key = house.home(Account::Carol).join("ada.key");
    let key = key.to_str().unwrap();
    let add = house.mcp(Account::Carol, &["approver", "add", "ada", "--out", key]);
    let mut terminal = Terminal::run(Account::Carol, &add);
    terminal.answers("new passphrase of ada:", PASSPHRASE);
    terminal.answers("the same again:", PASSPHRASE);
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains(PASSPHRASE), "a passphrase is not shown: {shown}");
    let line = shown.lines().find(|line| line.starts_with("key = ")).unwrap().trim();
    // By her account she sees what others asked for; by the passphrase she decides.
    let uid = Account::Carol.uid();
    house.add_settings(&format!("[approver.ada]\nuid = {uid}\n{line}"));
    manager.signal("HUP");
    wait_for("the new approver", LONG, async || {
        let known = client.status().await.unwrap().approvers;
        if known == ["ada"] { Progress::Ready(()) } else { Progress::Pending(format!("{known:?}")) }
    })
    .await;

    let id = agent.asks("guest_power", &shutdown(124));
    assert!(house.writes().is_empty(), "nothing was sent: {:?}", house.writes());
    // Without a terminal there is no way to say who decides.
    let own = house.mcp(Account::Agent, &["approve", "yes", &id, "--as", "ada", "--key", key]);
    let (code, text) = said(&{ own }.output().unwrap());
    assert_ne!(code, 0, "{text}");

    // The agent's client ends. A person lists what waits, looks at it, and says yes.
    agent.kill();
    let (_, listed) = said(&house.mcp(Account::Carol, &["approve"]).output().unwrap());
    assert!(listed.contains(&id[..12]) && listed.contains("shutdown of lab/124"), "{listed}");
    let args = ["approve", &id[..12], "--as", "ada", "--key", key];
    let mut terminal = Terminal::run(Account::Carol, &house.mcp(Account::Carol, &args));
    let plan = terminal.sees("approve this plan? (yes or no):");
    assert!(plan.contains("POST /nodes/cedar/qemu/124/status/shutdown"), "{plan}");
    terminal.answers("approve this plan? (yes or no):", "yes");
    terminal.answers("passphrase of ada:", PASSPHRASE);
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("it runs in the manager") && shown.contains("done"), "{shown}");

    let mut again = Serve::start(house.mcp(Account::Agent, &["serve"]));
    let (object, text) = again.waits(&id);
    assert_eq!(object["status"], "ok", "{text}");
    assert_eq!(house.writes(), ["POST /api2/json/nodes/cedar/qemu/124/status/shutdown"]);
    manager.signal("TERM");
    assert_eq!(manager.ended().await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_time_code_is_good_once_and_a_restart_does_not_forget_it() {
    if !can_run_mcp() || !has_terminals() {
        return;
    }
    let house = House::with_accounts("").await;
    // What `approver add` makes for the manager's account is read by it, and shown to the person.
    let file = house.home(Account::Manager).join("bob.totp");
    let args = ["approver", "add", "bob", "--totp", "--out", file.to_str().unwrap()];
    let terminal = Terminal::run(Account::Manager, &house.mcp(Account::Manager, &args));
    let (code, shown) = terminal.ended();
    assert!(code == 0 && shown.contains("otpauth://totp/proxmox-mcp:bob?secret="), "{shown}");
    assert!(shown.contains("totp_secret_file = "), "{shown}");
    // The rest of the test knows the secret of another file.
    let file = house.write_private(Account::Manager, "codes.totp", CODE_SECRET);
    house.add_settings(&format!("[approver.bob]\ntotp_secret_file = \"{}\"", file.display()));
    let (manager, _) = house.start().await;

    // The agent's person, at the very account that asked: what counts is what the agent has not.
    let mut agent = Serve::start(house.mcp(Account::Agent, &["serve"]));
    let first = agent.asks("guest_power", &shutdown(124));
    let second = agent.asks("guest_power", &json!({"guest": "lab/100", "action": "stop"}));
    let decides = |id: &str, code: &str| {
        let args = ["approve", "yes", id, "--as", "bob", "--code"];
        let mut terminal = Terminal::run(Account::Agent, &house.mcp(Account::Agent, &args));
        terminal.answers("one-time code of bob:", code);
        terminal.ended()
    };
    let (code, shown) = decides(&first, "000000");
    assert!(code == 1 && shown.contains("not the right one"), "{shown}");
    let good = code_now();
    let (code, shown) = decides(&first, &good);
    assert!(code == 0 && shown.contains("done"), "{shown}");
    let (object, text) = agent.waits(&first);
    assert_eq!(object["status"], "ok", "{text}");
    let (code, shown) = decides(&second, &good);
    assert!(code == 1 && shown.contains("used already"), "{shown}");

    // Neither do a new process and an empty memory make it good again.
    manager.signal("KILL");
    manager.ended().await;
    let (_manager, client) = house.start().await;
    let (code, shown) = decides(&second, &good);
    assert!(code == 1 && shown.contains("used already"), "{shown}");
    assert_eq!(client.status().await.unwrap().approvals_pending, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_approves_by_being_it_and_the_askers_own_never_does() {
    if !can_run_mcp() || !has_accounts() {
        return;
    }
    // The operator made a mistake: the agent's account is an approver's, too.
    let (agent_uid, carol_uid) = (Account::Agent.uid(), Account::Carol.uid());
    let tables =
        format!("[approver.carol]\nuid = {carol_uid}\n[approver.agent]\nuid = {agent_uid}\n");
    let house = House::with_accounts(&tables).await;
    let (_manager, client) = house.start().await;
    let mut agent = Serve::start(house.mcp(Account::Agent, &["serve"]));
    let id = agent.asks("guest_power", &shutdown(124));

    // With a shell and nothing else: the command, and the socket by hand.
    let (code, text) = said(&house.mcp(Account::Agent, &["approve", "yes", &id]).output().unwrap());
    assert!(code == 2 && text.contains("nothing proves who you are"), "{code} {text}");
    let digest = client.approval(&id).await.unwrap().approval.digest;
    let decision =
        |proof: Value| json!([{"id": id, "digest": digest, "approve": true, "proof": proof}]);
    let peer =
        by_hand(&house, Account::Agent, "manager.decide", &decision(json!({"type": "peer"})));
    let why = peer["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains("asked for it"), "{peer}");
    let named = json!({"type": "code", "approver": "carol", "code": "123456"});
    let forged = by_hand(&house, Account::Agent, "manager.decide", &decision(named));
    assert!(forged["error"].is_object(), "{forged}");
    for file in ["state/store.db", "state/decision.key", "config.toml"] {
        let path = house.home(Account::Manager).join(file);
        let mut cat = Command::new("cat");
        Account::Agent.put_on(cat.arg(&path));
        assert!(!cat.output().unwrap().status.success(), "the agent can read {file}");
    }
    assert_eq!(client.approval(&id).await.unwrap().approval.state, "pending");
    assert!(house.writes().is_empty());

    // Another account, by the system's word, with no terminal and no secret.
    let (code, text) = said(&house.mcp(Account::Carol, &["approve", "yes", &id]).output().unwrap());
    assert!(code == 0 && text.contains("done"), "{code} {text}");
    let (object, text) = agent.waits(&id);
    assert_eq!(object["status"], "ok", "{text}");
    assert_eq!(house.writes().len(), 1);

    // A refusal is final, and told to the asker with its note.
    let id = agent.asks("guest_power", &json!({"guest": "lab/100", "action": "stop"}));
    let no = house.mcp(Account::Carol, &["approve", "no", &id, "--note", "not on a Friday"]);
    let (code, text) = said(&{ no }.output().unwrap());
    assert!(code == 0 && text.contains("refused"), "{code} {text}");
    let (object, text) = agent.waits(&id);
    assert_eq!(object["status"], "refused", "{text}");
    assert!(text.contains("not on a Friday"), "{text}");
    let (code, text) = said(&house.mcp(Account::Carol, &["approve", "yes", &id]).output().unwrap());
    assert!(code == 1 && text.contains("nothing to decide"), "{code} {text}");
    assert_eq!(house.writes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_freezes_and_only_a_person_lifts() {
    if !can_run_mcp() || !has_accounts() {
        return;
    }
    let table = format!("[approver.carol]\nuid = {}\n", Account::Carol.uid());
    let house = House::with_accounts(&table).await;
    let (_manager, client) = house.start().await;
    let run = |account: Account, args: &[&str]| said(&house.mcp(account, args).output().unwrap());
    let mut agent = Serve::start(house.mcp(Account::Agent, &["serve"]));
    let waiting = agent.asks("guest_power", &shutdown(124));

    let (code, text) = run(Account::Agent, &["freeze", "status"]);
    assert!(code == 0 && text.contains("not frozen"), "{text}");
    let (code, text) = run(Account::Agent, &["freeze", "--reason", "something is odd"]);
    assert!(code == 0 && text.contains("frozen by local:3001"), "{text}");
    let (code, text) = run(Account::Carol, &["freeze", "status"]);
    assert!(code == 1 && text.contains("something is odd"), "{text}");
    let (object, text) = agent.call("guest_power", &json!({"guest": "lab/100", "action": "stop"}));
    assert_eq!(object["status"], "refused", "{text}");
    assert!(text.contains("something is odd"), "{text}");
    let (code, text) = run(Account::Agent, &["freeze", "lift"]);
    assert!(code != 0, "{text}");

    // What is approved meanwhile waits, and nothing is lost.
    let (code, text) = run(Account::Carol, &["approve", "yes", &waiting, "--no-wait"]);
    assert!(code == 0 && text.contains("the manager runs it"), "{text}");
    assert_eq!(client.approval(&waiting).await.unwrap().approval.state, "approved");
    assert!(house.writes().is_empty());
    let (code, text) = run(Account::Carol, &["freeze", "lift"]);
    assert!(code == 0 && text.contains("lifted"), "{text}");
    let (object, text) = agent.waits(&waiting);
    assert_eq!(object["status"], "ok", "{text}");
    assert_eq!(house.writes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_manager_approve_takes_the_lock_and_does_the_work_itself() {
    if !can_run_mcp() || !has_terminals() {
        return;
    }
    let house = House::new("").await;
    let (key, table) = ada(&house, Account::Own);
    house.add_settings(&table);
    let mut asker = Serve::start(house.mcp(Account::Own, &["serve"]));
    let id = asker.asks("guest_power", &shutdown(124));
    let (code, text) = said(&house.mcp(Account::Own, &["approve"]).output().unwrap());
    assert!(code == 0 && text.contains(&id[..12]), "{text}");
    assert!(!house.socket().exists(), "who only looks leaves nothing");

    let args = ["approve", "yes", &id, "--as", "ada", "--key", &key];
    let mut terminal = Terminal::run(Account::Own, &house.mcp(Account::Own, &args));
    terminal.answers("passphrase of ada:", "not the passphrase");
    let (code, shown) = terminal.ended();
    assert!(code == 2 && shown.contains("unlock"), "{shown}");
    let mut terminal = Terminal::run(Account::Own, &house.mcp(Account::Own, &args));
    terminal.answers("passphrase of ada:", PASSPHRASE);
    let (code, shown) = terminal.ended();
    assert!(code == 0 && shown.contains("it runs here") && shown.contains("done"), "{shown}");
    let (object, text) = asker.waits(&id);
    assert_eq!(object["status"], "ok", "{text}");
    assert_eq!(house.writes().len(), 1);
    // The lock is free again, and what was done is known to whoever takes it.
    let manager = Manager::of(house.command().spawn().unwrap());
    let client = connect(&house.socket()).await;
    assert_eq!(client.approval(&id).await.unwrap().approval.state, "done");
    drop(manager);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_tell_is_settled_by_an_approver_and_not_by_the_asker() {
    if !can_run_mcp() || !has_accounts() {
        return;
    }
    let table = format!("[approver.carol]\nuid = {}\n", Account::Carol.uid());
    let house = House::with_accounts(&table).await;
    let (manager, _) = house.start().await;
    let run = |account: Account, args: &[&str]| said(&house.mcp(account, args).output().unwrap());
    let mut agent = Serve::start(house.mcp(Account::Agent, &["serve"]));
    let id = agent.asks("guest_power", &shutdown(124));
    // The call arrives, and the manager dies before it hears of that.
    let levers = house.sim.levers();
    levers.hold("lab", "POST", "/status/shutdown", Moment::Arrived).unwrap();
    let (code, text) = run(Account::Carol, &["approve", "yes", &id, "--no-wait"]);
    assert_eq!(code, 0, "{text}");
    wait_for("the call", LONG, async || match levers.held() {
        1 => Progress::Ready(()),
        held => Progress::Pending(format!("{held} are held")),
    })
    .await;
    manager.signal("KILL");
    manager.ended().await;
    let (_manager, client) = house.start().await;
    let filter = ActionFilter { states: vec!["unknown".to_owned()], limit: None };
    let unknown = client.actions(filter).await.unwrap();
    assert_eq!((unknown.len(), client.status().await.unwrap().actions_unknown), (1, 1));
    let action = unknown[0].id.as_str();
    levers.release();

    // Its asker sees it, and cannot wave it away.
    let (code, text) = run(Account::Agent, &["actions", "list"]);
    assert!(code == 0 && text.contains(action) && text.contains("unknown"), "{text}");
    let settle = ["actions", "settle", action, "done", "--note", "it is off, I looked"];
    let (code, text) = run(Account::Agent, &settle);
    assert!(code == 2 && text.contains("nothing proves who you are"), "{code} {text}");
    let params = json!([{"id": action, "end": "done", "note": "fine", "proof": {"type": "peer"}}]);
    let peer = by_hand(&house, Account::Agent, "manager.settle", &params);
    assert!(peer["error"].is_object(), "{peer}");
    let (code, text) = run(Account::Carol, &settle);
    assert!(code == 0 && text.contains("is done now"), "{code} {text}");
    let (code, text) = run(Account::Carol, &settle);
    assert!(code == 1 && text.contains("its end is known"), "{code} {text}");
    assert_eq!(client.status().await.unwrap().actions_unknown, 0);
    let (object, text) = agent.waits(&id);
    assert_eq!(object["status"], "unknown", "{text}");
    assert_eq!(house.writes().len(), 1, "nothing is sent twice");
    let (code, text) = run(Account::Manager, &["audit", "verify"]);
    assert_eq!(code, 0, "{text}");
}
