//! `container_create`: a container in one call, from a template that is fetched if it is missing.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::{Access, GuestKind, GuestRef, NodeName, StorageName};
use mcp_protocol::JsonObject;
use pve_client::{
    fetch::{self, Appliance},
    lxc::{self, LxcCreateParams, LxcSettings},
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::{
    cloudinit::{Address, Given, Identity},
    create::finish::Ready,
    image::{self, Found, Use},
    place::{self, Rights, Site, check_bridge, check_name, room},
    wait,
};
use crate::{
    address::quoted,
    error::{Kind, ToolError},
    plan::{ActionTool, Plan, Step, Undo},
    report::{Cell, Table},
    schema::Input,
    tool::{Cx, Definition},
    tools::power::object,
    view::Node,
};

/// What a container has where nothing is said.
const CORES: u32 = 1;
const MEMORY_MIB: u64 = 512;
const SWAP_MIB: u64 = 512;
const DISK_GIB: u64 = 8;

/// Makes a container.
pub(super) struct ContainerCreate;

#[derive(Debug, Deserialize)]
struct Args {
    name: String,
    template: Option<String>,
    cluster: Option<String>,
    node: Option<String>,
    vmid: Option<u32>,
    storage: Option<String>,
    cores: Option<u32>,
    memory_mib: Option<u64>,
    swap_mib: Option<u64>,
    disk_gib: Option<u64>,
    bridge: Option<String>,
    vlan: Option<u16>,
    ip: Option<String>,
    gateway: Option<String>,
    nameserver: Option<String>,
    searchdomain: Option<String>,
    ssh_keys: Option<String>,
    password: Option<SecretString>,
    tags: Option<String>,
    pool: Option<String>,
    unprivileged: Option<bool>,
    nesting: Option<bool>,
    on_boot: Option<bool>,
    start: Option<bool>,
    wait_s: Option<u64>,
}

/// Where the template is, or comes from.
enum Template<'a> {
    /// On a storage.
    There(&'a Found),
    /// In the list of what can be fetched.
    Listed(Box<Appliance>),
}

/// Where the container goes.
struct Place {
    node: NodeName,
    volumes: StorageName,
    /// The storage that takes the template, if it is fetched.
    keep: Option<StorageName>,
}

#[async_trait]
impl ActionTool for ContainerCreate {
    fn definition(&self) -> Definition {
        Definition {
            name: "container_create",
            title: "Make a container",
            description: "LXC container from a template such as debian-13 (fetched if missing), \
                unprivileged by default; starts it and tells its address. What is left out is \
                chosen and told.",
            input: Input::new()
                .text("name", "")
                .required("name")
                .text("template", "debian-13, or storage:vztmpl/file")
                .cluster()
                .node()
                .integer("vmid", 100..=999_999_999, "")
                .text("storage", "")
                .integer("cores", 1..=8192, "")
                .integer("memory_mib", 16..=16_777_216, "")
                .integer("swap_mib", 0..=16_777_216, "")
                .integer("disk_gib", 1..=131_072, "")
                .text("bridge", "")
                .integer("vlan", 1..=4094, "")
                .text("ip", "dhcp or address/prefix")
                .text("gateway", "")
                .text("nameserver", "")
                .text("searchdomain", "")
                .text("ssh_keys", "for root, one a line")
                .text("password", "of root")
                .text("tags", "")
                .text("pool", "")
                .boolean("unprivileged", "")
                .boolean("nesting", "")
                .boolean("on_boot", "")
                .boolean("start", "default true")
                .integer("wait_s", 0..=600, "for its address"),
            output: super::create::made_output(),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        check_name(&args.name)?;
        check_bridge(args.bridge())?;
        let tags = place::tags(args.tags.as_deref())?;
        let identity = Identity::check(args.given())?;
        if let Some(password) = &identity.password
            && secrecy::ExposeSecret::expose_secret(password).chars().count() < 5
        {
            return Err(ToolError::new("a container's password has at least five characters"));
        }
        let site = Site::find(cx, args.cluster.as_deref(), args.node.as_deref()).await?;
        let Some(wanted) = args.template.as_deref().map(str::trim).filter(|text| !text.is_empty())
        else {
            return Err(nothing_named(&site).await);
        };
        site.name_is_free(&args.name)?;
        site.pool(args.pool.as_deref())?;
        let nodes = site.nodes()?;
        let (files, silent) = image::list(&site, &nodes, &[Use::Template]).await;
        let template = find(&site, &nodes, &files, wanted).await?;
        let place = place_for(&site, &args, &nodes, &template, &files)?;
        let vmid = site.vmid(args.vmid).await?;
        let at = GuestRef { cluster: site.member.key.clone(), vmid };
        let ready = Ready {
            member: Arc::clone(&site.member),
            at,
            kind: GuestKind::Lxc,
            name: args.name.clone(),
            node: place.node.clone(),
            storage: place.volumes.clone(),
            start: args.start.unwrap_or(true),
            patience: Duration::from_secs(args.wait_s.unwrap_or(wait::PATIENCE_SECS)),
            fixed: identity.fixed(),
            warnings: Vec::new(),
        };
        let what = format!("creation of container {}", ready.label());
        rights(&args, &ready, &place).check(&what, &site)?;
        let mut plan = Plan::new(what);
        plan.notes.extend(silent);
        let volume = match (&template, &place.keep) {
            (Template::There(found), _) => found.volume.clone(),
            (Template::Listed(appliance), Some(keep)) => {
                let file = &appliance.template;
                let request = fetch::download_appliance(&place.node, keep, file);
                plan = plan
                    .effect(format!("{file} is fetched to {keep}, and stays there for the next"))
                    .step(Step::pve(&site.member, format!("fetch {file}"), request).stoppable());
                format!("{keep}:vztmpl/{file}")
            }
            (Template::Listed(_), None) => {
                return Err(ToolError::new("there is no place to keep the template"));
            }
        };
        let request =
            lxc::create(&place.node, vmid, &volume, args.options(&ready, tags, &identity));
        plan = plan
            .step(
                Step::pve(&site.member, format!("make {}", ready.at), request)
                    .task(&["vzcreate"], vmid.to_string()),
            )
            .fact("image", volume)
            .target(ready.at.to_string(), [("state", "absent")])
            .target(place::node_at(&site, &place.node), [("status", "online")])
            .undo(Undo::Call("guest_delete", object(json!({"guest": ready.at.to_string()}))));
        plan = ready.start_steps(plan, true);
        plan = told(plan, &args, &site, &place, &identity);
        Ok(ready.settle(site.tell_plan(plan)))
    }
}

// === impl Args ===

impl Args {
    fn given(&self) -> Given<'_> {
        Given {
            user: None,
            password: self.password.as_ref(),
            ssh_keys: self.ssh_keys.as_deref(),
            ip: self.ip.as_deref(),
            gateway: self.gateway.as_deref(),
            nameserver: self.nameserver.as_deref(),
            searchdomain: self.searchdomain.as_deref(),
        }
    }

    fn bridge(&self) -> &str {
        self.bridge.as_deref().unwrap_or("vmbr0")
    }

    fn is_unprivileged(&self) -> bool {
        self.unprivileged.unwrap_or(true)
    }

    /// Systemd of this decade does not start without it; a privileged container gets it only if it
    /// is asked for.
    fn nests(&self) -> bool {
        self.nesting.unwrap_or_else(|| self.is_unprivileged())
    }

    fn options(&self, ready: &Ready, tags: Option<String>, identity: &Identity) -> LxcCreateParams {
        let address = identity.address.as_ref();
        let address = address.map_or_else(|| "ip=dhcp".to_owned(), Address::of_container);
        let vlan = self.vlan.map(|tag| format!(",tag={tag}")).unwrap_or_default();
        let net = format!("name=eth0,bridge={}{vlan},{address}", self.bridge());
        let disk = self.disk_gib.unwrap_or(DISK_GIB);
        LxcCreateParams {
            settings: LxcSettings {
                hostname: Some(self.name.clone()),
                tags,
                memory_mib: Some(self.memory_mib.unwrap_or(MEMORY_MIB)),
                swap_mib: Some(self.swap_mib.unwrap_or(SWAP_MIB)),
                cores: Some(self.cores.unwrap_or(CORES)),
                rootfs: Some(format!("{}:{disk}", ready.storage)),
                on_boot: self.on_boot,
                unprivileged: Some(self.is_unprivileged()),
                features: self.nests().then(|| "nesting=1".to_owned()),
                name_server: identity.nameserver.clone(),
                search_domain: identity.searchdomain.clone(),
                extra: [("net0", net)].into_iter().collect(),
                ..LxcSettings::default()
            },
            pool: self.pool.clone(),
            password: identity.password.clone(),
            ssh_public_keys: identity.keys.clone(),
            ..LxcCreateParams::default()
        }
    }
}

/// What there is to make a container from.
async fn nothing_named(site: &Site) -> ToolError {
    let error = ToolError::new("a container is made from a template: none is named");
    let nodes = match site.nodes() {
        Ok(nodes) => nodes,
        Err(error) => return error,
    };
    let (files, _) = image::list(site, &nodes, &[Use::Template]).await;
    let error = error.choices(image::table(files.iter()));
    match nodes.first() {
        Some(node) => error.choices(listed(&appliances(site, node).await.unwrap_or_default())),
        None => error,
    }
}

async fn appliances(site: &Site, node: &Node) -> Result<Vec<Appliance>, ToolError> {
    let call = site.member.client.call(fetch::appliances(&node.name)).await;
    let all = call.map_err(|error| {
        let at = place::node_at(site, &node.name);
        ToolError::api(format!("read which templates {at} can fetch"), &error)
    })?;
    let is_template = |one: &Appliance| one.kind.as_deref().is_none_or(|kind| kind == "lxc");
    Ok(all.into_iter().filter(is_template).collect())
}

fn listed(all: &[Appliance]) -> Table {
    let mut table = Table::new("can be fetched", &["template", "os", "section"]);
    for one in all.iter().take(40) {
        table.push(vec![
            Cell::text(&*one.package),
            Cell::opt(one.os.as_deref()),
            Cell::opt(one.section.as_deref()),
        ]);
    }
    table
}

/// The template that a text means: a volume, a file on a storage, or one that can be fetched.
async fn find<'a>(
    site: &Site,
    nodes: &[&Node],
    files: &'a [Found],
    wanted: &str,
) -> Result<Template<'a>, ToolError> {
    let key = site.member.key.as_str();
    if wanted.contains(':') {
        let found = files.iter().find(|found| found.volume == wanted);
        return found.map(Template::There).ok_or_else(|| {
            ToolError::not_found(format!("{key} has no template {}", quoted(wanted)))
                .choices(image::table(files.iter()))
        });
    }
    let lower = wanted.to_ascii_lowercase();
    // The newest of those whose package begins so; names sort as their versions do, mostly.
    let mut there: Vec<&Found> = files.iter().filter(|found| is_of(found.file(), &lower)).collect();
    there.sort_by_key(|found| version_of(found.file()));
    let packages: Vec<&str> = there.iter().map(|found| package_of(found.file())).collect();
    if let (Some(newest), true) = (there.last(), packages.windows(2).all(|two| two[0] == two[1])) {
        return Ok(Template::There(newest));
    }
    if there.len() > 1 {
        return Err(ToolError::new(format!("{} fits several templates", quoted(wanted)))
            .of_kind(Kind::Ambiguous)
            .choices(image::table(there.into_iter()))
            .hint("name the volume in full"));
    }
    let Some(node) = nodes.first() else {
        return Err(ToolError::new("no node answers"));
    };
    let all = appliances(site, node).await?;
    let exact: Vec<&Appliance> = all
        .iter()
        .filter(|one| {
            let is_system = one.section.as_deref() == Some("system");
            one.template == wanted
                || one.package == lower
                || is_system && one.os.as_deref() == Some(lower.as_str())
        })
        .collect();
    let part: Vec<&Appliance> =
        all.iter().filter(|one| one.package.contains(lower.as_str())).collect();
    let fit = if exact.is_empty() { part } else { exact };
    match fit.as_slice() {
        [one] => Ok(Template::Listed(Box::new((*one).clone()))),
        [] => Err(ToolError::not_found(format!(
            "{key} has no template {}, and cannot fetch one of that name",
            quoted(wanted)
        ))
        .choices(image::table(files.iter()))
        .choices(listed(&all))),
        several => {
            let several: Vec<Appliance> = several.iter().map(|one| (*one).clone()).collect();
            Err(ToolError::new(format!("{} fits {} templates", quoted(wanted), several.len()))
                .of_kind(Kind::Ambiguous)
                .choices(listed(&several)))
        }
    }
}

/// `debian-13-standard` of `debian-13-standard_13.1-2_amd64.tar.zst`.
fn package_of(file: &str) -> &str {
    file.split('_').next().unwrap_or(file)
}

/// Whether a file is of the package, or of a system whose name its package begins with.
fn is_of(file: &str, wanted: &str) -> bool {
    let (file, package) = (file.to_ascii_lowercase(), package_of(file).to_ascii_lowercase());
    file == wanted
        || package == wanted
        || package.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('-'))
}

/// The numbers of the version, to be compared.
fn version_of(file: &str) -> Vec<u64> {
    let version = file.split('_').nth(1).unwrap_or_default();
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Node and storages: where the template is already if that can be.
fn place_for(
    site: &Site,
    args: &Args,
    nodes: &[&Node],
    template: &Template<'_>,
    files: &[Found],
) -> Result<Place, ToolError> {
    let mut first_error = None;
    for node in nodes {
        let keep = match template {
            Template::There(found) => {
                // The same volume id on another node is another file.
                let is_here = files
                    .iter()
                    .any(|file| file.volume == found.volume && file.nodes.contains(&node.name));
                if !is_here {
                    continue;
                }
                None
            }
            Template::Listed(_) => match site.storage(&node.name, "vztmpl", None, 0) {
                Ok(keep) => Some(keep.name.clone()),
                Err(error) => {
                    first_error = first_error.or(Some(error));
                    continue;
                }
            },
        };
        match site.storage(&node.name, "rootdir", args.storage.as_deref(), 1 << 30) {
            Ok(volumes) => {
                return Ok(Place { node: node.name.clone(), volumes: volumes.name.clone(), keep });
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| {
        let on: Vec<String> = match template {
            Template::There(found) => found.nodes.iter().map(ToString::to_string).collect(),
            Template::Listed(_) => Vec::new(),
        };
        ToolError::new("the node does not see the template")
            .hint(format!("it is on {}", on.join(", ")))
    }))
}

fn rights(args: &Args, ready: &Ready, place: &Place) -> Rights {
    let mut rights = Rights::default();
    let (vmid, pool) = (ready.at.vmid, args.pool.as_deref());
    for privilege in [
        "VM.Allocate",
        "VM.Config.CPU",
        "VM.Config.Disk",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
    ] {
        rights.on_guest(vmid, pool, privilege);
    }
    if ready.start {
        rights.on_guest(vmid, pool, "VM.PowerMgmt");
    }
    rights.on_storage(&place.volumes);
    rights.on_bridge(args.bridge(), args.vlan);
    if let Some(keep) = &place.keep {
        rights.need([format!("/storage/{keep}")], "Datastore.AllocateTemplate");
    }
    if !args.is_unprivileged() {
        rights.need(["/"], "Sys.Modify");
    }
    rights
}

/// What the plan and the answer say beside.
fn told(mut plan: Plan, args: &Args, site: &Site, place: &Place, identity: &Identity) -> Plan {
    let mut chosen = Vec::new();
    if site.named.is_none() && site.view.nodes.len() > 1 {
        chosen
            .push(format!("node {} (most free memory where template and storage are)", place.node));
    }
    if args.storage.is_none() {
        chosen.push(format!("storage {} (most room)", place.volumes));
    }
    if !chosen.is_empty() {
        plan = plan.note(format!("chosen: {}", chosen.join("; ")));
    }
    let volumes = site
        .view
        .storages
        .iter()
        .find(|storage| storage.name == place.volumes && storage.node == place.node);
    let disk = args.disk_gib.unwrap_or(DISK_GIB) << 30;
    if volumes.is_some_and(|storage| room(storage) < disk) {
        plan = plan
            .warn("storage_tight", format!("{} has less room than the disk's size", place.volumes));
    }
    if !identity.lets_in() {
        plan = plan.warn(
            "no_login",
            format!(
                "only `pct enter` on {} gets in: neither ssh_keys nor password was given",
                place.node
            ),
        );
    }
    if !args.is_unprivileged() {
        plan = plan.warn(
            "privileged",
            "root of a privileged container is root of the node, once it gets out",
        );
    }
    if identity.address.as_ref().is_some_and(Address::lacks_gateway) {
        plan =
            plan.warn("no_gateway", "a fixed address without gateway reaches its own network only");
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_found_by_system_and_package() {
        let file = "debian-13-standard_13.1-2_amd64.tar.zst";
        for wanted in ["debian-13", "debian-13-standard", "debian", file] {
            assert!(is_of(file, wanted), "{wanted}");
        }
        for wanted in ["debian-1", "13", "debian-12"] {
            assert!(!is_of(file, wanted), "{wanted}");
        }
        assert!(version_of("a_13.10-1_x") > version_of("a_13.9-2_x"));
    }
}
