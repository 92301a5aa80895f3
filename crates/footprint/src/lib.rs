//! What a process has in memory of its own program, and letting go of it.
//!
//! A start touches a little of nearly everything: it parses settings, builds tables, opens
//! connections. For each page that is touched Linux maps fifteen neighbours as well, and none is
//! taken away again as long as the machine has room. So a program that then does nothing goes on
//! having tens of MiB that it read once.
//!
//! ```
//! let before = footprint::program_bytes()?;
//! footprint::let_go()?;
//! assert!(footprint::program_bytes()? <= before);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! On other systems than Linux nothing is let go of, and nothing fails.
//!
//! *Invariant:* what is let go of is in a file, unchanged, and is read from there again when it is
//! needed: no value that the program can see changes. ADR 0011 says why this may be `unsafe`.

#[cfg(target_os = "linux")]
mod mappings;

use std::io;
use std::time::Duration;

/// How long all threads of this process have computed since it began.
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.try_into().unwrap_or_default()
}

/// Bytes of files that this process has in memory: its program, its libraries, and what else it
/// mapped. Of `/proc/self/statm`, proc_pid_statm(5); 0 where there is none.
///
/// # Errors
///
/// What the system says where the file cannot be read.
pub fn program_bytes() -> io::Result<u64> {
    #[cfg(target_os = "linux")]
    {
        let text = std::fs::read_to_string("/proc/self/statm")?;
        let pages = mappings::shared_pages(&text).ok_or_else(|| not_understood("statm"))?;
        Ok(pages * rustix::param::page_size() as u64)
    }
    #[cfg(not(target_os = "linux"))]
    Ok(0)
}

/// Lets go of the pages of the program and its libraries. The kernel keeps them as what it has read
/// of a file, first in line when somebody needs room, and maps those again that are touched again:
/// about a microsecond for 64 KiB as long as nobody needed the room, else a read of the disk.
///
/// # Errors
///
/// What the system says; then all or some is still in memory.
pub fn let_go() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::Advice;

        let text = std::fs::read_to_string("/proc/self/smaps")?;
        for range in mappings::unchanged(&text).ok_or_else(|| not_understood("smaps"))? {
            // In this order: a page that is cold when it goes is not taken for one that is in use.
            advise(&range, Advice::LinuxCold)?;
            advise(&range, Advice::LinuxDontNeed)?;
        }
    }
    Ok(())
}

/// The one call for which this crate may be unsafe.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe crate offers it for what the loader mapped; ADR 0011")]
fn advise(range: &mappings::Unchanged, advice: rustix::mm::Advice) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: both advices that are given leave what the program reads as it is. `LinuxCold` never
    // changes contents. `LinuxDontNeed` makes the next read of a private mapping come from its file,
    // and these ranges say the same as their file: they are not writable, and not one page of them
    // is the process's own (`Anonymous: 0`), so neither relocation nor breakpoint nor anything else
    // was written there. Nothing makes them writable later: the loader is done with what it loaded
    // when `main` begins, and this process loads nothing else. That the file changes below a mapping
    // is as true without this call, and what runs cannot be written to (ETXTBSY).
    unsafe { rustix::mm::madvise(start, range.bytes, advice) }?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn not_understood(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/self/{file} is not what it was"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn who_computes_takes_processor_time() {
        let before = super::processor_time();
        let sum = (0..5_000_000_u64).fold(0, |sum: u64, n| sum ^ std::hint::black_box(n));
        assert_ne!(std::hint::black_box(sum), 1);
        assert!(super::processor_time() > before);
    }
}
