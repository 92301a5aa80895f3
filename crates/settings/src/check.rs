//! From merged layers to settings: what no layer alone could tell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use api_core::endpoint::{self, Checked, ReadFile};
use estate::ClusterKey;
use serde::de::DeserializeOwned;
use toml::Value;

use crate::error::{Complaint, Origin};
use crate::keys::{Kind, Section, did_you_mean};
use crate::layer::KeyPath;
use crate::layers::{self, Merged};
use crate::load::{Loader, unreadable};
use crate::settings::{RawLog, RawServer, Settings};

/// A client's own check of its table, by the table's name.
type Validate<C, O> = fn(&C, &str, &dyn ReadFile) -> Result<Checked<O>, endpoint::ConfigError>;

// === impl Loader ===

impl Loader<'_> {
    /// The settings, or `None` after an error that says why not.
    pub(crate) fn settings(&mut self, merged: &Merged) -> Option<Settings> {
        self.check_names(merged);
        self.check_types(merged);
        self.check_files(merged);
        let pve = self.clients(merged, "pve", pve_client::config::Config::validate);
        let pbs = self.clients(merged, "pbs", pbs_client::config::Config::validate);
        self.check_endpoints(merged);
        let server: Option<RawServer> = self.extract(merged, &["server"]);
        let http = self.http(merged);
        let oauth = self.oauth(merged);
        let guard = self.guard(merged);
        let approvers = self.approvers(merged);
        let defaults = guard.as_ref().map(|guard| guard.defaults.clone()).unwrap_or_default();
        let policy = self.policy(merged, defaults, &approvers);
        let manager = self.manager(merged);
        let audit = self.audit(merged);
        let events = self.events(merged, &pve, &pbs);
        let log: Option<RawLog> = self.extract(merged, &["log"]);
        if pve.is_empty() && pbs.is_empty() && self.findings.errors.is_empty() {
            let hint = "add a table [pve.<name>] or [pbs.<name>]; `proxmox-mcp config init` writes \
                        a first file";
            let complaint = Complaint::new("no endpoint is configured", hint);
            self.findings.warn(&Origin::Default, "", complaint);
        }
        let server = server?.check(self.sources.default_state_dir());
        Some(Settings {
            pve,
            pbs,
            server,
            http: http?,
            oauth,
            guard: guard?,
            policy: policy?,
            approvers,
            manager: manager?,
            audit: audit?,
            events: events?,
            log: log?.check(),
        })
    }

    pub(crate) fn extract<T: DeserializeOwned>(
        &mut self,
        merged: &Merged,
        path: &[&str],
    ) -> Option<T> {
        let prefix = format!("{}.", path.join("."));
        // What the table of keys has found is not said twice in other words.
        if self.findings.errors.iter().any(|error| error.key.starts_with(&prefix)) {
            return None;
        }
        match merged.extract(path) {
            Ok(value) => Some(value),
            Err(complaints) => {
                for (path, complaint) in complaints {
                    let origin = merged.origin(&path);
                    self.findings.error(&origin, layers::name(&path), complaint);
                }
                None
            }
        }
    }

    /// Complains about each key that a named table must have and has not.
    pub(crate) fn check_required(
        &mut self,
        merged: &Merged,
        section: &str,
        name: &str,
        origin: &Origin,
    ) {
        let Some(known) = Section::find(section) else { return };
        for required in known.keys.iter().filter(|key| key.required) {
            let at = format!("{section}.{name}.{}", required.name);
            let is_known = self.findings.errors.iter().any(|error| error.key == at);
            if !merged.has(&[section, name, required.name]) && !is_known {
                let example = known.fill(required.example);
                let hint = format!("for example {} = {example}", required.name);
                self.findings.error(origin, at, Complaint::new("is missing", hint));
            }
        }
    }

    /// The tables of a product, each checked by its client.
    fn clients<C: DeserializeOwned, O>(
        &mut self,
        merged: &Merged,
        product: &str,
        validate: Validate<C, O>,
    ) -> BTreeMap<ClusterKey, O> {
        let mut clients = BTreeMap::new();
        for (name, origin) in merged.tables(product) {
            let Ok(key) = ClusterKey::try_new(name) else { continue };
            self.check_required(merged, product, name, origin);
            let Some(client) = self.extract::<C>(merged, &[product, name]) else { continue };
            match validate(&client, name, self.files) {
                Ok(Checked { value, warnings }) => {
                    clients.insert(key, value);
                    for endpoint::Warning { key, reason, hint, .. } in warnings {
                        let origin = merged.origin(&path_of(&key));
                        self.findings.warn(&origin, key, Complaint::new(reason, hint));
                    }
                }
                Err(endpoint::ConfigError { key, reason, hint, .. }) => {
                    let origin = merged.origin(&path_of(&key));
                    self.findings.error(&origin, key, Complaint::new(reason, hint));
                }
            }
        }
        clients
    }

    /// What stands in a table whose type knows nothing of it.
    fn check_types(&mut self, merged: &Merged) {
        for path in merged.named_tables() {
            let Some(section) = Section::find(&path[0]).filter(|it| !it.types.is_empty()) else {
                continue;
            };
            let Some(of_type) = merged.type_of(&path) else { continue };
            let word = of_type.name;
            if let Some(nested) = path.get(2) {
                if path.len() == 4 && section.nested_of(Some(of_type), nested).is_none() {
                    let reason = format!("means nothing with type = {word:?}");
                    let complaint = Complaint::new(reason, "take it out, or change the type");
                    self.findings.error(&merged.origin(&path), layers::name(&path), complaint);
                }
                continue;
            }
            let known = merged.keys_of(&path);
            let mut said = BTreeSet::new();
            for at in merged.paths_below(&path) {
                let key = at[2].as_str();
                let is_known = known.iter().any(|it| it.name == key);
                if is_known || section.has_nested(key) || !said.insert(key) {
                    continue;
                }
                let names: Vec<&str> = known.iter().map(|it| it.name).collect();
                let reason = format!("means nothing with type = {word:?}");
                let hint = did_you_mean(key, &names, "its keys are");
                let complaint = Complaint::new(reason, hint);
                self.findings.error(&merged.origin(at), layers::name(&at[..3]), complaint);
            }
        }
    }

    /// A name is an address: `home/104` must not mean two things.
    fn check_names(&mut self, merged: &Merged) {
        let pve = merged.tables("pve");
        for (name, origin) in merged.tables("pbs") {
            if let Some(other) = pve.get(name) {
                let reason = format!("has the name of pve.{name} ({other})");
                let complaint = Complaint::new(reason, "rename one of the two tables");
                self.findings.error(origin, format!("pbs.{name}"), complaint);
            }
        }
    }

    /// The files that settings name must be there: all that are not, at once.
    fn check_files(&mut self, merged: &Merged) {
        for entry in merged.effective() {
            let Value::String(path) = entry.value else { continue };
            if !matches!(entry.key.kind, Kind::File | Kind::SecretFile) {
                continue;
            }
            if let Err(error) = self.files.read(Path::new(path)) {
                let Complaint { reason, hint } = unreadable(&error);
                let complaint = Complaint::new(format!("names {path}, which {reason}"), hint);
                self.findings.error(entry.origin, layers::name(&entry.path), complaint);
            }
        }
    }

    /// The same address in two tables would be counted twice everywhere.
    fn check_endpoints(&mut self, merged: &Merged) {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for entry in merged.effective() {
            let Value::Array(endpoints) = entry.value else { continue };
            if entry.key.name != "endpoints" {
                continue;
            }
            let table = layers::name(&entry.path[..2]);
            for endpoint in endpoints.iter().filter_map(Value::as_str) {
                let address = endpoint.trim_end_matches('/').to_ascii_lowercase();
                let Some(other) = seen.insert(address, table.clone()) else { continue };
                let shown = crate::origins::without_password(endpoint);
                // Within one table it is an error, which the client's own check makes.
                if other == table {
                    continue;
                }
                let reason = format!("lists {shown}, which {other} lists too");
                let hint = "one table per cluster: everything in it would count twice";
                let key = layers::name(&entry.path);
                self.findings.warn(entry.origin, key, Complaint::new(reason, hint));
            }
        }
    }
}

fn path_of(key: &str) -> KeyPath {
    key.split('.').map(str::to_owned).collect()
}
