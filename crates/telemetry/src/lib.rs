//! Logs to standard error: the tracing subscriber of both binaries.
//!
//! ```
//! use telemetry::{Format, Options};
//!
//! let options = Options::new("info,mcp_tools=debug").with_format(Format::Json);
//! telemetry::init(&options)?;
//! tracing::info!(node = "alder", "node is back");
//! # Ok::<(), telemetry::InvalidFilter>(())
//! ```
//!
//! Whoever writes a log line says what others told it: names, causes, bodies at `trace`. So every
//! line passes a [`Redactor`] on its way out, and stays one line without escapes of a terminal.
//!
//! *Invariant:* nothing goes to standard output, which belongs to MCP over stdio.
//! *Invariant:* no environment and no settings are read here: callers pass [`Options`].

mod clean;

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use stdx::redact::Redactor;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clean::CleanWriter;

/// What is logged, and how it looks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// A level (`info`) or directives (`warn,pve_client=debug`).
    pub filter: String,
    /// How a line is written.
    pub format: Format,
    /// Whether lines for people are colored.
    pub color: Color,
    /// What takes secrets out of every line.
    pub redactor: Redactor,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Lines for people, on a terminal and off it: whoever collects logs asks for JSON.
    #[default]
    Auto,
    /// Lines for people.
    Pretty,
    /// One JSON object a line, for collectors.
    Json,
}

/// Whether lines for people are colored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Color {
    /// When standard error is a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The filter is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{filter}` is no log filter: use a level (error, warn, info, debug, trace) or directives such as `info,pve_client=debug`"
)]
pub struct InvalidFilter {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Changes what is logged, while it is logged.
type Change = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// Of the logger that this process has installed.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// Starts logging for this process; where a logger is installed already, keeps that one.
///
/// # Errors
///
/// When the filter cannot be read.
pub fn init(options: &Options) -> Result<(), InvalidFilter> {
    let terminal = std::io::stderr().is_terminal();
    let (subscriber, change) = subscriber(options, terminal, std::io::stderr)?;
    // Fails only where somebody was first: tests, which share a process, and embedders.
    if subscriber.try_init().is_ok() {
        let _ = CHANGE.set(change);
    }
    Ok(())
}

/// Lets another filter say what is logged from now on; whether this process has a logger of ours.
///
/// # Errors
///
/// When the filter cannot be read; the one before stays.
pub fn change(filter: &str) -> Result<bool, InvalidFilter> {
    let filter = parse(filter)?;
    Ok(CHANGE.get().is_some_and(|change| change(filter)))
}

fn parse(filter: &str) -> Result<EnvFilter, InvalidFilter> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| InvalidFilter { filter: filter.chars().take(80).collect(), source })
}

fn subscriber<W>(
    options: &Options,
    terminal: bool,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, Change), InvalidFilter>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = parse(&options.filter)?;
    let color = match options.color {
        Color::Auto => terminal,
        Color::Always => true,
        Color::Never => false,
    };
    let writer = CleanWriter::new(writer, options.redactor.clone());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match options.format {
        Format::Auto | Format::Pretty => {
            let fields = clean::fields(options.redactor.clone());
            let builder = builder.fmt_fields(fields).with_ansi(color).with_filter_reloading();
            let handle = builder.reload_handle();
            let change = move |filter| handle.reload(filter).is_ok();
            Ok((Box::new(builder.finish()), Box::new(change)))
        }
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_ansi(false);
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let change = move |filter| handle.reload(filter).is_ok();
            Ok((Box::new(builder.finish()), Box::new(change)))
        }
    }
}

// === impl Options ===

impl Options {
    /// What this filter lets through, in the form that fits where it goes.
    pub fn new(filter: impl Into<String>) -> Self {
        let (format, color) = (Format::default(), Color::default());
        Self { filter: filter.into(), format, color, redactor: Redactor::default() }
    }

    /// With what else is secret: the names and values of the settings.
    #[must_use]
    pub fn with_redactor(self, redactor: Redactor) -> Self {
        Self { redactor, ..self }
    }

    /// With this format.
    #[must_use]
    pub fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// With or without colors.
    #[must_use]
    pub fn with_color(self, color: Color) -> Self {
        Self { color, ..self }
    }
}

#[cfg(test)]
mod tests;
