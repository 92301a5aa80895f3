//! What the event pipeline counts, as the gateway shows it at `/metrics`.

use std::fmt;

use async_trait::async_trait;
use gateway::{Counts, Labels, Series, Values};
use manager::events::{Events, Figures, LATENCY_SECONDS};

/// The figures of a pipeline.
pub(crate) struct Pipeline(pub(crate) Events);

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipeline")
    }
}

#[async_trait]
impl Counts for Pipeline {
    async fn read(&self) -> Vec<Series> {
        match self.0.figures().await {
            Ok(figures) => series(&figures, stdx::Clock::now(&stdx::SystemClock)),
            Err(error) => {
                tracing::warn!(error = %stdx::Chain(&error), "figures of events cannot be read");
                Vec::new()
            }
        }
    }
}

/// All of them. The labels are names of the settings, families of kinds, and words of this program.
fn series(figures: &Figures, now: jiff::Timestamp) -> Vec<Series> {
    let mut all = inputs(figures);
    all.extend(outputs(figures, now));
    let open = vec![(Labels::new(), precise(figures.incidents_open))];
    all.push(gauges("incidents_open", "Incidents that are open", open));
    let failures = vec![(Labels::new(), figures.log_failures)];
    let help = "Batches of events that the store did not take at once";
    all.push(counters("event_log_failures", help, failures));
    let bounds = LATENCY_SECONDS.into_iter().chain([f64::INFINITY]);
    let buckets = bounds.zip(figures.latency.counts).collect();
    all.push(Series {
        name: "event_latency",
        help: "Time from hearing an event until what follows from it is kept",
        is_seconds: true,
        values: Values::Histogram { buckets, sum: figures.latency.sum },
    });
    all
}

fn inputs(figures: &Figures) -> Vec<Series> {
    let (mut received, mut duplicates, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let (mut echoes, mut up) = (Vec::new(), Vec::new());
    for (id, (health, dropped)) in &figures.inputs {
        let input = ("input", id.to_string());
        for (family, count) in &health.families {
            received.push((vec![input.clone(), ("family", family.clone())], *count));
        }
        for (reason, count) in &health.losses {
            lost.push((vec![input.clone(), ("reason", (*reason).to_owned())], *count));
        }
        duplicates.push((vec![input.clone()], health.duplicates));
        echoes.push((vec![input.clone()], *dropped));
        up.push((vec![input, ("kind", health.kind.clone())], f64::from(u8::from(health.is_up()))));
    }
    vec![
        counters(
            "events_received",
            "Events that inputs heard, by the family of their kind",
            received,
        ),
        counters("events_duplicate", "Events that an input had told before", duplicates),
        counters("events_echoed", "Messages of our own outputs that an input dropped", echoes),
        counters(
            "events_lost",
            "Reports that were lost, such as datagrams that the kernel dropped",
            lost,
        ),
        gauges("input_up", "Whether an input hears", up),
    ]
}

fn outputs(figures: &Figures, now: jiff::Timestamp) -> Vec<Series> {
    let (mut messages, mut waiting, mut oldest) = (Vec::new(), Vec::new(), Vec::new());
    let (mut dead, mut up) = (Vec::new(), Vec::new());
    for (id, output) in &figures.outputs {
        let name = ("output", id.clone());
        let health = &output.health;
        let ended =
            [("delivered", health.told), ("retried", output.retried), ("dead", output.buried)];
        for (outcome, count) in ended {
            messages.push((vec![name.clone(), ("outcome", outcome.to_owned())], count));
        }
        waiting.push((vec![name.clone()], precise(health.pending)));
        let age = health.oldest.map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
        oldest.push((vec![name.clone()], age));
        dead.push((vec![name.clone()], precise(health.dead)));
        let is_up = health.failing_since.is_none();
        up.push((vec![name], f64::from(u8::from(is_up))));
    }
    let mut age = gauges("outbox_oldest", "Age of the message that waits longest", oldest);
    age.is_seconds = true;
    vec![
        counters("messages", "What became of attempts to tell something", messages),
        gauges("outbox_messages", "Messages that wait to be told", waiting),
        age,
        gauges("outbox_dead_letters", "Messages that were given up and are kept", dead),
        gauges("output_up", "Whether an output tells what it is given", up),
    ]
}

fn counters(name: &'static str, help: &'static str, values: Vec<(Labels, u64)>) -> Series {
    Series { name, help, is_seconds: false, values: Values::Counters(values) }
}

fn gauges(name: &'static str, help: &'static str, values: Vec<(Labels, f64)>) -> Series {
    Series { name, help, is_seconds: false, values: Values::Gauges(values) }
}

/// A count as a gauge has it; none here comes near to where that loses digits.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn precise(count: u64) -> f64 {
    count as f64
}
