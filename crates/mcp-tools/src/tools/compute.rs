//! Guests as an administrator handles them: made, changed, moved, removed, and commands inside them.

mod bulk;
mod clone;
mod cloudinit;
mod container;
mod create;
mod delete;
mod image;
mod parts;
mod place;
mod template;
mod wait;

use crate::tool::EstateTool;

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[
    &create::GuestCreate,
    &container::ContainerCreate,
    &clone::GuestClone,
    &template::GuestTemplate,
    &delete::GuestDelete,
    &bulk::GuestsPower,
];
