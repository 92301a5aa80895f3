//! `proxmox-manager --demo`: what people would be told of the simulated estate, on standard output.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use assembly::{Daemon, Estate, Show};
use event_core::{Message, Severity, Stand};
use jiff::tz::TimeZone;

/// The most lines of one message.
const LINES: usize = 6;
/// The widest line of a message's text.
const WIDTH: usize = 110;

/// Shows messages on standard output, in this machine's zone; with colors on a terminal.
pub(crate) fn shown() -> Show {
    let (zone, colors) = (TimeZone::system(), std::io::stdout().is_terminal());
    Arc::new(move |message| print(&text(message, &zone, colors)))
}

/// Says what is to be seen, and how to ask from another terminal; writes the settings for that.
pub(crate) fn begin(estate: &Estate, daemon: &Daemon) -> anyhow::Result<()> {
    let folder = estate.demo_folder().context("find the folder of the demo")?;
    let client = folder.join("client.toml");
    let settings = client_settings(&estate.loaded.settings.server.state_dir, daemon.socket());
    std::fs::write(&client, settings)
        .with_context(|| format!("write the settings for clients, {}", client.display()))?;
    print(&greeting(&client));
    Ok(())
}

/// The settings by which `proxmox-mcp` finds this manager.
fn client_settings(state: &Path, socket: &Path) -> String {
    // Written as debug text, a path is a string of TOML.
    let (state, socket) = (state.to_string_lossy(), socket.to_string_lossy());
    format!("[server]\nstate_dir = {state:?}\n\n[manager]\nsocket = {socket:?}\n")
}

fn greeting(client: &Path) -> String {
    let client = client.display();
    format!(
        "A simulated estate: cluster lab (three nodes), standalone node edge, backup server vault.\n\
         Within two minutes a backup fails, a storage fills up and a node goes away; then all of it ends well.\n\
         Below stands what people would be told. Control-C ends it. In another terminal:\n\n  \
         proxmox-mcp incidents list --config {client}\n  \
         proxmox-mcp events status --config {client}\n\n"
    )
}

/// A message, as a line and what it says below it.
fn text(message: &Message, zone: &TimeZone, colors: bool) -> String {
    let paint = |code: &str, text: &str| {
        if colors { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    };
    let time = message.written.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string();
    let stand = format!("{:<9}", message.stand.as_str().to_uppercase());
    let severity = format!("{:<8}", message.severity.as_str());
    let title = stdx::untrusted::line(&message.title, WIDTH);
    let mut out = format!(
        "{}  {} {}  {title}\n",
        paint("2", &time),
        paint(stand_color(message.stand), &stand),
        paint(severity_color(message.severity), &severity),
    );
    let lines = message.text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    for line in lines.take(LINES) {
        let line = stdx::untrusted::line(line, WIDTH);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "          {}", paint("2", &line));
    }
    out
}

fn stand_color(stand: Stand) -> &'static str {
    match stand {
        Stand::Resolved => "32",
        Stand::New | Stand::Worse => "1",
        _ => "0",
    }
}

fn severity_color(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::Error => "31",
        Severity::Warning => "33",
        _ => "0",
    }
}

/// Whoever reads may have gone, which is no reason to end.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use event_core::Kind;
    use expect_test::expect;

    use super::*;

    fn message(stand: Stand) -> Message {
        let at = "2026-11-22T12:00:07Z".parse().unwrap();
        let title = "vzdump of 104 failed\u{1b}[2J";
        let mut message =
            Message::new(stand, "0f0f0f0f", Kind::BackupFailed, Severity::Error, title, at);
        message.text = "job errors: no space left on device\n\non alder of lab".to_owned();
        message
    }

    #[test]
    fn a_message_is_a_line_and_what_it_says() {
        let shown = |stand| text(&message(stand), &TimeZone::UTC, false);
        expect![[r"
            12:00:07  NEW       error     vzdump of 104 failed
                      job errors: no space left on device
                      on alder of lab
        "]]
        .assert_eq(&shown(Stand::New));
        assert!(shown(Stand::Resolved).starts_with("12:00:07  RESOLVED  error     vzdump"));
    }

    #[test]
    fn colors_change_nothing_but_colors() {
        let colored = text(&message(Stand::New), &TimeZone::UTC, true);
        assert!(colored.contains("\u{1b}[31merror"), "{colored:?}");
        let plain = stdx::untrusted::text(&colored, usize::MAX);
        assert_eq!(plain, text(&message(Stand::New), &TimeZone::UTC, false));
    }

    #[test]
    fn clients_find_it_by_what_is_written() {
        let text = client_settings(Path::new("/tmp/a b/state"), Path::new("/tmp/a b/c.sock"));
        assert!(text.contains("state_dir = \"/tmp/a b/state\"\n"), "{text}");
        assert!(greeting(Path::new("/tmp/x/client.toml")).contains("--config /tmp/x/client.toml"));
    }
}
