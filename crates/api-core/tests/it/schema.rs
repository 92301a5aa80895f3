//! The schemas that the products publish: read, searched, and calls checked against them.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod cache;
mod check;
mod generated;
mod parse;
mod search;

use std::sync::OnceLock;

use api_core::schema::Schema;

/// Both products' schemas as they are published: Proxmox VE's and Proxmox Backup Server's.
struct Published {
    pve: Schema,
    pbs: Schema,
}

/// Both, if the fixtures are there.
fn published() -> Option<&'static Published> {
    static PUBLISHED: OnceLock<Option<Published>> = OnceLock::new();
    PUBLISHED
        .get_or_init(|| {
            let read = |path| Some(Schema::parse(&testkit::fixtures::text(path)?).unwrap());
            Some(Published { pve: read("api/pve-9.2.json")?, pbs: read("api/pbs-4.2.json")? })
        })
        .as_ref()
}
