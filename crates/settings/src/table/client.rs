//! The keys of `[pve.<name>]` and `[pbs.<name>]`.

use crate::keys::{Key, Kind};

/// The keys of `[pve.<name>]` and `[pbs.<name>]`.
pub(super) const CLIENT: &[Key] = &[
    Key {
        name: "endpoints",
        kind: Kind::List,
        default: None,
        example: "[\"https://{product}1:{port}\"]",
        required: true,
        doc: "The addresses, all of one cluster or one server, tried in order and failed over. Of \
              a cluster two or three nodes are enough: the other members are discovered.",
    },
    Key {
        name: "token_id",
        kind: Kind::Text,
        default: None,
        example: "\"mcp@{product}!agent\"",
        required: false,
        doc: "The API token's id: user, realm, `!`, token name. A token or a user name with its \
              password is needed.",
    },
    Key {
        name: "token",
        kind: Kind::Secret,
        default: None,
        example: "\"00000000-0000-0000-0000-000000000000\"",
        required: false,
        doc: "The token's secret. Prefer `token_file`, or the environment.",
    },
    Key {
        name: "token_file",
        kind: Kind::SecretFile,
        default: None,
        example: "\"/etc/proxmox-mcp/{name}.token\"",
        required: false,
        doc: "A file that holds the token's secret and that only its owner can read (mode 0600).",
    },
    Key {
        name: "operate_token_id",
        kind: Kind::Text,
        default: None,
        example: "\"mcp@{product}!operate\"",
        required: false,
        doc: "A second token for what changes something; tools that only read never hold it.",
    },
    Key {
        name: "operate_token",
        kind: Kind::Secret,
        default: None,
        example: "\"00000000-0000-0000-0000-000000000000\"",
        required: false,
        doc: "The second token's secret. Prefer `operate_token_file`, or the environment.",
    },
    Key {
        name: "operate_token_file",
        kind: Kind::SecretFile,
        default: None,
        example: "\"/etc/proxmox-mcp/{name}-operate.token\"",
        required: false,
        doc: "A file that holds the second token's secret.",
    },
    Key {
        name: "username",
        kind: Kind::Text,
        default: None,
        example: "\"monitor@{product}\"",
        required: false,
        doc: "A user with its realm, in place of a token: the server logs in and renews its \
              ticket.",
    },
    Key {
        name: "password",
        kind: Kind::Secret,
        default: None,
        example: "\"secret\"",
        required: false,
        doc: "The user's password. Prefer `password_file`, or the environment.",
    },
    Key {
        name: "password_file",
        kind: Kind::SecretFile,
        default: None,
        example: "\"/etc/proxmox-mcp/{name}.password\"",
        required: false,
        doc: "A file that holds the user's password.",
    },
    Key {
        name: "totp_secret",
        kind: Kind::Secret,
        default: None,
        example: "\"JBSWY3DPEHPK3PXP\"",
        required: false,
        doc: "The secret of the user's second factor (TOTP), in base32. Prefer \
              `totp_secret_file`.",
    },
    Key {
        name: "totp_secret_file",
        kind: Kind::SecretFile,
        default: None,
        example: "\"/etc/proxmox-mcp/{name}.totp\"",
        required: false,
        doc: "A file that holds the secret of the second factor.",
    },
    Key {
        name: "ca_file",
        kind: Kind::File,
        default: None,
        example: "\"/etc/proxmox-mcp/{name}-ca.pem\"",
        required: false,
        doc: "The root certificate to trust, in place of the system's. A cluster's own root is \
              `/etc/pve/pve-root-ca.pem` on its nodes.",
    },
    Key {
        name: "fingerprint",
        kind: Kind::TextOrList,
        default: None,
        example: "\"AB:CD:…\"",
        required: false,
        doc: "The SHA-256 fingerprint of the certificate of the only endpoint.",
    },
    Key {
        name: "fingerprints",
        kind: Kind::MapOfLists,
        default: None,
        example: "{ {product}1 = \"AB:CD:…\" }",
        required: false,
        doc: "The fingerprint of each endpoint's certificate, by node, host or `host:port`: each \
              node has its own. A list of two bridges a change of certificate.",
    },
    Key {
        name: "server_name",
        kind: Kind::Text,
        default: None,
        example: "\"{product}1.example.lan\"",
        required: false,
        doc: "The name to expect in the certificate where it is not the endpoint's host.",
    },
    Key {
        name: "insecure",
        kind: Kind::Boolean,
        default: Some("false"),
        example: "",
        required: false,
        doc: "Trust any certificate. Whoever stands between can then read the token: use \
              `ca_file` or `fingerprints`. Warned about at every start.",
    },
    Key {
        name: "labels",
        kind: Kind::Map,
        default: None,
        example: "{ site = \"{name}\" }",
        required: false,
        doc: "Your own labels, for example customer and site. Names are small letters, digits \
              and `_`.",
    },
    Key {
        name: "expected_off",
        kind: Kind::ListOrNumbers,
        default: None,
        example: "[\"{product}2\", 104]",
        required: false,
        doc: "Nodes and guest ids that are meant to be off, so that nobody is told of it.",
    },
    Key {
        name: "proxy",
        kind: Kind::Text,
        default: Some("\"none\""),
        example: "",
        required: false,
        doc: "`none` connects directly, whatever the environment says; `env` takes the proxy that \
              `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name; else an address such as \
              `http://proxy.example.lan:3128`.",
    },
    Key {
        name: "connect_timeout_secs",
        kind: Kind::Integer(1, 120),
        default: Some("5"),
        example: "",
        required: false,
        doc: "How long to wait for a connection, in seconds.",
    },
    Key {
        name: "request_timeout_secs",
        kind: Kind::Integer(1, 3600),
        default: Some("35"),
        example: "",
        required: false,
        doc: "How long to wait for one answer, in seconds. A refused login takes Proxmox three.",
    },
    Key {
        name: "deadline_secs",
        kind: Kind::Integer(1, 3600),
        default: Some("60"),
        example: "",
        required: false,
        doc: "How long a call may take with its retries and fail-overs, in seconds.",
    },
    Key {
        name: "concurrency",
        kind: Kind::Integer(1, 64),
        default: Some("8"),
        example: "",
        required: false,
        doc: "How many calls may be under way to one endpoint at a time.",
    },
];
