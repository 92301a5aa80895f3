//! The keys of `[manager]`.

use crate::keys::{Key, Kind};

/// `[manager]`.
pub(super) const MANAGER: &[Key] = &[
    Key {
        name: "socket",
        kind: Kind::Path,
        default: None,
        example: "\"/run/proxmox-mcp/control.sock\"",
        required: false,
        doc: "The control socket. The manager listens there; `serve`, `approve` and `freeze` look \
              for it there. Unset, it is `control.sock` in `server.state_dir`.",
    },
    Key {
        name: "socket_group",
        kind: Kind::Text,
        default: None,
        example: "\"proxmox-mcp\"",
        required: false,
        doc: "The system group whose members may connect to the control socket, by name or number. \
              Unset, only the manager's own account and root may. To connect is not to approve: \
              that takes a table `[approver.…]`.",
    },
    Key {
        name: "http",
        kind: Kind::Boolean,
        default: Some("false"),
        example: "",
        required: false,
        doc: "Whether the manager serves MCP, REST and links for approving over HTTP, as `[http]` \
              says.",
    },
    Key {
        name: "public_url",
        kind: Kind::Text,
        default: None,
        example: "\"https://mcp.example.lan:8808\"",
        required: false,
        doc: "The address under which people reach the manager's HTTP listener from where they \
              read messages. With it each question carries a signed link for each approver, which \
              shows the plan and lets that person decide once. Unset, there are no links.",
    },
    Key {
        name: "standby",
        kind: Kind::Boolean,
        default: Some("false"),
        example: "",
        required: false,
        doc: "What a manager does when another one has its store: wait until that one is gone and \
              take its place, or end with an error. For two machines on one PostgreSQL database.",
    },
    Key {
        name: "drain_secs",
        kind: Kind::Integer(1, 3600),
        default: Some("30"),
        example: "",
        required: false,
        doc: "How long the manager waits for work that is under way when it is told to stop, in \
              seconds. What is not done by then is looked at when it starts again; nothing is sent \
              twice.",
    },
];
