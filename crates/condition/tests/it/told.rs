//! What conditions say of values.

use std::fmt::Write as _;

use condition::{Condition, Shape, Type};
use expect_test::expect;
use serde_json::{Value, json};

pub(crate) const SHAPE: Shape = &[
    ("tool", Type::Text),
    ("tier", Type::Text),
    ("vmid", Type::Int),
    ("load", Type::Float),
    ("running", Type::Bool),
    ("tags", Type::List(&Type::Text)),
    ("args", Type::Open),
    ("any", Type::Any),
    ("target", Type::Record(&[("node", Type::Text), ("tags", Type::List(&Type::Text))])),
];

pub(crate) fn values() -> Value {
    json!({
        "tool": "guest_power", "tier": "operate", "vmid": 104, "load": 0.75, "running": true,
        "tags": ["prod", "web"], "any": 3,
        "args": {"guest": "lab/104", "force": true, "size": "12", "disks": [{"gib": 8}, {"gib": 64}]},
        "target": {"node": "alder", "tags": ["prod", "web"]},
    })
}

#[test]
fn conditions_are_told() {
    let mut table = String::new();
    for source in [
        "tool == 'guest_power' && tier != 'destroy'",
        "vmid >= 100 && vmid < 200 || vmid == 9000",
        "'web' in tags && !('db' in tags)",
        "target.node in ['alder', 'birch']",
        "tags.exists(tag, tag.startsWith('pro'))",
        "tags.all(tag, size(tag) <= 4)",
        "tags.exists_one(tag, tag == 'web')",
        "tags.filter(tag, tag != 'web') == ['prod']",
        "tags.map(tag, size(tag)) == [4, 3]",
        "size(tags) == 2 && size(tool) > 5",
        "has(args.force) && args.force == true",
        "has(args.missing) && args.missing == true",
        "'size' in args && int(args.size) > 10",
        "has(args.disks) && args.disks.exists(disk, has(disk.gib) && disk.gib > 32)",
        "tool.matches('^guest_[a-z]+$')",
        "running ? load > 0.5 : vmid == 0",
        "load * 100.0 > 50.0 && vmid % 2 == 0 && -vmid < 0",
        "string(vmid) + tool == '104guest_power'",
        "target.tags == tags",
        "any == 3",
        "any == 'three'",
        "true",
        // What cannot be told.
        "int(any) / 0 == 1",
        "any > 'x'",
        "any == true || args['missing'] == 1 || has(args.missing)",
        "tags[5] == 'web'",
        "vmid + 9223372036854775807 > 0",
        "has(args.guest) && int(args.guest) == 1",
        // One side tells, whatever the other does.
        "running || any > 'x'",
        "!running && any > 'x'",
    ] {
        let condition =
            Condition::compile(source, SHAPE).unwrap_or_else(|error| panic!("{source}: {error}"));
        let said = match condition.holds(&values()) {
            Ok(holds) => holds.to_string(),
            Err(error) => error.to_string(),
        };
        writeln!(table, "{source}: {said}").unwrap();
    }
    expect![[r#"
        tool == 'guest_power' && tier != 'destroy': true
        vmid >= 100 && vmid < 200 || vmid == 9000: true
        'web' in tags && !('db' in tags): true
        target.node in ['alder', 'birch']: true
        tags.exists(tag, tag.startsWith('pro')): true
        tags.all(tag, size(tag) <= 4): true
        tags.exists_one(tag, tag == 'web'): true
        tags.filter(tag, tag != 'web') == ['prod']: true
        tags.map(tag, size(tag)) == [4, 3]: true
        size(tags) == 2 && size(tool) > 5: true
        has(args.force) && args.force == true: true
        has(args.missing) && args.missing == true: false
        'size' in args && int(args.size) > 10: true
        has(args.disks) && args.disks.exists(disk, has(disk.gib) && disk.gib > 32): true
        tool.matches('^guest_[a-z]+$'): true
        running ? load > 0.5 : vmid == 0: true
        load * 100.0 > 50.0 && vmid % 2 == 0 && -vmid < 0: true
        string(vmid) + tool == '104guest_power': true
        target.tags == tags: true
        any == 3: true
        any == 'three': false
        true: true
        int(any) / 0 == 1: the condition cannot be told: a number is divided by zero
        any > 'x': the condition cannot be told: `_>_` does not take int and string
        any == true || args['missing'] == 1 || has(args.missing): the condition needs `missing`, which is not there
        tags[5] == 'web': the condition cannot be told: a list has no entry at that place
        vmid + 9223372036854775807 > 0: the condition cannot be told: a number is out of range
        has(args.guest) && int(args.guest) == 1: the condition cannot be told: `int` does not take what it was given
        running || any > 'x': true
        !running && any > 'x': false
    "#]].assert_eq(&table);
}

#[test]
fn what_is_too_large_or_missing_cannot_be_told() {
    let condition = Condition::compile("'a' in tags", SHAPE).unwrap();
    let with = |tags: Value| condition.holds(&json!({"tags": tags}));
    assert_eq!(with(json!(["a"])), Ok(true));
    let mut table = String::new();
    let deep = (0..40).fold(json!("a"), |inner, _| json!([inner]));
    for tags in [json!(vec!["a"; 129]), json!(["a".repeat(20_000)]), deep, json!(7), json!(null)] {
        writeln!(
            table,
            "{}",
            with(tags).map_or_else(|error| error.to_string(), |it| it.to_string())
        )
        .unwrap();
    }
    writeln!(table, "{}", condition.holds(&json!({})).unwrap_err()).unwrap();
    expect![[r#"
        `tags` is too large to be looked at by a condition
        `tags` is too large to be looked at by a condition
        `tags` is too large to be looked at by a condition
        the condition cannot be told: `@in` does not take string and int
        the condition cannot be told: `@in` does not take string and null_type
        the condition needs `tags`, which is not there
    "#]]
    .assert_eq(&table);
}

#[test]
fn it_knows_what_it_looks_at() {
    let condition = Condition::compile("tags.exists(tool, tool == target.node)", SHAPE).unwrap();
    assert!(condition.names("tags") && condition.names("target"));
    // A name of a loop is not the name of the shape.
    assert!(!condition.names("tool") && !condition.names("args"));
    assert_eq!(condition.source(), "tags.exists(tool, tool == target.node)");
}
