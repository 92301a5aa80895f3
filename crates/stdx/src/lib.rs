//! What every crate shares and none of which knows Proxmox: clock, error chains, redaction, backoff, TLS and HTTP clients.
