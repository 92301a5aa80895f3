//! Clients that are called once for each thing: the official inspector, and `mcporter`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::table::{Feature, Row, Tally};
use super::{Peer, Transport, path_with};
use crate::npm;

/// The guest that is asked for, and what it is called.
const GUEST: (&str, &str) = ("lab/104", "db-main");
const WATCHED: &str = "proxmox://nodes";

/// One call of the client, and what has to be in what it prints.
struct Step {
    arguments: &'static [&'static str],
    /// Whether the client ends with 0.
    succeeds: bool,
    checks: &'static [Check],
}

/// What it is a part of, what is looked for, and how.
type Check = (Feature, &'static str, fn(&Value) -> bool);

const INSPECTOR_HAS: &[Feature] =
    &[Feature::List, Feature::Call, Feature::Structured, Feature::Read];
const INSPECTOR: &[Step] = &[
    Step {
        arguments: &["--method", "tools/list", "--strict"],
        succeeds: true,
        checks: &[(Feature::List, "all tools, none with an error in its schemas", |answer| {
            names(answer, "/tools", "name").len() > 80
                && names(answer, "/tools", "name").contains(&"guest_get")
        })],
    },
    Step {
        arguments: &["--method", "resources/list"],
        succeeds: true,
        checks: &[(Feature::List, "resources", |answer| {
            names(answer, "/resources", "uri").contains(&WATCHED)
        })],
    },
    Step {
        arguments: &["--method", "prompts/list"],
        succeeds: true,
        checks: &[(Feature::List, "prompts", |answer| {
            names(answer, "/prompts", "name").contains(&"proxmox_health_check")
        })],
    },
    Step {
        arguments: &[
            "--method",
            "tools/call",
            "--tool-name",
            "guest_get",
            "--tool-arg",
            "guest=lab/104",
        ],
        succeeds: true,
        checks: &[
            (Feature::Call, "a guest is described", |answer| {
                text(answer, "/content/0/text").contains(GUEST.1) && answer["isError"] != true
            }),
            (Feature::Structured, "as an object, too", |answer| {
                text(answer, "/structuredContent/guest") == GUEST.0
                    && text(answer, "/structuredContent/name") == GUEST.1
            }),
        ],
    },
    Step {
        arguments: &[
            "--method",
            "tools/call",
            "--tool-name",
            "guest_get",
            "--tool-arg",
            "guest=lab/9999",
        ],
        succeeds: false,
        checks: &[
            (Feature::Call, "a guest that is not there is an error", |answer| {
                answer["isError"] == true && text(answer, "/content/0/text").contains("lab/9999")
            }),
            (Feature::Structured, "with its kind", |answer| {
                text(answer, "/structuredContent/error") == "not_found"
            }),
        ],
    },
    Step {
        arguments: &["--method", "resources/read", "--uri", "proxmox://status"],
        succeeds: true,
        checks: &[(Feature::Read, "a resource", |answer| {
            let status: Value =
                serde_json::from_str(text(answer, "/contents/0/text")).unwrap_or_default();
            status["guests"]["running"].as_u64().is_some_and(|running| running > 40)
        })],
    },
    Step {
        arguments: &[
            "--method",
            "prompts/get",
            "--prompt-name",
            "proxmox_health_check",
            "--prompt-args",
            "cluster=lab",
        ],
        succeeds: true,
        checks: &[(Feature::Read, "a prompt", |answer| {
            text(answer, "/messages/0/content/text").contains("lab")
        })],
    },
];

const MCPORTER_HAS: &[Feature] = INSPECTOR_HAS;
const MCPORTER: &[Step] = &[
    Step {
        arguments: &["list", "px", "--json"],
        succeeds: true,
        checks: &[(Feature::List, "tools", |answer| {
            answer["status"] == "ok" && names(answer, "/tools", "name").contains(&"guest_get")
        })],
    },
    Step {
        arguments: &["resource", "px", "--json"],
        succeeds: true,
        checks: &[(Feature::List, "resources", |answer| {
            names(answer, "/resources", "uri").contains(&WATCHED)
        })],
    },
    Step {
        arguments: &["call", "px.guest_get", "guest=lab/104", "--output", "text"],
        succeeds: true,
        checks: &[(Feature::Call, "a guest is described", |answer| {
            answer.as_str().is_some_and(|text| text.contains("lab/104 db-main: "))
        })],
    },
    Step {
        arguments: &["call", "px.guest_get", "guest=lab/104", "--output", "json"],
        succeeds: true,
        checks: &[(Feature::Structured, "as an object, too", |answer| {
            text(answer, "/guest") == GUEST.0 && text(answer, "/name") == GUEST.1
        })],
    },
    Step {
        arguments: &["call", "px.guest_get", "guest=lab/9999", "--output", "json"],
        succeeds: false,
        checks: &[(Feature::Call, "a guest that is not there is an error", |answer| {
            text(answer, "/error") == "not_found"
        })],
    },
    Step {
        arguments: &["resource", "px", "proxmox://status", "--json"],
        succeeds: true,
        checks: &[(Feature::Read, "a resource", |answer| {
            answer["guests"]["running"].as_u64().is_some_and(|running| running > 40)
        })],
    },
];

/// The inspector, with its strict look at the schemas, in each of its eras.
pub(super) fn inspector() -> Result<Vec<Row>> {
    let folder = npm::install("xtask/clients/js", "clients/js")?;
    let mut rows = Vec::new();
    for transport in Transport::BOTH {
        for mode in ["legacy", "auto", "modern"] {
            let peer = Peer::new(transport, Some("all"))?;
            let mut before = vec!["--cli".to_owned()];
            before.extend(peer.address());
            if transport == Transport::Http {
                before.extend(["--transport", "http"].map(str::to_owned));
            }
            before.extend(["--protocol-era", mode].map(str::to_owned));
            println!("inspector, {mode}, over {}", transport.name());
            let tally = walk(&folder, "mcp-inspector", &before, INSPECTOR)?;
            let client = "inspector --cli --strict".to_owned();
            rows.push(Row { client, transport, mode, has: INSPECTOR_HAS, tally });
        }
    }
    Ok(rows)
}

/// `mcporter`, which settles the era by itself.
pub(super) fn mcporter() -> Result<Vec<Row>> {
    let folder = npm::install("xtask/clients/js", "clients/js")?;
    let mut rows = Vec::new();
    for transport in Transport::BOTH {
        let peer = Peer::new(transport, None)?;
        let config = folder.join("mcporter.json");
        let server = match &peer.server {
            Some(server) => serde_json::json!({ "baseUrl": server.url }),
            None => serde_json::json!({ "command": peer.command[0], "args": peer.command[1..] }),
        };
        let servers = serde_json::json!({ "mcpServers": { "px": server } });
        std::fs::write(&config, servers.to_string())?;
        let before = ["--config".to_owned(), config.display().to_string()];
        println!("mcporter, over {}", transport.name());
        let tally = walk(&folder, "mcporter", &before, MCPORTER)?;
        let client = "mcporter".to_owned();
        rows.push(Row { client, transport, mode: "its own", has: MCPORTER_HAS, tally });
    }
    Ok(rows)
}

/// Calls the client once for each step, and looks at what it prints.
fn walk(folder: &Path, name: &str, before: &[String], steps: &[Step]) -> Result<Tally> {
    let program = folder.join("node_modules/.bin").join(name);
    let mut tally = Tally::default();
    tally.ended_well = true;
    for step in steps {
        let mut command = Command::new(&program);
        command.env("PATH", path_with(folder)).args(before).args(step.arguments);
        let done = command.stdin(Stdio::null()).output();
        let done = done.with_context(|| format!("start {}", program.display()))?;
        let printed = String::from_utf8_lossy(&done.stdout);
        let complaints = String::from_utf8_lossy(&done.stderr);
        println!("> {name} {}", step.arguments.join(" "));
        // What is not JSON is text, which is looked at as such.
        let answer = serde_json::from_str(&printed).unwrap_or_else(|_| printed.clone().into());
        let ended = done.status.success() == step.succeeds;
        for (feature, what, check) in step.checks {
            let passed = ended && check(&answer);
            println!("  {} {what}", if passed { "ok " } else { "NOT" });
            tally.add(*feature, passed);
            if !passed {
                println!("    {}\n    {}\n    {}", done.status, printed.trim(), complaints.trim());
            }
        }
        // The inspector's summary of its look at the schemas.
        let summary = complaints.lines().rev().find(|line| line.contains(" errors, "));
        if let Some(summary) = summary {
            println!("    {summary}");
        }
    }
    Ok(tally)
}

/// The names in a list of objects.
fn names<'a>(answer: &'a Value, list: &str, key: &str) -> Vec<&'a str> {
    let items = answer.pointer(list).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(|item| item[key].as_str()).collect()
}

fn text<'a>(answer: &'a Value, pointer: &str) -> &'a str {
    answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
