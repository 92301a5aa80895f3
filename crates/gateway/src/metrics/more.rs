//! What others count, beside what the gateway counts itself: read when somebody asks for it.

use std::fmt;

use async_trait::async_trait;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Something that counts.
#[async_trait]
pub trait Counts: fmt::Debug + Send + Sync + 'static {
    /// Everything as it is now. What cannot be read now is left out.
    async fn read(&self) -> Vec<Series>;
}

/// All values of one name, in plain terms.
#[derive(Clone, Debug)]
pub struct Series {
    /// Behind the prefix `proxmox_mcp_`, and without unit and `_total`, which are put behind it.
    pub name: &'static str,
    /// What it is, without a full stop.
    pub help: &'static str,
    /// Whether it is in seconds.
    pub is_seconds: bool,
    /// The values.
    pub values: Values,
}

/// The labels of one value.
pub type Labels = Vec<(&'static str, String)>;

/// Values by their labels.
#[derive(Clone, Debug)]
pub enum Values {
    /// What only grows until the program ends.
    Counters(Vec<(Labels, u64)>),
    /// What goes up and down.
    Gauges(Vec<(Labels, f64)>),
    /// How often something took how long.
    Histogram {
        /// How many were at most so long, and longer than the bound before; the last bound is
        /// [`f64::INFINITY`].
        buckets: Vec<(f64, u64)>,
        /// All together.
        sum: f64,
    },
}

/// Everything that was read.
#[derive(Debug)]
pub(super) struct Collected(pub(super) Vec<Series>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Series { name, help, is_seconds, values } in &self.0 {
            let unit = is_seconds.then_some(&Unit::Seconds);
            match values {
                Values::Counters(all) => {
                    let kind = MetricType::Counter;
                    let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
                    for (labels, value) in all {
                        // One without labels has no braces either.
                        match labels.as_slice() {
                            [] => metric.encode_counter::<NoLabelSet, u64, f64>(value, None)?,
                            _ => metric
                                .encode_family(labels)?
                                .encode_counter::<NoLabelSet, u64, f64>(value, None)?,
                        }
                    }
                }
                Values::Gauges(all) => {
                    let kind = MetricType::Gauge;
                    let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
                    for (labels, value) in all {
                        match labels.as_slice() {
                            [] => metric.encode_gauge(value)?,
                            _ => metric.encode_family(labels)?.encode_gauge(value)?,
                        }
                    }
                }
                Values::Histogram { buckets, sum } => {
                    let kind = MetricType::Histogram;
                    let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
                    let count = buckets.iter().map(|(_, count)| count).sum();
                    metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)?;
                }
            }
        }
        Ok(())
    }
}
