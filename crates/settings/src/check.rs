//! From merged layers to settings: what no layer alone could tell.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use estate::ClusterKey;
use serde::de::DeserializeOwned;
use toml::Value;

use crate::error::{Complaint, Origin};
use crate::keys::{Kind, Section};
use crate::layer::KeyPath;
use crate::layers::{self, Merged};
use crate::load::{Loader, unreadable};
use crate::settings::{RawLog, RawServer, Settings};

// === impl Loader ===

impl Loader<'_> {
    /// The settings, or `None` after an error that says why not.
    pub(crate) fn settings(&mut self, merged: &Merged) -> Option<Settings> {
        self.check_names(merged);
        self.check_files(merged);
        let pve = self.clients(merged, "pve", check_pve);
        let pbs = self.clients(merged, "pbs", check_pbs);
        self.check_endpoints(merged);
        let server: Option<RawServer> = self.extract(merged, &["server"]);
        let log: Option<RawLog> = self.extract(merged, &["log"]);
        if pve.is_empty() && pbs.is_empty() && self.findings.errors.is_empty() {
            let hint = "add a table [pve.<name>] or [pbs.<name>]; `proxmox-mcp config init` writes \
                        a first file";
            let complaint = Complaint::new("no endpoint is configured", hint);
            self.findings.warn(&Origin::Default, "", complaint);
        }
        let server = server?.check(self.sources.default_state_dir());
        Some(Settings { pve, pbs, server, log: log?.check() })
    }

    fn extract<T: DeserializeOwned>(&mut self, merged: &Merged, path: &[&str]) -> Option<T> {
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

    fn clients<C: DeserializeOwned>(
        &mut self,
        merged: &Merged,
        product: &str,
        check: fn(&C) -> Result<(), (String, Complaint)>,
    ) -> BTreeMap<ClusterKey, C> {
        let mut clients = BTreeMap::new();
        let Some(section) = Section::find(product) else { return clients };
        for (name, origin) in merged.tables(product) {
            let Ok(key) = ClusterKey::try_new(name) else { continue };
            let mut complete = true;
            for required in section.keys.iter().filter(|key| key.required) {
                let at = format!("{product}.{name}.{}", required.name);
                let is_known = self.findings.errors.iter().any(|error| error.key == at);
                if !merged.has(&[product, name, required.name]) && !is_known {
                    let example = section.fill(required.example);
                    let hint = format!("for example {} = {example}", required.name);
                    self.findings.error(origin, at, Complaint::new("is missing", hint));
                    complete = false;
                }
            }
            if !complete {
                continue;
            }
            let Some(client) = self.extract::<C>(merged, &[product, name]) else { continue };
            match check(&client) {
                Ok(()) => {
                    clients.insert(key, client);
                }
                Err((field, complaint)) => {
                    let mut path: KeyPath = vec![product.to_owned(), name.to_owned()];
                    path.extend(
                        field.split('.').filter(|part| !part.is_empty()).map(str::to_owned),
                    );
                    let origin = merged.origin(&path);
                    self.findings.error(&origin, layers::name(&path), complaint);
                }
            }
        }
        clients
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

    /// The files that settings name must be there; those with secrets must be private.
    fn check_files(&mut self, merged: &Merged) {
        for entry in merged.effective() {
            let Value::String(path) = entry.value else { continue };
            let path = Path::new(path);
            let key = layers::name(&entry.path);
            match entry.key.kind {
                Kind::SecretFile => match self.files.read(path) {
                    Ok(text) if text.trim().is_empty() => {
                        let reason = format!("names {}, which is empty", path.display());
                        let hint = "write the secret into it, alone on its first line";
                        self.findings.error(entry.origin, key, Complaint::new(reason, hint));
                    }
                    Ok(_) => self.warn_if_world_readable(path, entry.origin, &key),
                    Err(error) => self.missing_file(path, entry.origin, key, &error),
                },
                Kind::File => {
                    if let Err(error) = self.files.read(path) {
                        self.missing_file(path, entry.origin, key, &error);
                    }
                }
                _ => {}
            }
        }
    }

    fn missing_file(&mut self, path: &Path, origin: &Origin, key: String, error: &io::Error) {
        let Complaint { reason, hint } = unreadable(error);
        let reason = format!("names {}, which {reason}", path.display());
        self.findings.error(origin, key, Complaint::new(reason, hint));
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
                let (reason, hint) = if other == table {
                    (format!("lists {shown} twice"), "remove one of them".to_owned())
                } else {
                    let reason = format!("lists {shown}, which {other} lists too");
                    (reason, "one table per cluster: everything in it would count twice".to_owned())
                };
                let key = layers::name(&entry.path);
                self.findings.warn(entry.origin, key, Complaint::new(reason, hint));
            }
        }
    }
}

fn check_pve(config: &crate::stub::Config) -> Result<(), (String, Complaint)> {
    let _ = config;
    Ok(())
}

fn check_pbs(config: &crate::stub::Config) -> Result<(), (String, Complaint)> {
    let _ = config;
    Ok(())
}
