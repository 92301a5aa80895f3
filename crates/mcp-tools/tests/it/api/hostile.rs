//! Whatever a model writes, nothing leaves its place, and what is refused is never sent.

use mcp_tools::tools::api::Library;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fake::{cx, published};
use crate::estate::tool;

const PATHS: &[&str] = &[
    "/nodes/../access/users",
    "/nodes/%2e%2e/access/users",
    "/nodes/%252e%252e/access",
    "/nodes/..%2f..%2faccess",
    "/nodes/pve1/qemu/100%2fstatus%2fstop",
    "/nodes/pve1/qemu/100%2F..%2F..%2Flxc/100/status/current",
    "/nodes/pve1/qemu/100;/status/current",
    "https://evil.example/api2/json/version",
    "//evil.example/version",
    "\\\\evil.example\\version",
    "/@evil.example/version",
    "/version?x=1",
    "/version#x",
    "/version%3fx=1",
    "/version%00",
    "/version\0",
    "/version\r\nHost: evil.example",
    "/version%0d%0aHost:%20evil.example",
    "/nodes/pv\u{202e}e1/status",
    "/nodes/\u{ff0e}\u{ff0e}/status",
    "/nodes/pve1/storage/local/content/../../../access",
    "/nodes/pve1/storage/local/content/a/../../b",
    "/nodes/pve1/storage/local/content/a%2f..%2fb",
    "/nodes/{node}/status",
    "/nodes//status",
    "",
    "%",
    "/%zz",
    "/api2/json/api2/json/version",
    "/api2/extjs/version",
];

#[tokio::test]
async fn hostile_paths_reach_nobody() {
    let Some((pve, pbs)) = published() else { return };
    let cx = cx(&pve, Some(&pbs), Library::default());
    let long = "/nodes/".to_owned() + &"a".repeat(100_000);
    for path in PATHS.iter().copied().chain([long.as_str()]) {
        for (name, args) in [
            ("api_read", json!({"cluster": "lab", "path": path})),
            ("api_call", json!({"cluster": "lab", "method": "POST", "path": path})),
            ("api_call", json!({"cluster": "lab", "method": "DELETE", "path": path})),
            ("api_call", json!({"cluster": "vault", "method": "PUT", "path": path})),
        ] {
            let answer = tool(name).call(&cx, args.as_object().unwrap().clone()).await;
            let error = answer.err().unwrap_or_else(|| panic!("{name} took {path:?}"));
            let text = error.into_report().render(4096).text;
            assert!(text.len() < 4096 && !text.contains('\0'), "{text}");
        }
    }
    assert_eq!((pve.asked(), pbs.asked()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn what_is_refused_is_never_sent() {
    let Some((pve, pbs)) = published() else { return };
    let cx = cx(&pve, Some(&pbs), Library::default());
    for (cluster, method, path) in [
        ("lab", "POST", "/access/ticket"),
        ("lab", "POST", "/nodes/pve1/termproxy"),
        ("lab", "post", "/api2/json/nodes/pve1/qemu/100/vncproxy/"),
        ("lab", "POST", "/nodes/pve1/qemu/100/agent/exec"),
        ("lab", "POST", "/nodes/pve1/execute"),
        ("lab", "GET", "/nodes/pve1/vncwebsocket"),
        ("lab", "POST", "/access/users/joe@pve/token/agent"),
        ("vault", "POST", "/access/ticket"),
        ("vault", "GET", "/backup"),
        ("vault", "POST", "/backup/_upgrade_/finish"),
        ("vault", "GET", "/admin/datastore/main/download"),
    ] {
        let args = json!({"cluster": cluster, "method": method, "path": path});
        let error =
            tool("api_call").call(&cx, args.as_object().unwrap().clone()).await.unwrap_err();
        assert!(
            error.to_string().contains("is never called from here"),
            "{method} {path}: {error}"
        );
    }
    let args = json!({"cluster": "lab", "method": "PUT", "path": "/access/users/joe@pve/token/agent", "params": {"regenerate": true}});
    let error = tool("api_call").call(&cx, args.as_object().unwrap().clone()).await.unwrap_err();
    assert!(error.to_string().contains("is never called"), "{error}");
    assert_eq!((pve.asked(), pbs.asked()), (Vec::new(), Vec::new()));
}

/// What a call can do never depends on how its path is written.
#[test]
fn the_tier_of_a_call_cannot_be_talked_down() {
    let access = |method: &str, path: &str, params: Value| {
        let args = json!({"method": method, "path": path, "params": params});
        tool("api_call").access(args.as_object().unwrap()).as_str()
    };
    let none = || json!({});
    for path in [
        "/nodes/pve1/disks/wipedisk",
        "nodes/pve1/disks/wipedisk/",
        "/api2/json/nodes/pve1/disks/wipedisk",
        "/nodes/pve1/disks/%77ipedisk",
        "/nodes/{node}/disks/wipedisk",
    ] {
        assert_eq!(access("PUT", path, none()), "destroy", "{path}");
        assert_eq!(access(" put ", path, none()), "destroy", "{path}");
    }
    assert_eq!(access("POST", "/nodes/pve1/qemu", none()), "operate");
    assert_eq!(access("POST", "/nodes/pve1/qemu", json!({"force": 1})), "destroy");
    assert_eq!(access("POST", "/nodes/pve1/qemu", json!({"force": "0"})), "operate");
    assert_eq!(access("POST", "/nodes/pve1/qemu/100/agent/ping", none()), "read");
    assert_eq!(access("GET", "/tape/media/destroy", none()), "destroy");
    assert_eq!(access("DELETE", "/anything", none()), "destroy");
    assert_eq!(access("POST", "../x", none()), "operate");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_an_answer(path in "(/|%2[eEfF]|\\.\\.|%|[a-z0-9{}:@?#&=; ]|\\PC){0,40}", filter in "\\PC{0,20}", field in "\\PC{0,10}") {
        let Some((pve, _)) = published() else { return Ok(()) };
        let cx = cx(&pve, None, Library::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for args in [json!({"path": path, "filter": filter, "fields": field}), json!({"path": format!("/cluster/{path}")})] {
                let _ = tool("api_read").call(&cx, args.as_object().unwrap().clone()).await;
            }
        });
        for asked in pve.asked() {
            let target = asked.split(' ').nth(1).unwrap();
            prop_assert!(target.starts_with("/api2/json/"), "{}", asked);
            prop_assert!(!target.contains("/../") && !target.ends_with("/.."), "{}", asked);
        }
    }
}

#[tokio::test]
async fn secrets_are_in_no_plan_and_in_no_journal() {
    let Some((pve, pbs)) = published() else { return };
    let cx = cx(&pve, Some(&pbs), Library::default());
    let action = tool("api_call").as_action().unwrap();
    for (cluster, method, path, params) in [
        (
            "lab",
            "POST",
            "/cluster/sdn/dns",
            json!({"dns": "main", "type": "powerdns", "url": "https://dns.example", "key": "hunter2hunter2"}),
        ),
        ("lab", "PUT", "/access/domains/corp", json!({"client-key": "hunter2hunter2"})),
        (
            "lab",
            "POST",
            "/cluster/acme/plugins",
            json!({"id": "dns1", "type": "dns", "data": "hunter2hunter2"}),
        ),
        (
            "lab",
            "POST",
            "/nodes/pve1/qemu/100/agent/file-write",
            json!({"file": "/etc/x", "content": "hunter2hunter2"}),
        ),
        (
            "lab",
            "POST",
            "/nodes/pve1/certificates/custom",
            json!({"certificates": "x", "key": "hunter2hunter2"}),
        ),
        (
            "vault",
            "PUT",
            "/config/tape-encryption-keys/ab",
            json!({"new-password": "hunter2hunter2", "hint": "x"}),
        ),
    ] {
        let mut args =
            json!({"cluster": cluster, "method": method, "path": path, "params": params});
        let args = args.as_object_mut().unwrap();
        match action.plan(&cx, args.clone()).await {
            Ok(plan) => {
                let form = plan.form("api_call", "local:0");
                let said = format!("{:?} {:?} {:?}", form.calls, plan.changes, plan.effects);
                assert!(!said.contains("hunter2"), "{said}");
                assert!(said.contains("secret"), "{said}");
            }
            Err(error) => {
                let text = error.into_report().render(4096).text;
                assert!(!text.contains("hunter2"), "{text}");
            }
        }
        action.conceal(args);
        mcp_tools::redaction::Redaction::default().json(&mut args["params"]);
        let kept = Value::Object(args.clone()).to_string();
        assert!(!kept.contains("hunter2"), "{kept}");
    }
}
