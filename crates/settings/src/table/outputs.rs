//! The keys of `[output.<name>]`, by its type.

use super::server::{CA_FILE, FINGERPRINT, INSECURE, PROXY};
use super::{optional, required, with_default};
use crate::keys::{Key, Kind, Nested, Type};

/// What every output has.
pub(super) const OUTPUT: &[Key] = &[
    required(
        "type",
        Kind::Choice(&[
            "discord",
            "gotify",
            "ntfy",
            "email",
            "slack",
            "webhook",
            "syslog",
            "stdout",
            "heartbeat",
        ]),
        "\"discord\"",
        "What kind of output it is.",
    ),
    optional(
        "quiet_hours",
        Kind::TextOrList,
        "\"22:00-07:00\"",
        "Hours of the week in which it is told nothing that can wait, such as \
         `mon-fri/22:00-07:00@Europe/Vienna`; without a zone, by `events.zone`. What is critical, a \
         lost quorum, fencing and a degraded pool never wait.",
    ),
    with_default("digest", Kind::Boolean, "true", "Whether it gets the daily digest."),
    with_default(
        "flood",
        Kind::Integer(1, 10_000),
        "20",
        "How many messages it gets within `flood_secs`, twice as many if they are critical; the \
         rest is one list.",
    ),
    with_default(
        "flood_secs",
        Kind::Integer(1, 86_400),
        "300",
        "The time over which `flood` counts, in seconds.",
    ),
    optional(
        "fallback",
        Kind::Text,
        "\"mail\"",
        "The output that is told when this one has been down for `fallback_secs`.",
    ),
    with_default(
        "fallback_secs",
        Kind::Integer(60, 86_400),
        "900",
        "How long it fails before that is said over its fallback, in seconds.",
    ),
    with_default(
        "give_up_secs",
        Kind::Integer(60, 2_592_000),
        "259200",
        "How long a message is tried before it goes to the dead letters, from which it can be sent \
         again, in seconds.",
    ),
    optional(
        "title_file",
        Kind::File,
        "\"/etc/proxmox-mcp/title.txt\"",
        "A file with a template (minijinja) for the title, in place of the built-in one.",
    ),
    optional(
        "body_file",
        Kind::File,
        "\"/etc/proxmox-mcp/body.txt\"",
        "A file with a template for the text, in place of the built-in one.",
    ),
];

const SERVER: Key = required(
    "server",
    Kind::Text,
    "\"https://push.example.lan\"",
    "The server's address, with its path if it has one.",
);
const TOKEN_FILE: Key = optional(
    "token_file",
    Kind::SecretFile,
    "\"/etc/proxmox-mcp/{name}.token\"",
    "A file that holds the token.",
);
const PASSWORD: Key = optional(
    "password",
    Kind::Secret,
    "\"secret\"",
    "The user's password. Prefer `password_file`, or the environment.",
);
const PASSWORD_FILE: Key = optional(
    "password_file",
    Kind::SecretFile,
    "\"/etc/proxmox-mcp/{name}.password\"",
    "A file that holds the user's password.",
);
const DISCORD_URL: Key = optional(
    "webhook_url",
    Kind::Secret,
    "\"https://discord.com/api/webhooks/0000/0000\"",
    "The address of a webhook of the channel: whoever knows it can write there. Prefer \
     `webhook_url_file`, or the environment.",
);
const SLACK_URL: Key = optional(
    "webhook_url",
    Kind::Secret,
    "\"https://hooks.slack.com/services/0000/0000\"",
    "The address of a webhook of the channel: whoever knows it can write there. Prefer \
     `webhook_url_file`, or the environment.",
);
const WEBHOOK_URL_FILE: Key = optional(
    "webhook_url_file",
    Kind::SecretFile,
    "\"/etc/proxmox-mcp/{name}.url\"",
    "A file that holds the webhook's address.",
);
const CHANNEL: Key = optional(
    "channel",
    Kind::Text,
    "\"1100000000000000000\"",
    "The channel or thread that the bot writes to, by its id, in place of a webhook.",
);
const THREAD: Key = optional(
    "thread",
    Kind::Text,
    "\"1100000000000000001\"",
    "A thread of the webhook's channel, by its id.",
);
const BOT_TOKEN: Key = optional(
    "bot_token",
    Kind::Secret,
    "\"0000\"",
    "The bot's token, for channels. Prefer `bot_token_file`, or the environment.",
);
const BOT_TOKEN_FILE: Key = optional(
    "bot_token_file",
    Kind::SecretFile,
    "\"/etc/proxmox-mcp/bot.token\"",
    "A file that holds the bot's token.",
);
const API: Key = optional(
    "api",
    Kind::Text,
    "\"https://discord.example.lan/api\"",
    "Another address of the service's API for bots. Unset, its own.",
);

/// What outputs can be.
pub(super) const TYPES: &[Type] = &[
    Type {
        name: "discord",
        example: "ops",
        doc: "A channel of Discord, by a webhook or as a bot.",
        keys: &[
            DISCORD_URL,
            WEBHOOK_URL_FILE,
            THREAD,
            CHANNEL,
            BOT_TOKEN,
            BOT_TOKEN_FILE,
            optional(
                "username",
                Kind::Text,
                "\"Proxmox\"",
                "What webhooks call themselves. Unset, as they were named when they were made.",
            ),
            API,
            PROXY,
        ],
        tables: &[Nested {
            name: "route",
            example: "storage",
            doc: "Another channel or thread, for rules that send to `<output>:<route>`.",
            keys: &[DISCORD_URL, WEBHOOK_URL_FILE, THREAD, CHANNEL],
        }],
    },
    Type {
        name: "gotify",
        example: "push",
        doc: "A Gotify server. An update takes the place of the message before it.",
        keys: &[
            SERVER,
            optional(
                "token",
                Kind::Secret,
                "\"A00000000000000\"",
                "The application's token. Prefer `token_file`, or the environment.",
            ),
            TOKEN_FILE,
            optional(
                "client_token",
                Kind::Secret,
                "\"C00000000000000\"",
                "A client's token, with which the message is deleted that an update takes the place \
                 of. Prefer `client_token_file`, or the environment.",
            ),
            optional(
                "client_token_file",
                Kind::SecretFile,
                "\"/etc/proxmox-mcp/{name}-client.token\"",
                "A file that holds the client's token.",
            ),
            CA_FILE,
            FINGERPRINT,
            INSECURE,
            PROXY,
        ],
        tables: &[],
    },
    Type {
        name: "ntfy",
        example: "phone",
        doc: "A topic of an ntfy server.",
        keys: &[
            SERVER,
            required(
                "topic",
                Kind::Text,
                "\"proxmox\"",
                "The topic: letters, digits, `_` and `-`, at most 64. On a public server, whoever \
                 knows it reads along.",
            ),
            optional(
                "token",
                Kind::Secret,
                "\"tk_0000000000000000000000000000\"",
                "An access token. Prefer `token_file`, or the environment.",
            ),
            TOKEN_FILE,
            optional("user", Kind::Text, "\"manager\"", "A user, in place of a token."),
            PASSWORD,
            PASSWORD_FILE,
            CA_FILE,
            FINGERPRINT,
            INSECURE,
            PROXY,
        ],
        tables: &[],
    },
    Type {
        name: "email",
        example: "mail",
        doc: "Mail by SMTP, threaded by incident.",
        keys: EMAIL,
        tables: &[],
    },
    Type {
        name: "slack",
        example: "team",
        doc: "A channel of Slack, by an incoming webhook or as a bot.",
        keys: &[SLACK_URL, WEBHOOK_URL_FILE, CHANNEL, BOT_TOKEN, BOT_TOKEN_FILE, API, PROXY],
        tables: &[Nested {
            name: "route",
            example: "storage",
            doc: "Another channel, for rules that send to `<output>:<route>`.",
            keys: &[SLACK_URL, WEBHOOK_URL_FILE, CHANNEL],
        }],
    },
    Type {
        name: "webhook",
        example: "desk",
        doc: "A POST of JSON to any address, signed.",
        keys: WEBHOOK,
        tables: &[],
    },
    Type {
        name: "syslog",
        example: "log",
        doc: "A receiver of syslog (RFC 5424), a line per message.",
        keys: SYSLOG,
        tables: &[],
    },
    Type {
        name: "stdout",
        example: "console",
        doc: "A line per message on the manager's standard output.",
        keys: &[with_default(
            "format",
            Kind::Choice(&["text", "json"]),
            "\"text\"",
            "What a line is: text for people, or the object that webhooks are sent.",
        )],
        tables: &[],
    },
    Type {
        name: "heartbeat",
        example: "alive",
        doc: "Calls an address again and again while inputs and outputs are well: whoever watches \
              that address tells people when the calls stop. It carries no messages.",
        keys: HEARTBEAT,
        tables: &[],
    },
];

const EMAIL: &[Key] = &[
    required(
        "server",
        Kind::Text,
        "\"mail.example.lan\"",
        "The mail server's name or address, without a port.",
    ),
    optional(
        "port",
        Kind::Integer(1, 65_535),
        "587",
        "Its port. Unset, the usual one of `security`: 587, 465 or 25.",
    ),
    with_default(
        "security",
        Kind::Choice(&["starttls", "tls", "none"]),
        "\"starttls\"",
        "`starttls` begins in the clear and goes on in TLS or not at all, `tls` is TLS from the \
         first byte, `none` is in the clear, and then no password is sent but to this machine.",
    ),
    optional("user", Kind::Text, "\"manager@example.lan\"", "The user's name, with a password."),
    PASSWORD,
    PASSWORD_FILE,
    required("from", Kind::Text, "\"Proxmox <proxmox@example.lan>\"", "Whose mail it is."),
    required("to", Kind::TextOrList, "[\"ops@example.lan\"]", "To whom."),
    optional(
        "hello",
        Kind::Text,
        "\"manager.example.lan\"",
        "What the manager calls itself to the server. Unset, the domain of `from`.",
    ),
    optional(
        "html_file",
        Kind::File,
        "\"/etc/proxmox-mcp/body.html\"",
        "A file with a template for the text as HTML. With `body_file` and without it, mails are \
         text alone.",
    ),
    CA_FILE,
    FINGERPRINT,
    INSECURE,
];

const WEBHOOK: &[Key] = &[
    optional(
        "url",
        Kind::Secret,
        "\"https://desk.example.lan/events\"",
        "Where to post. Prefer `url_file`, or the environment, if the address is a secret.",
    ),
    optional(
        "url_file",
        Kind::SecretFile,
        "\"/etc/proxmox-mcp/{name}.url\"",
        "A file that holds the address.",
    ),
    optional(
        "secret",
        Kind::Secret,
        "\"000000000000000000000000\"",
        "The key of the signature. Unset, nothing is signed. Prefer `secret_file`, or the \
         environment.",
    ),
    optional(
        "secret_file",
        Kind::SecretFile,
        "\"/etc/proxmox-mcp/{name}.secret\"",
        "A file that holds the key.",
    ),
    optional(
        "token",
        Kind::Secret,
        "\"0000\"",
        "Sent as `Authorization: Bearer`. Prefer `token_file`, or the environment.",
    ),
    TOKEN_FILE,
    with_default(
        "raw",
        Kind::Boolean,
        "false",
        "Whether the reports go along as they were heard. They can be large.",
    ),
    CA_FILE,
    FINGERPRINT,
    INSECURE,
    PROXY,
];

const SYSLOG: &[Key] = &[
    required(
        "target",
        Kind::Text,
        "\"udp://log.example.lan:514\"",
        "The receiver: `udp://HOST:PORT`, `tcp://HOST:PORT` or `tls://HOST:PORT`.",
    ),
    with_default(
        "facility",
        Kind::Integer(0, 23),
        "3",
        "The facility by its number: 3 is for daemons, 16 to 23 are of local use.",
    ),
    optional(
        "host",
        Kind::Text,
        "\"manager\"",
        "The host that the lines name. Unset, `events.instance`.",
    ),
    CA_FILE,
    FINGERPRINT,
    INSECURE,
];

const HEARTBEAT: &[Key] = &[
    optional(
        "url",
        Kind::Secret,
        "\"https://hc.example.lan/ping/0000\"",
        "What is called. Prefer `url_file`, or the environment: whoever knows it can say that all \
         is well.",
    ),
    optional(
        "url_file",
        Kind::SecretFile,
        "\"/etc/proxmox-mcp/{name}.url\"",
        "A file that holds the address.",
    ),
    optional(
        "fail_url",
        Kind::Secret,
        "\"https://hc.example.lan/ping/0000/fail\"",
        "What is called once when something is not well. Prefer `fail_url_file`, or the \
         environment.",
    ),
    optional(
        "fail_url_file",
        Kind::SecretFile,
        "\"/etc/proxmox-mcp/{name}-fail.url\"",
        "A file that holds that address.",
    ),
    with_default(
        "every_secs",
        Kind::Integer(10, 86_400),
        "300",
        "The pause between two calls, in seconds.",
    ),
    CA_FILE,
    FINGERPRINT,
    INSECURE,
    PROXY,
];
