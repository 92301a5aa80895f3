//! The keys of the websocket inputs: consoles and feeds.

use super::events::SEVERITIES;
use super::inputs::{CLUSTER, LABELS, NODE, TOKEN_FILE, ZONE};
use super::server::{CA_FILE, FINGERPRINT, INSECURE};
use super::{optional, required, with_default};
use crate::keys::{Kind, Nested, Type};

pub(super) const CONSOLE: Type = Type {
    name: "console",
    example: "watch",
    doc: "Watches over a websocket what guests and nodes of a cluster show on their text consoles, \
          and tells the lines that fit a pattern. For each of them it is an input of its own, named as \
          the table and the guest or node together: `watch_104`.",
    keys: &[
        required(
            "cluster",
            Kind::Text,
            "\"home\"",
            "The table `[pve.…]` whose consoles they are. Its login, or its operate token where it \
             has one, needs `VM.Console` on the guests and `Sys.Console` on the nodes.",
        ),
        optional(
            "guests",
            Kind::ListOrNumbers,
            "[104, 105]",
            "The ids of the guests. A virtual machine needs a serial port on which its system writes.",
        ),
        optional("nodes", Kind::TextOrList, "\"pve1\"", "The nodes."),
        optional(
            "serial",
            Kind::Integer(0, 3),
            "1",
            "Which serial port of the virtual machines is watched. A port serves one at a time, so \
             one of its own leaves the other to people. Unset, the first.",
        ),
        optional(
            "without",
            Kind::TextOrList,
            "[\"unit\", \"segfault\"]",
            "Patterns of the shipped set that are left out: `kernel_panic`, `oom`, `oops`, `lockup`, \
             `hung_task`, `filesystem`, `fsck`, `disk`, `raid`, `hardware`, `boot`, `unit` and \
             `segfault`.",
        ),
        with_default(
            "window_secs",
            Kind::Integer(1, 86_400),
            "300",
            "How long one pattern is told once for a console, however many lines fit it, in seconds.",
        ),
        LABELS,
    ],
    tables: &[Nested {
        name: "pattern",
        example: "ups",
        doc: "A pattern of your own, tried before the shipped ones.",
        keys: &[
            required(
                "regex",
                Kind::Text,
                "\"(?i)on battery\"",
                "What a line has to hold: a regular expression as Rust's `regex` reads it.",
            ),
            with_default(
                "kind",
                Kind::Text,
                "\"console.matched\"",
                "What it means: a kind of the list, or `other.` and a name.",
            ),
            with_default("severity", Kind::Choice(SEVERITIES), "\"warning\"", "How bad it is."),
            optional(
                "title",
                Kind::Text,
                "\"the UPS runs on battery\"",
                "The event's title. Unset, the line.",
            ),
        ],
    }],
};

pub(super) const FEED: Type = Type {
    name: "feed",
    example: "house",
    doc: "Hears the JSON messages that any service sends over a websocket, and goes on where it was \
          if the service can.",
    keys: &[
        required(
            "url",
            Kind::Text,
            "\"wss://feed.example.lan/v1/events\"",
            "The address: `wss://` or `ws://`, with path and query. Secrets do not belong there.",
        ),
        optional(
            "token",
            Kind::Secret,
            "\"00000000000000000000\"",
            "What the service asks for: it is sent as `Authorization: Bearer`, in `token_header`, or \
             where a text of `subscribe` says `{token}`. Prefer `token_file`, or the environment.",
        ),
        TOKEN_FILE,
        optional(
            "token_header",
            Kind::Text,
            "\"X-Api-Key\"",
            "The header that takes the token as it is.",
        ),
        optional("headers", Kind::MapOfTexts, "{ X-Api-Version = \"2\" }", "Further headers."),
        optional(
            "subscribe",
            Kind::TextOrList,
            "'{\"op\": \"subscribe\"}'",
            "Texts that are sent when it is opened.",
        ),
        optional(
            "place",
            Kind::Text,
            "\"/seq\"",
            "Where a message says what it is known by, as a place of RFC 6901. It is kept, and the \
             service is told when the feed is opened again, by `place_query` or `subscribe_from`.",
        ),
        optional(
            "place_query",
            Kind::Text,
            "\"since\"",
            "The parameter of the address that takes the place.",
        ),
        optional(
            "subscribe_from",
            Kind::TextOrList,
            "'{\"op\": \"subscribe\", \"since\": \"{place}\"}'",
            "Texts that are sent instead of `subscribe` when a place is known; `{place}` stands for it.",
        ),
        optional(
            "only",
            Kind::MapOfLists,
            "{ \"/type\" = [\"alarm\", \"clear\"] }",
            "What a message has to say, and where, to be told; all of it. Unset, every message is.",
        ),
        optional(
            "mapping",
            Kind::MapOfLists,
            "{ title = \"/what\", severity = [\"/how/bad\", \"/level\"] }",
            "Where the parts of an event stand in a message, as for a hook with `format = \"json\"`.",
        ),
        optional(
            "severities",
            Kind::MapOfTexts,
            "{ orange = \"error\" }",
            "Words of the messages that mean a severity whatever they seem to.",
        ),
        optional(
            "mapping_labels",
            Kind::MapOfTexts,
            "{ rack = \"/place/rack\" }",
            "Labels that are read from places of the messages.",
        ),
        with_default(
            "heartbeat_secs",
            Kind::Integer(1, 3600),
            "30",
            "How often the service is asked whether it lives (a ping of the protocol), in seconds.",
        ),
        optional(
            "heartbeat_text",
            Kind::Text,
            "'{\"type\": \"ping\"}'",
            "A text that is sent besides, where the service wants one.",
        ),
        with_default(
            "silence_secs",
            Kind::Integer(2, 86_400),
            "90",
            "How long nothing at all may come before the feed is opened again, in seconds.",
        ),
        with_default(
            "max_bytes",
            Kind::Integer(65_536, 104_857_600),
            "1048576",
            "The longest message, in bytes.",
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
};
