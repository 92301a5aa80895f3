//! The schema that the simulator publishes, and parameter checking by it.

use serde_json::Value;

use crate::wire::{Caller, demo};

#[tokio::test]
async fn both_products_publish_a_schema_without_login() {
    let sim = demo().await;
    for (key, path, probe) in [
        ("lab", "/pve-docs/api-viewer/apidoc.js", "/cluster/resources"),
        ("vault", "/docs/api-viewer/apidoc.js", "/admin/datastore"),
    ] {
        let got = Caller::nobody(&sim, key).try_send("GET", path, &[], "").await.unwrap();
        let text = got.text();
        let json = text.strip_prefix("const apiSchema = ").expect("the prefix");
        let tree: Value =
            serde_json::Deserializer::from_str(json).into_iter().next().unwrap().unwrap();
        assert!(find(&tree, probe).is_some(), "{probe}");
        assert!(text.trim_end().ends_with("};"), "the viewer's own code follows");
    }
}

fn find<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    for node in tree.as_array()? {
        if node["path"] == path {
            return Some(node);
        }
        if let Some(found) = find(&node["children"], path) {
            return Some(found);
        }
    }
    None
}

/// Verb, path, parameters, the parameter at fault, what is said of it.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

#[tokio::test]
async fn parameters_are_refused_in_the_servers_own_words() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "lab").await;
    let cases: &[Case] = &[
        (
            "POST",
            "/nodes/alder/qemu",
            &[("vmid", "x")],
            "vmid",
            "type check ('integer') failed - got 'x'",
        ),
        (
            "POST",
            "/nodes/alder/qemu",
            &[("vmid", "99")],
            "vmid",
            "value must have a minimum value of 100",
        ),
        ("POST", "/nodes/alder/qemu", &[], "vmid", "property is missing and it is not optional"),
        (
            "POST",
            "/nodes/alder/qemu",
            &[("vmid", "300"), ("colour", "red")],
            "colour",
            "property is not defined in schema and the schema does not allow additional properties",
        ),
        (
            "POST",
            "/nodes/alder/qemu",
            &[("vmid", "300"), ("memory", "lots")],
            "memory",
            "invalid format - format error\nmemory.current: type check ('integer') failed - got 'lots'\n",
        ),
        (
            "POST",
            "/nodes/alder/qemu",
            &[("vmid", "300"), ("net0", "virtio,bridge=vmbr0,foo=1")],
            "net0",
            "invalid format - format error\nnet0.foo: property is not defined in schema and the schema does not allow additional properties\n",
        ),
        (
            "POST",
            "/nodes/alder/qemu",
            &[("vmid", "300"), ("onboot", "yes")],
            "onboot",
            "type check ('boolean') failed - got 'yes'",
        ),
        (
            "POST",
            "/nodes/alder/qemu",
            &[("vmid", "300"), ("cores", "1"), ("cores", "2")],
            "cores",
            "type check ('integer') failed - got ARRAY",
        ),
        (
            "PUT",
            "/access/acl",
            &[("path", "/")],
            "roles",
            "property is missing and it is not optional",
        ),
    ];
    for (verb, path, params, name, text) in cases {
        let got = admin.form(verb, path, params).await;
        assert_eq!(got.line(), "400 Parameter verification failed.", "{params:?}");
        assert_eq!(got.json()["errors"][name], *text, "{params:?}");
    }
    let json = admin
        .json(
            "PUT",
            "/nodes/alder/qemu/125/config",
            &serde_json::json!({"onboot": true, "cores": 3}),
        )
        .await;
    assert_eq!(json.status, 200, "{}", json.text());
}

#[tokio::test]
async fn pbs_refuses_in_plain_text() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "vault", "agent");
    let nobody = Caller::nobody(&sim, "vault");
    let checks = [
        (nobody.get("/version").await, 401, "authentication failed"),
        (agent.get("/nope").await, 404, "Path '/api2/json/nope' not found."),
        (agent.get("/admin/datastore/nope/snapshots").await, 400, "no such datastore 'nope'"),
        (
            agent.get("/admin/datastore/main/snapshots?colour=red").await,
            400,
            "parameter verification failed - 'colour': schema does not allow additional properties.",
        ),
        (
            agent
                .json(
                    "POST",
                    "/admin/datastore/main/prune",
                    &serde_json::json!({"backup-type": "vm", "backup-id": "100", "keep-last": "1"}),
                )
                .await,
            400,
            "parameter verification failed - 'keep-last': Expected integer value.",
        ),
        (
            agent
                .post(
                    "/admin/datastore/main/prune",
                    &[("backup-type", "vm"), ("backup-id", "100"), ("keep-last", "many")],
                )
                .await,
            400,
            "parameter verification failed - 'keep-last': invalid digit found in string",
        ),
        (agent.try_send("HEAD", "/api2/json/version", &[], "").await.unwrap(), 404, ""),
    ];
    for (got, status, text) in checks {
        assert_eq!((got.status, got.text().as_str()), (status, text));
        assert!(got.headers["content-type"].starts_with("application/json"));
    }
}
