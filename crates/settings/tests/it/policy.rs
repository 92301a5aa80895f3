//! `[guard]`, `[policy.…]` and `[approver.…]`: what is read, and every class of error.

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::expect;
use guard::policy::Effect;
use settings::OwnGuest;

use crate::support::{HOME, Setup};

fn setup(text: &str) -> Setup {
    let group = "root:x:0:\nproxmox-approvers:x:900:alice\n";
    Setup::main(&format!("{HOME}\n{text}")).file("/etc/group", group)
}

#[test]
fn nothing_written_is_the_built_in_lines() {
    let loaded = setup("").load().unwrap();
    let settings = loaded.settings;
    assert!(settings.policy.rules().is_empty() && settings.approvers.is_empty());
    assert_eq!(settings.policy.defaults().unasked_per_hour, 5);
    assert_eq!(settings.guard.own_guest, OwnGuest::Auto);
    assert_eq!(settings.guard.protected_tags, ["protected"]);
    assert_eq!(settings.guard.commit_confirm, Duration::from_mins(2));
    assert!(!settings.guard.frozen);
}

#[test]
fn lines_stand_in_their_order_whatever_the_order_of_the_file() {
    let text = r#"
[guard]
own_guest = "home/104"
client_approves = "nothing"

[approver.alice]
uid = 1001
group = "proxmox-approvers"
channels = ["discord:4711"]
teams = ["ops"]

[approver.bob]
channels = ["discord:4712"]

[policy.night]
order = 20
decision = "ask"
tier = ["operate", "destroy"]
hours = "22:00-06:00"
of = "ops"
within_secs = 28800

[policy.web]
order = 10
decision = "allow"
principal = "token:n8n"
tier = "operate"
tag = ["web", "staging*"]
vmid = [104, "200-299"]
when = "!(has(args.force) && args.force == true)"
per_hour = 20

[policy.prod]
order = 5
decision = "deny"
pool = "production"
tier = "destroy"
reason = "ask the storage team"
"#;
    let loaded = setup(text).variable("PROXMOX_MCP_POLICY__PROD__TIER", "[\"destroy\"]").load();
    let settings = loaded.unwrap_or_else(|errors| panic!("{errors}")).settings;
    let mut table = String::new();
    for rule in settings.policy.rules() {
        let matched = rule.matchers.said(None).unwrap_or_default();
        writeln!(table, "{} {}: {matched}\n    {:?}", rule.order, rule.name, rule.effect).unwrap();
    }
    expect![[r#"
        5 prod: tier destroy, pool production
            Deny { reason: Some("ask the storage team") }
        10 web: principal token:n8n, tier operate, tag web or staging*, guest 104 or 200-299, condition !(has(args.force) && args.force == true)
            Allow { per_hour: Some(20) }
        20 night: tier operate or destroy, hours 22:00-06:00
            Ask { of: ["ops"], count: 1, within: Some(28800s), client: None }
    "#]].assert_eq(&table);
    let alice = &settings.approvers["alice"].approver;
    assert_eq!(alice.gid, Some(900));
    assert_eq!(alice.principals.len(), 2);
    assert!(matches!(settings.policy.rules()[1].effect, Effect::Allow { per_hour: Some(20) }));
    assert_eq!(settings.guard.own_guest, OwnGuest::Guest("home/104".parse().unwrap()));
}

#[test]
fn what_is_wrong_with_a_line_is_said_with_its_place() {
    let text = r#"
[guard]
own_guest = "hom/104"

[approver.carol]
group = "nobody-here"
channels = ["Discord 4711"]

[approver.dave]

[policy.one]
order = 1
decision = "allow"
tier = "operat"
transport = "https"
vmid = ["1-2", 104]
hours = "8-18"
cluster = "hme"
of = "alice"

[policy.two]
order = 2
decision = "ask"
of = ["carl"]
when = "tol == 'guest_power'"

[policy.three]
decision = "ask"
count = 3
when = "target.vmid == '104'"
"#;
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:9: guard.own_guest: names the cluster hom, which is not set up; did you mean `home`?
        error: /etc/proxmox-mcp/config.toml:12: approver.carol.group: names the group "nobody-here", which /etc/group has not; make the group, or write its number (`getent group NAME`)
        error: /etc/proxmox-mcp/config.toml:13: approver.carol.channels: lists "Discord 4711"; write channel:id, such as discord:4711
        error: /etc/proxmox-mcp/config.toml:20: policy.one.tier: lists "operat"; did you mean `operate`?
        error: /etc/proxmox-mcp/config.toml:21: policy.one.transport: lists "https"; did you mean `http`?
        error: /etc/proxmox-mcp/config.toml:22: policy.one.vmid: is not valid: `1-2` is no guest id and no range: write 104 or 100-199
        error: /etc/proxmox-mcp/config.toml:23: policy.one.hours: is not valid: `8-18` has no hours such as 08:00-18:00
        error: /etc/proxmox-mcp/config.toml:25: policy.one.of: means nothing with decision = "allow"; take it out, or let the line ask
        error: /etc/proxmox-mcp/config.toml:30: policy.two.of: names "carl", who is no approver and no team; approvers and teams: dave
        error: /etc/proxmox-mcp/config.toml:31: policy.two.when: at column 1: names `tol`, which is not known; did you mean `tool`?
        error: /etc/proxmox-mcp/config.toml:33: policy.three.order: is missing; for example order = 10
        warning: /etc/proxmox-mcp/config.toml:15: approver.dave: can decide by no way; give them uid, group, key, totp_secret_file or channels
        warning: /etc/proxmox-mcp/config.toml:24: policy.one.cluster: names hme, which no cluster or server is called; did you mean `home`?
    "#]].assert_eq(&setup(text).render());
}

#[test]
fn a_policy_that_cannot_be_meant_names_both_lines() {
    let text = r#"
[policy.all]
order = 10
decision = "ask"
tier = ["operate", "destroy"]

[policy.web]
order = 20
decision = "ask"
tag = "web"
tier = "operate"

[policy.same]
order = 20
decision = "deny"
tool = "guest_*"

[policy.careless]
order = 5
decision = "allow"
principal = "token:n8n"

[policy.reads]
order = 1
decision = "ask"
tier = "read"
"#;
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:13: policy.web: is never reached: line `all` decides every call that `web` speaks of; give `web` a lower `order` than `all`, or take one of them out
        error: /etc/proxmox-mcp/config.toml:14: policy.web.order: is 20, as that of line `same`; give each line a place of its own
        error: /etc/proxmox-mcp/config.toml:26: policy.careless.decision: allows what may lose something without consent, and names no single guest; add `tier = ["read", "operate"]`, or one `cluster` and one `vmid`, or let it ask
        error: /etc/proxmox-mcp/config.toml:31: policy.reads.decision: asks about reads only, which have no plan to agree to; let it allow or deny them, or take other tiers
    "#]].assert_eq(&setup(text).render());
}
