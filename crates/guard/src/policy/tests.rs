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

fn when(source: &str) -> condition::Condition {
    condition::Condition::compile(source, SHAPE).unwrap()
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

/// An estate that is nobody's lets trusted callers over HTTP operate it, and nothing more.
#[test]
fn callers_over_http_are_trusted_where_the_estate_is_simulated() {
    let defaults = Defaults { trusts_http: true, ..Defaults::default() };
    let policy = Policy::try_new(Vec::new(), defaults).unwrap();
    let token = Principal::token("demo").unwrap();
    let decide = |access, nature, mode| {
        let decided = policy.decide(&Asked {
            principal: &token,
            transport: Transport::Http,
            tool: "guest_power",
            toolsets: &["default"],
            access,
            nature,
            targets: &[guest(104)],
            args: &json!({}),
            mode,
            now: &now(),
        });
        decided.line
    };
    assert_eq!(decide(Access::Operate, Nature::Ordinary, Mode::Trusted), "default.trusted");
    assert_eq!(decide(Access::Operate, Nature::Additive, Mode::Guarded), "default.http");
    assert_eq!(decide(Access::Operate, Nature::Cuts, Mode::Trusted), "default.stop");
    assert_eq!(decide(Access::Destroy, Nature::Ordinary, Mode::Trusted), "default.destroy");
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

fn table(policy: &Policy, calls: &[(&str, Access, Vec<Target>, Value)]) -> String {
    let mut table = String::new();
    for (what, access, targets, args) in calls {
        let decided = decide(policy, *access, targets, args);
        writeln!(table, "{what}: {}\n    {}", said(&decided), decided.why).unwrap();
    }
    table
}

fn in_pool(vmid: u32, pool: &str, tags: &[&str]) -> Target {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Target { pool: Some(pool.to_owned()), tags, ..guest(vmid) }
}

/// A policy as an operator would write it, and what becomes of calls.
#[test]
fn the_first_line_that_fits_decides_and_says_why() {
    let operate = vec![Access::Operate];
    let rules = vec![
        line(
            "shop",
            10,
            Effect::Deny { reason: Some("ask the shop team".into()) },
            Matchers {
                pools: patterns(&["shop*"]),
                tiers: vec![Access::Operate, Access::Destroy],
                ..Matchers::default()
            },
        ),
        line(
            "forced",
            20,
            ask(&["alice", "bob"], 2),
            Matchers {
                when: Some(when("has(args.force) && args.force == true")),
                ..Matchers::default()
            },
        ),
        line(
            "web",
            30,
            Effect::Allow { per_hour: Some(20) },
            Matchers { tags: patterns(&["web"]), tiers: operate.clone(), ..Matchers::default() },
        ),
        line(
            "sandbox",
            40,
            ALLOW,
            Matchers {
                clusters: patterns(&["lab"]),
                vmids: vec![VmIds::one(141)],
                protected: true,
                ..Matchers::default()
            },
        ),
        line(
            "night",
            50,
            ask(&["ops"], 1),
            Matchers {
                hours: vec!["sun/00:00-24:00".parse().unwrap()],
                tiers: operate,
                ..Matchers::default()
            },
        ),
    ];
    let policy = Policy::try_new(rules, Defaults::default()).unwrap();
    let none = json!({});
    let protected = Target { protection: Some(Protection::Tag), ..in_pool(110, "x", &["web"]) };
    let sandbox = Target { protection: Some(Protection::Flag), ..guest(141) };
    let calls = [
        ("read", Access::Read, vec![in_pool(104, "shop-eu", &[])], none.clone()),
        ("shop", Access::Operate, vec![in_pool(104, "shop-eu", &[])], none.clone()),
        ("forced", Access::Operate, vec![guest(105)], json!({"force": true})),
        ("not forced", Access::Operate, vec![guest(105)], json!({"force": false})),
        ("web", Access::Operate, vec![in_pool(106, "x", &["prod", "web"])], none.clone()),
        ("web, to delete", Access::Destroy, vec![in_pool(106, "x", &["web"])], none.clone()),
        ("web, protected", Access::Operate, vec![protected], none.clone()),
        ("sandbox", Access::Destroy, vec![sandbox], none.clone()),
        (
            "web and another",
            Access::Operate,
            vec![in_pool(106, "x", &["web"]), guest(105)],
            none.clone(),
        ),
        (
            "web and shop",
            Access::Operate,
            vec![in_pool(106, "x", &["web"]), in_pool(104, "shop", &[])],
            none.clone(),
        ),
        ("nothing known", Access::Operate, vec![], none),
    ];
    expect![[r#"
        read: allow default.read
            reads are allowed
        shop: deny shop
            line `shop` refuses it: tier operate or destroy, pool shop*, target lab/104; ask the shop team
        forced: ask forced (2 of alice, bob within 60 min, or in the client)
            line `forced` asks 2 of alice, bob: condition has(args.force) && args.force == true, target lab/105
        not forced: ask night (ops within 60 min, or in the client)
            line `night` asks ops: tier operate, hours sun/00:00-24:00, target lab/105
        web: allow web (up to 20 an hour)
            line `web` allows it: tier operate, tag web, target lab/106
        web, to delete: ask default.destroy (any approver within 60 min)
            guest_power may lose something
        web, protected: deny default.protected
            lab/110 is tagged as protected; a line of the policy with `protected = true` says what may be done to it
        sandbox: allow sandbox
            line `sandbox` allows it: cluster lab, guest 141, target lab/141
        web and another: ask night (ops within 60 min, or in the client)
            line `night` asks ops: tier operate, hours sun/00:00-24:00, target lab/105
        web and shop: deny shop
            line `shop` refuses it: tier operate or destroy, pool shop*, target lab/104; ask the shop team
        nothing known: deny shop
            line `shop` refuses it, to be safe: nothing is known of what the call touches; ask the shop team
    "#]].assert_eq(&table(&policy, &calls));
    // `shop` names a pool, so it does not speak of what is only read.
    assert!(!policy.refuses_reads());
}

#[test]
fn questions_about_several_targets_become_one_that_satisfies_all() {
    let tagged = |name: &str, order, effect| {
        line(name, order, effect, Matchers { tags: patterns(&[name]), ..Matchers::default() })
    };
    let rules = vec![
        tagged("a", 1, ask(&["alice", "ops"], 1)),
        tagged("b", 2, ask(&["ops", "bob"], 2)),
        tagged("c", 3, ask(&["carol"], 1)),
        tagged("d", 4, ask(&[], 1)),
    ];
    let policy = Policy::try_new(rules, Defaults::default()).unwrap();
    let of = |tags: &[&str]| tags.iter().map(|tag| in_pool(104, "x", &[tag])).collect::<Vec<_>>();
    let none = json!({});
    let calls = [
        ("a, b", Access::Operate, of(&["a", "b"]), none.clone()),
        ("a, c", Access::Operate, of(&["a", "c"]), none.clone()),
        ("c, d", Access::Destroy, of(&["c", "d"]), none.clone()),
        ("d, d", Access::Destroy, of(&["d", "d"]), none),
    ];
    expect![[r#"
        a, b: ask a (2 of ops within 60 min, or in the client)
            `a` and `b` both ask: together 2 of ops
        a, c: deny a
            `a` and `c` ask different people about its targets, and nobody is in both: call it for each target by itself
        c, d: ask c (carol within 60 min)
            `c` and `d` both ask: together carol
        d, d: ask d (any approver within 60 min)
            line `d` asks any approver: tag d, target lab/104
    "#]].assert_eq(&table(&policy, &calls));
}

#[test]
fn reads_are_refused_by_caller_tool_and_cluster_and_by_nothing_closer() {
    let of = |tiers: &[Access], matchers: Matchers| {
        let matchers = Matchers { tiers: tiers.to_vec(), ..matchers };
        Policy::try_new(vec![line("one", 1, DENY, matchers)], Defaults::default())
    };
    let clusters = || Matchers { clusters: patterns(&["vault"]), ..Matchers::default() };
    let closer = || {
        let when = Some(when("target.vmid > 100"));
        [
            Matchers { nodes: patterns(&["alder"]), ..Matchers::default() },
            Matchers { pools: patterns(&["shop"]), ..Matchers::default() },
            Matchers { tags: patterns(&["db"]), ..Matchers::default() },
            Matchers { when, ..Matchers::default() },
        ]
    };
    let policy = of(&[], clusters()).unwrap();
    assert!(policy.refuses_reads());
    let at = |cluster: &str| vec![Target::new(TargetKind::Cluster, cluster, cluster)];
    let none = json!({});
    let calls = [
        ("vault", Access::Read, at("vault"), none.clone()),
        ("lab", Access::Read, at("lab"), none),
    ];
    expect![[r#"
        vault: deny one
            line `one` refuses it: cluster vault, target vault
        lab: allow default.read
            reads are allowed
    "#]]
    .assert_eq(&table(&policy, &calls));
    assert!(!of(&[Access::Operate], clusters()).unwrap().refuses_reads());
    for matchers in closer() {
        // Without a tier such a line speaks of changes; with this one nobody would be refused.
        assert!(!of(&[], matchers.clone()).unwrap().refuses_reads());
        let error = of(&[Access::Read], matchers).unwrap_err().to_string();
        assert!(error.contains("looks closer than at the cluster"), "{error}");
    }
}

#[test]
fn what_cannot_be_told_is_decided_on_the_safe_side() {
    let about_size = || when("has(args.size) && int(args.size) > 10");
    let call = |args: Value| ("call", Access::Operate, vec![guest(104)], args);
    let calls =
        [call(json!({"size": 5})), call(json!({"size": 50})), call(json!({"size": "many"}))];
    let mut all = String::new();
    for effect in [ALLOW, ask(&[], 1), DENY] {
        let matchers = Matchers {
            when: Some(about_size()),
            tiers: vec![Access::Operate],
            ..Matchers::default()
        };
        let policy = Policy::try_new(vec![line("size", 1, effect, matchers)], Defaults::default());
        all.push_str(&table(&policy.unwrap(), &calls));
    }
    expect![[r#"
        call: ask default.operate (any approver within 60 min, or in the client)
            guest_power changes something, and no line of the policy allows it unasked; `--mode trusted` lets the local user do such things unasked
        call: allow size
            line `size` allows it: tier operate, condition has(args.size) && int(args.size) > 10, target lab/104
        call: ask default.operate (any approver within 60 min, or in the client)
            guest_power changes something, and no line of the policy allows it unasked; `--mode trusted` lets the local user do such things unasked
        call: ask default.operate (any approver within 60 min, or in the client)
            guest_power changes something, and no line of the policy allows it unasked; `--mode trusted` lets the local user do such things unasked
        call: ask size (any approver within 60 min, or in the client)
            line `size` asks any approver: tier operate, condition has(args.size) && int(args.size) > 10, target lab/104
        call: ask size (any approver within 60 min, or in the client)
            line `size` asks any approver, to be safe: the condition cannot be told: `int` does not take what it was given
        call: ask default.operate (any approver within 60 min, or in the client)
            guest_power changes something, and no line of the policy allows it unasked; `--mode trusted` lets the local user do such things unasked
        call: deny size
            line `size` refuses it: tier operate, condition has(args.size) && int(args.size) > 10, target lab/104
        call: deny size
            line `size` refuses it, to be safe: the condition cannot be told: `int` does not take what it was given
    "#]].assert_eq(&all);
}

#[test]
fn beyond_its_budget_a_call_asks() {
    let policy = Policy::try_new(Vec::new(), Defaults::default()).unwrap();
    let (principal, now) = (Principal::local(1000), now());
    let asked = Asked {
        principal: &principal,
        transport: Transport::Local,
        tool: "guest_power",
        toolsets: &["default"],
        access: Access::Operate,
        nature: Nature::Additive,
        targets: &[guest(104)],
        args: &json!({}),
        mode: Mode::Guarded,
        now: &now,
    };
    let decided = policy.decide(&asked);
    let beyond = policy.beyond_budget(&asked, &decided);
    expect![[r#"
        allow default.additive (up to 5 an hour)
        it only adds, which the local user may up to 5 times an hour
        ask default.budget (any approver within 60 min, or in the client)
        `default.additive` allows 5 such calls an hour unasked, and these are used up
    "#]]
    .assert_eq(&format!(
        "{}\n{}\n{}\n{}\n",
        said(&decided),
        decided.why,
        said(&beyond),
        beyond.why
    ));
}

#[test]
fn lines_that_go_too_far_or_nowhere_are_errors() {
    let tiers = |tiers: &[Access]| Matchers { tiers: tiers.to_vec(), ..Matchers::default() };
    let mut all = String::new();
    for rules in [
        vec![line("all", 1, ALLOW, Matchers::default())],
        vec![line(
            "range",
            1,
            ALLOW,
            Matchers {
                clusters: patterns(&["lab"]),
                vmids: vec!["100-101".parse().unwrap()],
                ..tiers(&[Access::Destroy])
            },
        )],
        vec![line(
            "one",
            1,
            ALLOW,
            Matchers {
                clusters: patterns(&["lab"]),
                vmids: vec![VmIds::one(104)],
                ..tiers(&[Access::Destroy])
            },
        )],
        vec![line("shield", 1, ALLOW, Matchers { protected: true, ..tiers(&[Access::Operate]) })],
        vec![line("reads", 1, ask(&[], 1), tiers(&[Access::Read]))],
        vec![line("nobody", 1, ask(&[], 0), Matchers::default())],
        vec![line("twice", 1, ask(&["a", "a"], 1), Matchers::default())],
        vec![
            line("a", 1, DENY, tiers(&[Access::Read])),
            line("b", 1, DENY, tiers(&[Access::Destroy])),
        ],
        // The later one would speak of reads, which the earlier one never asks about.
        vec![
            line("a", 1, ask(&[], 1), Matchers::default()),
            line("b", 2, DENY, Matchers::default()),
        ],
        vec![
            line("a", 1, ask(&[], 1), Matchers::default()),
            line("b", 2, ask(&[], 2), tiers(&[Access::Destroy])),
        ],
        // The later one speaks of protected targets besides.
        vec![
            line("a", 1, ask(&[], 1), Matchers::default()),
            line("b", 2, DENY, tiers(&[Access::Destroy])),
        ],
    ] {
        let names: Vec<_> = rules.iter().map(|rule| rule.name.clone()).collect();
        let result = match Policy::try_new(rules, Defaults::default()) {
            Ok(_) => "fine".to_owned(),
            Err(error) => error.to_string(),
        };
        writeln!(all, "{}: {result}", names.join(", ")).unwrap();
    }
    expect![[r#"
        all: `decision` of line `all` allows what may lose something without consent, and names no single guest: add `tier = ["read", "operate"]`, or one `cluster` and one `vmid`, or let it ask
        range: `decision` of line `range` allows what may lose something without consent, and names no single guest: add `tier = ["read", "operate"]`, or one `cluster` and one `vmid`, or let it ask
        one: fine
        shield: `protected` of line `shield` allows what is done to protected targets without consent, and names no single guest: name one `cluster` and one `vmid`, or let it ask
        reads: `decision` of line `reads` asks about reads only, which have no plan to agree to: let it allow or deny them, or take other tiers
        nobody: `count` of line `nobody` is 0: it takes at least one approver
        twice: `of` of line `twice` names somebody twice: name each once
        a, b: `order` of line `b` is 1, as that of line `a`: give each line a place of its own
        a, b: fine
        a, b: line `b` is never reached: line `a` decides every call that `b` speaks of: give `b` a lower `order` than `a`, or take one of them out
        a, b: fine
    "#]].assert_eq(&all);
}

/// Properties over random policies and calls.
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn any_patterns() -> impl Strategy<Value = Vec<Pattern>> {
        let pattern = prop_oneof![Just("a"), Just("b"), Just("a*"), Just("*")];
        proptest::collection::vec(pattern.prop_map(|text| text.parse().unwrap()), 0..2)
    }

    fn any_tiers() -> impl Strategy<Value = Vec<Access>> {
        let tier = prop_oneof![Just(Access::Read), Just(Access::Operate), Just(Access::Destroy)];
        proptest::collection::vec(tier, 0..3)
    }

    fn any_matchers() -> impl Strategy<Value = Matchers> {
        let vmids =
            (100_u32..106, 0_u32..4).prop_map(|(first, more)| VmIds { first, last: first + more });
        let hours = prop_oneof![Just("mon-fri/08:00-18:00"), Just("sun/00:00-24:00")]
            .prop_map(|text| text.parse::<Hours>().unwrap());
        (
            (any_patterns(), any_patterns(), any_tiers(), any_patterns(), any_patterns()),
            (
                proptest::collection::vec(vmids, 0..2),
                proptest::collection::vec(hours, 0..2),
                any::<bool>(),
                proptest::option::weighted(0.2, Just("target.vmid > 103")),
            ),
        )
            .prop_map(
                |((tools, clusters, tiers, pools, tags), (vmids, hours, protected, source))| {
                    Matchers {
                        tools,
                        clusters,
                        tiers,
                        pools,
                        tags,
                        vmids,
                        hours,
                        protected,
                        when: source.map(when),
                        ..Matchers::default()
                    }
                },
            )
    }

    fn any_effect() -> impl Strategy<Value = Effect> {
        prop_oneof![
            Just(ALLOW),
            (1_u32..9).prop_map(|per_hour| Effect::Allow { per_hour: Some(per_hour) }),
            (1_u32..3).prop_map(|count| ask(&[], count)),
            Just(ask(&["alice"], 1)),
            Just(DENY),
        ]
    }

    fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
        let one = (any_matchers(), any_effect());
        proptest::collection::vec(one, 0..6).prop_map(|lines| {
            let lines = (1..).zip(lines);
            lines
                .map(|(at, (matchers, effect))| line(&format!("l{at}"), at, effect, matchers))
                .collect()
        })
    }

    fn any_target() -> impl Strategy<Value = Target> {
        let name = || proptest::option::of("[abc]");
        let protection = proptest::option::weighted(0.3, Just(Protection::Tag));
        ("[abc]", name(), proptest::collection::vec("[abc]", 0..2), 99_u32..112, protection)
            .prop_map(|(cluster, pool, tags, vmid, protection)| Target {
                pool,
                tags,
                vmid: Some(vmid),
                protection,
                ..Target::new(TargetKind::Guest, cluster, "t")
            })
    }

    struct Call {
        access: Access,
        nature: Nature,
        transport: Transport,
        mode: Mode,
        tool: String,
        now: Zoned,
    }

    impl std::fmt::Debug for Call {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{} {} {} {}", self.access, self.transport.as_str(), self.mode, self.tool)
        }
    }

    fn any_call() -> impl Strategy<Value = Call> {
        let access = prop_oneof![Just(Access::Read), Just(Access::Operate), Just(Access::Destroy)];
        let nature =
            prop_oneof![Just(Nature::Ordinary), Just(Nature::Additive), Just(Nature::Cuts)];
        let transport = proptest::sample::select(Transport::ALL.to_vec());
        let mode = proptest::sample::select(Mode::ALL.to_vec());
        (access, nature, transport, mode, "[abc]", 0_i64..7 * 24).prop_map(
            |(access, nature, transport, mode, tool, hour)| {
                let monday: Zoned = "2026-11-23T00:00[UTC]".parse().unwrap();
                let now = monday.checked_add(jiff::Span::new().hours(hour)).unwrap();
                Call { access, nature, transport, mode, tool, now }
            },
        )
    }

    fn run(policy: &Policy, call: &Call, targets: &[Target]) -> Decided {
        policy.decide(&Asked {
            principal: &Principal::local(1000),
            transport: call.transport,
            tool: &call.tool,
            toolsets: &[],
            access: call.access,
            nature: call.nature,
            targets,
            args: &json!({}),
            mode: call.mode,
            now: &call.now,
        })
    }

    fn policy_of(rules: &[Rule]) -> Option<Policy> {
        Policy::try_new(rules.to_vec(), Defaults::default()).ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        /// The line that decides is the first that decides when it stands alone.
        #[test]
        fn the_first_line_that_fits_decides(
            rules in any_rules(), call in any_call(), target in any_target(),
        ) {
            let Some(policy) = policy_of(&rules) else { return Ok(()) };
            let targets = [target];
            let decided = run(&policy, &call, &targets);
            let alone = rules.iter().find(|rule| {
                let alone = policy_of(std::slice::from_ref(rule)).unwrap();
                run(&alone, &call, &targets).line == rule.name
            });
            match alone {
                Some(rule) => prop_assert_eq!(decided.line, rule.name.clone()),
                None => prop_assert!(decided.line.starts_with("default."), "{}", decided.line),
            }
        }

        /// A target more never makes a decision milder, whatever the order of the targets.
        #[test]
        fn the_strictest_of_several_targets_wins(
            rules in any_rules(), call in any_call(),
            targets in proptest::collection::vec(any_target(), 1..4),
        ) {
            let Some(policy) = policy_of(&rules) else { return Ok(()) };
            let all = run(&policy, &call, &targets);
            for target in &targets {
                let one = run(&policy, &call, std::slice::from_ref(target));
                prop_assert!(all.decision.rank() >= one.decision.rank());
                if let (Decision::Ask(all), Decision::Ask(one)) = (&all.decision, &one.decision) {
                    prop_assert!(all.count >= one.count && all.within <= one.within);
                    prop_assert!(!all.client || one.client);
                    prop_assert!(one.of.is_empty() || (!all.of.is_empty() && all.of.iter().all(|name| one.of.contains(name))));
                }
            }
            let backwards: Vec<Target> = targets.iter().rev().cloned().collect();
            let other = run(&policy, &call, &backwards);
            prop_assert_eq!(all.decision.rank(), other.decision.rank());
        }

        /// What is said never to be reached is never reached.
        #[test]
        fn a_line_that_is_said_to_be_unreachable_decides_nothing(
            rules in any_rules(), call in any_call(), target in any_target(),
        ) {
            let mut sorted = rules.clone();
            let unreachable: Vec<String> = Policy::problems(&mut sorted)
                .into_iter()
                .filter(|problem| problem.key.is_none())
                .map(|problem| problem.line)
                .collect();
            // Asked without the check, which would not let them through.
            let policy = Policy { rules: sorted, defaults: Defaults::default() };
            let decided = run(&policy, &call, &[target]);
            prop_assert!(!unreachable.contains(&decided.line), "{} decided", decided.line);
        }

        /// A line behind one that matches the same is found, whatever both match.
        #[test]
        fn a_line_behind_its_like_is_found(matchers in any_matchers(), one in any_effect(), other in any_effect()) {
            let first = line("first", 1, one, Matchers { when: None, ..matchers.clone() });
            let second = line("second", 2, other, matchers);
            let speaks = |rule: &Rule| [Access::Read, Access::Operate, Access::Destroy].map(|tier| rule.speaks_of(tier));
            let covered = speaks(&second).iter().zip(speaks(&first)).all(|(second, first)| !second || first);
            let protected = first.speaks_of_protected() || !second.speaks_of_protected();
            let some = speaks(&second).contains(&true);
            let found = Policy::problems(&mut [first, second])
                .iter()
                .any(|problem| problem.reason.contains("never reached"));
            if covered && protected && some {
                prop_assert!(found);
            }
        }

        /// Read-only refuses every change, protected targets are touched only where a line says so,
        /// and nothing is lost unasked but by a line that names one guest.
        #[test]
        fn what_no_policy_may_widen(
            rules in any_rules(), call in any_call(), target in any_target(),
        ) {
            let Some(policy) = policy_of(&rules) else { return Ok(()) };
            let decided = run(&policy, &call, std::slice::from_ref(&target));
            let rule = rules.iter().find(|rule| rule.name == decided.line);
            if call.access > Access::Read && call.mode == Mode::ReadOnly {
                prop_assert!(decided.is_denied());
            }
            if call.access > Access::Read && target.protection.is_some() && !decided.is_denied() {
                prop_assert!(rule.is_some_and(|rule| rule.matchers.protected));
            }
            if call.access == Access::Destroy && decided.decision == Decision::Allow {
                prop_assert!(rule.is_some_and(|rule| rule.matchers.is_one_guest()));
            }
            if call.access > Access::Read && call.transport == Transport::Http && decided.decision == Decision::Allow {
                prop_assert!(rule.is_some());
            }
        }
    }
}
