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
        let figures = self.0.figures().await;
        if let Some(error) = &figures.unknown {
            tracing::warn!(error, "what waits in the outbox cannot be counted");
        }
        series(&figures, stdx::Clock::now(&stdx::SystemClock))
    }
}

/// All of them. The labels are names of the settings, families of kinds, and words of this program.
fn series(figures: &Figures, now: jiff::Timestamp) -> Vec<Series> {
    let mut all = inputs(figures);
    all.extend(outputs(figures, now));
    all.extend(spool(figures));
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
    let (mut echoes, mut refused, mut up) = (Vec::new(), Vec::new(), Vec::new());
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
        refused.push((vec![input.clone()], health.refused));
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
        counters(
            "events_refused",
            "Reports that were refused while the store was away, for their senders to send again",
            refused,
        ),
        gauges("input_up", "Whether an input hears", up),
    ]
}

/// What waits beside the store, where something can.
fn spool(figures: &Figures) -> Vec<Series> {
    let Some(spool) = &figures.spool else { return Vec::new() };
    let one = |count: u64| vec![(Labels::new(), precise(count))];
    let is_away = u64::from(spool.away_since.is_some());
    let put = vec![(Labels::new(), spool.put)];
    vec![
        gauges("store_away", "Whether the store takes no events in", one(is_away)),
        gauges("spool_events", "Reports that wait beside the store", one(spool.waiting)),
        gauges("spool_bytes", "Bytes that wait beside the store", one(spool.bytes)),
        gauges("spool_max_bytes", "Bytes that may wait beside the store", one(spool.max_bytes)),
        counters("events_put_aside", "Reports that were put aside beside the store", put),
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
        // No number is better than a wrong one.
        if figures.unknown.is_none() {
            waiting.push((vec![name.clone()], precise(health.pending)));
            let age = health.oldest.map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
            oldest.push((vec![name.clone()], age));
            dead.push((vec![name.clone()], precise(health.dead)));
        }
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
