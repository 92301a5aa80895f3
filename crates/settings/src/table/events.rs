//! The keys of `[events]`, `[rule.<name>]`, `[maintenance.<name>]` and `[inhibit.<name>]`.

use super::{optional, required, with_default};
use crate::keys::{Key, Kind, Nested};

/// The longest time that the rules take, in seconds: 366 days.
const LONGEST: i64 = 31_622_400;

/// `[events]`.
pub(super) const EVENTS: &[Key] = &[
    optional(
        "enabled",
        Kind::Boolean,
        "true",
        "Whether events are heard, kept and told. Unset, they are if there is any table \
         `[input.…]` or `[output.…]`.",
    ),
    with_default(
        "poll",
        Kind::Boolean,
        "true",
        "Whether every cluster and backup server of the settings is asked for what goes on there, \
         if no input of type `tasks` says so itself.",
    ),
    with_default(
        "keep_days",
        Kind::Integer(1, 3650),
        "90",
        "How long events and incidents that are over are kept, in days.",
    ),
    with_default(
        "wait_secs",
        Kind::Integer(0, 3600),
        "10",
        "How long the first message of an incident waits for further reports of it, in seconds.",
    ),
    with_default(
        "update_secs",
        Kind::Integer(0, 86_400),
        "300",
        "How long two silent updates of a message are apart at least, in seconds.",
    ),
    with_default(
        "hold_secs",
        Kind::MapOfIntegers(0, 86_400),
        "{ node_offline = 180, storage_error = 180, ceph_warning = 120, cluster_unreachable = 60, \
         monitor_blind = 60, link_down = 60 }",
        "How long something has to be wrong before anybody is told, by kind of event with `_` for \
         its dot, in seconds. What is over before is in the daily digest only. 0 tells at once.",
    ),
    with_default(
        "digest_at",
        Kind::Text,
        "\"08:00\"",
        "When the daily digest is told, by the clock of `zone`.",
    ),
    optional(
        "zone",
        Kind::Text,
        "\"Europe/Vienna\"",
        "The time zone of the people who read the messages. Unset, this machine's.",
    ),
    with_default(
        "full_warning_percent",
        Kind::Integer(1, 100),
        "85",
        "From when on a storage or datastore that fills up is a warning, in percent.",
    ),
    with_default(
        "full_error_percent",
        Kind::Integer(1, 100),
        "95",
        "From when on it is an error, in percent.",
    ),
    with_default(
        "full_margin_percent",
        Kind::Integer(1, 50),
        "3",
        "How far below a threshold it has to fall to count as below it again, in percent.",
    ),
    optional(
        "instance",
        Kind::Text,
        "\"cellar\"",
        "What this manager calls itself in messages, and in the mark by which it and other \
         managers know what it sent, so that no message is heard as an event again. Letters, \
         digits, `.`, `_` and `-`. Unset, the name of the machine.",
    ),
    optional(
        "spool_dir",
        Kind::Folder,
        "\"/var/lib/proxmox-mcp/spool\"",
        "Where reports are kept while the database is away, so that whoever sent them gets an \
         answer all the same. Unset, it is `spool` in `server.state_dir`.",
    ),
    with_default(
        "spool_max_bytes",
        Kind::Integer(1_048_576, 1_099_511_627_776),
        "268435456",
        "How much may wait there, in bytes. What comes beyond is refused aloud, for its sender to \
         send again.",
    ),
];

/// `[rule.<name>]`.
pub(super) const RULE: &[Key] = &[
    with_default(
        "order",
        Kind::Integer(0, 1_000_000),
        "100",
        "Where the line stands: the lowest is asked first; of the same order the name decides.",
    ),
    optional(
        "when",
        Kind::Text,
        "\"event.kind == 'backup.failed' && event.cluster == 'home'\"",
        "The events that it is about, in CEL over `event`. Unset, all of them.",
    ),
    with_default(
        "drop",
        Kind::Boolean,
        "false",
        "Nobody is told of them. That something is well again counts all the same.",
    ),
    optional(
        "severity",
        Kind::Choice(SEVERITIES),
        "\"warning\"",
        "How bad they are, whatever the report says.",
    ),
    optional("title", Kind::Text, "\"The nightly backup failed\"", "What they are called instead."),
    optional("labels", Kind::Map, "{ team = \"storage\" }", "Labels that are put on them."),
    optional(
        "route",
        Kind::TextOrList,
        "\"ops\"",
        "The outputs that are told, by the names of their tables `[output.…]`; one of the places of \
         an output as `<output>:<place>`: a route of Discord or Slack, a topic of ntfy, an address of \
         mail.",
    ),
    with_default(
        "digest",
        Kind::Boolean,
        "false",
        "They are told in the daily digest and nowhere else.",
    ),
    optional(
        "group_by",
        Kind::TextOrList,
        "[\"cluster\", \"node\"]",
        "Events that have all of these in common within a quarter of an hour are one incident: \
         `kind`, `family`, `cluster`, `node`, `guest`, `storage`, `datastore`, `job`, \
         `label.<name>`.",
    ),
    optional(
        "wait_secs",
        Kind::Integer(0, LONGEST),
        "60",
        "How long the first message waits for further reports, in seconds. Unset, \
         `events.wait_secs`.",
    ),
    optional(
        "repeat_secs",
        Kind::Integer(60, LONGEST),
        "14400",
        "After how long it is told again while nobody has acknowledged it, in seconds. Unset, \
         never.",
    ),
    optional(
        "throttle",
        Kind::Integer(1, 10_000),
        "5",
        "How many messages an output gets through this line within `throttle_secs`; the rest is \
         one list.",
    ),
    with_default(
        "throttle_secs",
        Kind::Integer(1, LONGEST),
        "300",
        "The time over which `throttle` counts, in seconds.",
    ),
    with_default("last", Kind::Boolean, "false", "No later line is asked about them."),
];

/// `[rule.<name>.escalate.<name>]`.
pub(super) const RULE_TABLES: &[Nested] = &[Nested {
    name: "escalate",
    example: "boss",
    doc: "Who else is told if nobody acknowledges an incident of the line: one table per step.",
    keys: &[
        required(
            "after_secs",
            Kind::Integer(1, LONGEST),
            "1800",
            "How long after the first message, in seconds.",
        ),
        required("to", Kind::TextOrList, "\"ops\"", "The outputs that are told then."),
    ],
}];

/// `[maintenance.<name>]`.
pub(super) const MAINTENANCE: &[Key] = &[
    optional(
        "when",
        Kind::Text,
        "\"event.node == 'pve2'\"",
        "The events that nobody is told of, in CEL over `event`. Unset, all of them.",
    ),
    optional(
        "hours",
        Kind::Text,
        "\"sun/02:00-06:00@Europe/Vienna\"",
        "The hours of every week. Days and time zone can be left out: every day, and \
         `events.zone`. Hours that end before they begin go past midnight.",
    ),
    optional(
        "from",
        Kind::Time,
        "\"2026-12-05 22:00\"",
        "When it begins, if it is once: with an offset, or by the clock of `events.zone`.",
    ),
    optional("until", Kind::Time, "\"2026-12-06 02:00\"", "When it ends, if it is once."),
    optional("reason", Kind::Text, "\"new memory for pve2\"", "Why."),
    optional("author", Kind::Text, "\"alice\"", "Who wants it. Unset, `settings`."),
];

/// `[inhibit.<name>]`.
pub(super) const INHIBIT: &[Key] = &[
    required(
        "source",
        Kind::Text,
        "\"event.kind == 'node.offline'\"",
        "What is wrong, in CEL over `event`.",
    ),
    required(
        "target",
        Kind::Text,
        "\"event.kind == 'backup.failed'\"",
        "What follows from it, and is told to nobody meanwhile, in CEL over `event`.",
    ),
    optional(
        "equal",
        Kind::TextOrList,
        "[\"cluster\", \"node\"]",
        "What the two have in common; the names are those of `group_by` of a rule. Unset, nothing.",
    ),
];

/// How bad an event can be.
pub(super) const SEVERITIES: &[&str] = &["debug", "info", "notice", "warning", "error", "critical"];
