//! `certificates_list`: what the nodes and backup servers show, the first to end first.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use estate::{Access, NodeName};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use serde::Deserialize;

use super::{
    ask::{Where, everywhere},
    page::Page,
};
use crate::{
    error::ToolError,
    fleet::{Pbs, Pve},
    report::{Cell, Report, Table, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "certificates_list";

/// From this many days before its end on, a certificate stands out.
const SOON_DAYS: i64 = 30;

/// Lists certificates.
pub struct CertificatesList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A certificate of either product.
#[derive(Clone, Debug)]
struct Certificate {
    file: String,
    fingerprint: String,
    subject: String,
    issuer: String,
    names: Vec<String>,
    end: Option<Timestamp>,
    key: String,
}

/// A certificate and who has it.
struct Shown {
    at: String,
    days: Option<i64>,
    certificate: Certificate,
}

#[async_trait]
impl EstateTool for CertificatesList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List certificates",
            description: "TLS certificates of nodes and backup servers: end, issuer, names, fingerprint; the first to end first.",
            input: Input::new().cluster().node().paged(),
            output: Output::new()
                .fact("certificate_count", "integer")
                .fact("ending_count", "integer")
                .table("certificates"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let query = args.clone();
        let args: Args = cx.args(args)?;
        let page = Page::of(NAME, &query, args.cursor.as_deref(), args.limit)?;
        let place = Where { cluster: args.cluster.as_deref(), node: args.node.as_deref() };
        let asked = everywhere(cx, place, of_node, of_server).await?;
        let (heard, missing) = asked.heard("certificates", |all| all, |all| all);
        let hosts = heard.len();
        let all = distinct(heard, cx.now());
        let (count, report) = (all.len(), Report::default());
        let (report, ending) = stand_out(report, &all);
        let first = all.first().and_then(|first| Some((first.name(), first.days?)));
        let lead = match first {
            _ if hosts == 0 => "nobody told of certificates".to_owned(),
            Some((at, days)) if ending > 0 => {
                format!(
                    "{ending} of {} to see to: {at} {}",
                    counted(count, "certificate"),
                    left(days)
                )
            }
            Some((at, days)) => {
                format!(
                    "{}, the first to end is {at} {}",
                    counted(count, "certificate"),
                    left(days)
                )
            }
            None => counted(count, "certificate"),
        };
        let columns = ["host", "file", "expires", "in", "issuer", "key", "names", "fingerprint"];
        let mut table = Table::new("certificates", &columns);
        page.fill(&mut table, all.into_iter().map(row).collect());
        let known = (hosts > 0).then_some(count);
        let report = Report { lead, ..report }
            .fact("certificate_count", known)
            .fact("ending_count", known.map(|_| ending))
            .table(table);
        Ok(asked.tell(missing.tell(report)))
    }
}

async fn of_node(member: Arc<Pve>, node: NodeName) -> Result<Vec<Certificate>, api_core::Error> {
    let all = member.client.call(pve_client::nodes::certificates(&node)).await?;
    let all = all.into_iter().map(|it| Certificate {
        file: it.filename,
        fingerprint: it.fingerprint.unwrap_or_default(),
        subject: it.subject.unwrap_or_default(),
        issuer: it.issuer.unwrap_or_default(),
        names: it.names,
        end: it.not_after,
        key: key(it.key_kind.as_deref(), it.key_bits),
    });
    Ok(all.collect())
}

async fn of_server(member: Arc<Pbs>) -> Result<Vec<Certificate>, api_core::Error> {
    let all = member.client.call(pbs_client::node::certificates()).await?;
    let all = all.into_iter().map(|it| Certificate {
        file: it.filename,
        // Both products print the same digest, in different letters.
        fingerprint: it.fingerprint.unwrap_or_default().to_uppercase(),
        subject: it.subject.unwrap_or_default(),
        issuer: it.issuer.unwrap_or_default(),
        names: it.names,
        end: it.not_after,
        key: key(it.key_kind.as_deref(), it.key_bits),
    });
    Ok(all.collect())
}

fn key(kind: Option<&str>, bits: Option<u32>) -> String {
    let kind = match kind.unwrap_or_default() {
        "rsaEncryption" => "rsa",
        "id-ecPublicKey" => "ec",
        other => other,
    };
    match bits {
        Some(bits) => format!("{kind}-{bits}"),
        None => kind.to_owned(),
    }
}

/// The certificates with who has them, the first to end first. A root that all nodes of a cluster
/// share is there once.
fn distinct(heard: Vec<(String, &Vec<Certificate>)>, now: Timestamp) -> Vec<Shown> {
    let mut all: BTreeMap<(String, String, String), Shown> = BTreeMap::new();
    for (at, certificates) in heard {
        for certificate in certificates {
            let owner = at.split('/').next().unwrap_or(&at).to_owned();
            let days = certificate.end.map(|end| days(end, now));
            let place = (owner, certificate.fingerprint.clone(), certificate.file.clone());
            all.entry(place)
                .and_modify(|shown| {
                    // On several nodes: it belongs to the cluster.
                    let owner = shown.at.split('/').next().unwrap_or_default().to_owned();
                    shown.at = format!("{owner}/*");
                })
                .or_insert_with(|| Shown {
                    at: at.clone(),
                    days,
                    certificate: certificate.clone(),
                });
        }
    }
    let mut all: Vec<Shown> = all.into_values().collect();
    all.sort_by(|a, b| {
        let key = |it: &Shown| (it.days.is_none(), it.days, it.at.clone());
        key(a).cmp(&key(b))
    });
    all
}

// === impl Shown ===

impl Shown {
    /// For sentences.
    fn name(&self) -> String {
        format!("{} {}", self.at, self.certificate.file)
    }
}

fn days(end: Timestamp, now: Timestamp) -> i64 {
    (end.as_second() - now.as_second()).div_euclid(86_400)
}

fn left(days: i64) -> String {
    match days {
        ..0 => format!("({} d ago)", -days),
        _ => format!("(in {days} d)"),
    }
}

/// Says what to see to, and how many certificates that are.
fn stand_out(mut report: Report, all: &[Shown]) -> (Report, usize) {
    let mut ending = 0;
    for shown in all {
        let Some(days) = shown.days.filter(|days| *days < SOON_DAYS) else { continue };
        ending += 1;
        let what = if days < 0 { "has expired" } else { "ends soon" };
        let self_made = shown.certificate.file.starts_with("pve-ssl");
        let cure = if self_made {
            "; `pvecm updatecerts --force` on the node makes a new one"
        } else {
            ""
        };
        report.notes.push(format!("{} {what} {}{cure}", shown.name(), left(days)));
    }
    (report, ending)
}

fn row(shown: Shown) -> Vec<Cell> {
    let Shown { at, days, certificate } = shown;
    let Certificate { file, fingerprint, subject, issuer, names, end, key } = certificate;
    let issuer = if issuer == subject { "itself".to_owned() } else { common_name(&issuer) };
    vec![
        Cell::text(at),
        Cell::text(file),
        Cell::opt(end.map(rfc3339)),
        days.map_or_else(Cell::none, |days| Cell::with(days, format!("{days}d"))),
        Cell::text(issuer),
        Cell::text(key),
        Cell::words(&names),
        Cell::text(fingerprint),
    ]
}

/// What people call an issuer: its common name, or its organization.
fn common_name(issuer: &str) -> String {
    let parts = issuer.split(['/', ',']).map(str::trim);
    let find = |key: &str| {
        parts.clone().find_map(|part| {
            let (name, value) = part.split_once('=')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    };
    find("CN").or_else(|| find("O")).unwrap_or_else(|| issuer.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_go_by_their_common_name() {
        assert_eq!(
            common_name("/CN=Proxmox Virtual Environment/OU=40fb/O=PVE Cluster Manager CA"),
            "Proxmox Virtual Environment"
        );
        assert_eq!(common_name("O = Proxmox Backup Server, OU = 0A, CN = vm"), "vm");
        assert_eq!(common_name("O=Let's Encrypt"), "Let's Encrypt");
        assert_eq!(common_name("odd"), "odd");
    }
}
