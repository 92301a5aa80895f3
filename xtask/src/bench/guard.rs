//! What the decision of the guard costs: by itself, without an estate.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use condition::Condition;
use estate::Access;
use guard::{
    Mode, Principal,
    policy::{
        Asked, Defaults, Effect, Matchers, Nature, Policy, Rule, SHAPE, Target, TargetKind,
        Transport,
    },
};
use jiff::Zoned;
use serde_json::{Value, json};

use super::{goal, percentile};

const ROUNDS: usize = 2000;

/// Decides about calls, with no line, many lines, and lines with conditions.
pub(super) fn run() -> Result<()> {
    println!("guard: one decision, in µs (goal of a read: under {})", goal::READ_DECISION_US);
    println!("{:<46} {:>8} {:>8}", "", "median", "p99");
    let none = Policy::try_new(Vec::new(), Defaults::default()).context("make a policy")?;
    let many = Policy::try_new(lines(200, None)?, Defaults::default()).context("make a policy")?;
    let source = "has(args.force) && args.force == true && 'web' in target.tags";
    let told = Policy::try_new(lines(20, Some(source))?, Defaults::default());
    let told = told.context("make a policy")?;
    for (name, policy, access, targets) in [
        ("a read, no line", &none, Access::Read, 0),
        ("a read, 200 lines", &many, Access::Read, 0),
        ("a change of 1 guest, no line", &none, Access::Operate, 1),
        ("a change of 1 guest, 200 lines", &many, Access::Operate, 1),
        ("a change of 50 guests, 200 lines", &many, Access::Operate, 50),
        ("a change of 1 guest, 20 conditions", &told, Access::Operate, 1),
    ] {
        let times = measure(policy, access, targets);
        let us = |percent| percentile(&times, percent) * 1000.0;
        println!("{name:<46} {:>8.1} {:>8.1}", us(50), us(99));
    }
    Ok(())
}

fn measure(policy: &Policy, access: Access, targets: u32) -> Vec<Duration> {
    let principal = Principal::local(1000);
    let targets: Vec<Target> = (0..targets).map(target).collect();
    let args: Value = json!({"guest": "lab/104", "action": "shutdown", "force": false});
    let now = Zoned::default();
    let asked = Asked {
        principal: &principal,
        transport: Transport::Local,
        tool: "guest_power",
        toolsets: &["default"],
        access,
        nature: Nature::Ordinary,
        targets: &targets,
        args: &args,
        mode: Mode::Guarded,
        now: &now,
    };
    (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            black_box(policy.decide(black_box(&asked)));
            began.elapsed()
        })
        .collect()
}

fn target(number: u32) -> Target {
    let vmid = 100 + number;
    Target {
        vmid: Some(vmid),
        node: Some("alder".to_owned()),
        pool: Some("production".to_owned()),
        tags: vec!["prod".to_owned(), "web".to_owned()],
        ..Target::new(TargetKind::Guest, "lab", format!("lab/{vmid}"))
    }
}

/// Lines of which none fits, so that every one is asked.
fn lines(count: u32, source: Option<&str>) -> Result<Vec<Rule>> {
    let lines = (1..=count).map(|order| {
        let when = source.map(|source| Condition::compile(source, SHAPE)).transpose()?;
        let pool = if when.is_some() { "production".to_owned() } else { format!("pool-{order}-*") };
        Ok(Rule {
            name: format!("line_{order}"),
            order,
            about: None,
            matchers: Matchers { pools: vec![pool.parse()?], when, ..Matchers::default() },
            effect: Effect::Deny { reason: None },
        })
    });
    lines.collect()
}
