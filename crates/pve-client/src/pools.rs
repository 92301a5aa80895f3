//! Pools of guests and storages.

use api_core::{
    Request,
    de::{CommaList, Done},
    params, path, reply,
};

use crate::cluster::Resource;

reply! {
    /// A pool.
    pub struct Pool {
        pub id: String = "poolid",
        pub comment: Option<String>,
        /// Guests and storages; only where one pool was asked for.
        pub members: Vec<Resource>,
    }
}

params! {
    /// A change of a pool.
    pub struct PoolParams {
        pub comment: Option<String>,
        pub guests: CommaList = "vms",
        pub storages: CommaList = "storage",
        /// Take them out instead of in.
        pub delete: Option<bool>,
        /// Take guests out of the pool in which they are.
        pub allow_move: Option<bool> = "allow-move",
    }
}

/// `GET /pools`. Any login; shows pools on which it has `Pool.Audit` or `Pool.Allocate`.
pub fn list() -> Request<Vec<Pool>> {
    Request::get(path!["pools"])
}

/// `GET /pools/{poolid}`: does not know pools in pools; see [`get_nested`]. Needs `Pool.Audit` on
/// the pool.
pub fn get(id: &str) -> Request<Pool> {
    Request::get(path!["pools", id])
}

/// `GET /pools?poolid=…`: one pool with its members, in a list of one (since 8.1). Needs
/// `Pool.Audit` on the pool.
pub fn get_nested(id: &str) -> Request<Vec<Pool>> {
    Request::get(path!["pools"]).param("poolid", id)
}

/// `POST /pools`. Needs `Pool.Allocate` on the pool.
pub fn create(id: &str, comment: Option<&str>) -> Request<Done> {
    Request::post(path!["pools"]).param("poolid", id).opt("comment", comment).protected()
}

/// `PUT /pools` (since 8.1). Needs `Pool.Allocate` on the pool, and on the guests `VM.Allocate` or
/// on the storages `Datastore.Allocate`.
pub fn update(id: &str, options: PoolParams) -> Request<Done> {
    Request::put(path!["pools"]).param("poolid", id).params(options.into()).protected()
}

/// `DELETE /pools` (since 8.1): only an empty one. Needs `Pool.Allocate` on the pool.
pub fn delete(id: &str) -> Request<Done> {
    Request::delete(path!["pools"]).param("poolid", id).protected()
}
