//! A name that a storage and a datastore share.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::expect;

use super::*;
use crate::{
    fleet::{Fleet, Traits},
    testing::{self, Scripted},
};

#[test]
fn a_storage_and_a_datastore_of_one_name_are_asked_back() {
    let view = View::of(&testing::key("home"), testing::rows());
    let clusters = testing::gathered(vec![("home", (view, None))]);
    let client = pbs_client::Client::new(Arc::new(Scripted::default()));
    let fleet = Fleet::new(stdx::SystemClock::shared());
    let fleet = fleet.with_pbs(testing::key("vault"), &client, Traits::default());
    let store = json!({"store": "nas", "total": 100, "used": 10, "avail": 90});
    let store: DatastoreUsage = serde_json::from_value(store).expect("a datastore");
    let servers = Gathered {
        answers: vec![(fleet.pbs(None).expect("one").remove(0), (vec![store], None))],
        unreachable: Vec::new(),
        refused: Vec::new(),
    };
    let error = pick(&clusters, &servers, "nas").err().expect("it fits twice");
    expect![[r#"
        storage `nas` is in 2 places
        storage type
        home/nas nfs
        vault/nas datastore
        note: name one as cluster/storage, or give cluster"#]]
    .assert_eq(&error.into_report().render(4096).text);
    assert!(matches!(pick(&clusters, &servers, "local"), Ok(Place::Storage(..))));
}
