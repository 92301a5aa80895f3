//! Every endpoint of both published schemas has a tier, and every line of the table an endpoint.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{collections::BTreeMap, fmt::Write as _};

use estate::{Access, Product};
use expect_test::{expect, expect_file};
use guard::risk;
use serde_json::Value;

/// Method and path of everything that is published.
pub(crate) fn endpoints(product: Product) -> Option<Vec<(String, String)>> {
    let file = match product {
        Product::Pve => "api/pve-9.2.json",
        Product::Pbs => "api/pbs-4.2.json",
    };
    let mut all = Vec::new();
    collect(&testkit::fixtures::json(file)?, &mut all);
    all.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    Some(all)
}

fn collect(nodes: &Value, all: &mut Vec<(String, String)>) {
    for node in nodes.as_array().into_iter().flatten() {
        for (method, _) in node["info"].as_object().into_iter().flatten() {
            all.push((method.clone(), node["path"].as_str().unwrap().to_owned()));
        }
        collect(&node["children"], all);
    }
}

fn word(access: Option<Access>) -> &'static str {
    access.map_or("refused", Access::as_str)
}

#[test]
fn every_endpoint_has_a_tier() {
    let mut counts = String::new();
    for product in Product::ALL {
        let Some(all) = endpoints(product) else { return };
        let mut by_tier: BTreeMap<&str, usize> = BTreeMap::new();
        for (method, path) in &all {
            let rating = risk::rate(product, method, path);
            *by_tier.entry(word(rating.access)).or_default() += 1;
            // With values in its places it is the same.
            let filled = path.replace(['{', '}'], "");
            assert_eq!(risk::rate(product, method, &filled), rating, "{method} {path}");
            let is_default = rating.access == Some(risk::by_method(method));
            assert!(is_default || rating.reason.is_some());
            // Only what asks and does nothing else goes below the method's tier.
            if method != "GET" && rating.access == Some(Access::Read) {
                assert!(path.contains("/agent/"), "{method} {path}");
            }
        }
        writeln!(counts, "{product}: {} endpoints {by_tier:?}", all.len()).unwrap();
    }
    print!("{counts}");
    expect![[r#"
        pve: 675 endpoints {"destroy": 150, "operate": 172, "read": 326, "refused": 27}
        pbs: 367 endpoints {"destroy": 78, "operate": 87, "read": 169, "refused": 33}
    "#]]
    .assert_eq(&counts);
}

#[test]
fn what_deviates_from_its_method_is_listed_with_its_reason() {
    let mut listed = String::new();
    for product in Product::ALL {
        let Some(all) = endpoints(product) else { return };
        let mut used = vec![false; risk::rules(product).len()];
        for (method, path) in &all {
            let rating = risk::rate(product, method, path);
            if let Some(reason) = rating.reason {
                writeln!(listed, "{product} {:7} {method:6} {path}: {reason}", word(rating.access))
                    .unwrap();
            }
            for (at, rule) in risk::rules(product).iter().enumerate() {
                if !rule.fits(method, path) {
                    continue;
                }
                used[at] = true;
                if rule.with.is_empty() {
                    continue;
                }
                let with = |is: &dyn Fn(&str) -> bool| is(&rule.with[0].replace('*', "last"));
                let rated = risk::rate_call(product, method, path, with);
                assert_eq!((rated.access, rated.reason), (rule.access, Some(rule.reason)));
                let (word, with) = (word(rule.access), rule.with.join(" or "));
                writeln!(
                    listed,
                    "{product} {word:7} {method:6} {path} with {with}: {}",
                    rule.reason
                )
                .unwrap();
            }
        }
        for (rule, used) in risk::rules(product).iter().zip(used) {
            assert!(used, "no endpoint of {product} has {} {}", rule.method, rule.path);
            assert!(!rule.reason.ends_with('.') && rule.reason.len() < 100, "{}", rule.reason);
        }
    }
    expect_file!["deviations.txt"].assert_eq(&listed);
}

#[test]
fn what_hands_out_shells_tickets_or_secrets_is_refused() {
    for product in Product::ALL {
        let Some(all) = endpoints(product) else { return };
        for (method, path) in all {
            let last = path.rsplit('/').next().unwrap();
            let is_channel =
                ["vncproxy", "termproxy", "spiceproxy", "vncshell", "spiceshell", "mtunnel"]
                    .contains(&last)
                    || last.ends_with("websocket")
                    || path.contains("_upgrade_");
            if is_channel || (last == "ticket" && method != "GET") {
                assert_eq!(risk::tier(product, &method, &path), None, "{method} {path}");
            }
        }
    }
}
