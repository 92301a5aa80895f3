//! `config check` and `config show`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use settings::{ConfigErrors, Loaded, OriginEntry, SECTIONS, Sources, Warning};

use super::terminal::Terminal;
use super::{broken, plural};

/// Says everything that is wrong with the settings, and contacts nothing.
pub(super) fn check(terminal: &mut dyn Terminal, sources: &Sources) -> anyhow::Result<u8> {
    let Some(loaded) = load(terminal, sources) else { return Ok(broken()) };
    let settings = &loaded.settings;
    let mut summary = format!(
        "ok: {} and {}",
        plural(settings.pve.len(), "PVE cluster or node", "PVE clusters and nodes"),
        plural(settings.pbs.len(), "backup server", "backup servers"),
    );
    match loaded.files.as_slice() {
        [] => summary.push_str(", no settings file"),
        files => {
            let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            let _ = write!(summary, ", from {}", files.join(", "));
        }
    }
    if !loaded.warnings.is_empty() {
        let _ = write!(summary, "; {}", plural(loaded.warnings.len(), "warning", "warnings"));
    }
    terminal.answer(&summary)?;
    Ok(0)
}

/// Prints the settings in force as TOML, or a line for each value with where it was written.
pub(super) fn show(
    terminal: &mut dyn Terminal,
    sources: &Sources,
    with_origins: bool,
) -> anyhow::Result<u8> {
    let Some(loaded) = load(terminal, sources) else { return Ok(broken()) };
    let entries = loaded.origins();
    let text = if with_origins { origins(&entries) } else { document(&entries) };
    terminal.answer(&text)?;
    Ok(0)
}

/// The settings; says what is wrong with them, and the warnings in any case.
fn load(terminal: &mut dyn Terminal, sources: &Sources) -> Option<Loaded> {
    let (loaded, warnings) = match load_all(sources) {
        Ok(loaded) => {
            let warnings = loaded.warnings.clone();
            (Ok(loaded), warnings)
        }
        Err(ConfigErrors { errors, warnings }) => (Err(errors), warnings),
    };
    say_warnings(terminal, &warnings);
    match loaded {
        Ok(loaded) => Some(loaded),
        Err(errors) => {
            for error in &errors {
                terminal.say(&format!("error: {error}"));
            }
            let mut summary = plural(errors.len(), "error", "errors");
            if !warnings.is_empty() {
                let _ = write!(summary, ", {}", plural(warnings.len(), "warning", "warnings"));
            }
            terminal.say(&summary);
            None
        }
    }
}

/// The settings, with what only the catalogue can judge judged as well.
fn load_all(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let loaded = settings::load(sources)?;
    let mut errors = assembly::scope_errors(&loaded);
    let chosen = mcp_tools::chosen(&loaded.settings.server.toolsets);
    if let Err(mcp_tools::AppError::UnknownToolset { given, known }) = chosen {
        let reason = format!("no toolset is called {given:?}");
        let hint = format!("choose from {known}");
        errors.push(loaded.error_at("server.toolsets", reason, hint));
    }
    if errors.is_empty() {
        return Ok(loaded);
    }
    errors.sort();
    Err(ConfigErrors { errors, warnings: loaded.warnings })
}

pub(super) fn say_warnings(terminal: &mut dyn Terminal, warnings: &[Warning]) {
    for warning in warnings {
        terminal.say(&format!("warning: {warning}"));
    }
}

fn origins(entries: &[OriginEntry]) -> String {
    let width = |text: &str| text.chars().count();
    let keys = entries.iter().map(|entry| width(&entry.key)).max().unwrap_or_default();
    // One long list must not push every origin out of sight.
    let values = entries.iter().map(|entry| width(&entry.value)).filter(|width| *width <= 50).max();
    let values = values.unwrap_or_default();
    let mut text = String::new();
    for OriginEntry { key, value, origin, .. } in entries {
        let _ = writeln!(text, "{key:<keys$} = {value:<values$}  <- {origin}");
    }
    text
}

fn document(entries: &[OriginEntry]) -> String {
    let mut tables: BTreeMap<(usize, &str), Vec<(&str, &str)>> = BTreeMap::new();
    for OriginEntry { key, value, .. } in entries {
        let section = key.split('.').next().unwrap_or_default();
        let place = SECTIONS.iter().position(|known| known.name == section).unwrap_or(usize::MAX);
        let depth = if SECTIONS.get(place).is_some_and(|section| section.named) { 2 } else { 1 };
        // Names of tables hold no dots, so the first ones are those between them.
        let Some((end, _)) = key.match_indices('.').nth(depth - 1) else { continue };
        tables.entry((place, &key[..end])).or_default().push((&key[end + 1..], value));
    }
    let mut text = String::new();
    for ((_, table), keys) in tables {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "[{table}]");
        for (key, value) in keys {
            // A masked secret has no quotes, and the text is TOML all the same.
            let value = if value == "***" { "\"***\"" } else { value };
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}
