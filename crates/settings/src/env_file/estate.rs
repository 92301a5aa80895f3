//! From variables to the tables that they mean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::dotenv::Assignment;
use super::events::Channel;
use super::known::NODE_SUFFIXES;
use crate::error::{Complaint, Findings, Origin};
use crate::keys::did_you_mean;
use crate::settings::Topology;

/// What the file says.
pub(super) struct Found {
    pub(super) topology: Option<(Topology, Origin)>,
    pub(super) log_level: Option<(&'static str, Origin)>,
    pub(super) tables: Vec<Table>,
    /// The inputs and outputs.
    pub(super) channels: Vec<Channel>,
    /// What wants clusters and backup servers to be followed.
    pub(super) follows: Option<Origin>,
}

/// One table `[pve.<key>]` or `[pbs.<key>]`.
pub(super) struct Table {
    pub(super) product: Product,
    pub(super) key: String,
    /// Which part of the file it comes from.
    pub(super) remark: String,
    pub(super) endpoints: Vec<String>,
    pub(super) token_id: String,
    pub(super) token: SecretString,
    pub(super) insecure: Option<Origin>,
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) host_origin: Origin,
    pub(super) id_origin: Origin,
    pub(super) token_origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    Pve,
    Pbs,
}

pub(super) struct Reader<'a> {
    pub(super) path: PathBuf,
    pub(super) variables: BTreeMap<String, Assignment>,
    pub(super) used: BTreeSet<String>,
    /// What stands before `_HOST` and so on for the nodes that are listed.
    pub(super) prefixes: Vec<String>,
    pub(super) topology: Option<Topology>,
    pub(super) insecure: Option<Origin>,
    pub(super) tables: Vec<Table>,
    pub(super) findings: &'a mut Findings,
}

/// Reads what the variables mean; what is missing or odd goes to the findings.
pub(super) fn read(path: &Path, variables: Vec<Assignment>, findings: &mut Findings) -> Found {
    let variables = variables.into_iter().map(|one| (one.name.clone(), one)).collect();
    let mut reader = Reader {
        path: path.to_owned(),
        variables,
        used: BTreeSet::new(),
        prefixes: Vec::new(),
        topology: None,
        insecure: None,
        tables: Vec::new(),
        findings,
    };
    let topology = reader.topology();
    reader.topology = topology.as_ref().map(|(topology, _)| *topology);
    reader.insecure = reader.verify_ssl();
    if reader.topology != Some(Topology::Standalone) {
        reader.pve_cluster();
    }
    if reader.topology != Some(Topology::Clustered) {
        reader.nodes(Product::Pve);
    }
    // Backup servers form no clusters, so how the nodes are grouped does not tell about them.
    let grouped = reader.topology != Some(Topology::Standalone) && reader.pbs_cluster();
    if reader.topology != Some(Topology::Clustered) || !grouped {
        reader.nodes(Product::Pbs);
    }
    let log_level = reader.log_level();
    let (channels, follows) = reader.channels();
    reader.retired();
    reader.left_over();
    Found { topology, log_level, tables: reader.tables, channels, follows }
}

// === impl Product ===

impl Product {
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::Pve => "pve",
            Self::Pbs => "pbs",
        }
    }

    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Pve => "PVE",
            Self::Pbs => "PBS",
        }
    }

    pub(super) fn port(self) -> u16 {
        match self {
            Self::Pve => 8006,
            Self::Pbs => 8007,
        }
    }
}

// === impl Reader: variables ===

impl Reader<'_> {
    /// The variable's value and place; an empty one counts as not set.
    pub(super) fn take(&mut self, name: &str) -> Option<(String, Origin)> {
        let found = self.variables.get(name)?;
        self.used.insert(name.to_owned());
        let value = found.value.trim();
        (!value.is_empty()).then(|| (value.to_owned(), self.origin(name)))
    }

    pub(super) fn origin(&self, name: &str) -> Origin {
        let line = self.variables.get(name).map(|found| found.line);
        Origin::EnvFile { path: self.path.clone(), line, name: name.to_owned() }
    }

    /// The names of a comma-separated list, each once.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let Some((text, _)) = self.take(name) else { return Vec::new() };
        let text = text.trim_matches(['[', ']']);
        let mut names: Vec<String> = Vec::new();
        for one in text.split(',') {
            let one = one.trim().trim_matches(['"', '\'']);
            if !one.is_empty() && !names.iter().any(|known| known == one) {
                names.push(one.to_owned());
            }
        }
        names
    }

    pub(super) fn warn(
        &mut self,
        origin: &Origin,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.findings.warn(origin, "", Complaint::new(reason, hint));
    }

    /// An error about a variable that is not there, placed at the one that asks for it.
    pub(super) fn missing(
        &mut self,
        name: &str,
        asks: &str,
        reason: impl Into<String>,
        hint: &str,
    ) {
        let origin = self.origin(asks);
        self.findings.error(&origin, name, Complaint::new(reason, hint));
    }

    /// Notes a node whose variables are spoken for, whatever becomes of them.
    pub(super) fn claim(&mut self, name: &str) -> String {
        let prefix = prefix_of(name);
        for suffix in NODE_SUFFIXES {
            self.used.insert(format!("{prefix}{suffix}"));
        }
        self.prefixes.push(prefix.clone());
        prefix
    }

    fn topology(&mut self) -> Option<(Topology, Origin)> {
        let (text, origin) = self.take("LAB_CONFIGURATION")?;
        match text.to_ascii_lowercase().parse() {
            Ok(topology) => Some((topology, origin)),
            Err(_) => {
                let hint = did_you_mean(&text, &["STANDALONE", "CLUSTERED", "MIXED"], "it takes");
                self.warn(
                    &origin,
                    "is not a known topology, so all that is described is taken",
                    hint,
                );
                None
            }
        }
    }

    fn verify_ssl(&mut self) -> Option<Origin> {
        let (text, origin) = self.take("VERIFY_SSL")?;
        match text.to_ascii_lowercase().as_str() {
            "false" | "no" | "off" | "0" => {
                self.warn(
                    &origin,
                    "switches off the checking of certificates (insecure = true)",
                    "put `fingerprint` or `ca_file` in its place: `proxmox-mcp test` shows the \
                     fingerprints that it sees",
                );
                Some(origin)
            }
            "true" | "yes" | "on" | "1" => None,
            _ => {
                self.warn(&origin, "is neither true nor false", "certificates are checked");
                None
            }
        }
    }

    fn log_level(&mut self) -> Option<(&'static str, Origin)> {
        let (text, origin) = self.take("LOG_LEVEL")?;
        let level = match text.to_ascii_lowercase().as_str() {
            "critical" | "fatal" | "error" => "error",
            "warn" | "warning" => "warn",
            "info" | "notset" => "info",
            "debug" => "debug",
            "trace" => "trace",
            _ => {
                let words = ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"];
                let hint = did_you_mean(&text, &words, "it takes");
                self.warn(&origin, "is not a known level, so info is used", hint);
                return None;
            }
        };
        Some((level, origin))
    }
}

/// What stands before `_HOST` in a node's variables.
fn prefix_of(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}
