//! Between the manager and the database: passes bytes on, or does not.

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Line {
    Open,
    /// What is connected breaks off, and what comes is closed at once.
    Cut,
    /// What is connected stays so, and nothing moves.
    Dead,
}

/// Passes on to this server whatever comes to the port that it gives.
pub(super) async fn start(server: String, line: watch::Receiver<Line>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            tokio::spawn(pass(here, server.clone(), line.clone()));
        }
    });
    Ok(port)
}

async fn pass(mut here: TcpStream, server: String, mut line: watch::Receiver<Line>) {
    if *line.borrow_and_update() == Line::Cut {
        return;
    }
    let Ok(mut there) = TcpStream::connect(&server).await else { return };
    while *line.borrow_and_update() == Line::Open {
        tokio::select! {
            _ = copy_bidirectional(&mut here, &mut there) => return,
            changed = line.changed() => if changed.is_err() { return },
        }
    }
    // Dead, it stays until the line is another one; who held the run is gone otherwise.
    let _ = line.wait_for(|line| *line != Line::Dead).await;
}
