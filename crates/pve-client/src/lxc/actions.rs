//! Making, changing, copying, moving and deleting containers, and their snapshots.

use api_core::{Request, de::Done, path};
use estate::{NodeName, Upid, VmId};

use super::{
    LxcCloneParams, LxcConfigParams, LxcCreateParams, LxcDeleteParams, LxcMigrateParams,
    LxcMoveVolumeParams,
};
use crate::guest::guest_path;

/// `POST /nodes/{node}/lxc`: `template` is a volume of type `vztmpl`, or a backup to restore. Needs
/// `VM.Allocate` on `/vms/{vmid}` or the pool, and `Datastore.AllocateSpace` on the storages.
pub fn create(
    node: &NodeName,
    vmid: VmId,
    template: &str,
    options: LxcCreateParams,
) -> Request<Upid> {
    Request::post(path!["nodes", node, "lxc"])
        .param("vmid", vmid)
        .param("ostemplate", template)
        .params(options.into())
        .on(node)
        .protected()
}

/// `PUT /nodes/{node}/lxc/{vmid}/config`: of a running container what cannot be changed waits for
/// its next start. Needs `VM.Config.*` on the guest according to the keys.
pub fn set_config(node: &NodeName, vmid: VmId, options: LxcConfigParams) -> Request<Done> {
    Request::put(guest_path(node, "lxc", vmid).push("config"))
        .params(options.into())
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/lxc/{vmid}/clone`. Needs `VM.Clone` on the guest and `VM.Allocate` on the
/// new one or the pool; for full copies `Datastore.AllocateSpace` on the storage.
pub fn clone(node: &NodeName, vmid: VmId, new_id: VmId, options: LxcCloneParams) -> Request<Upid> {
    Request::post(guest_path(node, "lxc", vmid).push("clone"))
        .param("newid", new_id)
        .params(options.into())
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/lxc/{vmid}/migrate`. Needs `VM.Migrate` on the guest.
pub fn migrate(
    node: &NodeName,
    vmid: VmId,
    target: &NodeName,
    options: LxcMigrateParams,
) -> Request<Upid> {
    Request::post(guest_path(node, "lxc", vmid).push("migrate"))
        .param("target", target)
        .params(options.into())
        .on(node)
        .protected()
}

/// `DELETE /nodes/{node}/lxc/{vmid}`: the container and all its volumes. Needs `VM.Allocate` on the
/// guest.
pub fn delete(node: &NodeName, vmid: VmId, options: LxcDeleteParams) -> Request<Upid> {
    Request::delete(guest_path(node, "lxc", vmid)).params(options.into()).on(node).protected()
}

/// `PUT /nodes/{node}/lxc/{vmid}/resize`: `size` such as `8G` or `+1G`; volumes cannot shrink.
/// Needs `VM.Config.Disk` on the guest.
pub fn resize(node: &NodeName, vmid: VmId, volume: &str, size: &str) -> Request<Option<Upid>> {
    Request::put(guest_path(node, "lxc", vmid).push("resize"))
        .param("disk", volume)
        .param("size", size)
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/lxc/{vmid}/move_volume`. Needs `VM.Config.Disk` on the guest, and
/// `Datastore.AllocateSpace` on the storage.
pub fn move_volume(
    node: &NodeName,
    vmid: VmId,
    volume: &str,
    options: LxcMoveVolumeParams,
) -> Request<Upid> {
    Request::post(guest_path(node, "lxc", vmid).push("move_volume"))
        .param("volume", volume)
        .params(options.into())
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/lxc/{vmid}/template`: for good. Needs `VM.Allocate` on the guest.
pub fn make_template(node: &NodeName, vmid: VmId) -> Request<Option<Upid>> {
    Request::post(guest_path(node, "lxc", vmid).push("template")).on(node).protected()
}

/// `POST /nodes/{node}/lxc/{vmid}/snapshot`. Needs `VM.Snapshot` on the guest.
pub fn create_snapshot(
    node: &NodeName,
    vmid: VmId,
    name: &str,
    description: Option<&str>,
) -> Request<Upid> {
    Request::post(guest_path(node, "lxc", vmid).push("snapshot"))
        .param("snapname", name)
        .opt("description", description)
        .on(node)
        .protected()
}

/// `DELETE /nodes/{node}/lxc/{vmid}/snapshot/{snapname}`: `force` takes it out of the
/// configuration even if its data cannot be deleted. Needs `VM.Snapshot` on the guest.
pub fn delete_snapshot(node: &NodeName, vmid: VmId, name: &str, force: bool) -> Request<Upid> {
    Request::delete(guest_path(node, "lxc", vmid).push("snapshot").push(name))
        .flag("force", force.then_some(true))
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback`: what came after it is lost. Needs
/// `VM.Snapshot` or `VM.Snapshot.Rollback` on the guest.
pub fn rollback(node: &NodeName, vmid: VmId, name: &str, start: Option<bool>) -> Request<Upid> {
    Request::post(guest_path(node, "lxc", vmid).push("snapshot").push(name).push("rollback"))
        .flag("start", start)
        .on(node)
        .protected()
}

/// `PUT /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config`: its description. Needs `VM.Snapshot`
/// on the guest.
pub fn describe_snapshot(
    node: &NodeName,
    vmid: VmId,
    name: &str,
    description: &str,
) -> Request<Done> {
    Request::put(guest_path(node, "lxc", vmid).push("snapshot").push(name).push("config"))
        .param("description", description)
        .on(node)
        .protected()
        .idempotent()
}
