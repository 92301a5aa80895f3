//! What `/proc/self/smaps` says, as proc_pid_smaps(5) describes it.

/// A stretch of memory that says what its file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unchanged {
    pub(crate) start: usize,
    pub(crate) bytes: usize,
}

/// One mapping, changed or not.
struct Mapping {
    range: Unchanged,
    /// Of the program, for this process alone, and not to be written to.
    is_read: bool,
}

/// Where this process runs or reads its program's file, which it mapped for itself alone, cannot write
/// to, and has written nothing to: code and constants. What the loader has relocated is not among them,
/// though it can only be read afterwards. Libraries are not either: a name service's may come and go, and
/// what stood here a moment ago need not be so any more. Nothing if the text is not understood.
pub(crate) fn unchanged(smaps: &str, program: &str) -> Option<Vec<Unchanged>> {
    let mut found = Vec::new();
    let mut lines = smaps.lines().peekable();
    while let Some(line) = lines.next() {
        let mapping = header(line, program)?;
        let mut own = None;
        while let Some(field) = lines.next_if(|line| header(line, program).is_none()) {
            if let Some(value) = field.strip_prefix("Anonymous:") {
                own = Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?);
            }
        }
        // A kernel that does not say what is the process's own leaves no way to know.
        if own? == 0 && mapping.is_read {
            found.push(mapping.range);
        }
    }
    Some(found)
}

/// The first line of a mapping, if it is one: `start-end permissions offset device inode path`, where
/// the path may have blanks in it, or be missing.
fn header(line: &str, program: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let bytes = usize::from_str_radix(end, 16).ok()?.checked_sub(start)?;
    let permissions = words.next()?;
    let path = line.find('/').map_or("", |at| &line[at..]);
    let is_read = matches!(permissions, "r--p" | "r-xp") && path == program;
    Some(Mapping { range: Unchanged { start, bytes }, is_read })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    const PROGRAM: &str = "/usr/bin/a program";
    const SMAPS: &str = "\
55d0a0000000-55d0a0010000 r--p 00000000 fe:01 1234                       /usr/bin/a program
Size:                 64 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
55d0a0010000-55d0a0030000 r-xp 00010000 fe:01 1234                       /usr/bin/a program
Size:                128 kB
Anonymous:             0 kB
55d0a0030000-55d0a0040000 r-xp 00030000 fe:01 1234                       /usr/bin/a program
Anonymous:             4 kB
55d0a0040000-55d0a0041000 r--p 00040000 fe:01 1234                       /usr/bin/a program
Anonymous:            64 kB
55d0a0041000-55d0a0042000 rw-p 00041000 fe:01 1234                       /usr/bin/a program
Anonymous:             0 kB
55d0a0042000-55d0a0043000 r--s 00041000 fe:01 1234                       /usr/bin/a program
Anonymous:             0 kB
7e0000000000-7e0000001000 r-xp 00000000 fe:01 77                         /usr/lib/libnss_dns.so.2
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0
Anonymous:             0 kB
7fff00000000-7fff00002000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_what_says_the_same_as_its_file_is_let_go_of() {
        expect![[r#"
            [
                55d0a0000000 65536,
                55d0a0010000 131072,
            ]"#]]
        .assert_eq(&shown(SMAPS));
    }

    #[test]
    fn a_kernel_that_does_not_say_what_is_our_own_is_not_understood() {
        let without = SMAPS.replace("Anonymous:", "Unknown:");
        assert_eq!(unchanged(&without, PROGRAM), None);
        assert_eq!(unchanged("what is this?", PROGRAM), None);
        assert_eq!(unchanged("", PROGRAM), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn nothing_that_a_file_says_panics(text in "(?s).{0,400}") {
            let _ = unchanged(&text, PROGRAM);
        }

        #[test]
        fn cut_short_it_names_nothing_that_the_whole_does_not(at in 0..SMAPS.len()) {
            let whole = unchanged(SMAPS, PROGRAM).unwrap();
            for range in unchanged(&SMAPS[..at], PROGRAM).unwrap_or_default() {
                prop_assert!(whole.contains(&range));
            }
        }
    }

    fn shown(smaps: &str) -> String {
        let lines = unchanged(smaps, PROGRAM).unwrap();
        let lines = lines.iter().map(|range| format!("    {:x} {},\n", range.start, range.bytes));
        format!("[\n{}]", lines.collect::<String>())
    }
}
