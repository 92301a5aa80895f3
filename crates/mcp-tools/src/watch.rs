//! Looks after the resources that clients watch, and tells them when one has changed.
//!
//! Proxmox sends no events over its API, so a watched document is read again and again; what nobody
//! watches is not read at all. Documents about events are read as soon as the pipeline says that it
//! has something new. Figures that move all the time (loads, rates, ages) do not count as a change: a
//! client that is told every few seconds that something changed learns nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use event_core::desk::EventDesk;
use futures::poll;
use mcp_protocol::{App, CallContext, Notifier, ResourceBody, WeakApp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

/// How often a watched document is read.
pub const PERIOD: Duration = Duration::from_secs(10);

/// The least time between two readings for the pipeline's sake, however much it hears.
const PAUSE: Duration = Duration::from_millis(500);

/// For how long the pipeline is listened to at a time, in seconds.
const LISTEN: u64 = 60;

/// Keys and columns whose values move without anything having happened.
const RESTLESS: &[&str] = &[
    "age",
    "ages",
    "cpu",
    "disk_read",
    "disk_write",
    "duration",
    "load",
    "loadavg",
    "mem",
    "memory",
    "net_in",
    "net_out",
    "netin",
    "netout",
    "pressure",
    "rootfs",
    "seconds",
    "swap",
    "time",
    "up",
    "uptime",
    "used",
    "wait",
];

/// Watches for as long as anybody else has the app; `desk` is the pipeline, where there is one.
///
/// Costs nothing while no client watches anything.
pub fn watch(
    app: &App,
    period: Duration,
    desk: Option<Arc<dyn EventDesk>>,
) -> impl Future<Output = ()> + Send + use<> {
    let (notifier, weak) = (app.notifier(), app.downgrade());
    async move {
        tokio::select! {
            () = look_after(&weak, &notifier, period, desk.as_ref()) => {}
            () = weak.gone() => {}
        }
    }
}

async fn look_after(
    app: &WeakApp,
    notifier: &Notifier,
    period: Duration,
    desk: Option<&Arc<dyn EventDesk>>,
) {
    let mut known: BTreeMap<String, [u8; 32]> = BTreeMap::new();
    let mut due = Instant::now();
    loop {
        let watched = notifier.watched();
        if watched.is_empty() {
            known.clear();
            notifier.watched_changed().await;
            continue;
        }
        known.retain(|uri, _| watched.contains(uri));
        let listens = watched.iter().any(|uri| is_of_events(uri));
        // Listened for before the reading: what comes meanwhile is read at once.
        let mut heard = desk.filter(|_| listens).map(|desk| desk.changed(LISTEN));
        let is_heard = match &mut heard {
            Some(heard) => poll!(heard.as_mut()).is_ready(),
            None => false,
        };
        let is_due = Instant::now() >= due;
        // What is watched anew needs its first reading; the rest of the estate has its time.
        let wanted = |uri: &&String| is_due || !known.contains_key(*uri) || is_of_events(uri);
        let wanted: Vec<&String> = watched.iter().filter(wanted).collect();
        if is_due {
            due = Instant::now() + period;
        }
        if !read(app, notifier, &wanted, &mut known).await {
            return;
        }
        let changed = async {
            match heard {
                Some(heard) if !is_heard => {
                    sleep(PAUSE).await;
                    if let Err(error) = heard.await {
                        debug!(%error, "the pipeline tells of no change");
                        std::future::pending::<()>().await;
                    }
                }
                Some(_) => sleep(PAUSE).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep_until(due) => {}
            () = changed => {}
            // What is watched from now on needs its first reading at once.
            () = notifier.watched_changed() => {}
        }
    }
}

/// Whether the pipeline knows when this document changes.
fn is_of_events(uri: &str) -> bool {
    ["proxmox://incident", "proxmox://events/"].iter().any(|family| uri.starts_with(family))
}

/// Reads these documents, and tells of those that have changed. Whether there is still an app.
async fn read(
    app: &WeakApp,
    notifier: &Notifier,
    wanted: &[&String],
    known: &mut BTreeMap<String, [u8; 32]>,
) -> bool {
    // Kept for the time of the reading only.
    let Some(app) = app.upgrade() else { return false };
    let Some(resources) = app.resources() else { return false };
    for uri in wanted {
        let cx = CallContext::detached(app.caller().clone());
        // A document that cannot be read is neither changed nor unchanged.
        let contents = match resources.read(&cx, uri).await {
            Ok(contents) => contents,
            Err(error) => {
                debug!(uri, %error, "watched resource cannot be read");
                continue;
            }
        };
        let mut hasher = Sha256::new();
        for part in &contents {
            match &part.body {
                ResourceBody::Text(text) => hasher.update(settled(text).as_bytes()),
                ResourceBody::Blob(bytes) => hasher.update(bytes),
            }
        }
        let now: [u8; 32] = hasher.finalize().into();
        if known.insert((*uri).clone(), now).is_some_and(|before| before != now) {
            notifier.resource_updated(uri);
        }
    }
    true
}

/// A document without what moves all the time.
fn settled(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            settle(&mut value);
            value.to_string()
        }
        Err(_) => text.to_owned(),
    }
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !RESTLESS.contains(&key.as_str()));
            drop_columns(map);
            map.values_mut().for_each(settle);
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        // Shares and rates; counts and sizes of things are whole numbers.
        Value::Number(number) if number.is_f64() => *value = Value::Null,
        _ => {}
    }
}

/// Takes restless columns out of a table.
fn drop_columns(map: &mut serde_json::Map<String, Value>) {
    let Some(columns) = map.get("columns").and_then(Value::as_array) else { return };
    let restless: Vec<bool> = columns
        .iter()
        .map(|column| column.as_str().is_some_and(|name| RESTLESS.contains(&name)))
        .collect();
    let Some(rows) = map.get_mut("rows").and_then(Value::as_array_mut) else { return };
    for cells in rows.iter_mut().filter_map(Value::as_array_mut) {
        for (cell, restless) in cells.iter_mut().zip(&restless) {
            if *restless {
                *cell = Value::Null;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_moves_all_the_time_is_no_change() {
        let document = |cpu: f64, uptime: u64, state: &str| {
            let rows = json!([["web", state, cpu, uptime]]);
            json!({
                "guests": {"columns": ["name", "state", "cpu", "uptime"], "rows": rows},
                "share": cpu, "uptime": uptime,
            })
            .to_string()
        };
        let before = settled(&document(0.1, 100, "running"));
        assert_eq!(before, settled(&document(0.7, 110, "running")));
        assert_ne!(before, settled(&document(0.1, 100, "stopped")));
        assert_ne!(settled("plain"), settled("other"));
    }
}
