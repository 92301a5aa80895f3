//! What a change touches, as policy looks at it: where it is, its pool and tags, and whether it is
//! protected.
//!
//! What is touched is told by the planned calls themselves ([`touched()`]), not by what a caller says;
//! the facts are read from the estate just then ([`of_plan`]). What cannot be read refuses the call:
//! nobody can tell then whether it is protected.

mod own;
mod touched;

use std::collections::{BTreeMap, BTreeSet};

use estate::{ClusterKey, GuestKind, Product};
use futures::{StreamExt, TryStreamExt, stream};
use guard::{
    PlanForm,
    policy::{Protection, Target, TargetKind},
};
use pve_client::{lxc, qemu};

pub use self::own::{Identity, Own, OwnGuest};
pub use self::touched::{Touched, touched};
use crate::{
    error::ToolError,
    fleet::{Fleet, Pve},
    view::{Guest, View},
};

/// How many configurations are read at a time.
const AT_ONCE: usize = 6;

/// What the operator says of protection.
#[derive(Clone, Debug)]
pub struct Protecting {
    /// Guests with one of these tags are protected.
    pub tags: Vec<String>,
    /// The guest that this server runs in.
    pub own: Own,
}

/// What a plan touches, as it was read just now.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// For policy.
    pub targets: Vec<Target>,
    /// The digest of each guest's configuration, by its address.
    digests: BTreeMap<String, String>,
}

/// What a plan touches: everything that its calls or its targets name.
///
/// # Errors
/// A cluster did not say what its guests are, so nobody can tell whether they are protected.
pub async fn of_plan(fleet: &Fleet, form: &PlanForm) -> Result<Facts, ToolError> {
    read(fleet, touched(form, |key| fleet.product_of(key))).await
}

/// What these addresses are: `lab/104`, `lab/alder`, `lab`, `vault/main`.
///
/// # Errors
/// As [`of_plan`].
pub async fn targets(fleet: &Fleet, addresses: &[String]) -> Result<Vec<Target>, ToolError> {
    let form = PlanForm {
        targets: addresses.iter().map(|at| (at.clone(), BTreeMap::new())).collect(),
        ..PlanForm::default()
    };
    of_plan(fleet, &form).await.map(|facts| facts.targets)
}

async fn read(fleet: &Fleet, touched: BTreeSet<Touched>) -> Result<Facts, ToolError> {
    let mut clusters: BTreeMap<ClusterKey, Vec<Touched>> = BTreeMap::new();
    let mut facts = Facts::default();
    for one in touched {
        // Backup servers say nothing of theirs that a line could look at.
        let is_pve = fleet.product_of(one.member.as_str()) == Some(Product::Pve);
        if is_pve && one.needs_reading() {
            clusters.entry(one.member.clone()).or_default().push(one);
        } else {
            facts.targets.push(one.bare());
        }
    }
    for (key, touched) in clusters {
        of_cluster(fleet, &key, touched, &mut facts).await?;
    }
    facts.targets.sort_by(|one, other| one.address.cmp(&other.address));
    Ok(facts)
}

async fn of_cluster(
    fleet: &Fleet,
    key: &ClusterKey,
    touched: Vec<Touched>,
    facts: &mut Facts,
) -> Result<(), ToolError> {
    let unreadable = |error: &api_core::Error| {
        ToolError::api(format!("read what the call touches in {key}"), error)
            .hint("nothing is changed while nobody can tell whether it is protected")
    };
    let member = fleet.pve(Some(key.as_str()))?.remove(0);
    let view = View::load(member.clone()).await.map_err(|error| unreadable(&error))?;
    let own = fleet.protecting().own.look(fleet).await;
    let own_here = own.guest().filter(|own| own.cluster == *key);
    let own_node = own_here
        .and_then(|own| view.guests.iter().find(|guest| guest.at == *own))
        .map(|guest| guest.node.clone());
    let targets = &mut facts.targets;
    let mut guests = Vec::new();
    for one in touched {
        let mut target = one.bare();
        match (one.vmid, target.kind) {
            (Some(vmid), _) => match view.guests.iter().find(|guest| guest.at.vmid == vmid) {
                Some(guest) => guests.push((target, guest.clone())),
                // One that is made by this very call.
                None => targets.push(target),
            },
            (None, TargetKind::Node) => {
                let hosts_us = own_node
                    .as_ref()
                    .is_some_and(|own| target.node.as_deref() == Some(own.as_str()));
                target.protection = hosts_us.then_some(Protection::ThisServersNode);
                targets.push(target);
            }
            _ => targets.push(target),
        }
    }
    let read = stream::iter(guests).map(|(target, guest)| {
        let (member, is_own) = (member.clone(), own_here == Some(&guest.at));
        async move { of_guest(&member, fleet.protecting(), target, &guest, is_own).await }
    });
    let read: Vec<(Target, Option<String>)> = read
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .map_err(|error: api_core::Error| unreadable(&error))?;
    for (target, digest) in read {
        facts.digests.extend(digest.map(|digest| (target.address.clone(), digest)));
        facts.targets.push(target);
    }
    Ok(())
}

async fn of_guest(
    member: &Pve,
    protecting: &Protecting,
    target: Target,
    guest: &Guest,
    is_own: bool,
) -> Result<(Target, Option<String>), api_core::Error> {
    let (client, node, vmid) = (&member.client, &guest.node, guest.at.vmid);
    let (flag, digest) = match guest.kind {
        GuestKind::Qemu => {
            let config = client.call(qemu::current_config(node, vmid)).await?;
            (config.protection, config.digest)
        }
        GuestKind::Lxc => {
            let config = client.call(lxc::current_config(node, vmid)).await?;
            (config.protection, config.digest)
        }
    };
    let tagged = guest.tags.iter().any(|tag| protecting.tags.contains(tag));
    let protection = if is_own {
        Some(Protection::ThisServer)
    } else if tagged {
        Some(Protection::Tag)
    } else {
        flag.then_some(Protection::Flag)
    };
    let target = Target {
        node: Some(guest.node.to_string()),
        name: Some(guest.name.clone()).filter(|name| !name.is_empty()),
        pool: guest.pool.clone().or(target.pool.clone()),
        tags: guest.tags.clone(),
        protection,
        ..target
    };
    Ok((target, digest))
}

// === impl Facts ===

impl Facts {
    /// Puts what was read of each guest into the plan, where the plan does not say it already: it must
    /// not move between consent and run either.
    pub fn settle(&self, form: &mut PlanForm) {
        // A guest that this very call makes has none of them.
        let guests = self.targets.iter().filter(|it| it.vmid.is_some() && it.node.is_some());
        for target in guests {
            let state = form.targets.entry(target.address.clone()).or_default();
            let mut put = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    state.entry(name.to_owned()).or_insert(value);
                }
            };
            put("node", target.node.clone());
            put("name", target.name.clone());
            put("pool", target.pool.clone());
            put("tags", Some(target.tags.join(";")).filter(|tags| !tags.is_empty()));
            put("digest", self.digests.get(&target.address).cloned());
        }
    }
}

// === impl Protecting ===

impl Default for Protecting {
    fn default() -> Self {
        Self { tags: vec!["protected".to_owned()], own: Own::none() }
    }
}

#[cfg(test)]
mod tests;
