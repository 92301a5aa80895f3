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

/// What a plan touches: everything that its calls or its targets name.
///
/// # Errors
/// A cluster did not say what its guests are, so nobody can tell whether they are protected.
pub async fn of_plan(fleet: &Fleet, form: &PlanForm) -> Result<Vec<Target>, ToolError> {
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
    of_plan(fleet, &form).await
}

async fn read(fleet: &Fleet, touched: BTreeSet<Touched>) -> Result<Vec<Target>, ToolError> {
    let mut clusters: BTreeMap<ClusterKey, Vec<Touched>> = BTreeMap::new();
    let mut targets = Vec::new();
    for one in touched {
        // Backup servers say nothing of theirs that a line could look at.
        let is_pve = fleet.product_of(one.member.as_str()) == Some(Product::Pve);
        if is_pve && one.needs_reading() {
            clusters.entry(one.member.clone()).or_default().push(one);
        } else {
            targets.push(one.bare());
        }
    }
    for (key, touched) in clusters {
        targets.extend(of_cluster(fleet, &key, touched).await?);
    }
    targets.sort_by(|one, other| one.address.cmp(&other.address));
    Ok(targets)
}

async fn of_cluster(
    fleet: &Fleet,
    key: &ClusterKey,
    touched: Vec<Touched>,
) -> Result<Vec<Target>, ToolError> {
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
    let mut targets = Vec::new();
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
    let read: Vec<Target> = read
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .map_err(|error: api_core::Error| unreadable(&error))?;
    targets.extend(read);
    Ok(targets)
}

async fn of_guest(
    member: &Pve,
    protecting: &Protecting,
    target: Target,
    guest: &Guest,
    is_own: bool,
) -> Result<Target, api_core::Error> {
    let tagged = guest.tags.iter().any(|tag| protecting.tags.contains(tag));
    let protection = if is_own {
        Some(Protection::ThisServer)
    } else if tagged {
        Some(Protection::Tag)
    } else {
        let (client, node, vmid) = (&member.client, &guest.node, guest.at.vmid);
        let flag = match guest.kind {
            GuestKind::Qemu => client.call(qemu::current_config(node, vmid)).await?.protection,
            GuestKind::Lxc => client.call(lxc::current_config(node, vmid)).await?.protection,
        };
        flag.then_some(Protection::Flag)
    };
    Ok(Target {
        node: Some(guest.node.to_string()),
        name: Some(guest.name.clone()).filter(|name| !name.is_empty()),
        pool: guest.pool.clone().or(target.pool.clone()),
        tags: guest.tags.clone(),
        protection,
        ..target
    })
}

// === impl Protecting ===

impl Default for Protecting {
    fn default() -> Self {
        Self { tags: vec!["protected".to_owned()], own: Own::none() }
    }
}

#[cfg(test)]
mod tests;
