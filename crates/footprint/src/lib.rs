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

mod accounts;
#[cfg(target_os = "linux")]
mod mappings;

use std::io;
use std::time::Duration;

/// How long all threads of this process have computed since it began, to a hundredth of a second. Of
/// `/proc/self/stat`, proc_pid_stat(5); nothing on other systems.
///
/// # Errors
///
/// What the system says where the file cannot be read.
pub fn processor_time() -> io::Result<Duration> {
    read("stat", accounts::processor_time)
}

/// Bytes of files that this process has in memory: its program, its libraries, and what else it
/// mapped. Of `/proc/self/status`, proc_pid_status(5); 0 on other systems.
///
/// # Errors
///
/// What the system says where the file cannot be read.
pub fn program_bytes() -> io::Result<u64> {
    read("status", accounts::file_bytes)
}

/// Lets go of the pages of the program, and of what the kernel keeps of the program's
/// file in its cache, as far as no other process has it; and of memory that was allocated and freed.
/// What is touched again is read again; constants page by page and nothing around them, until
/// [`read_ahead`], and code too where the kernel heeds that (Linux 6.18 reads code ahead all the
/// same).
///
/// # Errors
///
/// What the system says; then all or some is still in memory.
pub fn let_go() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        for range in own_ranges()? {
            advise(&range, rustix::mm::Advice::Random)?;
            advise(&range, rustix::mm::Advice::LinuxDontNeed)?;
        }
        // Whoever may read a file may say this of it; `MADV_PAGEOUT` is for who owns it.
        let program = std::fs::File::open("/proc/self/exe")?;
        rustix::fs::fadvise(&program, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    trim();
    Ok(())
}

/// What is touched from now on is read with what is around it, as far ahead as the kernel reads of
/// that disk: for a program that is needed again.
///
/// # Errors
///
/// What the system says; then it is still read page by page.
pub fn read_ahead() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    for range in own_ranges()? {
        advise(&range, rustix::mm::Advice::Normal)?;
    }
    Ok(())
}

/// The mappings of the program's own file that say the same as the file.
#[cfg(target_os = "linux")]
fn own_ranges() -> io::Result<Vec<mappings::Unchanged>> {
    let path = std::fs::read_link("/proc/self/exe")?;
    let path = path.to_string_lossy();
    read("smaps", |text| mappings::unchanged(text, &path))
}

/// Gives back what was allocated and freed since. glibc does so by itself at the end of its heap only.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a function of C; ADR 0011")]
fn trim() {
    // SAFETY: it takes a number, may be called by any thread at any time (malloc_trim(3): MT-Safe), and
    // touches no memory that is in use. Whether there was something to give back is of no interest.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe crate offers it for what the loader mapped; ADR 0011")]
fn advise(range: &mappings::Unchanged, advice: rustix::mm::Advice) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: of the three that are given, `Normal` and `Random` say how a file is read, and change
    // nothing that is there. After `LinuxDontNeed`
    // the next read of a private mapping comes from its file, and these ranges say the same as
    // their file: they are not writable, and not one page of them is the process's own
    // (`Anonymous: 0`), so neither relocation nor breakpoint nor anything else was written there.
    // Nothing changes that between the look and this call: the loader is done with the program itself
    // when `main` begins, and never unmaps it. (Of libraries, which a name service brings at any time, this
    // is not known; they are not among the ranges.) That a file changes below its mapping is as true without this
    // call, and what runs cannot be written to (ETXTBSY).
    unsafe { rustix::mm::madvise(start, range.bytes, advice) }?;
    Ok(())
}

/// What one of the kernel's files about this process says; the default where there are none.
fn read<T: Default>(file: &str, understood: impl Fn(&str) -> Option<T>) -> io::Result<T> {
    if !cfg!(target_os = "linux") {
        return Ok(T::default());
    }
    let path = format!("/proc/self/{file}");
    let text = std::fs::read_to_string(&path)?;
    let strange =
        || io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not understood"));
    understood(&text).ok_or_else(strange)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn who_computes_takes_processor_time() {
        let before = super::processor_time().unwrap();
        let work = || (0..1_000_000_u64).fold(0, |sum: u64, n| sum ^ std::hint::black_box(n));
        let grows = |_| {
            std::hint::black_box(work());
            super::processor_time().unwrap() > before
        };
        // However fast the machine is, it counts up some time.
        assert!((0..10_000).any(grows));
    }
}
