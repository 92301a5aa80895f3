//! The parts of the pipeline as the supervisor runs them: what is started, with what, and what a second start finds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use event_core::{ComponentId, EventLog, Seq, dispatch};
use inputs::tasks::Observed;
use outputs::deliver::{Courier, Word};
use stdx::Clock;
use store::Store;
use tokio::sync::{Notify, broadcast, mpsc, watch};

use super::judge::{Judge, Order};
use super::outbox::StoreOutbox;
use super::told::Told;
use super::{Change, Output, drain, keep, live, promise};
use crate::Supervisor;

pub(super) fn start_writer(
    supervisor: &Supervisor,
    log: Arc<dyn EventLog>,
    reported: mpsc::Receiver<dispatch::Report>,
) {
    start_once(supervisor, "log".to_owned(), move |stop| async move {
        // Who can wait is held up by a log that is away; what nobody can say again is not thrown away.
        let batching = dispatch::Batching { patience: None, ..dispatch::Batching::default() };
        let written = dispatch::write(log, reported, batching, stop, |_| {}).await;
        if written.rejected > 0 {
            tracing::warn!(
                rejected = written.rejected,
                "reports could not be kept; their sources know"
            );
        }
    });
}

/// What is done for peers that wait, and for what waits beside the store.
pub(super) fn start_side(
    supervisor: &Supervisor,
    side: drain::Side,
    promised: mpsc::Receiver<dispatch::Report>,
) {
    let writer = Arc::new(tokio::sync::Mutex::new((side.clone(), promised)));
    supervisor.spawn("promises", move |stop| {
        let writer = Arc::clone(&writer);
        Box::pin(async move {
            let (side, promised) = &mut *writer.lock().await;
            promise::write(side, promised, stop).await;
            Ok(())
        })
    });
    supervisor.spawn("spool", move |stop| {
        let side = side.clone();
        Box::pin(async move {
            side.drain(stop).await;
            Ok(())
        })
    });
}

pub(super) fn start_judge(
    supervisor: &Supervisor,
    judge: Judge,
    ordered: mpsc::Receiver<Order>,
    follow: watch::Receiver<Seq>,
) {
    // What it is asked waits while it is started again.
    let court = Arc::new(tokio::sync::Mutex::new((judge, ordered)));
    supervisor.spawn("rules", move |stop| {
        let (court, follow) = (Arc::clone(&court), follow.clone());
        Box::pin(async move {
            let mut court = court.lock().await;
            let (judge, ordered) = &mut *court;
            let ended = judge.run(ordered, follow, &stop).await;
            ended.map_err(|error| stdx::Chain(&error).to_string())
        })
    });
}

pub(super) fn start_courier(supervisor: &Supervisor, id: &ComponentId, courier: Courier) {
    let courier = Arc::new(tokio::sync::Mutex::new(courier));
    supervisor.spawn(format!("output {id}"), move |stop| {
        let courier = Arc::clone(&courier);
        Box::pin(async move {
            courier.lock().await.run(stop).await;
            Ok(())
        })
    });
}

/// The courier of an output, and what wakes it.
pub(super) fn courier(
    output: Output,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    changes: &broadcast::Sender<Change>,
) -> (Courier, Arc<Notify>) {
    let Output { sink, service, fallback, pace } = output;
    let (teller, time) = (Arc::clone(store), Arc::clone(clock));
    let changes = changes.clone();
    let outbox = StoreOutbox { store: Arc::clone(store), service: service.to_owned() };
    let say = move |word: Word| {
        let (teller, changes) = (Arc::clone(&teller), changes.clone());
        keep::tell_of(&word, fallback.clone(), teller, changes, time.now());
    };
    let courier = Courier::new(sink, Arc::new(outbox), Arc::clone(clock), pace, say);
    let waker = courier.waker();
    (courier, waker)
}

/// Runs something that needs no second start: what it does it does until the end.
pub(super) fn start_once<F>(
    supervisor: &Supervisor,
    name: String,
    run: impl FnOnce(tokio_util::sync::CancellationToken) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let run = Mutex::new(Some(run));
    supervisor.spawn(name, move |stop| {
        let run = run.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            match run {
                Some(run) => run(stop).await,
                // It failed by a fault of the program; started anew it would have lost its place.
                None => return Err("it has ended by a fault and takes a restart".to_owned()),
            }
            Ok(())
        })
    });
}

/// Wakes couriers when there is something for them.
pub(super) fn start_wakers(
    supervisor: &Supervisor,
    wakers: BTreeMap<ComponentId, Arc<Notify>>,
    mut changes: broadcast::Receiver<Change>,
) {
    start_once(supervisor, "outbox".to_owned(), move |stop| async move {
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = stop.cancelled() => return,
            };
            match change {
                Ok(change) => {
                    for waker in change.outputs.iter().filter_map(|id| wakers.get(id)) {
                        waker.notify_one();
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    for waker in wakers.values() {
                        waker.notify_one();
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    });
}

/// Tells the rules what inputs see beside events.
pub(super) async fn watch_estate(
    mut observed: mpsc::Receiver<Observed>,
    orders: mpsc::Sender<Order>,
    live: live::Live,
    stop: tokio_util::sync::CancellationToken,
) {
    let mut estates: BTreeMap<estate::ClusterKey, rules::Estate> = BTreeMap::new();
    while let Some(Some(seen)) = stop.run_until_cancelled(observed.recv()).await {
        let told = match seen {
            Observed::Looked(looked) => {
                live.lock().looked(*looked);
                continue;
            }
            Observed::Measured(measured) => Told::Measured(*measured),
            Observed::Estate { cluster, estate } => {
                estates.insert(cluster, estate);
                let mut whole = rules::Estate::default();
                for one in estates.values().cloned() {
                    whole.clusters.extend(one.clusters);
                    whole.jobs.extend(one.jobs);
                    whole.uncovered.extend(one.uncovered);
                }
                Told::Estate(whole)
            }
            _ => continue,
        };
        if orders.send(Order::Tell(Box::new(told), None)).await.is_err() {
            return;
        }
    }
}
