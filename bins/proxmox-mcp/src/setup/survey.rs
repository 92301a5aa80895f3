//! What is there: asked of clusters and backup servers, and put into the plan's own words.

use api_core::{Error, ErrorKind};
use mcp_tools::fleet::{Pbs, Pve};
use pve_client::cluster::{self, backup};
use secrecy::ExposeSecret as _;
use stdx::Chain;

use super::plan::{Found, Mailer, Matcher, Webhook};

/// What was found on a cluster or backup server.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) found: Found,
    /// The proxy that its messages go through.
    pub(super) proxy: Option<String>,
    /// What could not be asked.
    pub(super) gaps: Vec<String>,
}

/// Asks a cluster.
///
/// # Errors
/// Targets or matchers cannot be read.
pub(super) async fn pve(member: &Pve) -> Result<Survey, String> {
    use pve_client::notifications as tell;

    let client = &member.client;
    let webhooks = client.call(tell::endpoints(&tell::TargetKind::Webhook)).await;
    let webhooks = webhooks.map_err(|error| unread(&error, "webhooks came with 8.3"))?;
    let matchers = client.call(tell::matchers()).await;
    let matchers = matchers.map_err(|error| unread(&error, "matchers came with 8.1"))?;
    let mut survey = Survey::default();
    survey.found.webhooks = webhooks
        .into_iter()
        .map(|it| Webhook {
            name: it.name,
            url: it.url.unwrap_or_default(),
            method: it.method.unwrap_or_default(),
            body: it.body.unwrap_or_default(),
            headers: it.headers.iter().map(|it| it.expose_secret().to_owned()).collect(),
            secrets: it.secrets,
            is_off: it.disabled,
        })
        .collect();
    survey.found.matchers = matchers
        .into_iter()
        .map(|it| Matcher {
            name: it.name,
            targets: it.targets,
            is_off: it.disabled,
            is_inverted: it.invert.unwrap_or_default(),
            rules: rules(
                it.fields.into_iter().map(|rule| rule.0),
                it.severities.into_iter().map(|rule| rule.0),
                it.calendars.into_iter().map(|rule| rule.0),
            ),
        })
        .collect();
    match client.call(backup::jobs()).await {
        Ok(jobs) => {
            let jobs = jobs.into_iter().map(|job| Mailer {
                name: job.id,
                mode: job.notification_mode,
                unset: "auto",
                to: job.mailto.filter(|to| !to.trim().is_empty()),
            });
            survey.found.mailers.extend(jobs);
        }
        Err(error) => survey.gaps.push(gap("backup jobs", &error)),
    }
    match client.call(cluster::options()).await {
        Ok(options) => survey.proxy = options.http_proxy,
        Err(error) => survey.gaps.push(gap("the proxy", &error)),
    }
    Ok(survey)
}

/// Asks a backup server.
///
/// # Errors
/// As [`pve`].
pub(super) async fn pbs(member: &Pbs) -> Result<Survey, String> {
    use pbs_client::notifications as tell;
    use pbs_client::{datastores, node, version};

    let client = &member.client;
    let webhooks = client.call(tell::endpoints(&tell::TargetKind::Webhook)).await;
    let webhooks = webhooks.map_err(|error| unread(&error, "webhooks came with 3.3"))?;
    let matchers = client.call(tell::matchers()).await;
    let matchers = matchers.map_err(|error| unread(&error, "matchers came with 3.2"))?;
    let mut survey = Survey::default();
    survey.found.webhooks = webhooks
        .into_iter()
        .map(|it| Webhook {
            name: it.name,
            url: it.url.unwrap_or_default(),
            method: it.method.unwrap_or_default(),
            body: it.body.unwrap_or_default(),
            headers: it.headers.iter().map(|it| it.expose_secret().to_owned()).collect(),
            secrets: it.secrets,
            is_off: it.disabled,
        })
        .collect();
    survey.found.matchers = matchers
        .into_iter()
        .map(|it| Matcher {
            name: it.name,
            targets: it.targets,
            is_off: it.disabled,
            is_inverted: it.invert.unwrap_or_default(),
            rules: rules(
                it.fields.into_iter().map(|rule| rule.0),
                it.severities.into_iter().map(|rule| rule.0),
                it.calendars.into_iter().map(|rule| rule.0),
            ),
        })
        .collect();
    // Since 4 the notification system is what is meant where nothing is said.
    let is_old = client.call(version::get()).await.is_ok_and(|it| it.major() < 4);
    match client.call(datastores::configs()).await {
        Ok(stores) => {
            let stores = stores.into_iter().map(|store| Mailer {
                name: store.name.to_string(),
                mode: store.notification_mode,
                unset: if is_old { "legacy-sendmail" } else { "notification-system" },
                to: Some(store.notify_user.unwrap_or_else(|| "root@pam".to_owned())),
            });
            survey.found.mailers.extend(stores);
        }
        Err(error) => survey.gaps.push(gap("datastores", &error)),
    }
    match client.call(node::config()).await {
        Ok(config) => survey.proxy = config.http_proxy,
        // An old server has no such setting.
        Err(error) if is_absent(&error) => {}
        Err(error) => survey.gaps.push(gap("the proxy", &error)),
    }
    Ok(survey)
}

/// A matcher's conditions, those that it has.
fn rules(
    fields: impl Iterator<Item = String>,
    severities: impl Iterator<Item = String>,
    calendars: impl Iterator<Item = String>,
) -> Vec<(&'static str, Vec<String>)> {
    let all = [
        ("match-field", fields.collect::<Vec<_>>()),
        ("match-severity", severities.collect()),
        ("match-calendar", calendars.collect()),
    ];
    all.into_iter().filter(|(_, rules)| !rules.is_empty()).collect()
}

/// Whether the server does not know of such a thing.
fn is_absent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotImplemented | ErrorKind::NotFound)
}

fn unread(error: &Error, since: &str) -> String {
    let hint = match error.kind() {
        _ if is_absent(error) => format!("; {since}"),
        ErrorKind::PermissionDenied => "; the token lacks the privilege to look at \
                                        notifications: `proxmox-mcp config add` gives it"
            .to_owned(),
        _ => String::new(),
    };
    format!("failed to {}{hint}", Chain(error))
}

fn gap(what: &str, error: &Error) -> String {
    format!("{what} could not be asked for: {}", Chain(error))
}
