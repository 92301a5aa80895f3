//! One JSON message per line, both ways, over any pair of byte streams.
//!
//! Ours instead of the SDK's, because that one drops a line that it cannot read without a word. All writing is done by one
//! task, so a future that is dropped halfway can never leave half a line on the output.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::incoming::{self, Incoming};
use super::session::Session;
use crate::lines::{Line, Lines};

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 4 * 1024 * 1024;
/// So many lines may wait for the writer.
const QUEUE: usize = 32;
/// So long may a client that has stopped reading hold up the end.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// A line for the writer, and who wants to know when it is out.
struct Outgoing {
    line: Vec<u8>,
    written: Option<oneshot::Sender<()>>,
}

/// The transport of one connection.
pub(super) struct LineTransport<R> {
    input: Lines<R>,
    session: Arc<Session>,
    grace: Duration,
    outgoing: Option<mpsc::Sender<Outgoing>>,
    writer: Option<JoinHandle<()>>,
    /// A reply of our own that has not reached the writer yet; kept here because `receive` may be dropped at any await.
    pending: Option<Vec<u8>>,
    /// Set at the end of input: when requests in flight are given up.
    give_up: Option<Instant>,
}

// === impl LineTransport ===

impl<R: AsyncRead + Send + Unpin + 'static> LineTransport<R> {
    pub(super) fn new<W>(input: R, output: W, session: Arc<Session>, grace: Duration) -> Self
    where
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let (outgoing, queue) = mpsc::channel(QUEUE);
        Self {
            input: Lines::new(input, MAX_LINE),
            session,
            grace,
            outgoing: Some(outgoing),
            writer: Some(tokio::spawn(write_all(output, queue))),
            pending: None,
            give_up: None,
        }
    }

    /// Passes a pending reply to the writer; `false` if the writer is gone.
    async fn flush_pending(&mut self) -> bool {
        let Some(outgoing) = &self.outgoing else { return false };
        if self.pending.is_some() {
            let Ok(permit) = outgoing.reserve().await else { return false };
            if let Some(line) = self.pending.take() {
                permit.send(Outgoing { line, written: None });
            }
        }
        true
    }

    /// Waits until the requests in flight are answered or their grace is over.
    async fn drain(&mut self) {
        let grace = self.grace;
        let give_up = *self.give_up.get_or_insert_with(|| Instant::now() + grace);
        let session = Arc::clone(&self.session);
        let gone = self.outgoing.clone();
        tokio::select! {
            () = session.idle() => {}
            () = tokio::time::sleep_until(give_up) => {}
            () = closed(gone.as_ref()) => {}
        }
    }
}

impl<R: AsyncRead + Send + Unpin + 'static> Transport<RoleServer> for LineTransport<R> {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let outgoing = self.outgoing.clone();
        let session = Arc::clone(&self.session);
        async move {
            let answered = answered(&message);
            let line = serde_json::to_vec(&message).map_err(io::Error::other)?;
            drop(message);
            let sent = send_line(outgoing, line).await;
            if let Some(id) = answered {
                session.end(&id);
            }
            sent
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if !self.flush_pending().await {
                break;
            }
            if self.give_up.is_some() {
                self.drain().await;
                break;
            }
            let outgoing = self.outgoing.clone();
            let line = tokio::select! {
                line = self.input.next() => line,
                () = closed(outgoing.as_ref()) => break,
            };
            match line {
                Line::Text(line) => match incoming::read(&line, &self.session) {
                    Incoming::Message(message) => return Some(*message),
                    Incoming::Reply(reply) => self.pending = Some(reply),
                    Incoming::Ignored => {}
                },
                Line::TooLong => self.pending = Some(incoming::too_long(MAX_LINE)),
                Line::End => {
                    self.session.end_listening();
                    self.give_up = Some(Instant::now() + self.grace);
                }
            }
        }
        self.session.stop();
        None
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.outgoing = None;
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        if tokio::time::timeout(LAST_WRITE, &mut writer).await.is_err() {
            writer.abort();
        }
        Ok(())
    }
}

/// The id of the request that a message answers.
fn answered(message: &ServerJsonRpcMessage) -> Option<RequestId> {
    match message {
        ServerJsonRpcMessage::Response(response) => Some(response.id.clone()),
        ServerJsonRpcMessage::Error(error) => error.id.clone(),
        _ => None,
    }
}

/// Resolves when the writer is gone: the client does not read any more.
async fn closed(outgoing: Option<&mpsc::Sender<Outgoing>>) {
    if let Some(outgoing) = outgoing {
        outgoing.closed().await;
    }
}

/// Resolves when the line is written, so that whoever awaits it knows what is before what.
async fn send_line(
    outgoing: Option<mpsc::Sender<Outgoing>>,
    line: Vec<u8>,
) -> Result<(), io::Error> {
    let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client does not read any more");
    let outgoing = outgoing.ok_or_else(gone)?;
    let (written, is_written) = oneshot::channel();
    outgoing.send(Outgoing { line, written: Some(written) }).await.map_err(|_| gone())?;
    is_written.await.map_err(|_| gone())
}

async fn write_all<W: AsyncWrite + Unpin>(mut output: W, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { mut line, written }) = queue.recv().await {
        line.push(b'\n');
        let result = async {
            output.write_all(&line).await?;
            output.flush().await
        };
        if result.await.is_err() {
            return;
        }
        if let Some(written) = written {
            // Whoever waited may be gone; the line is out all the same.
            let _ = written.send(());
        }
    }
}
