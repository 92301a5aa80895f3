//! The text of a backup run's notification: what became of each guest.
//!
//! The table has a fixed width, and names may hold blanks, so it is cut where the header's words begin.

use estate::VmId;
use jiff::civil::DateTime;

use super::body;

/// What a backup run tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run {
    /// What stands above the details, where something went wrong.
    pub(crate) error: Option<String>,
    /// The guests, in their order.
    pub(crate) guests: Vec<Guest>,
    /// How long it took.
    pub(crate) seconds: Option<u64>,
    /// How much it wrote.
    pub(crate) bytes: Option<u64>,
}

/// One guest of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Guest {
    pub(crate) vmid: VmId,
    pub(crate) name: Option<String>,
    pub(crate) status: Status,
    pub(crate) seconds: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) filename: Option<String>,
    /// The line of the table and those of the log, as they stand there.
    pub(crate) lines: Vec<String>,
    /// The last line of the log that tells an error.
    pub(crate) cause: Option<String>,
    /// When the last line was written, by the node's clock.
    pub(crate) ended: Option<DateTime>,
}

/// What became of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    Failed,
    /// The run ended before it was this guest's turn.
    NotBegun,
}

/// The most guests that are read, and the most lines of log for each.
const MAX_GUESTS: usize = 2000;
const MAX_LINES: usize = 200;

const COLUMNS: [&str; 6] = ["VMID", "Name", "Status", "Time", "Size", "Filename"];

/// Reads the text; `None` where there is no table of guests in it.
pub(crate) fn read(text: &str) -> Option<Run> {
    let mut lines = text.lines();
    let mut above = Vec::new();
    let offsets = loop {
        let line = lines.next()?;
        match offsets(line) {
            Some(offsets) => break offsets,
            None => above.push(line.trim()),
        }
    };
    let error = above
        .into_iter()
        .find(|line| !line.is_empty() && *line != "Details" && !line.starts_with("=="))
        .map(str::to_owned);
    let mut run = Run { error, ..Run::default() };
    let mut rest = lines.clone();
    for line in lines {
        let Some(guest) = guest(line, &offsets) else { break };
        if run.guests.len() < MAX_GUESTS {
            run.guests.push(guest);
        }
        rest.next();
    }
    for line in rest {
        if let Some(log) = log_line(line) {
            put(&mut run.guests, &log, line);
        } else if let Some(value) = line.trim().strip_prefix("Total running time:") {
            run.seconds = run.seconds.or_else(|| body::seconds(value));
        } else if let Some(value) = line.trim().strip_prefix("Total size:") {
            run.bytes = run.bytes.or_else(|| body::bytes(value));
        }
    }
    (!run.guests.is_empty()).then_some(run)
}

/// Where the columns begin, in characters, if the line is the header.
fn offsets(line: &str) -> Option<[usize; 6]> {
    let mut offsets = [0; 6];
    let mut from = 0;
    for (offset, column) in offsets.iter_mut().zip(COLUMNS) {
        let at = from + line.get(from..)?.find(column)?;
        // Only blanks may stand between the header's words.
        if !line[from..at].trim().is_empty() {
            return None;
        }
        // The header is ASCII up to here, so bytes are characters.
        *offset = at;
        from = at + column.len();
    }
    line[from..].trim().is_empty().then_some(offsets)
}

fn guest(line: &str, offsets: &[usize; 6]) -> Option<Guest> {
    let characters: Vec<char> = line.chars().collect();
    let cell = |at: usize| -> Option<String> {
        let start = offsets[at].min(characters.len());
        let end = offsets.get(at + 1).map_or(characters.len(), |end| (*end).min(characters.len()));
        let cell: String = characters.get(start..end)?.iter().collect();
        let cell = cell.trim();
        (!cell.is_empty()).then(|| cell.to_owned())
    };
    let vmid = cell(0)?.parse().ok()?;
    let status = match cell(2)?.as_str() {
        "ok" => Status::Ok,
        "todo" => Status::NotBegun,
        _ => Status::Failed,
    };
    Some(Guest {
        vmid,
        name: cell(1),
        status,
        seconds: cell(3).as_deref().and_then(body::seconds),
        bytes: cell(4).as_deref().and_then(body::bytes),
        // A guest that failed has the word `null` there.
        filename: cell(5).filter(|name| name != "null"),
        lines: vec![line.trim_end().to_owned()],
        cause: None,
        ended: None,
    })
}

struct LogLine<'a> {
    vmid: VmId,
    time: DateTime,
    is_error: bool,
    text: &'a str,
}

/// `104: 2026-11-22 01:02:05 INFO: Finished Backup of VM 104 (00:02:05)`
fn log_line(line: &str) -> Option<LogLine<'_>> {
    let (vmid, rest) = line.trim_start().split_once(':')?;
    let vmid = vmid.parse().ok()?;
    let rest = rest.trim_start();
    let (time, rest) = rest.split_at_checked(19)?;
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S", time).ok()?;
    let (level, text) = rest.trim_start().split_once(':')?;
    let is_error = match level.trim_matches(['(', ')']) {
        "ERROR" => true,
        "INFO" | "WARN" => false,
        _ => return None,
    };
    Some(LogLine { vmid, time, is_error, text: text.trim() })
}

fn put(guests: &mut [Guest], log: &LogLine<'_>, line: &str) {
    let Some(guest) = guests.iter_mut().find(|guest| guest.vmid == log.vmid) else { return };
    if guest.lines.len() < MAX_LINES {
        guest.lines.push(line.trim_end().to_owned());
    }
    guest.ended = Some(log.time);
    if log.is_error {
        // The line that sums up repeats which guest it was; what went wrong stands behind it.
        let summed =
            log.text.strip_prefix("Backup of VM ").and_then(|rest| rest.split_once(" failed - "));
        guest.cause = Some(summed.map_or(log.text, |(_, cause)| cause).to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    const TEXT: &str = "\
could not back up all guests

Details
=======
VMID    Name         Status    Time     Size       Filename
104     db main      ok        2m 5s    1.5 GiB    vm/104/2026-11-22T01:00:02Z
105     VM 105       err       3s       0 B        null
106     bürö         todo      0s       0 B        null

Total running time: 2m 8s
Total size: 1.5 GiB

Logs
====
vzdump --mode snapshot --all 1

104: 2026-11-22 01:00:02 INFO: Starting Backup of VM 104 (qemu)
104: 2026-11-22 01:02:07 INFO: Finished Backup of VM 104 (00:02:05)

105: 2026-11-22 01:02:07 INFO: Starting Backup of VM 105 (qemu)
105: 2026-11-22 01:02:10 ERROR: Backup of VM 105 failed - storage 'nas' is not online
";

    #[test]
    fn a_table_becomes_guests() {
        let run = read(TEXT).unwrap();
        assert_eq!(run.error.as_deref(), Some("could not back up all guests"));
        assert_eq!((run.seconds, run.bytes), (Some(128), Some(1_610_612_736)));
        let shown: Vec<String> = run
            .guests
            .iter()
            .map(|g| {
                let (name, cause) = (g.name.as_deref(), g.cause.as_deref());
                let ended = g.ended.map(|time| time.to_string());
                format!(
                    "{} {name:?} {:?} {:?} {:?} {:?} {cause:?} {ended:?} {} lines\n",
                    g.vmid,
                    g.status,
                    g.seconds,
                    g.bytes,
                    g.filename,
                    g.lines.len(),
                )
            })
            .collect();
        expect![[r#"
            104 Some("db main") Ok Some(125) Some(1610612736) Some("vm/104/2026-11-22T01:00:02Z") None Some("2026-11-22T01:02:07") 3 lines
            105 Some("VM 105") Failed Some(3) Some(0) None Some("storage 'nas' is not online") Some("2026-11-22T01:02:10") 3 lines
            106 Some("bürö") NotBegun Some(0) Some(0) None None None 1 lines
        "#]].assert_eq(&shown.concat());
    }

    #[test]
    fn what_has_no_table_is_none() {
        for text in [
            "",
            "VMID Name",
            "VMID Name Status Time Size Filename",
            "VMID Name Status Time Size Filename\nx",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_below_the_header_is_read_or_left(rows in "([0-9]{0,5}[ éa-z]{0,40}\n){0,5}") {
            let _ = read(&format!("VMID    Name    Status    Time    Size    Filename\n{rows}"));
        }

        #[test]
        fn nothing_panics(text in "([\\x00-\\xff]|VMID|Name|Status|Time|Size|Filename|\n|104: 2026-11-22 01:00:02 ERROR:){0,40}") {
            let _ = read(&text);
        }
    }
}
