//! Making, changing, copying, moving and deleting machines, and their snapshots.

use api_core::{Request, de::Done, path};
use estate::{NodeName, Upid, VmId};

use super::{
    QemuCloneParams, QemuConfigParams, QemuCreateParams, QemuDeleteParams, QemuMigrateParams,
    QemuMoveDiskParams, QemuSnapshotParams,
};
use crate::guest::guest_path;

/// `POST /nodes/{node}/qemu`. Needs `VM.Allocate` on `/vms/{vmid}` or the pool; for each disk
/// `Datastore.AllocateSpace` on its storage, for each bridge `SDN.Use`.
pub fn create(node: &NodeName, vmid: VmId, options: QemuCreateParams) -> Request<Upid> {
    Request::post(path!["nodes", node, "qemu"])
        .param("vmid", vmid)
        .params(options.into())
        .on(node)
        .protected()
}

/// `PUT /nodes/{node}/qemu/{vmid}/config`: at once; of a running machine what cannot be changed
/// waits for its next start. Needs `VM.Config.*` on the guest according to the keys.
pub fn set_config(node: &NodeName, vmid: VmId, options: QemuConfigParams) -> Request<Done> {
    Request::put(guest_path(node, "qemu", vmid).push("config"))
        .params(options.into())
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/qemu/{vmid}/config`: as [`set_config`], in a task where it takes longer.
/// Needs `VM.Config.*` on the guest according to the keys.
pub fn set_config_async(
    node: &NodeName,
    vmid: VmId,
    options: QemuConfigParams,
) -> Request<Option<Upid>> {
    Request::post(guest_path(node, "qemu", vmid).push("config"))
        .params(options.into())
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/qemu/{vmid}/clone`. Needs `VM.Clone` on the guest and `VM.Allocate` on the
/// new one or the pool; for full copies `Datastore.AllocateSpace` on the storage.
pub fn clone(node: &NodeName, vmid: VmId, new_id: VmId, options: QemuCloneParams) -> Request<Upid> {
    Request::post(guest_path(node, "qemu", vmid).push("clone"))
        .param("newid", new_id)
        .params(options.into())
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/qemu/{vmid}/migrate`. Needs `VM.Migrate` on the guest.
pub fn migrate(
    node: &NodeName,
    vmid: VmId,
    target: &NodeName,
    options: QemuMigrateParams,
) -> Request<Upid> {
    Request::post(guest_path(node, "qemu", vmid).push("migrate"))
        .param("target", target)
        .params(options.into())
        .on(node)
        .protected()
}

/// `DELETE /nodes/{node}/qemu/{vmid}`: the machine and all its disks. Needs `VM.Allocate` on the
/// guest.
pub fn delete(node: &NodeName, vmid: VmId, options: QemuDeleteParams) -> Request<Upid> {
    Request::delete(guest_path(node, "qemu", vmid)).params(options.into()).on(node).protected()
}

/// `PUT /nodes/{node}/qemu/{vmid}/resize`: `size` such as `40G` or `+8G`; disks cannot shrink.
/// Needs `VM.Config.Disk` on the guest. Until 8.4 the answer is null, since then a task.
pub fn resize(node: &NodeName, vmid: VmId, disk: &str, size: &str) -> Request<Option<Upid>> {
    Request::put(guest_path(node, "qemu", vmid).push("resize"))
        .param("disk", disk)
        .param("size", size)
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/qemu/{vmid}/move_disk`. Needs `VM.Config.Disk` on the guest, and
/// `Datastore.AllocateSpace` on the storage.
pub fn move_disk(
    node: &NodeName,
    vmid: VmId,
    disk: &str,
    options: QemuMoveDiskParams,
) -> Request<Upid> {
    Request::post(guest_path(node, "qemu", vmid).push("move_disk"))
        .param("disk", disk)
        .params(options.into())
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/qemu/{vmid}/template`: for good. Needs `VM.Allocate` on the guest.
pub fn make_template(node: &NodeName, vmid: VmId) -> Request<Option<Upid>> {
    Request::post(guest_path(node, "qemu", vmid).push("template")).on(node).protected()
}

/// `PUT /nodes/{node}/qemu/{vmid}/unlink`: detaches disks; `force` destroys them. Needs
/// `VM.Config.Disk` on the guest.
pub fn unlink(node: &NodeName, vmid: VmId, disks: &[&str], force: bool) -> Request<Done> {
    Request::put(guest_path(node, "qemu", vmid).push("unlink"))
        .param("idlist", disks.join(","))
        .flag("force", force.then_some(true))
        .on(node)
        .protected()
}

/// `PUT /nodes/{node}/qemu/{vmid}/cloudinit`: writes the cloud-init drive anew. Needs
/// `VM.Config.Cloudinit` on the guest.
pub fn regenerate_cloudinit(node: &NodeName, vmid: VmId) -> Request<Done> {
    Request::put(guest_path(node, "qemu", vmid).push("cloudinit")).on(node).protected().idempotent()
}

/// `POST /nodes/{node}/qemu/{vmid}/snapshot`. Needs `VM.Snapshot` on the guest.
pub fn create_snapshot(
    node: &NodeName,
    vmid: VmId,
    name: &str,
    options: QemuSnapshotParams,
) -> Request<Upid> {
    Request::post(guest_path(node, "qemu", vmid).push("snapshot"))
        .param("snapname", name)
        .params(options.into())
        .on(node)
        .protected()
}

/// `DELETE /nodes/{node}/qemu/{vmid}/snapshot/{snapname}`: `force` takes it out of the
/// configuration even if its data cannot be deleted. Needs `VM.Snapshot` on the guest.
pub fn delete_snapshot(node: &NodeName, vmid: VmId, name: &str, force: bool) -> Request<Upid> {
    Request::delete(guest_path(node, "qemu", vmid).push("snapshot").push(name))
        .flag("force", force.then_some(true))
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback`: what came after it is lost. Needs
/// `VM.Snapshot` or `VM.Snapshot.Rollback` on the guest.
pub fn rollback(node: &NodeName, vmid: VmId, name: &str, start: Option<bool>) -> Request<Upid> {
    Request::post(guest_path(node, "qemu", vmid).push("snapshot").push(name).push("rollback"))
        .flag("start", start)
        .on(node)
        .protected()
}

/// `PUT /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config`: its description. Needs `VM.Snapshot`
/// on the guest.
pub fn describe_snapshot(
    node: &NodeName,
    vmid: VmId,
    name: &str,
    description: &str,
) -> Request<Done> {
    Request::put(guest_path(node, "qemu", vmid).push("snapshot").push(name).push("config"))
        .param("description", description)
        .on(node)
        .protected()
        .idempotent()
}
