//! The table of settings: every section and key with its kind, default, example and meaning.

mod audit;
mod guard;
mod http;
mod manager;

use crate::keys::{Key, Kind, Section};

/// Every section, in the order in which they are explained.
pub static SECTIONS: &[Section] = &[
    Section {
        name: "pve",
        named: true,
        example: "home",
        doc: "One table per Proxmox VE cluster or standalone node. The table's name is how tools \
              address it: small letters, digits and `_`.",
        keys: CLIENT,
        words: ("pve", "8006"),
    },
    Section {
        name: "pbs",
        named: true,
        example: "vault",
        doc: "One table per Proxmox Backup Server. Names are shared with `[pve.…]`, so each is \
              used once.",
        keys: CLIENT,
        words: ("pbs", "8007"),
    },
    Section {
        name: "server",
        named: false,
        example: "",
        doc: "What the MCP server offers and how far it goes.",
        keys: SERVER,
        words: ("", ""),
    },
    Section {
        name: "http",
        named: false,
        example: "",
        doc: "The listener of `serve --http`: MCP, REST, metrics and health.",
        keys: http::HTTP,
        words: ("", ""),
    },
    Section {
        name: "oauth",
        named: true,
        example: "idp",
        doc: "One table per OAuth issuer whose access tokens are taken, besides the tokens that \
              `proxmox-mcp token new` makes.",
        keys: http::OAUTH,
        words: ("", ""),
    },
    Section {
        name: "guard",
        named: false,
        example: "",
        doc: "What is protected, how much may change, and what consent takes where no line of the \
              policy says otherwise.",
        keys: guard::GUARD,
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
        words: ("", ""),
    },
    Section {
        name: "manager",
        named: false,
        example: "",
        doc: "The manager (`proxmox-manager`): its control socket, and what it serves.",
        keys: manager::MANAGER,
        words: ("", ""),
    },
    Section {
        name: "audit",
        named: false,
        example: "",
        doc: "Copies of the audit log, for whoever must not trust this machine alone. A copy never \
              holds up an action and never fails one; what cannot be delivered is counted and said.",
        keys: audit::AUDIT,
        words: ("", ""),
    },
    Section {
        name: "log",
        named: false,
        example: "",
        doc: "The log, which goes to standard error: standard output belongs to MCP.",
        keys: LOG,
        words: ("", ""),
    },
];

/// The sections that later releases bring, so that a hint can say so.
pub(crate) const NOT_YET: &[&str] = &["input", "output", "rule", "playbook", "store"];

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
              `storage`, `network`, `cluster` (all that changes and looks deeper, by domain), `api` \
              (any call of either product), `compact` (the overview and `api`: the smallest), \
              `classic` (the names of the earlier server), `all`. `guard` (consent) comes with every \
              other. The flag is `--toolsets`.",
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

/// The keys of `[pve.<name>]` and `[pbs.<name>]`.
const CLIENT: &[Key] = &[
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
