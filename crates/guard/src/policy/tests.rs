//! Decisions as tables: the built-in lines for every kind of caller, and lines of an operator.

use std::fmt::Write as _;

use expect_test::{ExpectFile, expect, expect_file};
use serde_json::json;

use super::*;
use crate::PrincipalKind;

fn now() -> Zoned {
    // A Sunday.
    "2026-11-29T12:00[UTC]".parse().unwrap()
}

fn guest(vmid: u32) -> Target {
    Target {
        vmid: Some(vmid),
        node: Some("alder".into()),
        name: Some("web".into()),
        ..Target::new(TargetKind::Guest, "lab", format!("lab/{vmid}"))
    }
}

fn line(name: &str, order: u32, effect: Effect, matchers: Matchers) -> Rule {
    Rule { name: name.to_owned(), order, about: None, matchers, effect }
}

const ALLOW: Effect = Effect::Allow { per_hour: None };
const DENY: Effect = Effect::Deny { reason: None };

fn ask(of: &[&str], count: u32) -> Effect {
    let of = of.iter().map(|name| (*name).to_owned()).collect();
    Effect::Ask { of, count, within: None, client: None }
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn when(source: &str) -> Option<condition::Condition> {
    Some(condition::Condition::compile(source, SHAPE).unwrap())
}

/// One call of the local user.
fn decide(policy: &Policy, access: Access, targets: &[Target], args: &Value) -> Decided {
    let principal = Principal::local(1000);
    policy.decide(&Asked {
        principal: &principal,
        transport: Transport::Local,
        tool: "guest_power",
        toolsets: &["default"],
        access,
        nature: Nature::Ordinary,
        targets,
        args,
        mode: Mode::Guarded,
        now: &now(),
    })
}

fn said(decided: &Decided) -> String {
    let mut said = format!("{} {}", decided.decision.as_str(), decided.line);
    if let Decision::Ask(ask) = &decided.decision {
        let client = if ask.client { ", or in the client" } else { "" };
        write!(said, " ({} within {} min{client})", ask.whom(), ask.within.as_secs() / 60).unwrap();
    }
    if let Some(limit) = decided.unasked_per_hour {
        write!(said, " (up to {limit} an hour)").unwrap();
    }
    said
}

/// The built-in lines, for every kind of caller, tier, nature, mode and protection.
#[test]
fn the_whole_table_of_the_built_in_lines() {
    let policy = Policy::try_new(Vec::new(), Defaults::default()).unwrap();
    let callers = [
        (Principal::local(1000), Transport::Local),
        (Principal::token("n8n").unwrap(), Transport::Http),
        (Principal::oauth("https://idp.example", "a1").unwrap(), Transport::Http),
        (Principal::channel("discord", "4711").unwrap(), Transport::Channel),
        (Principal::automation("restart_web").unwrap(), Transport::Automation),
    ];
    let kinds: Vec<_> = callers.iter().map(|(principal, _)| principal.kind()).collect();
    assert_eq!(
        kinds,
        [
            PrincipalKind::Local,
            PrincipalKind::Token,
            PrincipalKind::OAuth,
            PrincipalKind::Channel,
            PrincipalKind::Automation,
        ]
    );
    let calls = [
        ("read", Access::Read, Nature::Ordinary),
        ("additive", Access::Operate, Nature::Additive),
        ("operate", Access::Operate, Nature::Ordinary),
        ("cuts", Access::Operate, Nature::Cuts),
        ("destroy", Access::Destroy, Nature::Ordinary),
    ];
    let protections = [
        ("plain", None),
        ("tag", Some(Protection::Tag)),
        ("flag", Some(Protection::Flag)),
        ("own guest", Some(Protection::ThisServer)),
        ("own node", Some(Protection::ThisServersNode)),
    ];
    let mut table = String::new();
    for (principal, transport) in &callers {
        for mode in Mode::ALL {
            for (call, access, nature) in calls {
                for (protection_word, protection) in protections {
                    let target = Target { protection, ..guest(104) };
                    let decided = policy.decide(&Asked {
                        principal,
                        transport: *transport,
                        tool: "guest_power",
                        toolsets: &["default"],
                        access,
                        nature,
                        targets: &[target],
                        args: &json!({}),
                        mode,
                        now: &now(),
                    });
                    let caller = format!("{:?}", principal.kind()).to_lowercase();
                    writeln!(
                        table,
                        "{caller:10} {:9} {call:8} {protection_word:9} {}",
                        mode.as_str(),
                        said(&decided)
                    )
                    .unwrap();
                }
            }
        }
    }
    golden("decisions.txt").assert_eq(&table);
}

fn golden(name: &str) -> ExpectFile {
    expect_file![format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))]
}

#[test]
fn what_the_built_in_lines_say() {
    let policy = Policy::try_new(Vec::new(), Defaults::default()).unwrap();
    let own = Target { protection: Some(Protection::ThisServer), ..guest(101) };
    let mut table = String::new();
    for (access, target) in [
        (Access::Read, guest(104)),
        (Access::Operate, guest(104)),
        (Access::Destroy, guest(104)),
        (Access::Operate, own),
    ] {
        let decided = decide(&policy, access, &[target], &json!({}));
        writeln!(table, "{access}: {}", decided.why).unwrap();
    }
    expect![[r#"
        read: reads are allowed
        operate: guest_power changes something, and no line of the policy allows it unasked; `--mode trusted` lets the local user do such things unasked
        destroy: guest_power may lose something
        operate: lab/101 is the guest that this server runs in; a line of the policy with `protected = true` says what may be done to it
    "#]].assert_eq(&table);
}
