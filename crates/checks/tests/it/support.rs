//! Plans against a simulator, and findings as text that does not change from run to run.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use api_core::endpoint::{Disk, EndpointConfig, OneOrMany};
use checks::{Finding, Plan};
use guard::Mode;
use mcp_tools::needs::NEEDS;
use proxmox_sim::{Sim, SimConfig, SimTarget};

pub(crate) async fn sim() -> Sim {
    Sim::start(SimConfig::fast()).await.unwrap()
}

/// Every tool that has needs.
pub(crate) fn plan(mode: Mode) -> Plan {
    let tools = NEEDS.iter().flat_map(|need| need.tools).map(|tool| (*tool).to_owned());
    Plan::new(mode, tools)
}

/// The table of a target as its settings would have it: every node pinned.
#[expect(clippy::field_reassign_with_default, reason = "the type may grow, so no literal makes it")]
pub(crate) fn table(target: &SimTarget, token: &str) -> EndpointConfig {
    let token = target.token(token);
    let mut config = EndpointConfig::default();
    config.endpoints = target.nodes.iter().map(|node| node.url.clone()).collect();
    config.token_id = Some(token.id.clone());
    config.token = Some(token.secret.clone().into());
    config.fingerprints = pins(target);
    config
}

pub(crate) fn pins(target: &SimTarget) -> BTreeMap<String, OneOrMany> {
    let pins = target.nodes.iter().map(|node| {
        let name = node.url.trim_start_matches("https://").to_owned();
        (name, OneOrMany::from(node.fingerprint.as_str()))
    });
    pins.collect()
}

pub(crate) fn pve(key: &str, config: EndpointConfig) -> pve_client::ConnectOptions {
    pve_client::Config(config).validate(key, &Disk).unwrap().value
}

pub(crate) fn pbs(key: &str, config: EndpointConfig) -> pbs_client::ConnectOptions {
    pbs_client::Config(config).validate(key, &Disk).unwrap().value
}

/// The findings without ports, fingerprints and dates.
pub(crate) fn told(findings: &[Finding], sims: &[&Sim]) -> String {
    let mut out = String::new();
    for finding in findings {
        let _ = writeln!(
            out,
            "{:4} {} {}: {}",
            format!("{:?}", finding.status),
            finding.subject,
            finding.check,
            finding.detail
        );
        for hint in &finding.hints {
            let _ = writeln!(out, "     - {hint}");
        }
    }
    for (at, target) in sims.iter().flat_map(|sim| sim.targets()).enumerate() {
        for node in &target.nodes {
            let address = node.url.trim_start_matches("https://");
            let port = address.rsplit(':').next().unwrap();
            out = out.replace(address, &format!("{}{at}.{}", target.key, node.name));
            out = out.replace(&format!("port {port} "), "port PORT ");
            out = out.replace(&node.fingerprint, &format!("FP:{}:{at}", node.name));
            out = out.replace(&node.fingerprint[..23], &format!("FP:{}:{at}", node.name));
        }
    }
    without_dates(&out)
}

fn without_dates(text: &str) -> String {
    let is_date = |word: &str| {
        word.len() == 10
            && word.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    };
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| if is_date(word) { "DATE" } else { word });
        words.collect::<Vec<_>>().join(" ") + "\n"
    });
    lines.collect()
}

/// A server of one's own making: a script for the shell.
pub(crate) fn script(text: &str) -> checks::McpTarget {
    checks::McpTarget { program: Path::new("sh").to_owned(), args: vec!["-c".into(), text.into()] }
}
