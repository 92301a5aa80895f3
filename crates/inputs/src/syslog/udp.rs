//! Datagrams: each is one line, with or without a line feed at its end.

use event_core::{RunContext, Signal, SourceError, SourceErrorKind};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{Frame, LOOK_AT_DROPS, Shared, drops::Drops};

/// Datagrams of IP cannot be longer.
const LONGEST: usize = 65_536;

/// Receives until the run ends. While the pipeline is full nothing is read: the kernel holds what fits, and counts what
/// does not.
pub(super) async fn receive(
    shared: &Shared,
    cx: &RunContext,
    socket: &UdpSocket,
    sender: &mpsc::Sender<Signal>,
) -> Result<(), SourceError> {
    let mut buffer = vec![0; LONGEST];
    let mut drops = Drops::of(socket);
    let mut look = interval(LOOK_AT_DROPS);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (length, from) = match received {
                    Ok(received) => received,
                    // A peer's refusal of an earlier datagram is none of ours: nothing is sent here.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
                    Err(error) => {
                        let message = "receive syslog over UDP";
                        return Err(SourceError::new(SourceErrorKind::Unavailable, message).because(error));
                    }
                };
                let frame = Frame { bytes: buffer[..length].to_vec(), is_cut: false };
                if let Some(event) = shared.event(cx, &frame, from)
                    && sender.send(Signal::changed(event, None)).await.is_err()
                {
                    return Ok(());
                }
            }
            _ = look.tick() => {
                let count = drops.news();
                if count > 0 {
                    let reason = "datagrams of syslog found the kernel's buffer full";
                    if sender.send(Signal::Lost { count, reason }).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}
