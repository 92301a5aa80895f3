//! Selecting, sorting and paging, over hand-written rows.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

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

fn render(query: &Value) -> String {
    let query = query.as_object().expect("an object").clone();
    let args: Filter = serde_json::from_value(Value::Object(query.clone())).expect("arguments");
    let offset = cursor::decode(args.cursor.as_deref(), &query).expect("a cursor");
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
    expect![[r#"
        3 guests (1 unknown, 1 running, 1 stopped) and 1 template
        unreachable: home/birch (node offline)
        guest name kind node status cpu mem maxmem
        home/100 www vm alder running 50% 2G 4G
        home/101 dns ct alder stopped - - 512M
        home/102 far vm birch unknown - - 1G
        home/900 tpl vm alder template - - 1G
        note: locked: home/100 (backup)"#]]
    .assert_eq(&render(&json!({})));
}

#[test]
fn filters_combine_and_a_wrong_one_says_what_there_is() {
    expect![[r#"
        1 guest (1 running), of 4 in all
        unreachable: home/birch (node offline)
        guest name kind node status cpu mem maxmem
        home/100 www vm alder running 50% 2G 4G
        note: locked: home/100 (backup)
        next: guest_get {"guest":"home/100"}"#]]
    .assert_eq(&render(&json!({"kind": "vm", "status": "running", "tag": "web"})));
    expect![[r#"
        no guest has the tag `nope`
        note: tags in use: prod, web"#]]
    .assert_eq(&render(&json!({"tag": "nope"})));
    expect![[r#"
        no guest has the pool `nope`
        note: pools in use: web"#]]
    .assert_eq(&render(&json!({"pool": "nope"})));
    expect![[r#"
        node `alder` is in 2 clusters
        node status
        home/alder online
        edge/alder online
        note: give cluster=edge or cluster=home"#]]
    .assert_eq(&render(&json!({"node": "alder"})));
    expect![[r#"
        no node is called `nope`
        node status
        home/alder online
        home/birch offline
        edge/alder online"#]]
    .assert_eq(&render(&json!({"node": "nope"})));
    expect![[r#"
        0 guests, of 4 in all
        unreachable: home/birch (node offline)
        note: no guest fits all filters
        next: guests_list {}"#]]
    .assert_eq(&render(&json!({"text": "nothing like it"})));
}

#[test]
fn sorting_shows_what_it_sorts_by() {
    expect![[r#"
        3 guests (1 unknown, 1 running, 1 stopped) and 1 template
        unreachable: home/birch (node offline)
        guest name kind node status cpu mem maxmem uptime
        home/100 www vm alder running 50% 2G 4G 25h
        home/102 far vm birch unknown - - 1G -
        note: locked: home/100 (backup)
        next: guests_list {"sort":"uptime","limit":2,"cursor":"2.4518d6a4"}"#]]
    .assert_eq(&render(&json!({"sort": "uptime", "limit": 2})));
    expect![[r#"
        3 guests (1 unknown, 1 running, 1 stopped) and 1 template
        unreachable: home/birch (node offline)
        guest name kind node status cpu mem maxmem
        home/102 far vm birch unknown - - 1G
        home/101 dns ct alder stopped - - 512M
        home/100 www vm alder running 50% 2G 4G
        note: locked: home/100 (backup)
        next: guests_list {"sort":"status","limit":3,"cursor":"3.5108d107"}"#]]
    .assert_eq(&render(&json!({"sort": "status", "limit": 3})));
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
            let args: Filter = serde_json::from_value(Value::Object(query.clone())).unwrap();
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
