//! Skipping aloud: what is missing is printed, counted, or a failure.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// How many times this test process went on without something that it lacked.
pub fn skipped() -> usize {
    SKIPPED.load(Ordering::Relaxed)
}

/// Counts and prints that `what` is missing, unless `variable` is set: then it must be there.
///
/// # Panics
///
/// When it must be there.
pub fn skip_aloud(what: &str, variable: &str, hint: &str) {
    skip(what, variable, required(variable), hint);
}

/// Whether the variable asks for strictness.
pub(crate) fn required(variable: &str) -> bool {
    read_env(variable).is_some_and(|value| !value.is_empty() && value != "0")
}

/// The environment, which tests may read: nothing else tells them what CI promises.
#[expect(clippy::disallowed_methods, reason = "the one place where tests read the environment")]
pub(crate) fn read_env(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// Counts and prints that `what` is missing.
///
/// Written straight to the stream: the test harness swallows what `eprintln!` of a passing test
/// prints, and a skip that nobody sees is a pass that nobody earned.
///
/// # Panics
///
/// When `must_be_there`: then a missing thing is a broken test machine.
pub(crate) fn skip(what: &str, variable: &str, must_be_there: bool, hint: &str) {
    assert!(!must_be_there, "{what} is missing and {variable} is set: {hint}");
    say(&mut std::io::stderr(), what, hint);
}

fn say(out: &mut dyn Write, what: &str, hint: &str) {
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    // One write, so that lines of parallel tests do not mix; nothing helps if stderr is closed.
    out.write_all(format!("skipped ({count} so far): {what} is missing; {hint}\n").as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_printed_and_counted() {
        let (before, mut out) = (skipped(), Vec::new());
        say(&mut out, "a thing", "bring it");
        assert!(skipped() > before);
        assert!(String::from_utf8(out).unwrap().ends_with("a thing is missing; bring it\n"));
    }

    #[test]
    #[should_panic(expected = "a thing is missing and REQUIRE_THINGS is set: bring it")]
    fn strictness_makes_a_skip_a_failure() {
        skip("a thing", "REQUIRE_THINGS", true, "bring it");
    }
}
