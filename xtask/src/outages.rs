//! `cargo xtask outages`: what is kept, shed and said when something is away or too much.
//!
//! | part | what happens |
//! |---|---|
//! | `output` | an output fails for an hour, with 429s, 5xx, resets and silence: the pipeline as a library, in simulated time, since no real program can wait an hour here |
//! | `flood` | a source sends ten times the usual rate, over TCP and over UDP, to the real manager |
//! | `disk` | the disk under the real manager's store is full, in a mount namespace of its own |
//! | `database` | PostgreSQL is cut off under load by webhook and mail, and the real manager is killed meanwhile |

mod database;
mod disk;
mod flood;
mod output;
mod relay;
mod senders;
mod site;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::workspace::{cargo, root, run};

/// A part of the outages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// An output that fails for an hour.
    Output,
    /// A source that floods.
    Flood,
    /// A disk that is full.
    Disk,
    /// A database that is gone.
    Database,
}

/// What was found, line by line.
#[derive(Debug, Default)]
struct Findings {
    lines: Vec<Line>,
    /// Why nothing was found.
    skipped: Option<String>,
}

#[derive(Debug)]
struct Line {
    /// `None` where it is only told.
    good: Option<bool>,
    what: String,
    found: String,
}

/// How a run of this program is to be.
#[derive(Clone, Debug)]
struct House {
    binaries: PathBuf,
}

// === impl Findings ===

impl Findings {
    fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: Some(why.into()), ..Self::default() }
    }

    /// Something that has to be so.
    fn holds(&mut self, what: &str, good: bool, found: impl Into<String>) {
        let what = what.to_owned();
        self.lines.push(Line { good: Some(good), what, found: found.into() });
    }

    /// Something that is good to know.
    fn tells(&mut self, what: &str, found: impl Into<String>) {
        let what = what.to_owned();
        self.lines.push(Line { good: None, what, found: found.into() });
    }

    fn wrong(&self) -> usize {
        self.lines.iter().filter(|line| line.good == Some(false)).count()
    }

    fn print(&self) {
        if let Some(why) = &self.skipped {
            println!("  skipped: {why}");
        }
        for Line { good, what, found } in &self.lines {
            let mark = match good {
                Some(true) => "ok ",
                Some(false) => "NOT",
                None => "   ",
            };
            println!("  {mark} {what:<62} {found}");
        }
    }
}

// === impl Part ===

impl Part {
    fn title(self) -> &'static str {
        match self {
            Self::Output => {
                "an output is down for an hour (simulated time, the pipeline as a library)"
            }
            Self::Flood => "a source sends ten times the usual rate (the real manager, SQLite)",
            Self::Disk => "the disk is full (the real manager, SQLite on a small tmpfs)",
            Self::Database => "the database is gone and back (the real manager, PostgreSQL)",
        }
    }

    fn run(self, house: &House) -> Result<Findings> {
        match self {
            Self::Output => output::run(),
            Self::Flood => flood::run(house),
            Self::Disk => disk::run(house),
            Self::Database => database::run(house),
        }
    }
}

/// Builds what is needed if asked to, and lets things fail. `inside` is the second half of the part
/// about the disk, which runs in a namespace of its own.
pub(crate) fn run_all(build: bool, only: &[Part], inside: Option<&Path>) -> Result<()> {
    let house = House { binaries: root().join("target/debug") };
    if let Some(folder) = inside {
        return disk::run_inside(&house, folder);
    }
    if build {
        run(&mut cargo(&["build", "--package", "proxmox-manager"]))?;
    }
    let begun = Instant::now();
    let (mut lines, mut wrong) = (0, 0);
    let parts = if only.is_empty() { Part::value_variants() } else { only };
    for (at, part) in parts.iter().enumerate() {
        println!("{}{}", if at == 0 { "" } else { "\n" }, part.title());
        let since = Instant::now();
        let findings = part.run(&house).unwrap_or_else(|error| {
            let mut findings = Findings::default();
            findings.holds("it could be looked at", false, format!("{error:#}"));
            findings
        });
        findings.print();
        println!("      {:.0} s", since.elapsed().as_secs_f64());
        lines += findings.lines.len();
        wrong += findings.wrong();
    }
    println!("\n{lines} findings in {:.0} s", begun.elapsed().as_secs_f64());
    ensure!(wrong == 0, "{wrong} of {lines} findings are not as they should be");
    Ok(())
}
