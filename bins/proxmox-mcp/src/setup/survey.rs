//! What is there: asked of clusters and backup servers, and put into the plan's own words.

use api_core::{Error, ErrorKind};
use estate::NodeName;
use mcp_tools::fleet::{Pbs, Pve};
use pve_client::cluster::{self, backup};
use pve_client::{nodes, vzdump};
use secrecy::ExposeSecret as _;
use stdx::Chain;

use super::plan::{File, Found, Mailer, Matcher, Sort, Webhook};

/// What was found on a cluster or backup server.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) found: Found,
    /// The proxy that its messages go through.
    pub(super) proxy: Option<String>,
    /// What could not be asked.
    pub(super) gaps: Vec<String>,
}

/// Webhooks in the plan's words. The clients of both products have types of their own for what is told alike.
macro_rules! webhooks {
    ($told:expr) => {
        $told
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
            .collect()
    };
}

/// Matchers, likewise.
macro_rules! matchers {
    ($told:expr) => {
        $told
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
            .collect()
    };
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
    survey.found.webhooks = webhooks!(webhooks);
    survey.found.matchers = matchers!(matchers);
    match client.call(backup::jobs()).await {
        Ok(jobs) => {
            let jobs = jobs.into_iter().map(|job| Mailer {
                sort: Sort::BackupJob,
                name: job.id,
                mode: job.notification_mode,
                unset: "auto",
                to: addressed(job.mailto),
                node: job.node.map(|node| node.to_string()),
            });
            survey.found.mailers.extend(jobs);
        }
        Err(error) => survey.gaps.push(gap("backup jobs", &error)),
    }
    match client.call(nodes::list()).await {
        Ok(nodes) => files(member, &nodes, &mut survey).await,
        Err(error) => survey.gaps.push(gap("nodes", &error)),
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
    use pbs_client::{datastores, jobs, node, version};

    let client = &member.client;
    let webhooks = client.call(tell::endpoints(&tell::TargetKind::Webhook)).await;
    let webhooks = webhooks.map_err(|error| unread(&error, "webhooks came with 3.3"))?;
    let matchers = client.call(tell::matchers()).await;
    let matchers = matchers.map_err(|error| unread(&error, "matchers came with 3.2"))?;
    let mut survey = Survey::default();
    survey.found.webhooks = webhooks!(webhooks);
    survey.found.matchers = matchers!(matchers);
    // Since 4 the notification system is what is meant where nothing is said.
    let is_old = client.call(version::get()).await.is_ok_and(|it| it.major() < 4);
    let mailer = |sort, name, mode, user: Option<String>| Mailer {
        sort,
        name,
        mode,
        unset: if is_old { "legacy-sendmail" } else { "notification-system" },
        to: Some(user.unwrap_or_else(|| "root@pam".to_owned())),
        node: None,
    };
    match client.call(datastores::configs()).await {
        Ok(stores) => survey.found.mailers.extend(stores.into_iter().map(|it| {
            mailer(Sort::Datastore, it.name.to_string(), it.notification_mode, it.notify_user)
        })),
        Err(error) => survey.gaps.push(gap("datastores", &error)),
    }
    match client.call(jobs::tape_backup_jobs()).await {
        Ok(tapes) => {
            if tapes.is_empty() && !may_see_tapes(member).await {
                let unseen = "tape backup jobs are shown only with Tape.Audit on /tape/job";
                survey.gaps.push(unseen.to_owned());
            }
            survey.found.mailers.extend(
                tapes
                    .into_iter()
                    .map(|it| mailer(Sort::TapeJob, it.id, it.notification_mode, it.notify_user)),
            );
        }
        Err(error) if is_absent(&error) => {}
        Err(error) => survey.gaps.push(gap("tape backup jobs", &error)),
    }
    match client.call(node::config()).await {
        Ok(config) => survey.proxy = config.http_proxy,
        // An old server has no such setting.
        Err(error) if is_absent(&error) => {}
        Err(error) => survey.gaps.push(gap("the proxy", &error)),
    }
    Ok(survey)
}

/// What the nodes say of backups in a file of their own. Whom they mail is told only to who may audit the node.
async fn files(member: &Pve, nodes: &[nodes::Node], survey: &mut Survey) {
    let mut unseen = Vec::new();
    for node in nodes {
        let defaults = match member.client.call(vzdump::defaults(&node.node, None)).await {
            Ok(defaults) => defaults,
            Err(error) => {
                survey.gaps.push(gap(&format!("/etc/vzdump.conf of {}", node.node), &error));
                continue;
            }
        };
        let to = addressed(defaults.mail_to);
        let mode = defaults.notification_mode.unwrap_or_else(|| "auto".to_owned());
        if to.is_none() && mode == "auto" && !may_audit(member, &node.node).await {
            unseen.push(node.node.to_string());
        }
        survey.found.files.push(File { node: node.node.to_string(), mode, to });
    }
    if !unseen.is_empty() {
        let nodes = unseen.join(", ");
        survey.gaps.push(format!(
            "whom /etc/vzdump.conf of {nodes} mails is told only with Sys.Audit on the node"
        ));
    }
}

async fn may_audit(member: &Pve, node: &NodeName) -> bool {
    let path = format!("/nodes/{node}");
    let held = member.client.call(pve_client::access::permissions(None, Some(&path))).await;
    held.is_ok_and(|held| held.values().any(|it| it.contains_key("Sys.Audit")))
}

async fn may_see_tapes(member: &Pbs) -> bool {
    let asked = pbs_client::access::permissions(None, Some("/tape/job"));
    let held = member.client.call(asked).await;
    held.is_ok_and(|held| held.values().any(|it| it.contains_key("Tape.Audit")))
}

fn addressed(to: Option<String>) -> Option<String> {
    to.filter(|to| !to.trim().is_empty())
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
