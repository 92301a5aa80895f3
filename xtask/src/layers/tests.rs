//! The graph is the architecture: layers and fences against `cargo metadata`.

use std::collections::BTreeSet;

use cargo_metadata::{Dependency, DependencyKind, MetadataCommand, Package};

use super::Layers;
use crate::workspace::root;

fn packages() -> Vec<Package> {
    let manifest = root().join("Cargo.toml");
    let metadata =
        MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    metadata.packages
}

/// Every rule that the edges of these packages break, as a sentence each.
fn broken_edges(layers: &Layers, packages: &[Package]) -> Vec<String> {
    let members: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut broken = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let (from, to) = (package.name.as_str(), dependency.name.as_str());
            let complaint = if members.contains(to) {
                broken_edge(layers, from, dependency)
            } else {
                broken_fence(layers, from, dependency)
            };
            if let Some(complaint) = complaint {
                broken.push(format!("{from} → {to}: {complaint}"));
            }
        }
    }
    broken
}

/// What is wrong with an edge between two of our crates.
fn broken_edge(layers: &Layers, from: &str, dependency: &Dependency) -> Option<String> {
    let to = dependency.name.as_str();
    let development = dependency.kind == DependencyKind::Development;
    if let Some(beside) = layers.beside.iter().find(|beside| beside.name == to) {
        let allowed = development || beside.used_by.iter().any(|name| name == from);
        return (!allowed)
            .then(|| format!("{to} is a development dependency, or is named in `used_by`"));
    }
    if let Some(beside) = layers.beside.iter().find(|beside| beside.name == from) {
        let allowed = beside.uses.iter().any(|name| name == to);
        return (!allowed).then(|| format!("{from} stands beside and uses only {:?}", beside.uses));
    }
    if layers.never.iter().any(|never| never.name == from && never.on.iter().any(|on| on == to)) {
        return Some("a `never` rule forbids it".to_owned());
    }
    let (Some((from_rank, from_layer)), Some((to_rank, to_layer))) =
        (layer_of(layers, from), layer_of(layers, to))
    else {
        return None; // The membership test names it.
    };
    // The first layer is the topmost, so a higher rank is further down.
    (to_rank <= from_rank).then(|| format!("{from_layer} may not use {to_layer}: down only"))
}

/// What is wrong with naming this third-party crate.
fn broken_fence(layers: &Layers, from: &str, dependency: &Dependency) -> Option<String> {
    let to = dependency.name.as_str();
    if let Some(allowed) = layers.fences.get(to)
        && !allowed.iter().any(|name| name == from)
    {
        return Some(format!("only {} may name it", allowed.join(", ")));
    }
    let development = dependency.kind == DependencyKind::Development;
    let dev_only = layers.dev_only.crates.iter().any(|name| name == to)
        && !layers.dev_only.except.iter().any(|name| name == from);
    (dev_only && !development).then(|| "it is a development dependency only".to_owned())
}

fn layer_of<'a>(layers: &'a Layers, name: &str) -> Option<(usize, &'a str)> {
    let (rank, layer) = layers
        .stack
        .iter()
        .enumerate()
        .find(|(_, layer)| layer.crates.iter().any(|one| one == name))?;
    Some((rank, &layer.name))
}

#[test]
fn edges_go_down_only_and_fences_hold() {
    let broken = broken_edges(&Layers::read().unwrap(), &packages());
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_crate_stands_in_exactly_one_place() {
    let layers = Layers::read().unwrap();
    let mut listed: Vec<&str> =
        layers.stack.iter().flat_map(|layer| &layer.crates).map(String::as_str).collect();
    listed.extend(layers.beside.iter().map(|beside| beside.name.as_str()));
    listed.sort_unstable();
    let packages = packages();
    let mut members: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    members.sort_unstable();
    assert_eq!(listed, members, "xtask/layers.toml against the workspace's members");
}

/// The checker itself: each rule, broken on purpose, is named.
#[test]
fn each_rule_bites() {
    let layers: Layers = toml::from_str(
        r#"
        layer = [{ name = "up", crates = ["a", "b"] }, { name = "down", crates = ["c"] }]
        beside = [{ name = "kit", note = "", uses = ["c"], used_by = ["a"] }]
        never = [{ crate = "b", on = ["c"] }]
        fences = { fenced = ["a"] }
        dev_only = { crates = ["snap"], except = ["c"] }
        "#,
    )
    .unwrap();
    let check = |from: &str, to: &str, development: bool, expected: Option<&str>| {
        let kind = if development { "dev" } else { "normal" };
        let dependency: Dependency = serde_json::from_value(serde_json::json!({
            "name": to, "req": "*", "kind": kind, "optional": false,
            "uses_default_features": true, "features": [],
        }))
        .unwrap();
        let ours = ["a", "b", "c", "kit"].contains(&to);
        let broken = if ours {
            broken_edge(&layers, from, &dependency)
        } else {
            broken_fence(&layers, from, &dependency)
        };
        assert_eq!(broken.as_deref(), expected, "{from} → {to}");
    };
    check("a", "c", false, None);
    check("c", "a", false, Some("down may not use up: down only"));
    check("c", "a", true, Some("down may not use up: down only"));
    check("a", "b", false, Some("up may not use up: down only"));
    check("b", "c", false, Some("a `never` rule forbids it"));
    check("a", "kit", false, None);
    check("b", "kit", true, None);
    check("b", "kit", false, Some("kit is a development dependency, or is named in `used_by`"));
    check("kit", "c", false, None);
    check("kit", "a", false, Some(r#"kit stands beside and uses only ["c"]"#));
    check("a", "fenced", false, None);
    check("b", "fenced", true, Some("only a may name it"));
    check("a", "snap", true, None);
    check("a", "snap", false, Some("it is a development dependency only"));
    check("c", "snap", false, None);
    check("c", "free", false, None);
}
