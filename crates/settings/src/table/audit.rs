//! The keys of `[audit]`.

use crate::keys::{Key, Kind};

pub(super) const AUDIT: &[Key] = &[
    Key {
        name: "syslog",
        kind: Kind::Text,
        default: None,
        example: "\"udp://log.example.lan:514\"",
        required: false,
        doc: "A syslog receiver (RFC 5424) that gets a copy of every audit record: \
              udp://HOST:PORT, or unix:///dev/log for this machine's own.",
    },
    Key {
        name: "webhook_url",
        kind: Kind::Secret,
        default: None,
        example: "\"https://hooks.example.lan/audit\"",
        required: false,
        doc: "A webhook that gets a copy of every audit record, as a POST of its JSON. Prefer \
              `webhook_url_file`, or the environment, if the address is a secret.",
    },
    Key {
        name: "webhook_url_file",
        kind: Kind::SecretFile,
        default: None,
        example: "\"/etc/proxmox-mcp/audit.url\"",
        required: false,
        doc: "A file that holds the webhook's address.",
    },
];
