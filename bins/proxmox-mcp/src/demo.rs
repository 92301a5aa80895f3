//! `proxmox-mcp demo`: the main job on the simulated estate, told step by step.

use std::{io::IsTerminal, process::ExitCode};

use mcp_protocol::JsonObject;
use serde_json::{Value, json};

use crate::{
    call::{Consent, ask},
    cli::{SourceArgs, SurfaceArgs},
    estate, output,
};

/// What is asked, and why; the last field says whether it is meant to fail.
const TOUR: &[(&str, &str, &str)] = &[
    ("What is the state of everything?", "fleet_overview", "{}"),
    (
        "Which machines are stopped on the cluster?",
        "guests_list",
        r#"{"cluster":"lab","status":"stopped"}"#,
    ),
    (
        "Start one of them, and tell me when it runs.",
        "guest_power",
        r#"{"guest":"lab/123","action":"start"}"#,
    ),
    (
        "Start another. (This one cannot start.)",
        "guest_power",
        r#"{"guest":"lab/108","action":"start"}"#,
    ),
    (
        "Start 104. (Two clusters have a 104, so it asks instead of guessing.)",
        "guest_power",
        r#"{"guest":"104","action":"start"}"#,
    ),
];

/// Runs the tour.
pub(crate) async fn run(log: Option<&str>) -> anyhow::Result<ExitCode> {
    let surface = SurfaceArgs {
        source: SourceArgs::default(),
        toolsets: None,
        mode: Some(guard::Mode::Trusted),
        demo: true,
        demo_levers: None,
    };
    let estate = estate::prepare(&surface, Some(log.unwrap_or("error"))).await?;
    let app = estate.app()?;
    let paint = Paint::new();
    output::line(
        "A simulated estate: cluster lab (three nodes), standalone node edge, backup server vault.\n\
         Each step is a call that an agent would make over MCP.",
    )?;
    output::line("")?;
    for (question, tool, args) in TOUR {
        let args: JsonObject = match serde_json::from_str(args)? {
            Value::Object(args) => args,
            _ => JsonObject::new(),
        };
        output::line(&paint.bold(question))?;
        output::line(&paint.dim(&format!("  {tool} {}", json!(args))))?;
        let (answer, failed) = ask(&app, tool, args, Consent::Ask).await?;
        let mark = if failed { paint.red("✗") } else { paint.green("✓") };
        for (index, line) in answer.plain_text().lines().enumerate() {
            let lead = if index == 0 { format!("{mark} ") } else { "  ".to_owned() };
            output::line(&format!("{lead}{line}"))?;
        }
        output::line("")?;
    }
    output::line(
        "Next: `proxmox-mcp serve --demo` is what an MCP client starts; \
         `proxmox-mcp config add https://YOUR-NODE:8006` connects your own.",
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Colors, on a terminal only.
struct Paint(bool);

impl Paint {
    fn new() -> Self {
        Self(std::io::stdout().is_terminal())
    }

    fn wrap(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn red(&self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn green(&self, text: &str) -> String {
        self.wrap("32", text)
    }
}
