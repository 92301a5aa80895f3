//! High availability: what is managed, what state it is in, rules and groups.

use std::collections::BTreeMap;

use api_core::{
    Request,
    de::{CommaList, Done},
    params, path, reply, words,
};
use estate::NodeName;
use jiff::Timestamp;

words! {
    /// What a row of the HA status is about.
    pub enum HaRowKind {
        /// The cluster's quorum.
        Quorum = "quorum",
        /// The node that decides.
        Master = "master",
        /// A node's local manager.
        Lrm = "lrm",
        /// A managed guest.
        Service = "service",
        /// Whether a node that is lost would be fenced (since 9.1).
        Fencing = "fencing",
    }
}

words! {
    /// The state that a managed guest is wished to be in.
    pub enum HaWish {
        /// Running.
        Started = "started",
        /// Not running, and still moved when its node is lost.
        Stopped = "stopped",
        /// Not running, and left where it is.
        Disabled = "disabled",
        /// As if it were not managed.
        Ignored = "ignored",
        /// Another word for `started`.
        Enabled = "enabled",
    }
}

reply! {
    /// A row of the HA status.
    pub struct HaStatus {
        pub kind: HaRowKind = "type",
        pub id: String,
        pub node: Option<NodeName>,
        /// For people, such as `pve1 (active, …)`; of a guest: its state.
        pub status: String,
        pub quorate: Option<bool>,
        pub timestamp: Option<Timestamp>,
        /// Of a guest: `vm:100` or `ct:100`.
        pub sid: Option<String>,
        /// Of a guest: what the manager works at (`started`, `error`, `recovery`, …).
        pub state: Option<String>,
        pub crm_state: Option<String>,
        pub request_state: Option<HaWish>,
        pub group: Option<String>,
        pub comment: Option<String>,
        pub failback: Option<bool>,
        pub max_relocate: Option<u32>,
        pub max_restart: Option<u32>,
        pub uid: Option<String>,
        /// Whether a watchdog would fence (since 9.1).
        pub armed_state: Option<String> = "armed-state",
        pub resource_mode: Option<String>,
        pub auto_rebalance: Option<bool> = "auto-rebalance",
    }
}

reply! {
    /// The HA manager's own view.
    pub struct HaManagerStatus {
        pub manager: HaManager = "manager_status",
        pub quorum: Option<HaQuorum>,
        pub lrm: BTreeMap<String, HaLrm> = "lrm_status",
    }
}

reply! {
    /// What the manager has written down.
    pub struct HaManager {
        pub master: Option<NodeName> = "master_node",
        pub timestamp: Option<Timestamp>,
        /// `online`, `maintenance`, `unknown`, `fence` or `gone`, by node.
        pub nodes: BTreeMap<String, String> = "node_status",
        pub services: BTreeMap<String, HaService> = "service_status",
    }
}

reply! {
    /// A managed guest as the manager sees it.
    pub struct HaService {
        pub node: Option<NodeName>,
        pub target: Option<NodeName>,
        pub state: String,
        pub running: Option<bool>,
        pub uid: Option<String>,
        pub failed_nodes: Vec<String>,
    }
}

reply! {
    /// Whether the cluster may decide.
    pub struct HaQuorum {
        pub node: Option<NodeName>,
        pub quorate: bool,
    }
}

reply! {
    /// A node's local manager.
    pub struct HaLrm {
        pub mode: Option<String>,
        pub state: Option<String>,
        pub timestamp: Option<Timestamp>,
        pub results: serde_json::Value,
    }
}

reply! {
    /// A managed guest as it is configured.
    pub struct HaResource {
        pub sid: String,
        pub kind: Option<String> = "type",
        /// The wished state; `started` without.
        pub state: Option<HaWish>,
        /// Until 8.4; rules since 9.
        pub group: Option<String>,
        pub comment: Option<String>,
        pub max_relocate: Option<u32>,
        pub max_restart: Option<u32>,
        /// Since 9.
        pub failback: Option<bool>,
        pub auto_rebalance: Option<bool> = "auto-rebalance",
        pub digest: Option<String>,
    }
}

reply! {
    /// A group of nodes for managed guests (until 8.4).
    pub struct HaGroup {
        pub group: String,
        pub kind: Option<String> = "type",
        /// `node` or `node:priority`.
        pub nodes: Vec<String>,
        pub restricted: bool,
        pub no_failback: bool = "nofailback",
        pub comment: Option<String>,
        pub digest: Option<String>,
    }
}

reply! {
    /// A rule for managed guests (since 9).
    pub struct HaRule {
        pub rule: String,
        /// `node-affinity` or `resource-affinity`.
        pub kind: String = "type",
        /// `vm:100`, …
        pub resources: Vec<String>,
        pub nodes: Vec<String>,
        pub strict: Option<bool>,
        /// Of resources: `positive` or `negative`.
        pub affinity: Option<String>,
        pub disabled: bool = "disable",
        pub comment: Option<String>,
        /// Its place among the rules.
        pub order: Option<u32>,
        /// What is wrong with it.
        pub errors: serde_json::Value,
        pub digest: Option<String>,
    }
}

reply! {
    /// What a wished move of a managed guest brings with it.
    pub struct HaMove {
        pub sid: Option<String>,
        pub node: Option<NodeName> = "requested-node",
        pub comigrated: Vec<String> = "comigrated-resources",
        pub blocking: serde_json::Value = "blocking-resources",
    }
}

params! {
    /// How a guest is to be managed.
    pub struct HaResourceParams {
        pub state: Option<HaWish>,
        pub group: Option<String>,
        pub comment: Option<String>,
        pub max_relocate: Option<u32>,
        pub max_restart: Option<u32>,
        /// Since 9.
        pub failback: Option<bool>,
        pub delete: CommaList,
        pub digest: Option<String>,
    }
}

params! {
    /// A rule to make or to change (since 9).
    pub struct HaRuleParams {
        /// `vm:100`, …; a new rule wants some.
        pub resources: CommaList,
        /// `node` or `node:priority`.
        pub nodes: CommaList,
        pub strict: Option<bool>,
        /// Of resources: `positive` or `negative`.
        pub affinity: Option<String>,
        pub disabled: Option<bool> = "disable",
        pub comment: Option<String>,
    }
}

/// `GET /cluster/ha/status/current`. Needs `Sys.Audit` on `/`.
pub fn current() -> Request<Vec<HaStatus>> {
    Request::get(path!["cluster", "ha", "status", "current"])
}

/// `GET /cluster/ha/status/manager_status`. Needs `Sys.Audit` on `/`.
pub fn manager_status() -> Request<HaManagerStatus> {
    Request::get(path!["cluster", "ha", "status", "manager_status"])
}

/// `GET /cluster/ha/resources`. Needs `Sys.Audit` on `/`.
pub fn resources() -> Request<Vec<HaResource>> {
    Request::get(path!["cluster", "ha", "resources"])
}

/// `GET /cluster/ha/resources/{sid}`. Needs `Sys.Audit` on `/`.
pub fn resource(sid: &str) -> Request<HaResource> {
    Request::get(path!["cluster", "ha", "resources", sid])
}

/// `POST /cluster/ha/resources`. Needs `Sys.Console` on `/`.
pub fn add_resource(sid: &str, options: HaResourceParams) -> Request<Done> {
    let options = HaResourceParams { delete: CommaList::default(), digest: None, ..options };
    Request::post(path!["cluster", "ha", "resources"])
        .param("sid", sid)
        .params(options.into())
        .protected()
}

/// `PUT /cluster/ha/resources/{sid}`. Needs `Sys.Console` on `/`.
pub fn update_resource(sid: &str, options: HaResourceParams) -> Request<Done> {
    Request::put(path!["cluster", "ha", "resources", sid]).params(options.into()).protected()
}

/// `DELETE /cluster/ha/resources/{sid}`: no longer managed. Needs `Sys.Console` on `/`.
pub fn remove_resource(sid: &str) -> Request<Done> {
    Request::delete(path!["cluster", "ha", "resources", sid]).protected()
}

/// `POST /cluster/ha/resources/{sid}/migrate`: asks the manager to move the guest, live if it can.
/// Needs `Sys.Console` on `/`.
pub fn migrate(sid: &str, target: &NodeName) -> Request<Option<HaMove>> {
    Request::post(path!["cluster", "ha", "resources", sid, "migrate"])
        .param("node", target)
        .protected()
}

/// `POST /cluster/ha/resources/{sid}/relocate`: asks the manager to stop the guest and start it
/// there. Needs `Sys.Console` on `/`.
pub fn relocate(sid: &str, target: &NodeName) -> Request<Option<HaMove>> {
    Request::post(path!["cluster", "ha", "resources", sid, "relocate"])
        .param("node", target)
        .protected()
}

/// `GET /cluster/ha/groups`: until 8.4; a 9 answers 500 `ha groups have been migrated to rules`.
/// Needs `Sys.Audit` on `/`.
pub fn groups() -> Request<Vec<HaGroup>> {
    Request::get(path!["cluster", "ha", "groups"])
}

/// `GET /cluster/ha/rules`: since 9. Needs `Sys.Audit` on `/`.
pub fn rules() -> Request<Vec<HaRule>> {
    Request::get(path!["cluster", "ha", "rules"])
}

/// `GET /cluster/ha/rules/{rule}`: since 9. Needs `Sys.Audit` on `/`.
pub fn rule(rule: &str) -> Request<HaRule> {
    Request::get(path!["cluster", "ha", "rules", rule])
}

/// `POST /cluster/ha/rules`: since 9; `kind` is `node-affinity` or `resource-affinity`. Needs
/// `Sys.Console` on `/`.
pub fn create_rule(rule: &str, kind: &str, options: HaRuleParams) -> Request<Done> {
    Request::post(path!["cluster", "ha", "rules"])
        .param("rule", rule)
        .param("type", kind)
        .params(options.into())
        .protected()
}

/// `PUT /cluster/ha/rules/{rule}`: since 9; what is left out stays. `digest` refuses a change of
/// what somebody else changed meanwhile. Needs `Sys.Console` on `/`.
pub fn update_rule(
    rule: &str,
    kind: &str,
    options: HaRuleParams,
    digest: Option<&str>,
) -> Request<Done> {
    Request::put(path!["cluster", "ha", "rules", rule])
        .param("type", kind)
        .params(options.into())
        .opt("digest", digest)
        .protected()
}

/// `DELETE /cluster/ha/rules/{rule}`: since 9. Needs `Sys.Console` on `/`.
pub fn delete_rule(rule: &str) -> Request<Done> {
    Request::delete(path!["cluster", "ha", "rules", rule]).protected()
}
