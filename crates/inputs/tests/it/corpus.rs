//! What the fuzzers keep, once more: no input that was ever of interest may fail.

use proptest::prelude::*;
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
fn frames_of_discord() {
    replay("discord", inputs::fuzzing::discord_frames);
}

#[test]
fn streams_of_ntfy() {
    replay("ntfy", inputs::fuzzing::ntfy_stream);
}

#[test]
fn commands_of_smtp() {
    replay("smtp", inputs::fuzzing::smtp_commands);
}

/// Pieces of these and anything else, in any order: what a fuzzer without a memory would try.
fn mixed(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const SMTP: &[&str] = &[
    "EHLO x\r\n",
    "HELO x\n",
    "MAIL FROM:<a@b.c>\r\n",
    "RCPT TO:<a@b.c>\r\n",
    "DATA\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "..",
    "\r",
    "\n",
    "AUTH LOGIN\r\n",
    "AUTH PLAIN ",
    "bm9kZQ==\r\n",
    "a2VzdHJlbA==\r\n",
    "STARTTLS\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "Subject: x",
];
const NTFY: &[&str] = &[
    "{\"id\":\"a1\",",
    "\"event\":\"message\",",
    "\"event\":\"open\",",
    "\"topic\":\"t\",",
    "\"time\":1795370864,",
    "\"message\":\"m\",",
    "\"title\":\"vzdump backup status (x): backup failed\",",
    "\"tags\":[\"proxmox-mcp\"],",
    "\"priority\":5}",
    "}\n",
    "\r\n",
    "\n",
];
const GOTIFY: &[&str] = &[
    "{",
    "\"id\":25,",
    "\"appid\":5,",
    "\"message\":\"```\\nVMID    Name    Status    Time    Size    Filename\\n1 a ok 1s 1 B x\\n```\",",
    "\"title\":\"vzdump backup status (x): backup successful\",",
    "\"date\":\"2026-11-22T01:02:03.5Z\",",
    "\"priority\":9}",
];

const CONSOLE: &[&str] = &[
    "Kernel panic - not syncing",
    "I/O error, dev sda",
    "[FAILED] Failed to start",
    "\r\n",
    "\r",
    "\n",
    "\u{1b}[31m",
    "\u{1b}]0;",
    "\u{1b}[2;1H",
    "\u{1b}P",
    "\u{8}",
    "\u{e9}\u{2713}",
    "\u{202e}",
    " ",
];
const FEED: &[&str] = &[
    "{",
    "\"type\":\"alarm\",",
    "\"seq\":7,",
    "\"seq\":\"a\\u0007\",",
    "\"title\":\"door\",",
    "\"time\":1795348800,",
    "\"level\":\"high\"}",
    "[",
    "]",
    "pong",
];

const DISCORD: &[&str] = &[
    "{\"op\":10,\"d\":{\"heartbeat_interval\":41250}}\n",
    "{\"op\":0,\"s\":1,\"t\":\"READY\",\"d\":{\"user\":{\"id\":\"900\"},\"session_id\":\"a\",\"resume_gateway_url\":\"wss://g\"}}\n",
    "{\"op\":0,\"s\":2,\"t\":\"MESSAGE_CREATE\",\"d\":",
    "{\"id\":\"1574122295394304001\",\"channel_id\":\"222\",\"author\":{\"id\":\"31\"},",
    "\"content\":\"<@900> vzdump backup status (x): backup failed\"",
    ",\"embeds\":[{\"title\":\"t\",\"footer\":{\"text\":\"proxmox-mcp · x\"}}]",
    "}}\n",
    "}\n",
    "{\"op\":9,\"d\":false}\n",
    "{\"op\":7}\n",
];

proptest! {
    #[test]
    fn nothing_that_is_shown_or_fed_breaks_a_reader(console in mixed(CONSOLE), feed in mixed(FEED)) {
        inputs::fuzzing::console_stream(&console);
        inputs::fuzzing::feed_message(&feed);
    }

    #[test]
    fn nothing_that_is_sent_breaks_a_reader(
        smtp in mixed(SMTP), ntfy in mixed(NTFY), gotify in mixed(GOTIFY), discord in mixed(DISCORD),
    ) {
        inputs::fuzzing::discord_frames(&discord);
        inputs::fuzzing::smtp_commands(&smtp);
        inputs::fuzzing::ntfy_stream(&ntfy);
        inputs::fuzzing::gotify_frame(&gotify);
    }
}

#[test]
fn texts_of_backup_runs() {
    replay("vzdump", inputs::fuzzing::vzdump_text);
}

#[test]
fn files_of_events_that_wait() {
    replay("spool", inputs::fuzzing::spool_file);
}

#[test]
fn names_of_tasks() {
    replay("upid", inputs::fuzzing::upid);
}

#[test]
fn what_terminals_are_sent() {
    replay("console", inputs::fuzzing::console_stream);
}

#[test]
fn messages_of_feeds() {
    replay("feed", inputs::fuzzing::feed_message);
}
