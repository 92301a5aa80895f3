//! Keys of whatever connects to a server: how that proves itself, and the way to it.

use super::{optional, with_default};
use crate::keys::{Key, Kind};

pub(super) const CA_FILE: Key = optional(
    "ca_file",
    Kind::File,
    "\"/etc/proxmox-mcp/ca.pem\"",
    "The root certificate to trust, in place of the system's.",
);
pub(super) const FINGERPRINT: Key = optional(
    "fingerprint",
    Kind::TextOrList,
    "\"AB:CD:…\"",
    "The SHA-256 fingerprint of the server's certificate; a list of two bridges a change of it.",
);
pub(super) const INSECURE: Key = with_default(
    "insecure",
    Kind::Boolean,
    "false",
    "Trust any certificate. Whoever stands between can then read what is said, and the secret: use \
     `ca_file` or `fingerprint`. Warned about at every start.",
);
pub(super) const PROXY: Key = with_default(
    "proxy",
    Kind::Text,
    "\"none\"",
    "`none` connects directly, whatever the environment says; `env` takes the proxy that \
     `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name; else an address such as \
     `http://proxy.example.lan:3128`.",
);
