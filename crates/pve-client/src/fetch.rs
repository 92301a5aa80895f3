//! What a node can fetch from the web: the container templates that Proxmox publishes, and what a
//! server says of a file before it is downloaded.
//!
//! The download of any other file is [`storage::download_url`](crate::storage::download_url).

use api_core::{Request, path, reply};
use estate::{NodeName, StorageName, Upid};

reply! {
    /// A container template that can be fetched. The list is as old as the node's last
    /// `pveam update`, which it does by itself every day.
    pub struct Appliance {
        /// The file's name, such as `debian-13-standard_13.1-2_amd64.tar.zst`.
        pub template: String,
        /// Such as `debian-13-standard`.
        pub package: String,
        pub version: Option<String>,
        /// `system`, `mail`, `turnkeylinux`, …
        pub section: Option<String>,
        /// Such as `debian-13`.
        pub os: Option<String>,
        pub headline: Option<String>,
        pub description: Option<String>,
        pub architecture: Option<String>,
        pub location: Option<String>,
        pub sha512: Option<String> = "sha512sum",
        /// `lxc`.
        pub kind: Option<String> = "type",
        pub source: Option<String>,
        pub maintainer: Option<String>,
        pub info_page: Option<String> = "infopage",
    }
}

reply! {
    /// What a server says of a file.
    pub struct UrlMetadata {
        pub filename: Option<String>,
        pub size_bytes: Option<u64> = "size",
        pub mime_type: Option<String> = "mimetype",
    }
}

/// `GET /nodes/{node}/aplinfo`: the container templates that can be fetched. Any login.
pub fn appliances(node: &NodeName) -> Request<Vec<Appliance>> {
    Request::get(path!["nodes", node, "aplinfo"]).on(node)
}

/// `POST /nodes/{node}/aplinfo`: fetches one of [`appliances`]. Needs `Datastore.AllocateTemplate`
/// on the storage.
pub fn download_appliance(node: &NodeName, storage: &StorageName, template: &str) -> Request<Upid> {
    Request::post(path!["nodes", node, "aplinfo"])
        .param("storage", storage)
        .param("template", template)
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/query-url-metadata`: the node asks the server behind the URL. Needs
/// `Sys.Audit` and `Sys.Modify` on `/`, or `Sys.AccessNetwork` on the node.
pub fn url_metadata(node: &NodeName, url: &str) -> Request<UrlMetadata> {
    Request::get(path!["nodes", node, "query-url-metadata"]).param("url", url).on(node)
}
