//! What the event pipeline keeps a second, beside rsyslog on the same lines; how long a line takes to its message; and
//! what memory it all takes, with few rules and little history and with much of both.
//!
//! Everything that is compared runs in turn in the same run, since machines are noisy: the ratio is what counts.

mod latency;
mod lines;
mod peers;
mod rsyslog;
mod volume;

use std::path::Path;

use anyhow::Result;

use self::lines::Lines;
use self::rsyslog::Sync;
use super::median_of;

/// So many rounds of each, in turn.
const ROUNDS: usize = 3;

/// The goals of the product, printed beside what was measured.
mod goal {
    pub(super) const LINES_A_SECOND: f64 = 20_000.0;
    pub(super) const AGAINST_RSYSLOG: f64 = 1.0;
    pub(super) const P99_MS: f64 = 100.0;
    pub(super) const IDLE_MIB: f64 = 20.0;
    pub(super) const LOAD_MIB: f64 = 64.0;
}

/// What a figure should be.
#[derive(Clone, Copy)]
enum Goal {
    None,
    Least(f64),
    Most(f64),
}

/// How much is sent.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// Lines of each round.
    lines: usize,
    /// Lines of a round of rsyslog that syncs each.
    synced: usize,
    /// Seconds at a thousand lines a second.
    seconds: u64,
    /// Events of a little history; much is a hundred times that.
    history: usize,
}

// === impl Scale ===

impl Scale {
    /// Programs without optimization are measured only to see that it works.
    pub(super) fn of(profile: &str) -> Self {
        if profile == "dev" {
            Self { lines: 10_000, synced: 1_000, seconds: 5, history: 100 }
        } else {
            Self { lines: 150_000, synced: 1_000, seconds: 20, history: 2_000 }
        }
    }
}

pub(super) fn run(binaries: &Path, scale: Scale) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    rates(&runtime, binaries, scale)?;
    println!();
    latency::run(binaries, scale)?;
    println!();
    runtime.block_on(volume::idle(binaries))?;
    println!();
    runtime.block_on(volume::growth(binaries, scale))
}

fn rates(runtime: &tokio::runtime::Runtime, binaries: &Path, scale: Scale) -> Result<()> {
    println!("syslog over TCP, octet-counted, {} lines a round", scale.lines);
    let lines = Lines::new(scale.lines);
    let few = Lines::new(scale.synced);
    let rsyslog = rsyslog::Programs::find();
    let (mut sink, mut off, mut on, mut each) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut kept, mut judged, mut most) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        sink.push(lines.rate_of_a_sink()?);
        let round =
            runtime.block_on(volume::round(binaries, &lines, &volume::Around::default()))?;
        kept.push(round.kept);
        judged.push(round.judged);
        most.push(round.most_mib);
        if let Ok(rsyslog) = &rsyslog {
            off.push(rsyslog.round(&lines, Sync::Never)?);
            on.push(rsyslog.round(&lines, Sync::Batches)?);
            each.push(rsyslog.round(&few, Sync::Lines)?);
        }
    }
    let [sink, kept, judged, off, on, each, most] =
        [sink, kept, judged, off, on, each, most].map(|figures| median_of(&figures));
    row("lines a second that only a reader takes", sink, "", Goal::None);
    row("ours: kept, each batch synced", kept, "", Goal::Least(goal::LINES_A_SECOND));
    row("  judged by the rules as well", judged, "", Goal::None);
    if let Err(error) = rsyslog {
        println!("rsyslog cannot be had: {error:#}");
    } else {
        row("rsyslog into a file, without sync", off, "", Goal::None);
        row("rsyslog into a file, each batch of its queue synced", on, "", Goal::None);
        row("rsyslog into a file, each line synced", each, "", Goal::None);
        row(
            "ours to rsyslog that syncs batches",
            kept / on,
            "x",
            Goal::Least(goal::AGAINST_RSYSLOG),
        );
        row(
            "ours to rsyslog that syncs lines",
            kept / each,
            "x",
            Goal::Least(goal::AGAINST_RSYSLOG),
        );
        row("ours to rsyslog without sync", kept / off, "x", Goal::None);
    }
    row("the sender to ours: it is not the limit", sink / kept, "x", Goal::None);
    row("ours: the most memory meanwhile", most, "MiB", Goal::Most(goal::LOAD_MIB));
    Ok(())
}

/// A figure with its unit, and its goal if it has one.
fn row(what: &str, figure: f64, unit: &str, goal: Goal) {
    let (bound, wanted, is_met) = match goal {
        Goal::None => ("", f64::NAN, false),
        Goal::Least(least) => ("at least", least, figure >= least),
        Goal::Most(most) => ("at most", most, figure <= most),
    };
    let verdict = if wanted.is_nan() {
        String::new()
    } else {
        format!("{bound} {wanted} {}", if is_met { "reached" } else { "MISSED" })
    };
    let figure = if figure < 1000.0 { format!("{figure:.2}") } else { format!("{figure:.0}") };
    println!("{}", format!("{what:<54} {figure:>12} {unit:<4} {verdict}").trim_end());
}
