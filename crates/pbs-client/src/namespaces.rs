//! Namespaces of a datastore. The root is the empty text.

use api_core::{Request, de::Done, path, reply};
use estate::DatastoreName;

reply! {
    /// A namespace.
    pub struct Namespace {
        /// Levels separated by slashes; empty for the root.
        pub name: String = "ns",
        pub comment: Option<String>,
    }
}

fn at(store: &DatastoreName) -> api_core::Path {
    path!["admin", "datastore", store, "namespace"]
}

/// `GET /admin/datastore/{store}/namespace`: `parent` and what is below it. Any login; shows
/// namespaces on which it has `Datastore.Audit`, `.Read`, `.Backup` or `.Modify`.
pub fn list(
    store: &DatastoreName,
    parent: Option<&str>,
    max_depth: Option<u32>,
) -> Request<Vec<Namespace>> {
    Request::get(at(store)).opt("parent", parent).opt("max-depth", max_depth)
}

/// `POST /admin/datastore/{store}/namespace`: `name` is one level. Needs `Datastore.Modify` on the
/// parent.
pub fn create(store: &DatastoreName, parent: Option<&str>, name: &str) -> Request<Done> {
    Request::post(at(store)).param("name", name).opt("parent", parent)
}

/// `DELETE /admin/datastore/{store}/namespace`: `delete_groups` with all backups in it. Needs
/// `Datastore.Modify` on the parent.
pub fn delete(store: &DatastoreName, namespace: &str, delete_groups: bool) -> Request<Done> {
    Request::delete(at(store))
        .param("ns", namespace)
        .flag("delete-groups", delete_groups.then_some(true))
}
