//! The layers as data, and the tests that hold the dependency graph to them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::workspace::root;

/// `xtask/layers.toml`, whose comments say what each part means.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "fences are for the tests alone"))]
pub(crate) struct Layers {
    #[serde(rename = "layer")]
    pub(crate) stack: Vec<Layer>,
    pub(crate) beside: Vec<Beside>,
    pub(crate) never: Vec<Never>,
    pub(crate) fences: BTreeMap<String, Vec<String>>,
    pub(crate) dev_only: DevOnly,
}

/// One layer; the first is the topmost.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) crates: Vec<String>,
}

/// A crate beside the layers.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "edges are for the tests alone"))]
pub(crate) struct Beside {
    pub(crate) name: String,
    pub(crate) note: String,
    pub(crate) uses: Vec<String>,
    pub(crate) used_by: Vec<String>,
}

/// What a crate must not know although its layer would let it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "edges are for the tests alone"))]
pub(crate) struct Never {
    #[serde(rename = "crate")]
    pub(crate) name: String,
    pub(crate) on: Vec<String>,
}

/// Third-party crates that are never in what ships.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "fences are for the tests alone"))]
pub(crate) struct DevOnly {
    pub(crate) except: Vec<String>,
    pub(crate) crates: Vec<String>,
}

// === impl Layers ===

impl Layers {
    /// Reads the file.
    pub(crate) fn read() -> Result<Self> {
        let path = root().join("xtask/layers.toml");
        let text = std::fs::read_to_string(path).context("cannot read xtask/layers.toml")?;
        toml::from_str(&text).context("xtask/layers.toml")
    }
}

#[cfg(test)]
mod tests;
