//! What lines of a console are news: a shipped set, and patterns of the settings' own.

use std::sync::LazyLock;

use event_core::{Kind, Severity};
use regex::{Regex, RegexBuilder};

/// The largest compiled pattern, in bytes.
const MAX_SIZE: usize = 1 << 18;

/// A pattern, and what a line that it fits is.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Its name.
    pub name: String,
    /// What fits it.
    pub regex: Regex,
    /// What it means.
    pub kind: Kind,
    /// How bad that is.
    pub severity: Severity,
    /// A title in place of the line itself.
    pub title: Option<String>,
}

/// The text is no pattern that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(String);

/// The shipped patterns by their names, with what they find and how bad it is, in the order in which they are tried.
pub const SHIPPED: [(&str, &str, Severity); 13] = [
    ("kernel_panic", r"Kernel panic - not syncing|^panic: ", Severity::Critical),
    (
        "oom",
        r"Out of memory: Killed process|\boom-kill:|Memory cgroup out of memory",
        Severity::Error,
    ),
    (
        "oops",
        r"\bBUG: (?:unable to handle|kernel NULL pointer|KASAN)|\bkernel BUG at |\bOops: |general protection fault",
        Severity::Error,
    ),
    (
        "lockup",
        r"soft lockup|hard LOCKUP|rcu: .*detected (?:expedited )?stalls|self-detected stall",
        Severity::Error,
    ),
    ("hung_task", r"INFO: task .+ blocked for more than \d+ seconds", Severity::Error),
    (
        "filesystem",
        r"EXT[234]-fs error|EXT[234]-fs .*Remounting filesystem read-only|XFS .*(?:[Cc]orruption|Internal error|Shutting down filesystem)|BTRFS (?:error|critical)|F2FS-fs .*[Cc]orrupt",
        Severity::Error,
    ),
    (
        "fsck",
        r"UNEXPECTED INCONSISTENCY|RUN fsck MANUALLY|fsck failed|Filesystem check failed",
        Severity::Error,
    ),
    (
        "disk",
        r"I/O error,? dev |Buffer I/O error on dev|critical (?:medium|target|space allocation) error|Medium Error|Unrecovered read error",
        Severity::Error,
    ),
    (
        "raid",
        r"md/raid.*(?:Disk failure|Operation continuing on)|md\d+: .*not enough operational",
        Severity::Error,
    ),
    (
        "hardware",
        r"\[Hardware Error\]|Machine check (?:events logged|exception)|EDAC .*UE ",
        Severity::Error,
    ),
    (
        "boot",
        r"No bootable device|not a bootable disk|Entering emergency mode|You are in emergency mode|Give root password for maintenance|\(initramfs\)|grub rescue>",
        Severity::Error,
    ),
    ("unit", r"\[FAILED\] Failed to ", Severity::Warning),
    (
        "segfault",
        r"segfault at [0-9a-f]+ ip |trap invalid opcode|general protection ip:",
        Severity::Warning,
    ),
];

/// What a shipped pattern means. A panic is the evidence that a guest has crashed; a node's console shows no kernel.
fn kind(name: &str) -> Kind {
    if name == "kernel_panic" { Kind::GuestCrashed } else { Kind::ConsoleMatched }
}

/// The shipped patterns but those of these names.
pub fn shipped(without: &[String]) -> Vec<Pattern> {
    // Compiled once, for however many consoles.
    static COMPILED: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
        let made = SHIPPED.iter().map(|(name, text, severity)| {
            let regex = compile(text).expect("the shipped patterns are tried by a test");
            let name = (*name).to_owned();
            Pattern { kind: kind(&name), name, regex, severity: *severity, title: None }
        });
        made.collect()
    });
    COMPILED.iter().filter(|pattern| !without.contains(&pattern.name)).cloned().collect()
}

// === impl Pattern ===

impl Pattern {
    /// A pattern of the settings: lines that fit it are `console.matched`, and a warning, until said otherwise.
    ///
    /// # Errors
    /// The text is no regular expression, or too large a one.
    pub fn try_new(name: impl Into<String>, regex: &str) -> Result<Self, InvalidPattern> {
        let regex = compile(regex)?;
        let (kind, severity) = (Kind::ConsoleMatched, Severity::Warning);
        Ok(Self { name: name.into(), regex, kind, severity, title: None })
    }
}

fn compile(text: &str) -> Result<Regex, InvalidPattern> {
    if text.trim().is_empty() {
        return Err(InvalidPattern("is empty, so every line would fit it".to_owned()));
    }
    let built = RegexBuilder::new(text).size_limit(MAX_SIZE).build();
    let built = built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "is too large a regular expression".to_owned(),
        // The last line says what is wrong; those before it show where.
        other => format!(
            "is no regular expression: {}",
            other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ")
        ),
    });
    let built = built.map_err(InvalidPattern)?;
    if built.is_match("") {
        return Err(InvalidPattern("fits an empty line, so every line would fit it".to_owned()));
    }
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> String {
        let patterns = shipped(&[]);
        let found = patterns.iter().find(|pattern| pattern.regex.is_match(line));
        found.map_or_else(String::new, |it| format!("{} {} {}", it.name, it.kind, it.severity))
    }

    #[test]
    fn the_shipped_set_knows_what_kernels_and_systemd_say() {
        for (line, expected) in [
            (
                "[   12.345678] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
                "kernel_panic guest.crashed critical",
            ),
            ("panic: page fault", "kernel_panic guest.crashed critical"),
            (
                "[ 99.1] Out of memory: Killed process 812 (mysqld) total-vm:1kB, anon-rss:1kB",
                "oom console.matched error",
            ),
            (
                "[ 1.0] BUG: unable to handle page fault for address: ffff8880",
                "oops console.matched error",
            ),
            (
                "[ 9.9] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [kworker/1:1:42]",
                "lockup console.matched error",
            ),
            (
                "[ 484.0] INFO: task jbd2/sda1-8:310 blocked for more than 120 seconds.",
                "hung_task console.matched error",
            ),
            (
                "[ 5.5] EXT4-fs error (device sda1): ext4_lookup:1785: inode #2: comm ls: bad inode",
                "filesystem console.matched error",
            ),
            (
                "[ 5.5] EXT4-fs (sda1): Remounting filesystem read-only",
                "filesystem console.matched error",
            ),
            (
                "[ 5.5] XFS (dm-0): Corruption detected. Unmount and run xfs_repair",
                "filesystem console.matched error",
            ),
            (
                "/dev/sda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.",
                "fsck console.matched error",
            ),
            (
                "[ 7.7] I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x80700",
                "disk console.matched error",
            ),
            (
                "[ 7.7] blk_update_request: I/O error, dev vda, sector 1",
                "disk console.matched error",
            ),
            (
                "[ 8.8] md/raid1:md0: Disk failure on sdb1, disabling device.",
                "raid console.matched error",
            ),
            (
                "[ 8.9] mce: [Hardware Error]: Machine check events logged",
                "hardware console.matched error",
            ),
            ("No bootable device.", "boot console.matched error"),
            (
                "You are in emergency mode. After logging in, type \"journalctl -xb\"",
                "boot console.matched error",
            ),
            ("[FAILED] Failed to start nginx.service.", "unit console.matched warning"),
            (
                "[ 3.3] php[99]: segfault at 7f ip 00005 sp 00007 error 4 in php[55+1]",
                "segfault console.matched warning",
            ),
            ("Debian GNU/Linux 13 web-01 ttyS0", ""),
            ("[  OK  ] Started nginx.service.", ""),
            ("[ 0.0] kernel command line: root=/dev/sda1 ro console=ttyS0 panic=10", ""),
        ] {
            assert_eq!(found(line), expected, "{line}");
        }
    }

    #[test]
    fn names_are_used_once_and_can_be_left_out() {
        let without = ["unit".to_owned(), "segfault".to_owned()];
        assert_eq!(shipped(&without).len(), SHIPPED.len() - 2);
        let mut names: Vec<&str> = SHIPPED.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SHIPPED.len());
    }

    #[test]
    fn patterns_that_cannot_be_used_are_refused() {
        let says = |text: &str, part: &str| {
            let error = Pattern::try_new("x", text).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        };
        says("", "is empty");
        says("a(", "is no regular expression: unclosed group");
        says("a*", "fits an empty line");
        says(&"(?:a{900}){900}".repeat(4), "too large");
        assert_eq!(Pattern::try_new("ups", "On battery").unwrap().kind, Kind::ConsoleMatched);
    }
}
