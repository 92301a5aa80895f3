//! One message to a control socket, from a process of its own: the manager goes by the account that
//! the system names, so whoever speaks has to be that account.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Sends the message on standard input to the socket, and prints what comes back.
pub(crate) fn speak(socket: &Path) -> Result<()> {
    let mut body = String::new();
    std::io::stdin().read_to_string(&mut body).context("read the message")?;
    let place = socket.display();
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connect to {place}"))?;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).context("speak")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("listen")?;
    let (_, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its head")?;
    println!("{body}");
    Ok(())
}
