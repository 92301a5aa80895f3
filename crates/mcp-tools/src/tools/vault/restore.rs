//! `backup_restore`: makes a guest from a backup, under a new id unless it is told to replace one.

use std::sync::Arc;

use api_core::Request;
use async_trait::async_trait;
use estate::{Access, GuestKind, NodeName, StorageName, Upid, VmId};
use mcp_protocol::JsonObject;
use pve_client::{cluster, lxc, qemu};
use serde::Deserialize;
use serde_json::json;

use super::{
    archive::{Archived, check_space},
    find::{self, Copy, Whose},
    spot::object,
};
use crate::{
    address::quoted,
    error::{Kind, ToolError},
    fleet::Pve,
    follow::state::State,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Report, bytes},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition},
    tools::{
        compute::parts::Parts,
        safety::{Ground, Kept, Wish},
        tally::counted,
    },
};

/// The tool.
pub struct BackupRestore;

#[derive(Deserialize)]
struct Args {
    guest: String,
    from: Option<String>,
    time: Option<String>,
    vmid: Option<u32>,
    #[serde(default)]
    over: bool,
    node: Option<String>,
    storage: Option<String>,
    unique: Option<bool>,
    pool: Option<String>,
    #[serde(default)]
    start: bool,
    safety: Option<String>,
}

/// A restore that is to be.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) member: Arc<Pve>,
    pub(super) node: NodeName,
    pub(super) vmid: VmId,
    pub(super) kind: GuestKind,
    pub(super) volume: String,
    pub(super) storage: Option<StorageName>,
    pub(super) unique: bool,
    pub(super) pool: Option<String>,
    pub(super) over: bool,
    /// Settings that differ from the backup's.
    pub(super) settings: Vec<(String, String)>,
}

#[async_trait]
impl ActionTool for BackupRestore {
    fn definition(&self) -> Definition {
        Definition {
            name: "backup_restore",
            title: "Restore a backup",
            description: "Restores a guest's backup to a new id; over replaces the guest itself, \
                which is kept in a backup before where that can be. A guest that is gone: \
                cluster/vmid.",
            input: Input::new()
                .guest()
                .text("from", "storage or volume id; default: the newest anywhere")
                .text("time", "RFC 3339, or latest")
                .integer("vmid", 100..=999_999_999, "default: next free")
                .boolean("over", "")
                .node()
                .text("storage", "for the disks; default: as they were")
                .boolean("unique", "new MAC addresses; default where the original exists")
                .text("pool", "")
                .boolean("start", "")
                .text("safety", "with over: auto (default), none, or the storage for the backup"),
            output: Output::new()
                .fact("guest", "string")
                .fact("volume", "string")
                .fact("kept", "string")
                .fact("state", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("cause", "string"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, args: &JsonObject) -> Access {
        match args.get("over") {
            None | Some(serde_json::Value::Bool(false)) => Access::Operate,
            Some(_) => Access::Destroy,
        }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let whose = find::whose(cx, &args.guest).await?;
        let search = whose.copies(cx, args.from.as_deref()).await?;
        let (copy, notes) = whose.pick(search, args.time.as_deref(), cx.now())?;
        let kind = kind_of(&whose, &copy)?;
        let vmid = target_id(&whose, &args).await?;
        let node = target_node(&whose, &copy, args.node.as_deref(), args.over)?;
        let storage = match args.storage.as_deref() {
            Some(name) => Some(name.parse().map_err(|error| {
                ToolError::new(format!("{} is no storage: {error}", quoted(name)))
            })?),
            None => None,
        };
        let unique = args.unique.unwrap_or(!args.over && whose.guest.is_some());
        let pool = pool_for(&whose, &args)?;
        let order = Order {
            member: Arc::clone(&whose.member),
            node,
            vmid,
            kind,
            volume: copy.volume.id.clone(),
            storage,
            unique,
            pool,
            over: args.over,
            settings: Vec::new(),
        };
        let at = order.address();
        let mut kept = None;
        let mut plan = if args.over {
            let wish = Wish::read(args.safety.as_deref());
            let (plan, first) = replaced(cx, &whose, &copy, &wish).await?;
            kept = first;
            plan
        } else {
            let name = whose.name();
            let undo = object(json!({"guest": at}));
            Plan::new(format!("restore of {name} to {at}"))
                .effect(format!("a new guest {at} on node {}", order.node))
                .undo(Undo::Call("guest_delete", undo))
                .target(at.as_str(), [("id", "free")])
        };
        plan.notes.extend(whose.notes.iter().cloned().chain(notes));
        plan = plan
            .fact("guest", at.as_str())
            .fact("volume", copy.volume.id.as_str())
            .effect(format!("from {} of {}", copy.label(), copy.when(cx.now())))
            .target(copy.volume.id.as_str(), [("size", copy.volume.size_bytes.to_string())]);
        plan = warn_of_copy(plan, &copy);
        plan = judge(plan, &whose, &copy, &order, args.start).await?;
        let name = whose.name();
        let what =
            if args.over { format!("restore {name}") } else { format!("restore {name} to {at}") };
        plan = plan.step(order.step(&what));
        if args.start {
            plan = plan.step(order.start(&format!("start {at}")));
        }
        let from = (copy.label(), copy.when(cx.now()), copy.volume.size_bytes);
        Ok(plan.settle(move |_, done| async move {
            let report = settle(order, from, done).await?;
            Ok(kept.iter().fold(report, |report, kept| kept.tell(report)))
        }))
    }
}

/// The pool that a new guest is put into.
fn pool_for(whose: &Whose, args: &Args) -> Result<Option<String>, ToolError> {
    let Some(pool) = args.pool.as_deref().map(str::trim).filter(|pool| !pool.is_empty()) else {
        return Ok(None);
    };
    if args.over {
        return Err(ToolError::new("over leaves the guest in its pool: leave pool out"));
    }
    let known = &whose.view.pools;
    if known.is_empty() || known.iter().any(|name| name == pool) {
        return Ok(Some(pool.to_owned()));
    }
    let key = &whose.member.key;
    Err(ToolError::not_found(format!("{key} has no pool {}", quoted(pool)))
        .hint(format!("its pools: {}", known.join(", "))))
}

/// Of what kind the guest in the backup is.
pub(super) fn kind_of(whose: &Whose, copy: &Copy) -> Result<GuestKind, ToolError> {
    let known = copy.kind().or_else(|| whose.guest.as_ref().map(|guest| guest.kind));
    known.ok_or_else(|| {
        ToolError::new(format!("{} does not say of what kind its guest is", copy.volume.id))
            .hint("restore it in the web interface, or give it its usual name")
    })
}

/// The id to restore to, which is free unless a guest is to be replaced.
async fn target_id(whose: &Whose, args: &Args) -> Result<VmId, ToolError> {
    if !args.over {
        return free_id(whose, args.vmid).await;
    }
    if args.vmid.is_some_and(|vmid| vmid != whose.at.vmid.get()) {
        return Err(ToolError::new("over replaces the guest itself: leave vmid out"));
    }
    if whose.guest.is_none() {
        return Err(ToolError::new(format!("there is no guest {} to restore over", whose.at))
            .hint("leave over out, and give vmid if it is to have its old id"));
    }
    Ok(whose.at.vmid)
}

/// The id that is wanted, or the lowest that is free.
pub(super) async fn free_id(whose: &Whose, wanted: Option<u32>) -> Result<VmId, ToolError> {
    let key = &whose.member.key;
    let wanted = match wanted {
        Some(number) => Some(VmId::try_new(number).map_err(|error| {
            ToolError::new(format!("{number} cannot be a guest's id: {error}"))
        })?),
        None => None,
    };
    let taken = |vmid: VmId| whose.view.guests.iter().any(|guest| guest.at.vmid == vmid);
    let refuse = |vmid: VmId| {
        ToolError::new(format!("the restore was not tried: {key}/{vmid} is taken"))
            .hint("leave vmid out for the next free one; over replaces the guest itself")
    };
    if let Some(vmid) = wanted.filter(|vmid| taken(*vmid)) {
        return Err(refuse(vmid));
    }
    match whose.member.client.call(cluster::next_id(wanted)).await {
        Ok(vmid) => Ok(vmid),
        // The server sees guests that the token does not.
        Err(error) if error.kind() == api_core::ErrorKind::Parameter => {
            Err(wanted.map_or_else(|| ToolError::api("find a free id", &error), refuse))
        }
        Err(error) => Err(ToolError::api(format!("find a free id in {key}"), &error)),
    }
}

/// The node that makes the guest.
pub(super) fn target_node(
    whose: &Whose,
    copy: &Copy,
    wanted: Option<&str>,
    over: bool,
) -> Result<NodeName, ToolError> {
    let own = whose.guest.as_ref().map(|guest| guest.node.clone());
    let key = &whose.member.key;
    if over
        && let (Some(own), Some(wanted)) = (&own, wanted)
        && own != wanted
    {
        return Err(ToolError::new(format!(
            "{} is on {own}, and is restored over there",
            whose.at
        )));
    }
    let node = match wanted {
        Some(name) => name
            .parse()
            .map_err(|error| ToolError::new(format!("{} is no node: {error}", quoted(name))))?,
        None if copy.is_local && !over => copy.node.clone(),
        None => own.unwrap_or_else(|| copy.node.clone()),
    };
    if copy.is_local && copy.node != node {
        let lead = format!(
            "the restore was not tried: {} lies on a storage that only {} has",
            copy.volume.id, copy.node
        );
        return Err(ToolError::new(lead).hint(format!(
            "choose a backup on a shared storage with from, or node={}",
            copy.node
        )));
    }
    let known = whose.view.nodes.iter().find(|one| one.name == node);
    match known {
        Some(one) if one.is_online() => Ok(node),
        Some(one) => Err(ToolError::new(format!("{key}/{node} is {}", one.status))
            .of_kind(Kind::Unavailable)
            .next("nodes_list", JsonObject::new())),
        None => Err(ToolError::not_found(format!("{key} has no node {}", quoted(node.as_str())))
            .next("nodes_list", JsonObject::new())),
    }
}

/// The plan of a restore over a guest, which must be off and free.
async fn replaced(
    cx: &Cx,
    whose: &Whose,
    copy: &Copy,
    wish: &Wish,
) -> Result<(Plan, Option<Kept>), ToolError> {
    let name = whose.name();
    let Some(guest) = &whose.guest else {
        return Err(ToolError::new(format!("there is no guest {} to restore over", whose.at)));
    };
    let refused = |why: &str| {
        let lead = format!("restore over {name} was not tried: {why}");
        ToolError::from_report(Report::new(lead).fact("status", "refused"))
    };
    let member = &whose.member;
    let state = State::read(&member.client, guest.kind, &guest.node, guest.at.vmid).await;
    let state =
        state.map_err(|error| ToolError::api(format!("read the state of {name}"), &error))?;
    let at = guest.at.to_string();
    if let Some(lock) = &state.lock {
        return Err(refused(&format!("it is locked ({lock})"))
            .hint("look at its running tasks, and try again when they are done"));
    }
    if !state.is_stopped() {
        return Err(refused(&format!("it is {}", state.status.as_str()))
            .next("guest_power", object(json!({"guest": at, "action": "shutdown"}))));
    }
    let (parts, snapshots, held) = futures::join!(
        Parts::read(member, guest),
        snapshots(member, guest),
        sight::of_pve_operator(member, cx.now()),
    );
    let parts = parts?;
    if parts.protection {
        return Err(refused("it is protected")
            .hint("take its protection away first (protection: 0), if that is meant"));
    }
    let mut plan = Plan::new(format!("restore over {name}"))
        .effect(format!("{name} as it is now is lost: configuration and all its disks"))
        .undo(Undo::Never("what the guest is now is gone then".to_owned()))
        .target(
            at,
            [
                ("node", guest.node.as_str()),
                ("status", state.status.as_str()),
                ("digest", parts.digest.as_str()),
            ],
        );
    if snapshots > 0 {
        plan = plan.effect(format!("its {} are lost as well", counted(snapshots, "snapshot")));
    }
    if state.ha_managed {
        plan = plan.warn("ha", "HA manages it and may start it as soon as it is there");
    }
    let made = copy.volume.created.map_or(0, jiff::Timestamp::as_second);
    let hours = (cx.now().as_second() - made) / 3600;
    plan = plan.warn(
        "older",
        format!("what changed in the guest in the last {hours} h is not in the backup"),
    );
    let ground = Ground { member, guest, parts: &parts, view: &whose.view, held: held.as_deref() };
    let (plan, kept) = ground.before_loss(plan, wish)?;
    Ok(match &kept {
        Some(first) => (plan.undo(ground.restore_over(first)), kept),
        None => (plan, None),
    })
}

/// How many snapshots a guest has, as far as that can be read.
async fn snapshots(member: &Pve, guest: &crate::view::Guest) -> usize {
    let (node, vmid, client) = (&guest.node, guest.at.vmid, &member.client);
    let all = match guest.kind {
        GuestKind::Qemu => client.call(qemu::snapshots(node, vmid)).await,
        GuestKind::Lxc => client.call(lxc::snapshots(node, vmid)).await,
    };
    all.map_or(0, |all| all.iter().filter(|one| !one.is_current()).count())
}

/// What to think of about the backup itself.
pub(super) fn warn_of_copy(plan: Plan, copy: &Copy) -> Plan {
    match copy.verified() {
        Some("failed") => plan.warn(
            "verification_failed",
            "the last verification of this backup failed: it cannot be restored in full",
        ),
        None if copy.place.is_some() => {
            plan.warn("never_verified", "this backup was never verified")
        }
        _ => plan,
    }
}

/// Looks into the backup: whether its disks have a place, and what it would share with the original.
async fn judge(
    mut plan: Plan,
    whose: &Whose,
    copy: &Copy,
    order: &Order,
    start: bool,
) -> Result<Plan, ToolError> {
    let archived = match Archived::read(&whose.member, copy, order.kind).await {
        Ok(archived) => archived,
        Err(error) => {
            let why = stdx::Chain(&error);
            return Ok(plan.note(format!(
                "the configuration in the backup cannot be read before ({why}), so space was not checked"
            )));
        }
    };
    let (member, view) = (&whose.member, &whose.view);
    let target = order.storage.as_ref();
    plan = check_space(plan, member, view, &order.node, &archived, target).await?;
    if order.over || whose.guest.is_none() {
        return Ok(plan);
    }
    if !order.unique {
        plan = plan
            .warn("same_mac", "it has the original's MAC addresses: never run both in one network");
    }
    if start {
        plan = plan.warn(
            "twin",
            "it starts as a twin of the original: same name and addresses inside, same jobs and services",
        );
    }
    if archived.get("onboot") == Some("1") {
        plan = plan.warn("onboot", "it starts with its node, as the original does");
    }
    if !archived.passed_through().is_empty() {
        let keys = archived.passed_through().join(", ");
        plan = plan.warn(
            "devices",
            format!("it wants devices of the host that only one can have: {keys}"),
        );
    }
    Ok(plan)
}

// === impl Order ===

impl Order {
    /// `lab/120`.
    pub(super) fn address(&self) -> String {
        format!("{}/{}", self.member.key, self.vmid)
    }

    /// The call that restores.
    pub(super) fn request(&self) -> Request<Upid> {
        let (storage, force) = (self.storage.clone(), self.over.then_some(true));
        let unique = self.unique.then_some(true);
        let extra = self.settings.iter().cloned().collect();
        match self.kind {
            GuestKind::Qemu => {
                let options = qemu::QemuCreateParams {
                    settings: qemu::QemuSettings { extra, ..qemu::QemuSettings::default() },
                    archive: Some(self.volume.clone()),
                    storage,
                    force,
                    unique,
                    pool: self.pool.clone(),
                    ..qemu::QemuCreateParams::default()
                };
                qemu::create(&self.node, self.vmid, options)
            }
            GuestKind::Lxc => {
                let options = lxc::LxcCreateParams {
                    settings: lxc::LxcSettings { extra, ..lxc::LxcSettings::default() },
                    restore: Some(true),
                    storage,
                    force,
                    unique,
                    pool: self.pool.clone(),
                    ..lxc::LxcCreateParams::default()
                };
                lxc::create(&self.node, self.vmid, &self.volume, options)
            }
        }
    }

    fn step(&self, what: &str) -> Step {
        Step::pve(&self.member, what, self.request())
            .task(&["qmrestore", "vzrestore"], self.vmid.to_string())
    }

    pub(super) fn start(&self, what: &str) -> Step {
        let (node, vmid) = (&self.node, self.vmid);
        let request = match self.kind {
            GuestKind::Qemu => qemu::start(node, vmid, qemu::QemuStartParams::default()),
            GuestKind::Lxc => lxc::start(node, vmid),
        };
        Step::pve(&self.member, what, request)
            .task(&["qmstart", "vzstart", "hastart"], vmid.to_string())
    }

    /// What it is called, as far as it can be read.
    async fn name(&self) -> Result<Option<String>, api_core::Error> {
        let (node, vmid, client) = (&self.node, self.vmid, &self.member.client);
        Ok(match self.kind {
            GuestKind::Qemu => client.call(qemu::config(node, vmid)).await?.name,
            GuestKind::Lxc => client.call(lxc::config(node, vmid)).await?.hostname,
        })
    }
}

/// What came of it.
async fn settle(
    order: Order,
    from: (String, String, u64),
    done: Done,
) -> Result<Report, ToolError> {
    let at = order.address();
    order.member.forget(order.vmid);
    let (label, when, size) = from;
    let state = State::read(&order.member.client, order.kind, &order.node, order.vmid).await;
    let name = order.name().await.ok().flatten();
    let name = name.map(|name| stdx::untrusted::line(&name, 64).into_owned());
    let shown = name.map_or_else(|| at.clone(), |name| format!("{at} {name}"));
    let source = format!("from {label} of {when}, {}", bytes(size));
    let report = match state {
        Ok(state) => {
            let word = state.status.as_str();
            let lead = format!(
                "{shown} is restored {source}, in {}; it is {word} ({})",
                done.span(),
                done.ended()
            );
            let report = done.report(lead).fact("state", word);
            if state.is_stopped() {
                report.next("guest_power", json!({"guest": at, "action": "start"}))
            } else {
                report.next("guest_get", json!({"guest": at}))
            }
        }
        Err(error) => done
            .report(format!("{shown}: the restore {source} ended {}", done.ended()))
            .note(format!("it could not be read back: {}", stdx::Chain(&error)))
            .next("guest_get", json!({"guest": at})),
    };
    Ok(report)
}
