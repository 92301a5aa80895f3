//! From a task that hears to the stream that whoever runs a source reads.

use std::{future::Future, time::Duration};

use event_core::{Ack, Cursor, Event, RunContext, Signal, SourceError, SourceErrorKind};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use stdx::Backoff;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::remote::Stop;

/// How long an input may say nothing before it says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// The first and the longest pause before what was not kept is told again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));

/// What a stream reads from.
struct State {
    cx: RunContext,
    receiver: mpsc::Receiver<Signal>,
    task: Option<AbortOnDropHandle<Result<(), SourceError>>>,
}

/// Runs a task that sends signals, and streams what it sends: until it ends, or the run is stopped. The task goes when
/// the stream goes. While it is silent the stream says [`Signal::Idle`].
pub(crate) fn stream<F>(
    cx: RunContext,
    queue: usize,
    run: impl FnOnce(RunContext, mpsc::Sender<Signal>) -> F + Send + 'static,
) -> BoxStream<'static, Result<Signal, SourceError>>
where
    F: Future<Output = Result<(), SourceError>> + Send + 'static,
{
    // The task begins when somebody reads, as streams do.
    let start = async move {
        let (sender, receiver) = mpsc::channel(queue);
        let task = AbortOnDropHandle::new(tokio::spawn(run(cx.clone(), sender)));
        stream::unfold(State { cx, receiver, task: Some(task) }, next)
    };
    stream::once(start).flatten().boxed()
}

/// The same for work that tells with a [`Teller`], and begins where the run before it left off.
pub(crate) fn hear<F>(
    cx: RunContext,
    queue: usize,
    resume: Option<Cursor>,
    work: impl FnOnce(RunContext, Teller, Option<Cursor>) -> F + Send + 'static,
) -> BoxStream<'static, Result<Signal, SourceError>>
where
    F: Future<Output = Result<(), Stop>> + Send + 'static,
{
    stream(cx, queue, move |cx, sender| {
        let work = work(cx, Teller(sender), resume);
        async move { Stop::end(work.await) }
    })
}

async fn next(mut state: State) -> Option<(Result<Signal, SourceError>, State)> {
    let heard = tokio::select! {
        biased;
        () = state.cx.stop.cancelled() => {
            // Nothing more is heard, but what has been is told.
            state.receiver.close();
            return state.receiver.recv().await.map(|signal| (Ok(signal), state));
        }
        heard = timeout(HEARTBEAT, state.receiver.recv()) => heard,
    };
    match heard {
        Ok(Some(signal)) => return Some((Ok(signal), state)),
        Err(_) => return Some((Ok(Signal::Idle), state)),
        Ok(None) => {}
    }
    match state.task.take()?.await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some((Err(error), state)),
        Err(error) => {
            let failed = SourceError::new(
                SourceErrorKind::Unavailable,
                "go on hearing: the input's task broke off",
            );
            Some((Err(failed.because(error)), state))
        }
    }
}

/// Whoever reads the run has gone.
pub(crate) struct Gone;

/// Tells events until they are kept: for sources whose peer is not answered but read again.
#[derive(Clone, Debug)]
pub(crate) struct Teller(pub(crate) mpsc::Sender<Signal>);

// === impl Teller ===

impl Teller {
    /// Says something that nobody keeps.
    pub(crate) async fn say(&self, signal: Signal) -> Result<(), Gone> {
        self.0.send(signal).await.map_err(|_| Gone)
    }

    /// Tells these and comes back when each is kept. The cursor goes with the last one, which is told when all before it
    /// are kept: so a cursor is never kept without what it stands for. What is rejected is told again after a pause.
    pub(crate) async fn keep(
        &self,
        mut events: Vec<Event>,
        cursor: Option<Cursor>,
    ) -> Result<(), Gone> {
        let Some(last) = events.pop() else { return Ok(()) };
        let mut told = Vec::with_capacity(events.len());
        for event in events {
            let (ack, ruling) = Ack::pair();
            let signal = Signal::Changed { event: event.clone(), cursor: None, ack };
            self.say(signal).await?;
            told.push((event, ruling));
        }
        for (event, ruling) in told {
            if !ruling.ruling().await.is_kept() {
                self.insist(event, None).await?;
            }
        }
        self.insist(last, cursor).await
    }

    async fn insist(&self, event: Event, cursor: Option<Cursor>) -> Result<(), Gone> {
        let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
        loop {
            let (ack, ruling) = Ack::pair();
            self.say(Signal::Changed { event: event.clone(), cursor: cursor.clone(), ack }).await?;
            if ruling.ruling().await.is_kept() {
                return Ok(());
            }
            sleep(backoff.next_delay()).await;
        }
    }
}
