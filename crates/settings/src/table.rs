//! The table of settings: every section and key with its kind, default, example and meaning.

mod audit;
mod client;
mod events;
mod guard;
mod http;
mod inputs;
mod manager;
mod outputs;
mod server;
mod websocket;

use crate::keys::{Key, Kind, Section};

/// Every section, in the order in which they are explained.
pub static SECTIONS: &[Section] = &[
    Section {
        name: "pve",
        named: true,
        example: "home",
        doc: "One table per Proxmox VE cluster or standalone node. The table's name is how tools \
              address it: small letters, digits and `_`.",
        keys: client::CLIENT,
        types: &[],
        tables: &[],
        words: ("pve", "8006"),
    },
    Section {
        name: "pbs",
        named: true,
        example: "vault",
        doc: "One table per Proxmox Backup Server. Names are shared with `[pve.…]`, so each is \
              used once.",
        keys: client::CLIENT,
        types: &[],
        tables: &[],
        words: ("pbs", "8007"),
    },
    Section {
        name: "server",
        named: false,
        example: "",
        doc: "What the MCP server offers and how far it goes.",
        keys: SERVER,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "http",
        named: false,
        example: "",
        doc: "The listener of `serve --http`: MCP, REST, metrics and health.",
        keys: http::HTTP,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "oauth",
        named: true,
        example: "idp",
        doc: "One table per OAuth issuer whose access tokens are taken, besides the tokens that \
              `proxmox-mcp token new` makes.",
        keys: http::OAUTH,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "guard",
        named: false,
        example: "",
        doc: "What is protected, how much may change, and what consent takes where no line of the \
              policy says otherwise.",
        keys: guard::GUARD,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "policy",
        named: true,
        example: "night",
        doc: "One table per line of the policy: which calls run, which ask people first, which are \
              refused. Lines are asked from the lowest `order` to the highest and the first that \
              fits decides; behind them stand the built-in ones (`proxmox-mcp policy show`). Every \
              matcher that is given must fit; of a list, one entry. `*` in a name stands for any \
              characters.",
        keys: guard::POLICY,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "approver",
        named: true,
        example: "alice",
        doc: "One table per person who may agree to plans. Each needs something that the account \
              which calls the tools does not hold: another account, a key with a passphrase, \
              one-time codes, or an identity on a channel. `proxmox-mcp approver add` writes it.",
        keys: guard::APPROVER,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "manager",
        named: false,
        example: "",
        doc: "The manager (`proxmox-manager`): its control socket, and what it serves.",
        keys: manager::MANAGER,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "audit",
        named: false,
        example: "",
        doc: "Copies of the audit log, for whoever must not trust this machine alone. A copy never \
              holds up an action and never fails one; what cannot be delivered is counted and said.",
        keys: audit::AUDIT,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "events",
        named: false,
        example: "",
        doc: "What becomes of everything that is heard: how long it is kept, when people are told, \
              and what counts as full.",
        keys: events::EVENTS,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "input",
        named: true,
        example: "syslog",
        doc: "One table per input: what is listened to. What it is stands at `type`.",
        keys: inputs::INPUT,
        types: inputs::TYPES,
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "output",
        named: true,
        example: "ops",
        doc: "One table per output: who is told. What it is stands at `type`.",
        keys: outputs::OUTPUT,
        types: outputs::TYPES,
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "rule",
        named: true,
        example: "night",
        doc: "One table per line of the rules: what events are made of, and who is told. Every line \
              that fits does what it says, from the lowest `order` to the highest. With no line at \
              all every warning and worse goes to every output, and everything else is told once a \
              day.",
        keys: events::RULE,
        types: &[],
        tables: events::RULE_TABLES,
        words: ("", ""),
    },
    Section {
        name: "maintenance",
        named: true,
        example: "sunday",
        doc: "One table per window in which nobody is told of some events: hours of every week, or \
              once from one moment to another. What is still wrong when it ends is told then.",
        keys: events::MAINTENANCE,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "inhibit",
        named: true,
        example: "node_down",
        doc: "While one thing is wrong nobody is told of others that follow from it, beside what is \
              built in: a cluster out of reach and a node that is offline.",
        keys: events::INHIBIT,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
    Section {
        name: "log",
        named: false,
        example: "",
        doc: "The log, which goes to standard error: standard output belongs to MCP.",
        keys: LOG,
        types: &[],
        tables: &[],
        words: ("", ""),
    },
];

/// The sections that later releases bring, so that a hint can say so.
pub(crate) const NOT_YET: &[&str] = &["playbook", "store"];

const SERVER: &[Key] = &[
    Key {
        name: "mode",
        kind: Kind::Choice(&["read-only", "guarded", "trusted"]),
        default: Some("\"guarded\""),
        example: "",
        required: false,
        doc: "How far the server goes for any caller. `read-only` lists and runs reads only; \
              `guarded` lists what it could do, shows its plans and refuses what changes anything; \
              `trusted` does what can be taken back at once, for whoever may call it, and asks a \
              person at the client before anything that may lose data or cut something off. The \
              flag is `--mode`.",
    },
    Key {
        name: "toolsets",
        kind: Kind::List,
        default: Some("[\"default\"]"),
        example: "",
        required: false,
        doc: "The sets of tools that clients are offered: `default` (daily work), `guests`, `backup`, \
              `storage`, `network`, `cluster` (all that changes and looks deeper, by domain), \
              `events` (what was heard, incidents, messages to people), `api` (any call of either \
              product), `compact` (the overview and `api`: the smallest), `classic` (the names of \
              the earlier server), `all`. `guard` (consent) comes with every other. The flag is \
              `--toolsets`.",
    },
    Key {
        name: "state_dir",
        kind: Kind::Folder,
        default: None,
        example: "\"/var/lib/proxmox-mcp\"",
        required: false,
        doc: "Where jobs, approvals and the audit log are kept. Unset, it is `$STATE_DIRECTORY` \
              (systemd), else `$XDG_STATE_HOME/proxmox-mcp`, else \
              `~/.local/state/proxmox-mcp`, else `/var/lib/proxmox-mcp`.",
    },
    Key {
        name: "store_url",
        kind: Kind::Secret,
        default: None,
        example: "\"postgres://mcp:password@db.lan/mcp\"",
        required: false,
        doc: "The database that keeps them instead: `postgres://…`, or `sqlite:///path/to/file`. \
              Unset, it is SQLite, `store.db` in `state_dir`.",
    },
    Key {
        name: "answer_max_bytes",
        kind: Kind::Integer(2048, 1_048_576),
        default: Some("16384"),
        example: "",
        required: false,
        doc: "The ceiling of one answer, in bytes; what does not fit follows by a cursor.",
    },
    Key {
        name: "task_wait_secs",
        kind: Kind::Integer(1, 600),
        default: Some("45"),
        example: "",
        required: false,
        doc: "How long a tool follows a Proxmox task before it answers that the task still runs, \
              in seconds. Many clients give up after 60.",
    },
    Key {
        name: "overview_deadline_secs",
        kind: Kind::Integer(1, 120),
        default: Some("8"),
        example: "",
        required: false,
        doc: "How long an answer over many clusters waits for the slowest, in seconds; the late \
              ones are listed as unreachable.",
    },
    Key {
        name: "exec_allow",
        kind: Kind::List,
        default: Some("[]"),
        example: "",
        required: false,
        doc: "The programs that `guest_exec` may start in virtual machines, by their exact names as \
              they are called (`uptime`, `/usr/bin/df`); `*` is every one, shells included. Empty, \
              none is started.",
    },
    Key {
        name: "declared_topology",
        kind: Kind::Choice(&["standalone", "clustered", "mixed"]),
        default: None,
        example: "\"mixed\"",
        required: false,
        doc: "What the estate is meant to be. `proxmox-mcp test` warns where the endpoints answer \
              otherwise. Import writes it from `LAB_CONFIGURATION`.",
    },
];

const LOG: &[Key] = &[
    Key {
        name: "level",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        default: Some("\"warn\""),
        example: "",
        required: false,
        doc: "The least important messages that are written. `trace` writes bodies and headers \
              too, redacted.",
    },
    Key {
        name: "format",
        kind: Kind::Choice(&["text", "json"]),
        default: Some("\"text\""),
        example: "",
        required: false,
        doc: "`text` for people, `json` for collectors: one object per line.",
    },
    Key {
        name: "filter",
        kind: Kind::Text,
        default: None,
        example: "\"info,pve_client=debug\"",
        required: false,
        doc: "Levels per part of the program, in place of `level`. The flag is `--log`.",
    },
];

/// A key that may be left out and then says nothing.
const fn optional(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default: None, example, required: false, doc }
}

/// A key that has a value in any case.
const fn with_default(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind, default: Some(default), example: "", required: false, doc }
}

/// A key without which its table is an error.
const fn required(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default: None, example, required: true, doc }
}
