//! Connections over TCP and TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use event_core::{RunContext, Signal, SourceError};
use stdx::{Chain, tls::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{Framer, Shared};
use crate::recognize::syslog::MAX_LINE;

/// How long a peer may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// When a silent peer is first asked whether it is still there. Syslog connections are silent for days.
const KEEPALIVE: Duration = Duration::from_mins(2);
/// The pause after a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Accepts connections until the run ends; those that are open end with it.
pub(super) async fn accept(
    shared: Arc<Shared>,
    cx: RunContext,
    listener: TcpListener,
    tls: Option<Acceptor>,
    slots: Arc<Semaphore>,
    sender: mpsc::Sender<Signal>,
) -> Result<(), SourceError> {
    let mut connections = JoinSet::new();
    loop {
        // Without a free slot nobody is let in: who waits in the kernel's queue has lost nothing.
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the slots are never closed");
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(error = %Chain(&error), "connection for syslog is not accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let (shared, cx, tls, sender) =
            (Arc::clone(&shared), cx.clone(), tls.clone(), sender.clone());
        connections.spawn(async move {
            serve(&shared, &cx, stream, from, tls, &sender).await;
            drop(slot);
        });
    }
}

async fn serve(
    shared: &Shared,
    cx: &RunContext,
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<Acceptor>,
    sender: &mpsc::Sender<Signal>,
) {
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    // Without it a peer that vanished keeps its slot; nothing worse.
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive).ok();
    let ended = match tls {
        None => read(shared, cx, stream, from, sender).await,
        Some(acceptor) => match timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => read(shared, cx, stream, from, sender).await,
            Ok(Err(error)) => {
                warn!(peer = %from, error = %Chain(&error), "peer of syslog does not agree on TLS");
                return;
            }
            Err(_) => {
                warn!(peer = %from, "peer of syslog does not agree on TLS in time");
                return;
            }
        },
    };
    if let Err(error) = ended {
        debug!(peer = %from, error = %Chain(&error), "connection for syslog broke off");
    }
}

async fn read(
    shared: &Shared,
    cx: &RunContext,
    mut stream: impl AsyncRead + Unpin,
    from: SocketAddr,
    sender: &mpsc::Sender<Signal>,
) -> std::io::Result<()> {
    let mut framer = Framer::new(MAX_LINE);
    let mut piece = vec![0; 16 * 1024];
    let mut ended = Ok(());
    loop {
        let length = match stream.read(&mut piece).await {
            Ok(length) => length,
            // What came before the break is kept.
            Err(error) => {
                ended = Err(error);
                0
            }
        };
        framer.push(&piece[..length]);
        loop {
            let frame =
                framer.next_frame().or_else(|| if length == 0 { framer.finish() } else { None });
            let Some(frame) = frame else { break };
            if let Some(event) = shared.event(cx, &frame, from)
                && sender.send(Signal::changed(event, None)).await.is_err()
            {
                return ended;
            }
        }
        if length == 0 {
            return ended;
        }
    }
}
