//! What the servers send in different forms, read.

use std::collections::BTreeMap;

use estate::{NodeName, VmId};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{CommaList, Extra};
use crate::{Params, params, reply, words};

words! {
    /// A state.
    enum State {
        /// On.
        On = "on",
        /// Off.
        Off = "off",
    }
}

reply! {
    /// A bit of everything.
    struct Thing {
        pub vmid: VmId,
        pub memory: u64,
        pub balloon: Option<i64>,
        pub load: f64,
        pub on: bool,
        pub off: Option<bool>,
        pub name: String,
        pub lock: Option<String>,
        pub tags: Vec<String>,
        pub ids: Vec<VmId>,
        pub state: State,
        pub states: Vec<State>,
        pub started: Option<Timestamp> = "start-time" | "starttime",
        pub inner: Option<Inner>,
        pub inners: Vec<Inner>,
        pub by_name: BTreeMap<String, bool> = "by-name",
        pub token: Option<SecretString>,
        ..rest
    }
}

reply! {
    /// Inside.
    struct Inner {
        pub node: NodeName,
        pub history: Vec<Option<f64>>,
    }
}

fn thing(json: &str) -> Thing {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn one_value_in_its_many_forms() {
    let strict = thing(
        r#"{"vmid": 100, "memory": 64, "balloon": -1, "load": 0.5, "on": true, "off": false, "name": "x",
            "tags": ["a", "b"], "ids": [100, 101], "start-time": 1795372643, "token": "s3cret"}"#,
    );
    let wavering = thing(
        r#"{"vmid": "100", "memory": "64", "balloon": "-1", "load": "0.5", "on": "1", "off": 0, "name": "x",
            "tags": "a;b", "ids": "100,101", "starttime": "1795372643", "token": "s3cret"}"#,
    );
    for thing in [strict, wavering] {
        assert_eq!((thing.vmid.get(), thing.memory, thing.balloon), (100, 64, Some(-1)));
        assert!((thing.load - 0.5).abs() < f64::EPSILON);
        assert_eq!((thing.on, thing.off, thing.name.as_str()), (true, Some(false), "x"));
        assert_eq!((thing.tags.join("+"), thing.ids.len()), ("a+b".to_owned(), 2));
        assert_eq!(thing.started.map(Timestamp::as_second), Some(1_795_372_643));
        assert_eq!(thing.token.as_ref().map(ExposeSecret::expose_secret), Some("s3cret"));
        assert!(!format!("{thing:?}").contains("s3cret"));
    }
}

#[test]
fn nothing_in_its_many_forms() {
    for json in [
        r#"{"vmid": 100}"#,
        r#"{"vmid": 100, "memory": null, "balloon": null, "load": null, "on": null, "off": null, "lock": null,
            "tags": null, "inner": null, "inners": null, "by-name": null, "start-time": null, "state": null}"#,
        r#"{"vmid": 100, "memory": "", "balloon": "", "load": "", "on": "", "off": "", "lock": "",
            "tags": "", "inner": "", "inners": "", "by-name": "", "start-time": 0, "state": ""}"#,
        r#"{"vmid": 100, "balloon": "N/A", "off": "N/A", "start-time": "never", "inner": [], "inners": {}, "by-name": []}"#,
    ] {
        let thing = thing(json);
        assert_eq!((thing.memory, thing.balloon, thing.on, thing.off), (0, None, false, None));
        assert_eq!((thing.lock, thing.tags.len(), thing.started), (None, 0, None));
        assert!(thing.inner.is_none() && thing.inners.is_empty() && thing.by_name.is_empty());
        assert_eq!(thing.state.as_str(), "");
    }
}

#[test]
fn what_is_unknown_is_kept_or_ignored() {
    let thing = thing(
        r#"{"vmid": 100, "net0": "virtio", "state": "asleep", "states": ["on", "asleep"],
            "inner": {"node": "pve1", "new": {"a": [1]}, "history": [null, 1]}}"#,
    );
    assert_eq!(thing.rest["net0"], "virtio");
    assert_eq!(thing.state, State::Other("asleep".to_owned()));
    assert_eq!(thing.states, [State::On, State::Other("asleep".to_owned())]);
    let inner = thing.inner.expect("it is there");
    assert_eq!((inner.node.as_str(), inner.history), ("pve1", vec![None, Some(1.0)]));
    assert!(Thing::FIELDS.contains(&"by-name") && Inner::FIELDS == ["node", "history"]);
}

#[test]
fn an_error_names_the_field() {
    let error = |json| serde_json::from_str::<Thing>(json).expect_err("it is wrong").to_string();
    assert!(error("{}").contains("missing field `vmid`"));
    assert!(error(r#"{"vmid": "x"}"#).contains("vmid: the value is not a guest id"));
    assert!(error(r#"{"vmid": 100, "memory": [1]}"#).contains("memory: "));
    assert!(error("null").contains("nothing where the object Thing was expected"));
}

params! {
    /// Options.
    struct ThingParams {
        pub full: Option<bool>,
        pub target: Option<NodeName> = "target-node",
        pub delete: CommaList,
        pub network: Vec<String>,
        pub password: Option<SecretString>,
        pub state: Option<State>,
        pub extra: Extra = "",
    }
}

#[test]
fn options_become_parameters() {
    assert!(Params::from(ThingParams::default()).is_empty());
    let options = ThingParams {
        full: Some(false),
        target: NodeName::try_new("pve1").ok(),
        delete: ["a", "b"].into_iter().collect(),
        network: vec!["x".to_owned(), "y".to_owned()],
        password: Some("s3cret".into()),
        state: Some(State::On),
        extra: [("net0", "virtio")].into_iter().collect(),
    };
    assert!(!format!("{options:?}").contains("s3cret"));
    assert_eq!(
        Params::from(options).encode(),
        "full=0&target-node=pve1&delete=a%2Cb&network=x&network=y&password=s3cret&state=on&net0=virtio"
    );
    assert_eq!(ThingParams::NAMES[1], "target-node");
}
