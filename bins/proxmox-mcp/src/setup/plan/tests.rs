//! What is to be done, for what is there.

use expect_test::{Expect, expect};

use super::*;
use crate::setup::show;

const URL: &str = "https://mcp.example.lan:8808/hooks/hook/lab";

fn goal(product: Product) -> Goal {
    Goal {
        product,
        name: NAME.to_owned(),
        url: URL.to_owned(),
        secret: "0123456789abcdef0123".into(),
        resend: false,
    }
}

/// As it is after the calls of a first run.
fn right() -> Found {
    let header =
        |(name, value): (&str, &str)| format!("name={name},value={}", STANDARD.encode(value));
    let webhook = Webhook {
        name: NAME.to_owned(),
        url: URL.to_owned(),
        method: "post".to_owned(),
        body: STANDARD.encode(TEMPLATE),
        headers: HEADERS.into_iter().map(header).collect(),
        secrets: vec!["name=token".to_owned()],
        is_off: false,
    };
    let matcher =
        Matcher { name: NAME.to_owned(), targets: vec![NAME.to_owned()], ..Matcher::default() };
    Found { webhooks: vec![webhook], matchers: vec![matcher], ..Found::default() }
}

fn check(goal: &Goal, found: &Found, expected: &Expect) {
    let plan = Plan::of(goal, found);
    let mut text = "lab\n".to_owned();
    show::plan(&mut text, "lab", &plan);
    expected.assert_eq(&text);
    let debug = format!("{plan:?}");
    for secret in ["0123456789abcdef0123", &STANDARD.encode("0123456789abcdef0123")] {
        assert!(!text.contains(secret) && !debug.contains(secret), "{text}\n{debug}");
    }
}

#[test]
fn where_nothing_is_target_and_matcher_are_made() {
    for product in Product::ALL {
        let plan = Plan::of(&goal(product), &Found::default());
        let paths: Vec<_> = plan.calls.iter().map(|it| (it.method, it.path.as_str())).collect();
        let root = root(product);
        let wanted = [format!("{root}/endpoints/webhook"), format!("{root}/matchers")];
        assert_eq!(paths, [("POST", wanted[0].as_str()), ("POST", wanted[1].as_str())]);
        let sent = plan.calls[0].sent();
        let secret = format!("name=token,value={}", STANDARD.encode("0123456789abcdef0123"));
        assert_eq!(sent["secret"], json!([secret]));
        assert_eq!(sent["body"], json!(STANDARD.encode(TEMPLATE)));
        assert_eq!(plan.calls[1].sent()["target"], json!([NAME]));
    }
    check(
        &goal(Product::Pve),
        &Found::default(),
        &expect![[r#"
            lab
              target     proxmox-mcp: missing
              matcher    proxmox-mcp: missing
              to do      POST /cluster/notifications/endpoints/webhook
                           name    proxmox-mcp
                           method  post
                           url     https://mcp.example.lan:8808/hooks/hook/lab
                           header  Authorization: Bearer {{ secrets.token }}
                           header  Content-Type: application/json
                           secret  token: «…»
                           body    {"title": {{ json title }}, "message": {{ json message }}, "severity": {{ json severity }}, "timestamp": {{ json timestamp }}, "fields": {{ json fields }}}
                           comment for proxmox-mcp, by `events setup`
                back     proxmox-mcp call api_call cluster=lab method=DELETE path=/cluster/notifications/endpoints/webhook/proxmox-mcp
              to do      POST /cluster/notifications/matchers
                           name    proxmox-mcp
                           mode    all
                           target  proxmox-mcp
                           comment for proxmox-mcp, by `events setup`
                back     proxmox-mcp call api_call cluster=lab method=DELETE path=/cluster/notifications/matchers/proxmox-mcp
        "#]],
    );
}

#[test]
fn where_all_is_right_nothing_is_done() {
    check(
        &goal(Product::Pve),
        &right(),
        &expect![[r#"
            lab
              target     proxmox-mcp: as it should be
              matcher    proxmox-mcp: as it should be
              to do      nothing
        "#]],
    );
    assert!(Plan::of(&goal(Product::Pbs), &right()).calls.is_empty());
}

#[test]
fn the_secret_alone_is_sent_again_on_demand() {
    let again = Goal { resend: true, ..goal(Product::Pve) };
    let plan = Plan::of(&again, &right());
    assert_eq!((&plan.target_is, plan.calls.len()), (&State::Right, 1));
    let names: Vec<_> = plan.calls[0].params.iter().map(|it| it.name).collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(plan.calls[0].back.command("lab"), None);
}

#[test]
fn what_differs_is_named_and_put_right() {
    let mut found = right();
    let hook = &mut found.webhooks[0];
    hook.url = "https://old.example.lan/hooks/hook/lab".to_owned();
    hook.method = "put".to_owned();
    hook.body = STANDARD.encode("{{ message }}");
    hook.headers.pop();
    hook.secrets.clear();
    hook.is_off = true;
    let matcher = &mut found.matchers[0];
    matcher.targets = vec!["mail-to-root".to_owned()];
    matcher.is_inverted = true;
    matcher.rules = vec![("match-severity", vec!["error".to_owned()])];
    check(
        &goal(Product::Pve),
        &found,
        &expect![[r#"
            lab
              target     proxmox-mcp: differs in url, method, header, body, secret, disable
              matcher    proxmox-mcp: differs in target, invert-match, match-severity
              to do      PUT /cluster/notifications/endpoints/webhook/proxmox-mcp
                           url     https://mcp.example.lan:8808/hooks/hook/lab
                           method  post
                           header  Authorization: Bearer {{ secrets.token }}
                           header  Content-Type: application/json
                           body    {"title": {{ json title }}, "message": {{ json message }}, "severity": {{ json severity }}, "timestamp": {{ json timestamp }}, "fields": {{ json fields }}}
                           secret  token: «…»
                           disable false
                back     proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/notifications/endpoints/webhook/proxmox-mcp params='{"url":"https://old.example.lan/hooks/hook/lab","method":"put","disable":true}'
                gone     the former header, body, secret: never shown, since secrets may be in it
              to do      PUT /cluster/notifications/matchers/proxmox-mcp
                           target       mail-to-root
                           target       proxmox-mcp
                           invert-match false
                           delete       match-severity
                back     proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/notifications/matchers/proxmox-mcp params='{"target":["mail-to-root"],"invert-match":true,"match-severity":["error"]}'
        "#]],
    );
}

#[test]
fn a_target_of_another_name_that_posts_there_is_taken() {
    let mut found = right();
    found.webhooks[0].name = "events".to_owned();
    found.webhooks[0].body = String::new();
    found.matchers[0].name = "all".to_owned();
    found.matchers[0].targets = vec!["mail-to-root".to_owned(), "events".to_owned()];
    let plan = Plan::of(&goal(Product::Pve), &found);
    assert!(plan.calls.is_empty(), "{plan:?}");
    assert_eq!((plan.target.as_str(), plan.matcher.as_str()), ("events", "all"));

    found.webhooks[0].is_off = true;
    found.matchers[0].rules = vec![("match-field", vec!["exact:type=vzdump".to_owned()])];
    let plan = Plan::of(&goal(Product::Pve), &found);
    // The person's own matcher stays as it is.
    let paths: Vec<_> = plan.calls.iter().map(|it| (it.method, it.path.as_str())).collect();
    assert_eq!(
        paths,
        [
            ("PUT", "/cluster/notifications/endpoints/webhook/events"),
            ("POST", "/cluster/notifications/matchers"),
        ]
    );
    assert_eq!(plan.calls[1].sent()["target"], json!(["events"]));
}

#[test]
fn the_default_matcher_is_left_alone() {
    let mut found = right();
    found.matchers = vec![Matcher {
        name: "default-matcher".to_owned(),
        targets: vec!["mail-to-root".to_owned()],
        ..Matcher::default()
    }];
    let plan = Plan::of(&goal(Product::Pve), &found);
    assert_eq!(plan.matcher_is, State::Missing);
    assert!(plan.calls.iter().all(|it| !it.path.contains("default-matcher")), "{plan:?}");
}

/// Each bypass, with what ends it.
fn bypasses(mailers: Vec<Mailer>, files: Vec<File>) -> String {
    let found = Found { mailers, files, ..right() };
    let plan = Plan::of(&goal(Product::Pve), &found);
    let said = plan.bypasses.iter().map(|it| match &it.way {
        Way::Call(call) => format!("{}; {}\n", it.what, call.back.command("lab").unwrap()),
        Way::ByHand(how) => format!("{}; {how}\n", it.what),
    });
    said.collect()
}

fn mailer(sort: Sort, mode: Option<&str>, unset: &'static str, to: Option<&str>) -> Mailer {
    let [mode, to] = [mode, to].map(|it| it.map(str::to_owned));
    Mailer { sort, name: "x".to_owned(), mode, unset, to, node: None }
}

#[test]
fn what_mails_past_it_is_listed_with_its_change() {
    use Sort::{BackupJob, Datastore, TapeJob};
    for goes_there in [
        mailer(BackupJob, None, "auto", None),
        mailer(BackupJob, Some(SYSTEM), "auto", Some("a@b.c")),
        mailer(Datastore, None, SYSTEM, Some("root@pam")),
        mailer(TapeJob, Some(SYSTEM), "legacy-sendmail", Some("root@pam")),
    ] {
        assert_eq!(bypasses(vec![goes_there], Vec::new()), "");
    }
    let past = vec![
        mailer(BackupJob, None, "auto", Some("a@b.c")),
        mailer(BackupJob, Some("auto"), "auto", Some("a@b.c")),
        mailer(BackupJob, Some("legacy-sendmail"), "auto", None),
        mailer(Datastore, Some("legacy-sendmail"), SYSTEM, Some("root@pam")),
        mailer(Datastore, None, "legacy-sendmail", Some("root@pam")),
        mailer(TapeJob, Some("legacy-sendmail"), SYSTEM, Some("root@pam")),
        mailer(TapeJob, None, "legacy-sendmail", Some("ann@pbs")),
    ];
    expect![[r#"
        backup job x mails a@b.c (notification-mode auto by default); proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/x params='{"delete":"notification-mode"}'
        backup job x mails a@b.c (notification-mode auto); proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/x params='{"notification-mode":"auto"}'
        backup job x tells nobody (notification-mode legacy-sendmail); proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/x params='{"notification-mode":"legacy-sendmail"}'
        datastore x mails root@pam (notification-mode legacy-sendmail); proxmox-mcp call api_call cluster=lab method=PUT path=/config/datastore/x params='{"notification-mode":"legacy-sendmail"}'
        datastore x mails root@pam (notification-mode legacy-sendmail by default); proxmox-mcp call api_call cluster=lab method=PUT path=/config/datastore/x params='{"delete":["notification-mode"]}'
        tape backup job x mails root@pam (notification-mode legacy-sendmail); proxmox-mcp call api_call cluster=lab method=PUT path=/config/tape-backup-job/x params='{"notification-mode":"legacy-sendmail"}'
        tape backup job x mails ann@pbs (notification-mode legacy-sendmail by default); proxmox-mcp call api_call cluster=lab method=PUT path=/config/tape-backup-job/x params='{"delete":["notification-mode"]}'
    "#]].assert_eq(&bypasses(past, Vec::new()));
}

#[test]
fn what_a_node_says_in_its_file_goes_for_what_says_nothing_itself() {
    let file = |node: &str, mode: &str, to: Option<&str>| File {
        node: node.to_owned(),
        mode: mode.to_owned(),
        to: to.map(str::to_owned),
    };
    let job = |mode, to, node: Option<&str>| Mailer {
        node: node.map(str::to_owned),
        ..mailer(Sort::BackupJob, mode, "auto", to)
    };
    let mails = || vec![file("alder", "auto", None), file("birch", "auto", Some("ops@b.c"))];
    assert_eq!(bypasses(Vec::new(), vec![file("alder", SYSTEM, Some("ops@b.c"))]), "");
    // What a job says itself counts more, and a file only where the job runs.
    let by_hand = bypasses(Vec::new(), mails());
    for goes_there in [job(Some(SYSTEM), None, None), job(None, None, Some("alder"))] {
        assert_eq!(bypasses(vec![goes_there], mails()), by_hand);
    }
    let tells = vec![file("alder", SYSTEM, None)];
    assert_eq!(bypasses(vec![job(None, Some("a@b.c"), None)], tells), "");
    let mut all = by_hand;
    for past in [
        job(None, None, None),
        job(Some("auto"), None, Some("birch")),
        job(None, Some("a@b.c"), None),
    ] {
        let said = bypasses(vec![past], mails());
        all += said.strip_prefix(&bypasses(Vec::new(), mails())).unwrap();
    }
    let legacy = || vec![file("alder", "legacy-sendmail", None)];
    all += &bypasses(vec![job(None, None, None)], legacy());
    expect![[r#"
        /etc/vzdump.conf of birch: what is backed up there mails ops@b.c (notification-mode auto); no call writes that file: put `notification-mode: notification-system` into it on birch
        backup job x mails ops@b.c by /etc/vzdump.conf of birch (notification-mode auto); proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/x params='{"delete":"notification-mode"}'
        backup job x mails ops@b.c by /etc/vzdump.conf of birch (notification-mode auto); proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/x params='{"notification-mode":"auto"}'
        backup job x mails a@b.c (notification-mode auto by default); proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/x params='{"delete":"notification-mode"}'
        /etc/vzdump.conf of alder: what is backed up there tells nobody (notification-mode legacy-sendmail); no call writes that file: put `notification-mode: notification-system` into it on alder
        backup job x tells nobody by /etc/vzdump.conf of alder (notification-mode legacy-sendmail); proxmox-mcp call api_call cluster=lab method=PUT path=/cluster/backup/x params='{"delete":"notification-mode"}'
    "#]].assert_eq(&all);
}
