//! What `/proc/self/stat` and `status` say, as proc_pid_stat(5) and proc_pid_status(5) describe them.

use std::time::Duration;

/// The kernel counts in these for programs, whatever it counts in itself (time(7), `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// In user mode and in the kernel, the fields 14 and 15. The second field is a name in brackets, in
/// which anything may stand.
pub(crate) fn processor_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut ticks = rest.split_ascii_whitespace().skip(11).map(str::parse::<u32>);
    let (user, kernel) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    TICK.checked_mul(user.checked_add(kernel)?)
}

/// What is in memory of files.
pub(crate) fn file_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssFile:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "4242 (a) R name) S 1 4242 4242 0 -1 4194560 2163 0 6 0 81 19 0 0 20 0 5 0 \
                        9000 0 0 18446744073709551615";

    #[test]
    fn user_and_kernel_time_are_added_up() {
        assert_eq!(processor_time(STAT), Some(Duration::from_secs(1)));
        assert_eq!(processor_time("4242 (name) S 1 2 3"), None);
        assert_eq!(processor_time(""), None);
    }

    #[test]
    fn files_are_in_kibibytes() {
        let status = "VmRSS:\t   38924 kB\nRssAnon:\t    6660 kB\nRssFile:\t   32264 kB\n";
        assert_eq!(file_bytes(status), Some(32264 * 1024));
        assert_eq!(file_bytes("RssFile:\t   32264"), None);
        assert_eq!(file_bytes("VmRSS:\t   38924 kB"), None);
    }

    proptest! {
        #[test]
        fn nothing_that_a_file_says_panics(text in "(?s).{0,200}", numbers in "\\(\\) [0-9 ]{0,80}") {
            let _ = (processor_time(&text), processor_time(&numbers), file_bytes(&text));
            let _ = file_bytes(&format!("RssFile:{text}kB"));
        }
    }
}
