//! `[events]` and everything that belongs to it: what is heard, what becomes of it, who is told.
//!
//! The tables become the types of `rules`, `inputs` and `outputs`; whatever those would refuse is
//! refused here, with its key and its place.

mod client;
mod fields;
mod inputs;
mod outputs;
mod rules;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::rules::{Config, Rules};
use estate::ClusterKey;
use event_core::{ComponentId, Kind};
use jiff::{SignedDuration, civil, tz::TimeZone};
use secrecy::SecretString;

use self::client::Around;
use self::fields::Fields;
pub use self::inputs::InputSettings;
pub use self::outputs::{OutputChannel, OutputSettings};
use crate::keys::did_you_mean;
use crate::layers::Merged;
use crate::load::Loader;

/// Everything that is said about events.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EventsSettings {
    /// Whether events are heard, kept and told.
    pub enabled: bool,
    /// How long events, and incidents that are over, are kept.
    pub keep: SignedDuration,
    /// What this manager calls itself; `None` for the name of the machine.
    pub instance: Option<String>,
    /// Where reports wait while the database is away; `None` for `spool` in the state folder.
    pub spool_dir: Option<PathBuf>,
    /// How much may wait there, in bytes.
    pub spool_max_bytes: u64,
    /// What is listened to. Without a table of type `tasks`, each cluster and backup server is asked
    /// all the same, as `tasks_<cluster>`.
    pub inputs: Vec<(ComponentId, InputSettings)>,
    /// Who is told.
    pub outputs: Vec<(ComponentId, OutputSettings)>,
    /// What the rules were made of.
    pub config: Config,
    /// The rules, checked.
    pub rules: Rules,
    secrets: Vec<SecretString>,
}

// === impl EventsSettings ===

impl EventsSettings {
    /// Every secret of inputs and outputs, for the redactor.
    pub fn secrets(&self) -> &[SecretString] {
        &self.secrets
    }
}

// === impl Loader ===

impl Loader<'_> {
    /// Everything about events, or `None` after errors that say why not.
    pub(crate) fn events(
        &mut self,
        merged: &Merged,
        pve: &BTreeMap<ClusterKey, pve_client::config::ConnectOptions>,
        pbs: &BTreeMap<ClusterKey, pbs_client::config::ConnectOptions>,
    ) -> Option<EventsSettings> {
        let before = self.findings.errors.len();
        let mut fields = Fields::open(self, merged, &["events"]);
        let mut config = Config::default();
        fields.basics(&mut config);
        let is_asked_for = ["input", "output"].iter().any(|it| !merged.tables(it).is_empty());
        let enabled = if fields.has("enabled") { fields.flag("enabled") } else { is_asked_for };
        let days = fields.number("keep_days").and_then(|days| i64::try_from(days).ok());
        let keep = SignedDuration::from_hours(24 * days.unwrap_or_default());
        let instance = fields.instance();
        let spool_dir = fields.path("spool_dir");
        let spool_max_bytes = fields.number("spool_max_bytes").unwrap_or_default();
        let polls = enabled && fields.flag("poll");
        let zone = config.zone.clone();
        let around = Around { pve, pbs, zone, instance: instance.clone() };
        let inputs = self.inputs(merged, &around, polls);
        config.inputs = inputs::expected(&inputs);
        let outputs = self.outputs(merged, &around, &mut config.outputs);
        let rules = self.rules(merged, &around, &mut config);
        if self.findings.errors.len() > before {
            return None;
        }
        Some(EventsSettings {
            enabled,
            keep,
            instance,
            spool_dir,
            spool_max_bytes,
            inputs,
            outputs,
            config,
            rules: rules?,
            secrets: std::mem::take(&mut self.secrets),
        })
    }
}

// === impl Fields ===

impl Fields<'_, '_> {
    /// What `[events]` says about messages.
    fn basics(&mut self, config: &mut Config) {
        config.wait = self.span("wait_secs").unwrap_or_default();
        config.update = self.span("update_secs").unwrap_or_default();
        self.thresholds(config);
        config.hold = self.hold();
        config.zone = match self.text("zone") {
            Some(_) => self.zone("zone").unwrap_or(TimeZone::UTC),
            None => TimeZone::system(),
        };
        let digest = self.needed("digest_at");
        match civil::Time::strptime("%H:%M", &digest) {
            Ok(time) => config.digest = time,
            Err(_) => {
                let shown: String = digest.chars().take(40).collect();
                self.wrong("digest_at", format!("is {shown:?}"), "it takes a time such as 08:00");
            }
        }
    }

    /// From when on storages count as full.
    fn thresholds(&mut self, config: &mut Config) {
        let keys = ["full_warning_percent", "full_error_percent", "full_margin_percent"];
        let said = keys.map(|key| self.number(key).and_then(|it| u32::try_from(it).ok()));
        let [Some(warning), Some(error), Some(margin)] = said else { return };
        if warning >= error {
            let reason = format!("is {warning}, and full_error_percent {error}");
            self.wrong("full_warning_percent", reason, "let the warning come before the error");
        } else if margin >= warning {
            let reason = format!("is {margin}, and full_warning_percent {warning}");
            self.wrong("full_margin_percent", reason, "let it be a few percent");
        } else {
            config.full.warning = warning.into();
            config.full.error = error.into();
            config.full.margin = margin.into();
        }
    }

    /// A zone by its name.
    pub(super) fn zone(&mut self, key: &str) -> Option<TimeZone> {
        let name = self.text(key)?;
        match TimeZone::get(&name) {
            Ok(zone) => Some(zone),
            Err(_) => {
                let shown: String = name.chars().take(60).collect();
                let hint = "name a zone of the system's list, such as Europe/Vienna or UTC; the \
                            list is in the package tzdata";
                self.wrong(key, format!("is {shown:?}, which is no time zone here"), hint);
                None
            }
        }
    }

    /// What has to last before it is told, by kind.
    fn hold(&mut self) -> BTreeMap<String, SignedDuration> {
        let mut hold = BTreeMap::new();
        for (name, value) in self.entries("hold_secs") {
            let listed = Kind::LIST.iter().find(|(word, _)| word.replace('.', "_") == name);
            let kind = match listed {
                Some((word, _)) => (*word).to_owned(),
                // What is behind `other.` is anybody's, and may have a `_` of its own.
                None if name.starts_with("other.") && name.parse::<Kind>().is_ok() => name,
                None => {
                    let words: Vec<String> =
                        Kind::LIST.iter().map(|(word, _)| word.replace('.', "_")).collect();
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    let hint = did_you_mean(&name.replace('.', "_"), &words, "kinds");
                    self.wrong_entry("hold_secs", &name, "is no kind of event", hint);
                    continue;
                }
            };
            hold.insert(kind, SignedDuration::from_secs(value.as_integer().unwrap_or_default()));
        }
        hold
    }

    fn instance(&mut self) -> Option<String> {
        let name = self.text("instance")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) {
            return Some(name);
        }
        let shown: String = name.chars().take(80).collect();
        let hint = "use letters, digits, `.`, `_` and `-`, at most 64";
        self.wrong("instance", format!("is {shown:?}"), hint);
        None
    }
}
