//! What the fuzzers keep, once more: no input that was ever of interest may fail.

use testkit::corpus::replay;

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

#[test]
fn frames_of_gotify() {
    replay("gotify", inputs::fuzzing::gotify_frame);
}

#[test]
fn streams_of_ntfy() {
    replay("ntfy", inputs::fuzzing::ntfy_stream);
}

#[test]
fn commands_of_smtp() {
    replay("smtp", inputs::fuzzing::smtp_commands);
}
