//! Other backup servers to copy from and to.

use api_core::{Request, de::Done, params, path, reply};
use estate::DatastoreName;
use secrecy::SecretString;

use crate::{datastores::Datastore, groups::Group, namespaces::Namespace};

reply! {
    /// Another backup server.
    pub struct Remote {
        pub name: String,
        pub host: String,
        pub port: Option<u16>,
        /// The user or token there.
        pub auth_id: String = "auth-id",
        pub fingerprint: Option<String>,
        pub comment: Option<String>,
        pub use_node_proxy: Option<bool> = "use-node-proxy",
    }
}

params! {
    /// A remote to make or to change.
    pub struct RemoteParams {
        pub host: Option<String>,
        pub port: Option<u16>,
        pub auth_id: Option<String> = "auth-id",
        pub password: Option<SecretString>,
        pub fingerprint: Option<String>,
        pub comment: Option<String>,
    }
}

/// `GET /config/remote`. Any login; shows remotes on which it has `Remote.Audit`.
pub fn list() -> Request<Vec<Remote>> {
    Request::get(path!["config", "remote"])
}

/// `GET /config/remote/{name}`. Needs `Remote.Audit` on the remote.
pub fn get(name: &str) -> Request<Remote> {
    Request::get(path!["config", "remote", name])
}

/// `GET /config/remote/{name}/scan`: its datastores, asked now. Needs `Remote.Audit` on the remote.
pub fn scan(name: &str) -> Request<Vec<Datastore>> {
    Request::get(path!["config", "remote", name, "scan"])
}

/// `GET /config/remote/{name}/scan/{store}/namespaces`. Needs `Remote.Audit` on the remote.
pub fn scan_namespaces(name: &str, store: &DatastoreName) -> Request<Vec<Namespace>> {
    Request::get(path!["config", "remote", name, "scan", store, "namespaces"])
}

/// `GET /config/remote/{name}/scan/{store}/groups`. Needs `Remote.Audit` on the remote.
pub fn scan_groups(
    name: &str,
    store: &DatastoreName,
    namespace: Option<&str>,
) -> Request<Vec<Group>> {
    Request::get(path!["config", "remote", name, "scan", store, "groups"])
        .opt("namespace", namespace)
}

/// `POST /config/remote`. Needs `Remote.Modify` on `/remote`.
pub fn create(name: &str, options: RemoteParams) -> Request<Done> {
    Request::post(path!["config", "remote"]).param("name", name).params(options.into())
}

/// `PUT /config/remote/{name}`. Needs `Remote.Modify` on the remote.
pub fn update(name: &str, options: RemoteParams) -> Request<Done> {
    Request::put(path!["config", "remote", name]).params(options.into())
}

/// `DELETE /config/remote/{name}`. Needs `Remote.Modify` on the remote.
pub fn delete(name: &str) -> Request<Done> {
    Request::delete(path!["config", "remote", name])
}
