//! The keys of `[http]` and `[oauth.<name>]`.

use crate::keys::{Key, Kind};

/// `[http]`.
pub(super) const HTTP: &[Key] = &[
    Key {
        name: "listen",
        kind: Kind::Text,
        default: Some("\"127.0.0.1:8808\""),
        example: "",
        required: false,
        doc: "The address and port that `serve --http` listens on. Beyond this machine it takes a \
              token or an OAuth issuer. The flag is `--http=ADDR`.",
    },
    Key {
        name: "unix_socket",
        kind: Kind::Path,
        default: None,
        example: "\"/run/proxmox-mcp/http.sock\"",
        required: false,
        doc: "A socket to listen on besides, which only the server's own account can open.",
    },
    Key {
        name: "allowed_hosts",
        kind: Kind::List,
        default: Some("[]"),
        example: "",
        required: false,
        doc: "The names and addresses under which clients reach the server, as their `Host` header \
              says, for example `mcp.example.lan`. Those of this machine's loopback always count.",
    },
    Key {
        name: "allowed_origins",
        kind: Kind::List,
        default: Some("[]"),
        example: "",
        required: false,
        doc: "The web pages whose scripts may call the server, as their `Origin` header says, for \
              example `https://app.example.lan`. Requests without that header come from programs \
              and are not judged by it.",
    },
    Key {
        name: "tls_cert_file",
        kind: Kind::File,
        default: None,
        example: "\"/etc/proxmox-mcp/tls.crt\"",
        required: false,
        doc: "The certificate to serve HTTPS with, with its chain, in PEM. Read again when it \
              changes.",
    },
    Key {
        name: "tls_key_file",
        kind: Kind::SecretFile,
        default: None,
        example: "\"/etc/proxmox-mcp/tls.key\"",
        required: false,
        doc: "The certificate's private key, in PEM.",
    },
    Key {
        name: "max_body_bytes",
        kind: Kind::Integer(4096, 268_435_456),
        default: Some("4194304"),
        example: "",
        required: false,
        doc: "The largest request that is read, in bytes.",
    },
    Key {
        name: "rate_per_minute",
        kind: Kind::Integer(0, 1_000_000),
        default: Some("600"),
        example: "",
        required: false,
        doc: "How many requests one principal may send per minute; 0 sets no limit.",
    },
    Key {
        name: "session_idle_secs",
        kind: Kind::Integer(10, 86_400),
        default: Some("900"),
        example: "",
        required: false,
        doc: "How long a session of an older client is kept without a request, in seconds.",
    },
    Key {
        name: "sessions_per_principal",
        kind: Kind::Integer(1, 10_000),
        default: Some("32"),
        example: "",
        required: false,
        doc: "How many sessions one principal may have open; the longest idle gives way to a new \
              one.",
    },
    Key {
        name: "legacy_sessions",
        kind: Kind::Boolean,
        default: Some("true"),
        example: "",
        required: false,
        doc: "Whether clients of the revisions before 2026-07-28 get sessions. Without them such \
              clients still list and call, and the server can neither ask nor notify them.",
    },
    Key {
        name: "metrics_public",
        kind: Kind::Boolean,
        default: Some("false"),
        example: "",
        required: false,
        doc: "Whether `/metrics` is answered without a token.",
    },
];

/// `[oauth.<name>]`.
pub(super) const OAUTH: &[Key] = &[
    Key {
        name: "issuer",
        kind: Kind::Text,
        default: None,
        example: "\"https://idp.example.lan/realms/lab\"",
        required: true,
        doc: "The issuer's identifier, exactly as its tokens (`iss`) and its metadata spell it.",
    },
    Key {
        name: "audience",
        kind: Kind::TextOrList,
        default: None,
        example: "\"https://mcp.example.lan:8808/mcp\"",
        required: true,
        doc: "What a token must be made for (`aud`): the address of this server's endpoint, or the \
              name that the issuer gives it. Of a list one is enough.",
    },
    Key {
        name: "resource",
        kind: Kind::Text,
        default: None,
        example: "\"https://mcp.example.lan:8808/mcp\"",
        required: false,
        doc: "The address of this server's endpoint as clients write it, for the metadata that \
              leads them to the issuer. Unset, it is the first `audience` that is an address.",
    },
    Key {
        name: "jwks_url",
        kind: Kind::Text,
        default: None,
        example: "\"https://idp.example.lan/realms/lab/protocol/openid-connect/certs\"",
        required: false,
        doc: "Where the issuer publishes its keys. Unset, the issuer's metadata says it.",
    },
    Key {
        name: "scopes",
        kind: Kind::MapOfLists,
        default: None,
        example: "{ \"proxmox.read\" = \"read\", \"proxmox.operate\" = \"operate\", \
                  \"proxmox.destroy\" = \"destroy\" }",
        required: false,
        doc: "What the scopes of a token allow here, in the words of `token new --scope`. Unset, \
              it is what the example says. A token that has none of them is refused.",
    },
    Key {
        name: "required_scope",
        kind: Kind::Text,
        default: None,
        example: "\"mcp\"",
        required: false,
        doc: "A scope that every token must have besides.",
    },
    Key {
        name: "algorithms",
        kind: Kind::List,
        default: Some("[\"RS256\", \"PS256\", \"ES256\", \"EdDSA\"]"),
        example: "",
        required: false,
        doc: "The signatures that are taken, of these four.",
    },
    Key {
        name: "leeway_secs",
        kind: Kind::Integer(0, 300),
        default: Some("30"),
        example: "",
        required: false,
        doc: "How far the issuer's clock may be from this machine's, in seconds.",
    },
    Key {
        name: "jwks_refresh_secs",
        kind: Kind::Integer(60, 86_400),
        default: Some("3600"),
        example: "",
        required: false,
        doc: "How long the issuer's keys are used before they are fetched again, in seconds. An \
              unknown key is looked for at once. While the issuer is not to be reached they are \
              used for as long again.",
    },
    Key {
        name: "ca_file",
        kind: Kind::File,
        default: None,
        example: "\"/etc/proxmox-mcp/{name}-ca.pem\"",
        required: false,
        doc: "The root certificate that the issuer's address is trusted by, in place of the \
              system's.",
    },
];
