//! The keys of `[input.<name>]`, by its type.

use super::events::SEVERITIES;
use super::server::{CA_FILE, FINGERPRINT, INSECURE, PROXY};
use super::{optional, required, websocket, with_default};
use crate::keys::{Key, Kind, Nested, Type};

/// What every input has.
pub(super) const INPUT: &[Key] = &[required(
    "type",
    Kind::Choice(&[
        "tasks", "syslog", "webhook", "smtp", "imap", "gotify", "ntfy", "console", "feed",
        "discord",
    ]),
    "\"syslog\"",
    "What kind of input it is.",
)];

pub(super) const CLUSTER: Key = optional(
    "cluster",
    Kind::Text,
    "\"home\"",
    "The table `[pve.…]` or `[pbs.…]` that the reports are of; its labels go on every event. Unset, \
     they are nobody's.",
);
pub(super) const NODE: Key = optional(
    "node",
    Kind::Text,
    "\"pve1\"",
    "The node, where the reports are one node's alone. Unset, a report may name it.",
);
pub(super) const ZONE: Key = optional(
    "zone",
    Kind::Text,
    "\"Europe/Vienna\"",
    "The time zone in which times are written that name none. Unset, `events.zone`.",
);
pub(super) const LABELS: Key = optional(
    "labels",
    Kind::Map,
    "{ site = \"cellar\" }",
    "Labels that go on every event, beside those of the cluster.",
);
const ADDRESSES: Key = required(
    "addresses",
    Kind::TextOrList,
    "[\"192.0.2.11\", \"192.0.2.12\"]",
    "The addresses that it sends from. Each is one peer's.",
);
const CERTIFICATE_FILE: Key = optional(
    "certificate_file",
    Kind::File,
    "\"/etc/proxmox-mcp/tls.crt\"",
    "The certificate that is shown to whoever connects with TLS, with its chain, in PEM.",
);
const KEY_FILE: Key = optional(
    "key_file",
    Kind::SecretFile,
    "\"/etc/proxmox-mcp/tls.key\"",
    "Its private key, in PEM.",
);

const RECIPIENT: Nested = Nested {
    name: "recipient",
    example: "home",
    doc: "Whose mail it is that comes to one address, before what login and peer say.",
    keys: &[
        required("address", Kind::Text, "\"home@events.example.lan\"", "The address."),
        CLUSTER,
        NODE,
        ZONE,
        LABELS,
    ],
};
const PASSWORD: Key = optional(
    "password",
    Kind::Secret,
    "\"secret\"",
    "The password. Prefer `password_file`, or the environment.",
);
const PASSWORD_FILE: Key = optional(
    "password_file",
    Kind::SecretFile,
    "\"/etc/proxmox-mcp/{name}.password\"",
    "A file that holds the password.",
);

/// What inputs can be.
pub(super) const TYPES: &[Type] = &[
    Type {
        name: "tasks",
        example: "poll",
        doc: "Asks clusters and backup servers of these settings what goes on there, with the login \
              that they have. Without any table of this type every one of them is asked, unless \
              `events.poll` says otherwise. For each of them it is an input of its own, named as \
              the table and the cluster together: `poll_home`.",
        keys: TASKS,
        tables: &[],
    },
    Type {
        name: "syslog",
        example: "syslog",
        doc: "Listens for syslog over UDP, TCP and TLS, in both formats (RFC 3164 and 5424).",
        keys: SYSLOG,
        tables: &[Nested {
            name: "peer",
            example: "home",
            doc: "Whoever sends from some addresses. Which cluster a line is of is said here alone, \
                  never by the host name in it.",
            keys: &[
                ADDRESSES,
                CLUSTER,
                NODE,
                ZONE,
                LABELS,
                optional(
                    "hosts",
                    Kind::MapOfTexts,
                    "{ \"pve1\" = \"home/pve1\", \"pve2\" = \"home\" }",
                    "For a relay: whose lines it passes on, by the host names in them, as cluster \
                     or cluster/node. A host that is not here is the relay's own.",
                ),
            ],
        }],
    },
    Type {
        name: "webhook",
        example: "hook",
        doc: "Takes what is posted to `/hooks/<name>/<hook>` of the manager's HTTP listener: \
              notifications of Proxmox, bodies made for Gotify, Discord, Slack and Alertmanager, \
              any JSON and plain text.",
        keys: &[],
        tables: &[Nested {
            name: "hook",
            example: "home",
            doc: "One path with its secret, for one cluster or service. 200 is answered when the \
                  report is on disk.",
            keys: HOOK,
        }],
    },
    Type {
        name: "smtp",
        example: "mail",
        doc: "Listens for mail that nodes send to it directly, with STARTTLS and logins. 250 is \
              answered when the mail is on disk.",
        keys: SMTP,
        tables: &[
            Nested {
                name: "peer",
                example: "home",
                doc: "Whoever may send from some addresses without a login.",
                keys: &[ADDRESSES, CLUSTER, NODE, ZONE, LABELS],
            },
            Nested {
                name: "login",
                example: "home",
                doc: "Whoever may send with a login, the user name of which is the table's.",
                keys: &[PASSWORD, PASSWORD_FILE, CLUSTER, NODE, ZONE, LABELS],
            },
            RECIPIENT,
        ],
    },
    Type {
        name: "imap",
        example: "mailbox",
        doc: "Reads a mailbox, each mail once. It is marked as seen when it is on disk, and stays where \
              it is.",
        keys: IMAP,
        tables: &[RECIPIENT],
    },
    Type {
        name: "gotify",
        example: "push",
        doc: "Hears the messages of a Gotify server, and catches up on those that came meanwhile.",
        keys: &[
            SERVER,
            optional(
                "token",
                Kind::Secret,
                "\"C00000000000000\"",
                "A client's token: an application's cannot read. Prefer `token_file`, or the \
                 environment.",
            ),
            TOKEN_FILE,
            optional(
                "applications",
                Kind::ListOrNumbers,
                "[3, 7]",
                "The numbers of the applications that are heard. Unset, all that the client sees.",
            ),
            CA_FILE,
            FINGERPRINT,
            INSECURE,
            CLUSTER,
            NODE,
            ZONE,
            LABELS,
        ],
        tables: &[],
    },
    Type {
        name: "ntfy",
        example: "topic",
        doc: "Hears topics of an ntfy server, and catches up on what came meanwhile.",
        keys: &[
            SERVER,
            required("topics", Kind::TextOrList, "\"proxmox\"", "The topics that are heard."),
            optional(
                "token",
                Kind::Secret,
                "\"tk_0000000000000000000000000000\"",
                "An access token, where the topics are protected. Prefer `token_file`, or the \
                 environment.",
            ),
            TOKEN_FILE,
            CA_FILE,
            FINGERPRINT,
            INSECURE,
            CLUSTER,
            NODE,
            ZONE,
            LABELS,
        ],
        tables: &[],
    },
    websocket::CONSOLE,
    websocket::FEED,
    Type {
        name: "discord",
        example: "chat",
        doc: "Hears what is posted in channels of Discord, as a bot, and catches up on what came \
              meanwhile.",
        keys: DISCORD,
        tables: &[],
    },
];

const SERVER: Key = required(
    "server",
    Kind::Text,
    "\"https://push.example.lan\"",
    "The server's address, with its path if it has one.",
);
pub(super) const TOKEN_FILE: Key = optional(
    "token_file",
    Kind::SecretFile,
    "\"/etc/proxmox-mcp/{name}.token\"",
    "A file that holds the token.",
);

const DISCORD: &[Key] = &[
    optional(
        "token",
        Kind::Secret,
        "\"0000\"",
        "The bot's token. Prefer `token_file`, or the environment.",
    ),
    TOKEN_FILE,
    optional(
        "channels",
        Kind::ListOrNumbers,
        "[1047160600000000001]",
        "The ids of the channels and threads that are heard. The bot has to have the Message \
         Content Intent for them.",
    ),
    with_default(
        "mentions",
        Kind::Boolean,
        "true",
        "Whether messages are heard that mention the bot, in whatever channel it sees.",
    ),
    optional(
        "authors",
        Kind::ListOrNumbers,
        "[1047160600000000002]",
        "The ids of the users, bots and webhooks that are heard. Unset, everybody who may write \
         there.",
    ),
    optional(
        "api",
        Kind::Text,
        "\"https://discord.example.lan/api/v10\"",
        "Another address of Discord's API. Unset, its own.",
    ),
    CA_FILE,
    FINGERPRINT,
    INSECURE,
    PROXY,
    CLUSTER,
    NODE,
    ZONE,
    LABELS,
];

const TASKS: &[Key] = &[
    optional(
        "clusters",
        Kind::TextOrList,
        "[\"home\", \"vault\"]",
        "The tables `[pve.…]` and `[pbs.…]` that are asked. Unset, all of them.",
    ),
    with_default(
        "busy_secs",
        Kind::Integer(1, 3600),
        "2",
        "The pause between two looks at tasks, guests and nodes while a task runs, in seconds.",
    ),
    with_default("calm_secs", Kind::Integer(1, 3600), "15", "The same otherwise, in seconds."),
    with_default(
        "often_secs",
        Kind::Integer(1, 86_400),
        "60",
        "The pause between two looks at how full storages and datastores are and at replication, \
         in seconds.",
    ),
    with_default(
        "pools_secs",
        Kind::Integer(1, 86_400),
        "300",
        "The same for ZFS pools, thin pools and Ceph, in seconds.",
    ),
    with_default(
        "jobs_secs",
        Kind::Integer(1, 86_400),
        "900",
        "The same for which jobs there are and what they cover, in seconds.",
    ),
    with_default(
        "seldom_secs",
        Kind::Integer(1, 604_800),
        "21600",
        "The same for certificates and updates, in seconds.",
    ),
    with_default(
        "disks_secs",
        Kind::Integer(3600, 2_592_000),
        "86400",
        "The same for SMART and the wear of disks, which a look wakes, in seconds.",
    ),
    ZONE,
    LABELS,
];

const SYSLOG: &[Key] = &[
    required(
        "listen",
        Kind::TextOrList,
        "[\"udp://0.0.0.0:5514\", \"tcp://0.0.0.0:5514\", \"tls://0.0.0.0:6514\"]",
        "The addresses it listens on: `udp://`, `tcp://` or `tls://`, an IP address and a port.",
    ),
    CERTIFICATE_FILE,
    KEY_FILE,
    with_default(
        "strangers",
        Kind::Choice(&["accept", "refuse"]),
        "\"accept\"",
        "What becomes of lines from addresses that no peer has: `accept` keeps them, \
         `refuse` leaves them out and counts them. With `cluster`, they are of that cluster.",
    ),
    CLUSTER,
    ZONE,
    LABELS,
    with_default(
        "least",
        Kind::Choice(SEVERITIES),
        "\"debug\"",
        "How bad a line must be that the catalogue does not know, to be kept.",
    ),
    with_default(
        "max_connections",
        Kind::Integer(1, 65_536),
        "256",
        "How many connections there may be at once; who comes beyond waits.",
    ),
    with_default(
        "receive_buffer_bytes",
        Kind::Integer(65_536, 1_073_741_824),
        "4194304",
        "How much the kernel may hold for each UDP socket, in bytes. It has a limit of its own \
         (`net.core.rmem_max`).",
    ),
];

const HOOK: &[Key] = &[
    optional(
        "secret",
        Kind::Secret,
        "\"000000000000000000000000\"",
        "What whoever posts has to know, at least 16 bytes: `openssl rand -hex 24`. Prefer \
         `secret_file`, or the environment.",
    ),
    optional(
        "secret_file",
        Kind::SecretFile,
        "\"/etc/proxmox-mcp/hook-home.secret\"",
        "A file that holds the secret.",
    ),
    CLUSTER,
    NODE,
    ZONE,
    LABELS,
    with_default(
        "format",
        Kind::Choice(&[
            "auto",
            "proxmox",
            "gotify",
            "discord",
            "slack",
            "alertmanager",
            "json",
            "text",
        ]),
        "\"auto\"",
        "What the bodies are; `auto` goes by their shape.",
    ),
    optional(
        "mapping",
        Kind::MapOfLists,
        "{ each = \"/alarms\", title = \"/what\", severity = [\"/how/bad\", \"/level\"] }",
        "With `json`: where the parts of an event stand in the body, as places of RFC 6901; of \
         several the first that holds something counts. The parts are `each` (the list whose items \
         are the events), `title`, `message`, `severity`, `time`, `kind`, `key` (what is the same \
         in a redelivery), `correlation`, `node`, `vmid` and `storage`. What is not named is looked \
         for by the usual names.",
    ),
    optional(
        "severities",
        Kind::MapOfTexts,
        "{ orange = \"error\" }",
        "With `json`: words of the body that mean `debug`, `info`, `notice`, `warning`, \
         `error` and `critical` whatever they seem to.",
    ),
    optional(
        "mapping_labels",
        Kind::MapOfTexts,
        "{ rack = \"/place/rack\" }",
        "With `json`: labels that are read from places of the body.",
    ),
];

const SMTP: &[Key] = &[
    required(
        "listen",
        Kind::TextOrList,
        "\"smtp://0.0.0.0:2525\"",
        "The addresses it listens on: `smtp://`, or `smtps://` for TLS from the first byte, with \
         an IP address and a port.",
    ),
    with_default("name", Kind::Text, "\"proxmox-mcp\"", "What it calls itself."),
    CERTIFICATE_FILE,
    KEY_FILE,
    with_default(
        "login_without_tls",
        Kind::Boolean,
        "false",
        "Take logins without TLS. Everybody on the way can read them.",
    ),
    with_default(
        "max_bytes",
        Kind::Integer(65_536, 104_857_600),
        "10485760",
        "The longest mail, in bytes.",
    ),
    with_default(
        "max_connections",
        Kind::Integer(1, 65_536),
        "64",
        "How many connections there may be at once.",
    ),
];

const IMAP: &[Key] = &[
    required(
        "server",
        Kind::Text,
        "\"imaps://mail.example.lan\"",
        "The mail server: `imaps://`, a host and perhaps a port; `imap://`, without TLS, only on this \
         machine.",
    ),
    required("user", Kind::Text, "\"events\"", "The user's name."),
    PASSWORD,
    PASSWORD_FILE,
    with_default("mailbox", Kind::Text, "\"INBOX\"", "The mailbox."),
    with_default(
        "poll_secs",
        Kind::Integer(1, 86_400),
        "60",
        "How often it looks where the server cannot tell that mail has come, in seconds.",
    ),
    with_default(
        "max_bytes",
        Kind::Integer(65_536, 104_857_600),
        "10485760",
        "How much of a mail is read at most, in bytes.",
    ),
    CA_FILE,
    FINGERPRINT,
    INSECURE,
    CLUSTER,
    NODE,
    ZONE,
    LABELS,
];
