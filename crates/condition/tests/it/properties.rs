//! Conditions over arbitrary texts and values.

use condition::{Condition, Values};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::told::SHAPE;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,5}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Texts that are often conditions.
fn any_source() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("tool"),
        Just("vmid"),
        Just("tags"),
        Just("args"),
        Just("args.force"),
        Just("target.node"),
        Just("has(args.force)"),
        Just("any"),
        Just("running"),
        Just("'web'"),
        Just("104"),
        Just("1.5"),
        Just("["),
        Just("]"),
        Just("("),
        Just(")"),
        Just("=="),
        Just("!="),
        Just("<"),
        Just("in"),
        Just("&&"),
        Just("||"),
        Just("!"),
        Just("+"),
        Just("?"),
        Just(":"),
        Just("size(tags)"),
        Just(".exists(t, t == 'web')"),
        Just(".startsWith('a')"),
        Just("\n"),
    ];
    proptest::collection::vec(word, 0..14).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever is written is refused with a place in it, or is told the same way every time.
    #[test]
    fn any_text_is_refused_or_told(
        source in prop_oneof![any_source(), ".{0,60}"], any in any_value(), args in any_value(),
    ) {
        match Condition::compile(&source, SHAPE) {
            Ok(condition) => {
                let values = json!({
                    "tool": "guest_power", "tier": "read", "vmid": 104, "load": 0.5, "running": true,
                    "tags": ["web"], "any": any, "args": args,
                    "target": {"node": "alder", "tags": []},
                });
                let told = condition.holds(&values);
                prop_assert_eq!(&told, &condition.holds(&values));
                prop_assert_eq!(&told, &condition.holds_for(&Values::new(&values)));
            }
            Err(error) => {
                prop_assert!(error.line() >= 1 && error.column() >= 1);
                prop_assert!(error.line() <= source.split('\n').count().max(1));
                prop_assert!(!error.hint().is_empty(), "{}", error);
            }
        }
    }

    /// What the checker lets through of plain types never fails for its types.
    #[test]
    fn what_is_checked_does_not_fail_for_its_types(
        source in any_source(), tool in "[a-z_]{0,9}", vmid in 100_i64..1000,
        tags in proptest::collection::vec("[a-z]{0,5}", 0..5), running in any::<bool>(),
    ) {
        let Ok(condition) = Condition::compile(&source, SHAPE) else { return Ok(()) };
        prop_assume!(!condition.names("any") && !condition.names("args"));
        let values = json!({
            "tool": tool, "tier": "read", "vmid": vmid, "load": 0.5, "running": running, "tags": tags,
            "target": {"node": "alder", "tags": []},
        });
        let told = condition.holds(&values);
        prop_assert!(told.is_ok(), "{}: {:?}", source, told);
    }

    /// A comparison says what Rust says.
    #[test]
    fn comparisons_agree(vmid in any::<i64>(), other in any::<i64>(), tool in "[a-z]{0,4}", part in "[a-z]{0,2}") {
        let told = |source: &str| {
            let condition = Condition::compile(source, SHAPE).unwrap();
            condition.holds(&json!({"vmid": vmid, "tool": tool})).unwrap()
        };
        if other > i64::MIN {
            prop_assert_eq!(told(&format!("vmid < {other}")), vmid < other);
            prop_assert_eq!(told(&format!("vmid == {other}")), vmid == other);
        }
        prop_assert_eq!(told(&format!("tool.contains('{part}')")), tool.contains(&part));
        prop_assert_eq!(told(&format!("!(tool == '{part}')")), tool != part);
    }
}
