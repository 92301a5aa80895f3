//! Whatever a server publishes is read, as far as it can be understood.

use std::{collections::BTreeSet, fmt::Write as _};

use api_core::schema::{Kind, Param, Schema, SchemaError, Target};
use expect_test::expect;
use proptest::prelude::*;
use serde_json::Value;

use super::published;

/// Method, path and parameter names of everything in the tree.
fn collect(nodes: &Value, all: &mut Vec<(String, BTreeSet<String>)>) {
    for node in nodes.as_array().into_iter().flatten() {
        for (method, info) in node["info"].as_object().into_iter().flatten() {
            let names = info["parameters"]["properties"].as_object().into_iter().flatten();
            let names = names.map(|(name, _)| name.clone()).collect();
            all.push((format!("{method} {}", node["path"].as_str().unwrap()), names));
        }
        collect(&node["children"], all);
    }
}

#[test]
fn every_endpoint_and_parameter_is_kept() {
    for (file, count) in [("api/pve-9.2.json", 675), ("api/pbs-4.2.json", 367)] {
        let Some(json) = testkit::fixtures::json(file) else { return };
        let published = published().unwrap();
        let schema = if file.contains("pve") { &published.pve } else { &published.pbs };
        let mut expected = Vec::new();
        collect(&json, &mut expected);
        expected.sort();
        let mut found: Vec<(String, BTreeSet<String>)> = schema
            .endpoints()
            .map(|one| (format!("{one:?}"), one.params().map(|p| p.name().to_owned()).collect()))
            .collect();
        found.sort();
        assert_eq!(found.len(), count, "{file}");
        assert!(found == expected, "{file}: endpoints or parameters differ");
        println!("{file}: {count} endpoints in about {} KiB", schema.bytes() / 1024);
        assert!(schema.bytes() < 640 * 1024, "{file} takes {} bytes", schema.bytes());
        assert!(schema.is_complete());

        // Every path finds itself, filled or not.
        for endpoint in schema.endpoints() {
            let template = Target::parse(endpoint.path()).unwrap();
            let located = schema.locate(&template).unwrap();
            assert_eq!(located.path(), endpoint.path());
            assert_eq!(located.method(endpoint.method()).unwrap(), endpoint);
            let filled = endpoint.path().replace(['{', '}'], "");
            let filled = schema.locate(&Target::parse(&filled).unwrap()).unwrap();
            // A name such as `node` can stand where another path has a name of its own.
            assert_eq!(filled.path().split('/').count(), endpoint.path().split('/').count());
        }
    }
}

#[test]
fn an_endpoint_tells_what_a_caller_needs() {
    let Some(published) = published() else { return };
    let told = |schema: &Schema, method: &str, path: &str| {
        let located = schema.locate(&Target::parse(path).unwrap()).unwrap();
        let one = located.method(method).unwrap();
        let mut out = format!(
            "{}\nabout {} characters\nreturns {}\nneeds {}\nprotected {} open {}\n",
            format!("{one:?} {}", one.name()).trim_end(),
            one.about().chars().count(),
            one.returns(),
            one.permissions(),
            one.is_protected(),
            one.is_open()
        );
        for param in one.params() {
            let choices = param.choices().count();
            let keys: Vec<_> = param.keys().map(Param::name).take(4).collect();
            writeln!(
                out,
                "  {param:?} optional {} default {:?} range {:?} length {:?} format {:?} pattern {:?} choices {choices} keys {keys:?} item {:?}",
                param.is_optional(),
                param.default(),
                param.range(),
                param.length(),
                param.format(),
                param.pattern(),
                param.item(),
            )
            .unwrap();
        }
        out
    };
    expect![[r#"
        PUT /nodes/{node}/qemu/{vmid}/resize resize_vm
        about 19 characters
        returns string
        needs VM.Config.Disk on /vms/{vmid}
        protected true open false
          digest: string optional true default "" range ("", "") length ("", "40") format "" pattern "" choices 0 keys [] item None
          disk: string optional false default "" range ("", "") length ("", "") format "" pattern "" choices 59 keys [] item None
          node: string optional false default "" range ("", "") length ("", "") format "pve-node" pattern "" choices 0 keys [] item None
          size: string optional false default "" range ("", "") length ("", "") format "" pattern "\\+?\\d+(\\.\\d+)?[KMGT]?" choices 0 keys [] item None
          skiplock: boolean optional true default "" range ("", "") length ("", "") format "" pattern "" choices 0 keys [] item None
          vmid: integer optional false default "" range ("100", "999999999") length ("", "") format "pve-vmid" pattern "" choices 0 keys [] item None
    "#]].assert_eq(&told(&published.pve, "PUT", "/nodes/pve1/qemu/100/resize"));
    expect![[r#"
        PUT /config/traffic-control/{name}
        about 37 characters
        returns null
        needs Sys.Modify on /
        protected false open false
          burst-in: string optional true default "" range ("", "") length ("1", "64") format "" pattern "" choices 0 keys [] item None
          burst-out: string optional true default "" range ("", "") length ("1", "64") format "" pattern "" choices 0 keys [] item None
          comment: string optional true default "" range ("", "") length ("", "128") format "" pattern "/^[[:^cntrl:]]*$/" choices 0 keys [] item None
          delete: array optional true default "" range ("", "") length ("", "") format "" pattern "" choices 0 keys [] item Some(: string)
          digest: string optional true default "" range ("", "") length ("", "") format "" pattern "/^[a-f0-9]{64}$/" choices 0 keys [] item None
          name: string optional false default "" range ("", "") length ("3", "32") format "" pattern "/^(?:[A-Za-z0-9_][A-Za-z0-9._\\-]*)$/" choices 0 keys [] item None
          network: array optional true default "" range ("", "") length ("", "") format "" pattern "" choices 0 keys [] item Some(: string)
          rate-in: string optional true default "" range ("", "") length ("1", "64") format "" pattern "" choices 0 keys [] item None
          rate-out: string optional true default "" range ("", "") length ("1", "64") format "" pattern "" choices 0 keys [] item None
          timeframe: array optional true default "" range ("", "") length ("", "") format "" pattern "" choices 0 keys [] item Some(: string)
          users: array optional true default "" range ("", "") length ("", "") format "" pattern "" choices 0 keys [] item Some(: string)
    "#]].assert_eq(&told(&published.pbs, "PUT", "/config/traffic-control/office"));
}

#[test]
fn what_is_around_and_inside_the_schema_does_no_harm() {
    let text = r#"// generated
var later = [1];
const apiSchema = [{"path": "/a", "leaf": "?", "novel": {"x": []}, "info": {
    "GET": {"description": 7, "parameters": {"properties": {"n": {"type": ["odd"], "minimum": {}}}, "novel": 1}, "returns": [], "permissions": "?"},
    "PATCH": {"description": "no such method"},
    "POST": "nonsense"
}, "children": [{"path": "/a/{x}", "info": {"DELETE": {}}}, {"text": "no path"}]}]
;
let cfg = [apiSchema]; Ext.onReady(function() { /* ] */ });"#;
    let schema = Schema::parse(text).unwrap();
    let found: Vec<_> = schema.endpoints().map(|one| format!("{one:?}")).collect();
    assert_eq!(found, ["GET /a", "DELETE /a/{x}"]);
    let located = schema.locate(&Target::parse("/a").unwrap()).unwrap();
    let param = located.endpoints[0].param("n").unwrap();
    assert_eq!((param.kind(), param.range()), (Kind::Any, ("", "")));

    assert!(matches!(Schema::parse(""), Err(SchemaError::NoSchema)));
    assert!(matches!(Schema::parse("<html>not here</html>"), Err(SchemaError::NoSchema)));
    assert!(matches!(Schema::parse("const apiSchema = [{"), Err(SchemaError::Json(_))));
    assert!(matches!(Schema::parse("const apiSchema = [];"), Err(SchemaError::Empty)));
    assert!(matches!(Schema::parse("[1]"), Err(SchemaError::Json(_))));
}

#[test]
fn lines_of_our_own_are_a_schema_that_is_not_complete() {
    let lines =
        "PUT /nodes/{node}/qemu/{vmid}/resize | grow a disk | disk size skiplock:boolean?\n";
    let schema = Schema::parse_lines(lines).unwrap();
    assert!(!schema.is_complete());
    let one = schema.endpoints().next().unwrap();
    let params: Vec<_> = one.params().map(|p| (p.name(), p.kind(), p.is_optional())).collect();
    assert_eq!(
        params,
        [
            ("node", Kind::String, false),
            ("vmid", Kind::String, false),
            ("disk", Kind::String, false),
            ("size", Kind::String, false),
            ("skiplock", Kind::Boolean, true)
        ]
    );
    assert!(matches!(Schema::parse_lines("GET /a | b\nPATCH /a | b"), Err(SchemaError::Line(2))));
}

/// Pieces that schemas are made of.
const PIECES: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"path\"",
    "\"/a/{b}\"",
    "\"info\"",
    "\"GET\"",
    "\"children\"",
    "\"parameters\"",
    "\"properties\"",
    "\"format\"",
    "\"type\"",
    "\"array\"",
    "\"items\"",
    "\"enum\"",
    "null",
    "1",
    "-1e999",
    "\"check\"",
    "\"permissions\"",
    "[\"perm\",\"/\",[\"A\"],\"any\",1]",
    "\"returns\"",
    "apiSchema",
    "=",
    "\"\\ud800\"",
    "true",
    "\"description\"",
    "\"x\"",
];

proptest! {
    #[test]
    fn no_text_breaks_the_parser(pieces in proptest::collection::vec(0..PIECES.len(), 0..60), start in any::<bool>()) {
        let mut text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        if start {
            text.insert_str(0, "[{\"path\":\"/a/{b}\",\"info\":{\"GET\":{\"parameters\":{\"properties\":{\"b\":");
        }
        let _ = Schema::parse(&text);
        let _ = Schema::parse_lines(&text);
    }
}
