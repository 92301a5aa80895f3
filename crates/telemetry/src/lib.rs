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

/// Starts logging for this process; where a logger is installed already, keeps that one.
///
/// # Errors
///
/// When the filter cannot be read.
pub fn init(options: &Options) -> Result<(), InvalidFilter> {
    let terminal = std::io::stderr().is_terminal();
    // Fails only where somebody was first: tests, which share a process, and embedders.
    subscriber(options, terminal, std::io::stderr)?.try_init().ok();
    Ok(())
}

fn subscriber<W>(
    options: &Options,
    terminal: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, InvalidFilter>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&options.filter).map_err(|source| InvalidFilter {
        filter: options.filter.chars().take(80).collect(),
        source,
    })?;
    let color = match options.color {
        Color::Auto => terminal,
        Color::Always => true,
        Color::Never => false,
    };
    let writer = CleanWriter::new(writer, options.redactor.clone());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match options.format {
        Format::Auto | Format::Pretty => {
            let fields = clean::fields(options.redactor.clone());
            Box::new(builder.fmt_fields(fields).with_ansi(color).finish())
        }
        Format::Json => Box::new(builder.json().flatten_event(true).with_ansi(false).finish()),
    })
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
