//! Guests as an administrator handles them: made, changed, moved, removed, and commands inside them.

mod bulk;
mod clone;
mod cloudinit;
mod configure;
mod console;
mod container;
mod create;
mod delete;
mod exec;
pub(super) mod image;
mod migrate;
pub(super) mod parts;
mod place;
mod relocate;
mod resize;
mod snapshot;
mod subject;
mod template;
mod wait;

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[
    &create::GuestCreate,
    &container::ContainerCreate,
    &clone::GuestClone,
    &configure::GuestConfigure,
    &resize::DiskResize,
    &relocate::DiskMove,
    &migrate::GuestMigrate,
    &snapshot::SnapshotRollback,
    &snapshot::SnapshotDelete,
    &exec::GuestExec,
    &console::GuestConsole,
    &template::GuestTemplate,
    &delete::GuestDelete,
    &bulk::GuestsPower,
];
