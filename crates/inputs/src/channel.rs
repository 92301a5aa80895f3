//! From a task that hears to the stream that whoever runs a source reads.

use std::{future::Future, time::Duration};

use event_core::{RunContext, Signal, SourceError, SourceErrorKind};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long an input may say nothing before it says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(25);

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
