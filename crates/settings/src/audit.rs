//! `[audit]`: where copies of audit records go.

use std::path::PathBuf;

use audit_copies::Target;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::error::Complaint;
use crate::layers::Merged;
use crate::load::Loader;

/// `[audit]`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AuditSettings {
    /// A syslog receiver.
    pub syslog: Option<Target>,
    /// A webhook's address, which may be a secret.
    pub webhook_url: Option<SecretString>,
}

/// `[audit]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAudit {
    syslog: Option<String>,
    #[serde(default)]
    webhook_url: Option<SecretString>,
    webhook_url_file: Option<PathBuf>,
}

// === impl AuditSettings ===

impl AuditSettings {
    /// Every receiver.
    pub fn targets(&self) -> Vec<Target> {
        // It was read once when the settings were checked.
        let webhook = self.webhook_url.as_ref().and_then(|url| url.expose_secret().parse().ok());
        self.syslog.clone().into_iter().chain(webhook).collect()
    }
}

// === impl Loader ===

impl Loader<'_> {
    /// `[audit]`, or `None` after an error that says why not.
    pub(crate) fn audit(&mut self, merged: &Merged) -> Option<AuditSettings> {
        if !merged.has(&["audit"]) {
            return Some(AuditSettings::default());
        }
        let raw: RawAudit = self.extract(merged, &["audit"])?;
        let mut complaints = Vec::new();
        let syslog = raw.syslog.and_then(|text| match text.parse::<Target>() {
            Ok(target @ (Target::Udp(_) | Target::Unix(_))) => Some(target),
            _ => {
                let reason = format!("{text:?} is no syslog receiver");
                let hint = "it takes udp://HOST:PORT or unix:///dev/log";
                complaints.push(("syslog", Complaint::new(reason, hint)));
                None
            }
        });
        let mut key = "webhook_url";
        let mut webhook_url = raw.webhook_url;
        if let Some(path) = raw.webhook_url_file {
            key = "webhook_url_file";
            match self.files.read(&path).map(|content| String::from_utf8(content.bytes)) {
                Ok(Ok(text)) => webhook_url = Some(text.trim().to_owned().into()),
                Ok(Err(_)) => {
                    let hint = "put only the address into the file";
                    complaints.push((key, Complaint::new("is not text", hint)));
                }
                Err(error) => {
                    let reason = format!("{} cannot be read: {error}", path.display());
                    let hint = "let this account read it";
                    complaints.push((key, Complaint::new(reason, hint)));
                }
            }
        }
        let is_webhook = |url: &SecretString| {
            matches!(url.expose_secret().parse::<Target>(), Ok(Target::Webhook(_)))
        };
        if webhook_url.as_ref().is_some_and(|url| !is_webhook(url)) {
            let complaint = Complaint::new("is no address of a webhook", "it takes https://…");
            complaints.push((key, complaint));
        }
        let is_good = complaints.is_empty();
        for (key, complaint) in complaints {
            let path = ["audit".to_owned(), key.to_owned()];
            let origin = merged.origin(&path);
            self.findings.error(&origin, format!("audit.{key}"), complaint);
        }
        is_good.then_some(AuditSettings { syslog, webhook_url })
    }
}
