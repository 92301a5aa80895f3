//! `guest_create`: a virtual machine in one call, from a cloud image, an installation medium or a
//! template, with everything that it is told at its first start.

pub(super) mod finish;
mod import;
mod template;

use std::time::Duration;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use secrecy::SecretString;
use serde::Deserialize;

use super::{
    cloudinit::{Given, Identity},
    place::{self, Site, check_bridge, check_name},
    wait,
};
use crate::{
    error::ToolError,
    plan::{ActionTool, Plan},
    schema::{Input, Output},
    tool::{Cx, Definition},
};

const GIB: u64 = 1 << 30;

/// The bridge that every installation has.
const BRIDGE: &str = "vmbr0";

/// Makes a virtual machine.
pub(super) struct GuestCreate;

#[derive(Debug, Deserialize)]
pub(super) struct Args {
    name: String,
    image: Option<String>,
    checksum: Option<String>,
    template: Option<String>,
    #[serde(default)]
    full: bool,
    cluster: Option<String>,
    node: Option<String>,
    vmid: Option<u32>,
    storage: Option<String>,
    cores: Option<u32>,
    memory_mib: Option<u64>,
    disk_gib: Option<u64>,
    cpu: Option<String>,
    bridge: Option<String>,
    vlan: Option<u16>,
    ip: Option<String>,
    gateway: Option<String>,
    nameserver: Option<String>,
    searchdomain: Option<String>,
    user: Option<String>,
    ssh_keys: Option<String>,
    password: Option<SecretString>,
    tags: Option<String>,
    pool: Option<String>,
    on_boot: Option<bool>,
    start: Option<bool>,
    wait_s: Option<u64>,
}

#[async_trait]
impl ActionTool for GuestCreate {
    fn definition(&self) -> Definition {
        Definition {
            name: "guest_create",
            title: "Make a virtual machine",
            description: "VM from a cloud image (URL or volume; fetched if missing), an ISO or a \
                template, with cloud-init; starts it and tells its address. What is left out is \
                chosen and told.",
            input: Input::new()
                .text("name", "")
                .required("name")
                .text(
                    "image",
                    "URL, storage:import/file, storage:iso/file, or part of a file's name",
                )
                .text("checksum", "of a URL: sha256:…")
                .text("template", "guest to clone instead of image")
                .boolean("full", "full instead of linked clone")
                .cluster()
                .node()
                .integer("vmid", 100..=999_999_999, "")
                .text("storage", "for its disks")
                .integer("cores", 1..=512, "")
                .integer("memory_mib", 16..=16_777_216, "")
                .integer("disk_gib", 1..=131_072, "")
                .text("cpu", "type, such as host")
                .text("bridge", "")
                .integer("vlan", 1..=4094, "")
                .text("ip", "dhcp or address/prefix")
                .text("gateway", "")
                .text("nameserver", "")
                .text("searchdomain", "")
                .text("user", "")
                .text("ssh_keys", "public, one a line")
                .text("password", "keys are better")
                .text("tags", "")
                .text("pool", "")
                .boolean("on_boot", "")
                .boolean("start", "default true")
                .integer("wait_s", 0..=600, "for its address"),
            output: made_output(),
            access: Access::Operate,
            // It only adds, and a name or id that is taken is refused.
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        check_name(&args.name)?;
        if let Some(bridge) = &args.bridge {
            check_bridge(bridge)?;
        }
        place::tags(args.tags.as_deref())?;
        let identity = Identity::check(args.given())?;
        match (args.image.as_deref(), args.template.as_deref()) {
            (Some(_), Some(_)) => Err(ToolError::new("image and template are both given")
                .hint("a machine is made from one of them")),
            (Some(image), None) => import::plan(cx, &args, image, &identity).await,
            (None, Some(name)) => template::plan(cx, &args, name, &identity).await,
            (None, None) => Err(import::nothing_named(cx, &args).await),
        }
    }
}

// === impl Args ===

impl Args {
    fn given(&self) -> Given<'_> {
        Given {
            user: self.user.as_deref(),
            password: self.password.as_ref(),
            ssh_keys: self.ssh_keys.as_deref(),
            ip: self.ip.as_deref(),
            gateway: self.gateway.as_deref(),
            nameserver: self.nameserver.as_deref(),
            searchdomain: self.searchdomain.as_deref(),
        }
    }

    fn starts(&self) -> bool {
        self.start.unwrap_or(true)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.wait_s.unwrap_or(wait::PATIENCE_SECS))
    }

    /// The network device: model, bridge, VLAN.
    fn net(&self, bridge: &str) -> String {
        let vlan = self.vlan.map(|tag| format!(",tag={tag}")).unwrap_or_default();
        format!("virtio,bridge={bridge}{vlan}")
    }
}

impl Site {
    /// Puts what was noticed into a plan.
    pub(super) fn tell_plan(&self, mut plan: Plan) -> Plan {
        plan.notes.extend(self.notes.iter().cloned());
        plan
    }
}

/// What an answer about something that was made holds.
pub(super) fn made_output() -> Output {
    Output::new()
        .fact("guest", "string")
        .fact("name", "string")
        .fact("node", "string")
        .fact("storage", "string")
        .fact("image", "string")
        .fact("state", "string")
        .fact("address", "string")
        .fact("addresses", "array")
        .fact("status", "string")
        .fact("upid", "string")
        .fact("cause", "string")
        .fact("job", "string")
}
