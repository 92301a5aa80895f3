//! Tests that have a process to themselves.

use std::process::Command;

/// Names the test that this process was started for.
const ALONE: &str = "TESTKIT_ALONE";

/// Runs the work of a test in a process of its own, for what a process has only one of.
///
/// The subscriber of `tracing` is such a thing. Whether anybody wants an event is asked once for its place in the code,
/// of whichever thread comes there first, and the answer is kept: a thread of another test, without a subscriber and held
/// up between question and answer, says "nobody" after this test has set its own, which then hears nothing.
///
/// `test` is what the harness calls it, such as `auth::no_message_holds_a_token`. The work runs on one thread.
///
/// # Panics
///
/// When the work does, with all that it printed; and when there is no such test.
pub fn alone(test: &str, work: impl Future<Output = ()>) {
    if runs_alone(test) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.expect("the system has room for a runtime").block_on(work);
    }
    let program = std::env::current_exe().expect("this program has a file");
    let ran = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, test)
        .output()
        .expect("this program can be started again");
    let said = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let is_good = ran.status.success() && said[0].contains("1 passed");
    assert!(is_good, "{test} in a process of its own: {}\n{}", ran.status, said.join("\n"));
}

/// Whether this process was started for that test.
#[expect(clippy::disallowed_methods, reason = "what a test tells itself, not a setting")]
fn runs_alone(test: &str) -> bool {
    std::env::var_os(ALONE).is_some_and(|name| name == test)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn only_the_other_process_does_the_work() {
        const NAME: &str = "alone::tests::only_the_other_process_does_the_work";
        let mut has_worked = false;
        alone(NAME, async { has_worked = true });
        assert_eq!(has_worked, runs_alone(NAME));
    }

    #[test]
    fn what_fails_there_fails_here() {
        const NAME: &str = "alone::tests::what_fails_there_fails_here";
        if runs_alone(NAME) {
            alone(NAME, async { panic!("the reason") });
        }
        let failed = catch_unwind(AssertUnwindSafe(|| alone(NAME, async {}))).unwrap_err();
        let said = failed.downcast_ref::<String>().expect("words");
        assert!(said.contains(NAME) && said.contains("the reason"), "{said}");
    }

    #[test]
    fn a_test_that_is_not_there_is_no_success() {
        let failed = catch_unwind(|| alone("alone::tests::nobody", async {})).unwrap_err();
        let said = failed.downcast_ref::<String>().expect("words");
        assert!(said.contains("0 passed"), "{said}");
    }
}
