//! Selecting, sorting and paging, over hand-written rows.

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::testing;

fn small() -> Gathered<Pve, Seen> {
    testing::gathered(vec![
        ("home", View::of(&testing::key("home"), testing::rows())),
        ("edge", View::of(&testing::key("edge"), testing::rows()[..1].to_vec())),
    ])
    .map(|view| (view, None))
}

fn render(query: Value) -> String {
    let query = query.as_object().unwrap().clone();
    let args: Args = serde_json::from_value(Value::Object(query.clone())).unwrap();
    let offset = cursor::decode(args.cursor.as_deref(), &query).unwrap();
    let gathered = small();
    match check_filters(&args, &gathered) {
        Ok(()) => report(&args, query, offset, &gathered),
        Err(error) => error.into_report(),
    }
    .render(4096)
    .text
}

#[test]
fn rows_are_compact_and_nothing_is_hidden() {
    expect![[r#""#]].assert_eq(&render(json!({})));
}

#[test]
fn filters_combine_and_a_wrong_one_says_what_there_is() {
    expect![[r#""#]].assert_eq(&render(json!({"kind": "vm", "status": "running", "tag": "web"})));
    expect![[r#""#]].assert_eq(&render(json!({"tag": "nope"})));
    expect![[r#""#]].assert_eq(&render(json!({"pool": "nope"})));
    expect![[r#""#]].assert_eq(&render(json!({"node": "alder"})));
    expect![[r#""#]].assert_eq(&render(json!({"node": "nope"})));
    expect![[r#""#]].assert_eq(&render(json!({"text": "nothing like it"})));
}

#[test]
fn sorting_shows_what_it_sorts_by() {
    expect![[r#""#]].assert_eq(&render(json!({"sort": "uptime", "limit": 2})));
    expect![[r#""#]].assert_eq(&render(json!({"sort": "status", "limit": 3})));
}

proptest! {
    #[test]
    fn pages_hold_every_guest_once(count in 0_u32..400, limit in prop::option::of(1_usize..90), ceiling in 1500_usize..9000) {
        let rows = (0..count).map(|at| testing::guest(100 + at, "n", "alder")).collect();
        let gathered = testing::gathered(vec![("home", View::of(&testing::key("home"), rows))])
            .map(|view| (view, None));
        let mut query = Map::new();
        if let Some(limit) = limit {
            query.insert("limit".into(), limit.into());
        }
        let mut seen = Vec::new();
        for _ in 0..500 {
            let args: Args = serde_json::from_value(Value::Object(query.clone())).unwrap();
            let offset = cursor::decode(args.cursor.as_deref(), &query).unwrap();
            let rendered = report(&args, query.clone(), offset, &gathered).render(ceiling);
            for row in rendered.structured["guests"]["rows"].as_array().unwrap() {
                seen.push(row[0].as_str().unwrap().to_owned());
            }
            let next = rendered.structured.get("next").and_then(|next| next[0]["args"].as_object());
            match next.filter(|args| args.contains_key("cursor")) {
                Some(args) => query = args.clone(),
                None => break,
            }
        }
        let expected: Vec<_> = (0..count).map(|at| format!("home/{}", 100 + at)).collect();
        prop_assert_eq!(seen, expected);
    }
}
