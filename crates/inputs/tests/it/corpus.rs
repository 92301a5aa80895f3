//! What the fuzzers keep, once more: no input that was ever of interest may fail.

use std::{fs, path::Path};

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is kept") {
        run(&fs::read(entry.expect("an entry").path()).expect("a file"));
        count += 1;
    }
    assert!(count > 5, "{target} has {count} inputs");
}

#[test]
fn lines_of_syslog() {
    replay("syslog", inputs::fuzzing::syslog_line);
}

#[test]
fn streams_of_lines() {
    replay("frames", inputs::fuzzing::syslog_stream);
}

#[test]
fn bodies_of_webhooks() {
    replay("webhook", inputs::fuzzing::webhook_body);
}

#[test]
fn mails() {
    replay("mail", inputs::fuzzing::mail_message);
}
