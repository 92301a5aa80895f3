//! What the kernel dropped of a UDP socket, by its own count.
//!
//! Linux lists every UDP socket in `/proc/net/udp` and `/proc/net/udp6`, with the number of its inode and, in the last
//! column, of datagrams that found its buffer full. Elsewhere nothing is known, and nothing is said.

use std::{
    fs,
    os::fd::{AsRawFd as _, RawFd},
};

use tokio::net::UdpSocket;

/// The count of one socket.
#[derive(Debug)]
pub(super) struct Drops {
    inode: Option<u64>,
    told: u64,
}

// === impl Drops ===

impl Drops {
    pub(super) fn of(socket: &UdpSocket) -> Self {
        Self { inode: inode(socket.as_raw_fd()), told: 0 }
    }

    /// How many were dropped since the last look.
    pub(super) fn news(&mut self) -> u64 {
        let Some(inode) = self.inode else { return 0 };
        let count = ["/proc/net/udp", "/proc/net/udp6"]
            .into_iter()
            .find_map(|table| dropped(&fs::read_to_string(table).ok()?, inode));
        // The kernel's count is of 32 bits, and may begin anew.
        let count = count.unwrap_or(self.told);
        let news = count.checked_sub(self.told).unwrap_or(count);
        self.told = count;
        news
    }
}

/// The number in `socket:[12345]`, which is what the descriptor is a link to.
fn inode(descriptor: RawFd) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The last column of the socket's line. The inode is the tenth.
fn dropped(table: &str, inode: u64) -> Option<u64> {
    let of_socket = |line: &str| {
        let mut columns = line.split_whitespace();
        (columns.nth(9)?.parse::<u64>().ok()? == inode).then(|| columns.last()?.parse().ok())?
    };
    table.lines().skip(1).find_map(of_socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let table = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  523: 00000000:1589 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8181 2 0000000000000000 17
  524: 0100007F:158A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8182 2 0000000000000000 0
";
        assert_eq!(
            (dropped(table, 8181), dropped(table, 8182), dropped(table, 1)),
            (Some(17), Some(0), None)
        );
        assert_eq!(dropped("", 1), None);
    }
}
