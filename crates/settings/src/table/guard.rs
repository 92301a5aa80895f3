//! The keys of `[guard]`, `[policy.<name>]` and `[approver.<name>]`.

use super::{optional, required, with_default};
use crate::keys::{Key, Kind};

/// `[guard]`.
pub(super) const GUARD: &[Key] = &[
    with_default(
        "frozen",
        Kind::Boolean,
        "false",
        "Refuse everything that changes something, for as long as it stands here. \
         `proxmox-mcp freeze` does the same at once and without a restart.",
    ),
    with_default(
        "own_guest",
        Kind::Text,
        "\"auto\"",
        "The guest that this server runs in, to which nothing is done: `auto` finds it by the \
         machine's UUIDs and hardware addresses, `none` where it runs in none, or cluster/vmid.",
    ),
    with_default(
        "protected_tags",
        Kind::List,
        "[\"protected\"]",
        "Guests with one of these tags are protected: nothing is done to them unless a line of the \
         policy with `protected = true` says so. Proxmox's own protection flag does the same.",
    ),
    with_default(
        "client_approves",
        Kind::Choice(&["nothing", "operate", "everything"]),
        "\"operate\"",
        "What an answer counts for that a person gives in the MCP client: `nothing`, what can be \
         taken back (`operate`), or `everything`. Whoever runs the client can answer, so a model \
         with a shell of that account can: trust it only as far as that account.",
    ),
    with_default(
        "client_within_secs",
        Kind::Integer(30, 3600),
        "300",
        "How long a person may take to answer in the client, in seconds.",
    ),
    with_default(
        "ask_within_secs",
        Kind::Integer(60, 604_800),
        "3600",
        "How long people may take to answer elsewhere, in seconds; silence refuses.",
    ),
    with_default(
        "unasked_per_hour",
        Kind::Integer(0, 1000),
        "5",
        "How often in an hour the local user gets what only adds (start, snapshot, backup, verify) \
         without anybody being asked; beyond it the call asks. 0 always asks.",
    ),
    with_default(
        "changes_per_hour",
        Kind::Integer(0, 100_000),
        "100",
        "How many changes one caller gets in an hour, consented or not. 0 is no limit.",
    ),
    with_default(
        "breaker_identical",
        Kind::Integer(0, 1000),
        "6",
        "The same change asked for so often within `breaker_window_secs` stops that caller for \
         `breaker_pause_secs`. 0 is never.",
    ),
    with_default(
        "breaker_failing",
        Kind::Integer(0, 10_000),
        "20",
        "So many calls that fail at once within `breaker_window_secs` stop that caller. 0 is never.",
    ),
    with_default(
        "breaker_window_secs",
        Kind::Integer(10, 3600),
        "60",
        "The time over which both are counted, in seconds.",
    ),
    with_default(
        "breaker_pause_secs",
        Kind::Integer(10, 86_400),
        "300",
        "How long a caller that repeats itself or fails again and again is stopped, in seconds.",
    ),
    with_default(
        "commit_confirm_secs",
        Kind::Integer(30, 3600),
        "120",
        "A change that can cut the operator off (network, firewall, access rights) is taken back \
         unless it is confirmed within this time, in seconds. Not so where it is the server's own \
         account that would lose its rights: nobody would be left to take it back, so its plan \
         warns instead.",
    ),
    with_default(
        "secret_fields",
        Kind::List,
        "[]",
        "Further names of fields whose values are never shown, in answers, notifications, logs and \
         the audit log.",
    ),
];

/// `[policy.<name>]`.
pub(super) const POLICY: &[Key] = &[
    required(
        "order",
        Kind::Integer(1, 1_000_000),
        "10",
        "Where the line stands; every line has its own.",
    ),
    required(
        "decision",
        Kind::Choice(&["allow", "ask", "deny"]),
        "\"ask\"",
        "What becomes of the call. What may lose something (`destroy`) is allowed only by a line \
         that names one guest: one `cluster` and one `vmid`.",
    ),
    optional(
        "about",
        Kind::Text,
        "\"web servers may be restarted by day\"",
        "What the line is for, in your words.",
    ),
    optional(
        "principal",
        Kind::TextOrList,
        "[\"token:n8n\", \"local:*\"]",
        "Who asks: `local:<uid>`, `token:<name>`, `oauth:<issuer>#<subject>`, \
         `channel:<channel>:<id>`, `automation:<playbook>`.",
    ),
    optional(
        "transport",
        Kind::TextOrList,
        "\"http\"",
        "The way by which the call came: `local`, `http`, `channel`, `automation`.",
    ),
    optional("tool", Kind::TextOrList, "\"guest_*\"", "The tool."),
    optional("toolset", Kind::TextOrList, "\"backup\"", "A toolset that the tool is in."),
    optional(
        "tier",
        Kind::TextOrList,
        "[\"read\", \"operate\"]",
        "What the call can do: `read`, `operate` (can be taken back), `destroy` (may lose \
         something). A line that asks never speaks of reads.",
    ),
    optional(
        "cluster",
        Kind::TextOrList,
        "\"home\"",
        "The table of the cluster or backup server that the call touches.",
    ),
    optional("node", Kind::TextOrList, "\"pve1\"", "The node that it touches, or the guest's."),
    optional("pool", Kind::TextOrList, "\"web\"", "The guest's pool."),
    optional("tag", Kind::TextOrList, "\"staging\"", "One of the guest's tags."),
    optional(
        "vmid",
        Kind::ListOrNumbers,
        "[104, \"200-299\"]",
        "The guest's id, or ranges of ids.",
    ),
    optional(
        "hours",
        Kind::TextOrList,
        "\"mon-fri/08:00-18:00@Europe/Berlin\"",
        "Hours of the week. Days and time zone can be left out: every day, and the server's zone. \
         Hours that end before they begin go past midnight.",
    ),
    optional(
        "protected",
        Kind::Boolean,
        "true",
        "The line speaks of protected targets, too. One that denies always does.",
    ),
    optional(
        "when",
        Kind::Text,
        "\"has(args.force) && args.force == true\"",
        "What else must be so, in CEL; the guide lists the names. If it cannot be told, a line that \
         asks or denies counts and one that allows does not.",
    ),
    optional(
        "of",
        Kind::TextOrList,
        "[\"alice\", \"ops\"]",
        "With `ask`: who decides, by the names of approvers or of their teams. Unset, any approver.",
    ),
    optional(
        "count",
        Kind::Integer(1, 20),
        "2",
        "With `ask`: how many different approvers must agree, never the asker. Unset, one.",
    ),
    optional(
        "within_secs",
        Kind::Integer(60, 604_800),
        "28800",
        "With `ask`: how long they may take, in seconds. Unset, `guard.ask_within_secs`.",
    ),
    optional(
        "client",
        Kind::Boolean,
        "false",
        "With `ask`: whether an answer in the MCP client counts. Unset, as \
         `guard.client_approves` says.",
    ),
    optional(
        "per_hour",
        Kind::Integer(1, 10_000),
        "20",
        "With `allow`: how often in an hour and for one caller; beyond it the call asks.",
    ),
    optional(
        "reason",
        Kind::Text,
        "\"ask the storage team\"",
        "With `deny`: what the caller is told.",
    ),
];

/// `[approver.<name>]`.
pub(super) const APPROVER: &[Key] = &[
    optional(
        "uid",
        Kind::Integer(0, 4_294_967_294),
        "1001",
        "Their account on this machine, by its number: who decides over the control socket as that \
         account. It proves nothing about calls of the same account.",
    ),
    optional(
        "group",
        Kind::Text,
        "\"proxmox-approvers\"",
        "A system group, by its name or number, whose members may decide in their name.",
    ),
    optional(
        "key",
        Kind::Text,
        "\"ed25519:…\"",
        "The public half of their key; the other half is unlocked by a passphrase that is typed on \
         a terminal.",
    ),
    optional(
        "totp_secret_file",
        Kind::Path,
        "\"/etc/proxmox-mcp/{name}.totp\"",
        "A file with the secret of their one-time codes, in base32. Only the account of the manager \
         may read it: whoever reads it can approve.",
    ),
    optional(
        "channels",
        Kind::List,
        "[\"discord:4711\", \"mail:alice@example.lan\"]",
        "Who they are on channels, as channel:id.",
    ),
    optional(
        "teams",
        Kind::List,
        "[\"ops\"]",
        "The teams that lines of the policy can name in `of`.",
    ),
];
