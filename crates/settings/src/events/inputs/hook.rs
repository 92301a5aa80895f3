//! `[input.<name>.hook.<name>]`: who posts, and what the bodies are.

use std::collections::BTreeMap;

use event_core::Severity;
use inputs::recognize::json::{Mapping, Pointer};
use inputs::recognize::webhook::Format;
use inputs::webhook;
use secrecy::ExposeSecret as _;

use crate::events::client::Around;
use crate::events::fields::Fields;
use crate::keys::did_you_mean;

/// The parts of an event that a mapping can place.
const PARTS: [&str; 11] = [
    "each",
    "title",
    "message",
    "severity",
    "time",
    "kind",
    "key",
    "correlation",
    "node",
    "vmid",
    "storage",
];

// === impl Fields ===

impl Fields<'_, '_> {
    pub(super) fn webhook(&mut self, around: &Around<'_>) -> webhook::Config {
        let mut hooks = BTreeMap::new();
        for name in self.names_below("hook") {
            let mut hook = self.below("hook", &name);
            let secret = hook.needed_secret("secret");
            let length = secret.expose_secret().len();
            if length > 0 && length < webhook::MIN_SECRET {
                let key = if hook.has("secret") { "secret" } else { "secret_file" };
                let reason = format!("is shorter than {} bytes", webhook::MIN_SECRET);
                hook.wrong(key, reason, "`openssl rand -hex 24` makes one");
            }
            let identity = hook.identity(around);
            let format = hook.format();
            hooks.insert(name, webhook::Hook { secret, identity, format });
        }
        webhook::Config::new(hooks)
    }

    fn format(&mut self) -> Format {
        let word = self.text("format").unwrap_or_default();
        if word != "json" {
            for key in ["mapping", "severities", "mapping_labels"] {
                if self.has(key) {
                    let reason = format!("means nothing with format = {word:?}");
                    self.wrong(key, reason, "take it out, or set format = \"json\"");
                }
            }
        }
        match word.as_str() {
            "proxmox" => Format::Proxmox,
            "gotify" => Format::Gotify,
            "discord" => Format::Discord,
            "slack" => Format::Slack,
            "alertmanager" => Format::Alertmanager,
            "json" => Format::Json(Box::new(self.mapping())),
            "text" => Format::Text,
            _ => Format::Auto,
        }
    }

    pub(super) fn mapping(&mut self) -> Mapping {
        let mut mapping = Mapping::default();
        for (part, value) in self.entries("mapping") {
            let places = match &value {
                toml::Value::Array(items) => items.iter().filter_map(|it| it.as_str()).collect(),
                other => other.as_str().into_iter().collect::<Vec<_>>(),
            };
            let mut pointers = Vec::new();
            for place in places {
                pointers.extend(self.pointer("mapping", &part, place));
            }
            let into = match part.as_str() {
                "each" => {
                    mapping.each = pointers.into_iter().next();
                    continue;
                }
                "title" => &mut mapping.title,
                "message" => &mut mapping.message,
                "severity" => &mut mapping.severity,
                "time" => &mut mapping.time,
                "kind" => &mut mapping.kind,
                "key" => &mut mapping.key,
                "correlation" => &mut mapping.correlation,
                "node" => &mut mapping.node,
                "vmid" => &mut mapping.vmid,
                "storage" => &mut mapping.storage,
                _ => {
                    let hint = did_you_mean(&part, &PARTS, "the parts are");
                    self.wrong_entry("mapping", &part, "is no part of an event", hint);
                    continue;
                }
            };
            *into = pointers;
        }
        for (word, severity) in self.texts("severities") {
            match severity.parse::<Severity>() {
                Ok(severity) => drop(mapping.severities.insert(word, severity)),
                Err(error) => self.wrong_entry("severities", &word, error.to_string(), ""),
            }
        }
        for (label, place) in self.texts("mapping_labels") {
            if let Some(pointer) = self.pointer("mapping_labels", &label, &place) {
                mapping.labels.insert(label, pointer);
            }
        }
        mapping
    }

    pub(super) fn pointer(&mut self, key: &str, entry: &str, place: &str) -> Option<Pointer> {
        match place.parse() {
            Ok(pointer) => Some(pointer),
            Err(error) => {
                self.wrong_entry(key, entry, error.to_string(), "");
                None
            }
        }
    }
}
