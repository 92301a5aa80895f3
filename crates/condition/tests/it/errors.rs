//! Every class of error: the place, what is wrong, and what to do.

use std::fmt::Write as _;

use condition::Condition;
use expect_test::expect;

use crate::told::SHAPE;

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let mut table = String::new();
    for source in [
        "",
        "   ",
        "tool ==",
        "tool = 'a'",
        "tool == 'a' &&\n  tol == 'b'",
        "tool == 'a' && nonsense == 1",
        "target.nod == 'alder'",
        "tool.name == 'a'",
        "args.force == true",
        "args['force'] == true",
        "has(args.size) && args.force == true",
        "vmid == '104'",
        "vmid > 'a'",
        "tool > 5",
        "tags == 'web'",
        "tags.contains('web')",
        "'web' in tool",
        "tool",
        "vmid + 1",
        "vmid && running",
        "!vmid",
        "has(args.force) && args.force",
        "has(args.a) && args.a + 1 == 2",
        "tags + tags == tags",
        "tool + 1 == 'a1'",
        "-tool == 'a'",
        "size(vmid) == 1",
        "tool.matches(tier)",
        "tool.matches('(')",
        "tool.matches('(a{1000}){1000}')",
        "tool.endWith('x')",
        "timestamp('2026-01-01T00:00:00Z') == timestamp('2026-01-01T00:00:00Z')",
        "dyn(tool) == 'a'",
        "{'a': 1} == {'a': 1}",
        "b'abc' == b'abc'",
        "tags.exists(a, tags.exists(b, tags.exists(c, a == b && b == c)))",
        "vmid.exists(a, a == 1)",
        "args.?force == true",
        "tool == 'ä' && tol == 'b'",
    ] {
        let error = Condition::compile(source, SHAPE)
            .map(|_| "compiles")
            .map_err(|error| error.to_string());
        let said = match error {
            Ok(said) => said.to_owned(),
            Err(error) => error,
        };
        writeln!(table, "{source:?}\n    {said}").unwrap();
    }
    expect![[r#"
        ""
            at column 1: is empty: leave it out, or write what must be so
        "   "
            at column 1: is empty: leave it out, or write what must be so
        "tool =="
            at column 8: ends too early: something must follow: a value, a name or a closing bracket
        "tool = 'a'"
            at column 6: has a single `=`: compare with `==`
        "tool == 'a' &&\n  tol == 'b'"
            at line 2, column 3: names `tol`, which is not known: did you mean `tool`?
        "tool == 'a' && nonsense == 1"
            at column 16: names `nonsense`, which is not known: known names: tool, tier, vmid, load, running, tags, args, any, target
        "target.nod == 'alder'"
            at column 7: names the field `nod`, which is not known: did you mean `node`?
        "tool.name == 'a'"
            at column 5: takes the field `name` of text: only objects have fields
        "args.force == true"
            at column 5: takes `args.force`, which may not be there: ask first: `has(args.force) && …`
        "args['force'] == true"
            at column 5: takes `args.force`, which may not be there: ask first: `has(args.force) && …`
        "has(args.size) && args.force == true"
            at column 23: takes `args.force`, which may not be there: ask first: `has(args.force) && …`
        "vmid == '104'"
            at column 6: compares a whole number and text: numbers stand without quotes, texts in quotes
        "vmid > 'a'"
            at column 6: orders a whole number and text: numbers stand without quotes, texts in quotes
        "tool > 5"
            at column 6: orders text and a whole number: numbers stand without quotes, texts in quotes
        "tags == 'web'"
            at column 6: compares a list and text: for lists there is `in`
        "tags.contains('web')"
            at column 14: calls `contains` with a list: for lists there is `in`, or `exists(it, …)`
        "'web' in tool"
            at column 7: looks something up in text: `in` takes a list; for texts there is `contains`
        "tool"
            at column 1: is text and not true or false: compare it with something
        "vmid + 1"
            at column 6: is a whole number and not true or false: compare it with something
        "vmid && running"
            at column 1: is a whole number and not true or false: compare it with something
        "!vmid"
            at column 2: is a whole number and not true or false: compare it with something
        "has(args.force) && args.force"
            at column 24: is not known to be true or false: write `… == true`
        "has(args.a) && args.a + 1 == 2"
            at column 23: adds what can be anything: say what it is: `int(…)`, `double(…)` or `string(…)`
        "tags + tags == tags"
            at column 6: joins lists: ask each list by itself
        "tool + 1 == 'a1'"
            at column 6: adds text and a whole number: numbers stand without quotes, texts in quotes
        "-tool == 'a'"
            at column 1: negates text: only numbers have a sign
        "size(vmid) == 1"
            at column 5: takes the size of a whole number: texts and lists have a size
        "tool.matches(tier)"
            at column 14: makes its pattern when it runs: a pattern stands in quotes, so that it can be checked now
        "tool.matches('(')"
            at column 14: has a pattern that is none, or too large: see the syntax of Rust's regex crate
        "tool.matches('(a{1000}){1000}')"
            at column 14: has a pattern that is none, or too large: see the syntax of Rust's regex crate
        "tool.endWith('x')"
            at column 13: calls `endWith`, which is not known: did you mean `endsWith`?
        "timestamp('2026-01-01T00:00:00Z') == timestamp('2026-01-01T00:00:00Z')"
            at column 10: calls `timestamp`, which is not known: known functions: all, contains, double, endsWith, exists, exists_one, filter, has, int, map, matches, size, startsWith, string
        "dyn(tool) == 'a'"
            at column 4: calls `dyn`, which is not known: known functions: all, contains, double, endsWith, exists, exists_one, filter, has, int, map, matches, size, startsWith, string
        "{'a': 1} == {'a': 1}"
            at column 1: makes an object: compare its fields one by one
        "b'abc' == b'abc'"
            at column 1: is a kind of value that conditions have no use for: write a plain number or text
        "tags.exists(a, tags.exists(b, tags.exists(c, a == b && b == c)))"
            at column 31: nests loops too deep: two loops in each other are the most
        "vmid.exists(a, a == 1)"
            at column 1: goes through a whole number: only lists are gone through
        "args.?force == true"
            at column 5: does not parse: unsupported syntax '.?': conditions are written in CEL, for example `tool == 'a' && size(tags) > 0`
        "tool == 'ä' && tol == 'b'"
            at column 17: names `tol`, which is not known: did you mean `tool`?
    "#]].assert_eq(&table);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_parsed() {
    let long = format!("tool == '{}'", "a".repeat(2000));
    let deep = format!("{}running{}", "(".repeat(500), ")".repeat(500));
    let chain = vec!["running"; 150].join(" && ");
    let unary = format!("{}running", "!".repeat(1000));
    let choice = format!("{}true", "running ? false : ".repeat(60));
    let sum = format!("vmid {} > 0", "+ vmid ".repeat(150));
    let dots = format!("has(args{})", ".a".repeat(60));
    let mut table = String::new();
    for (name, source) in [
        ("long", long),
        ("deep", deep),
        ("chain", chain),
        ("unary", unary),
        ("choice", choice),
        ("sum", sum),
        ("dots", dots),
    ] {
        let said = match Condition::compile(&source, SHAPE) {
            Ok(_) => "compiles".to_owned(),
            Err(error) => error.to_string(),
        };
        writeln!(table, "{name}: {said}").unwrap();
    }
    expect![[r#"
        long: at column 1: is longer than 2000 bytes: split it over several lines of the settings
        deep: at column 21: nests brackets too deep: 20 levels are the most
        chain: at column 1109: has too many operators: 200 are the most
        unary: at column 201: has too many operators: 200 are the most
        choice: at column 1: is too deep or has too many parts: write it in fewer steps
        sum: at column 1: is too deep or has too many parts: write it in fewer steps
        dots: at column 1: is too deep or has too many parts: write it in fewer steps
    "#]]
    .assert_eq(&table);
}
