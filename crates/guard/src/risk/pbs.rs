//! Proxmox Backup Server: where the method says the wrong thing.

use super::{Rule, destroy, operate, refuse, when};

/// Reviewed against 4.2.
#[rustfmt::skip]
pub(super) static RULES: &[Rule] = &[
    // Shells.
    refuse("POST", "/nodes/{node}/termproxy", "hands out a shell of the server"),
    refuse("GET", "/nodes/{node}/vncwebsocket", "is the stream of a shell"),

    // The protocols in which backups are written and read: HTTP/2, and not for people.
    refuse("*", "/backup/**", "is the protocol in which backups are written"),
    refuse("*", "/reader/**", "is the protocol in which backups are read"),

    // Tickets and secrets.
    refuse("POST", "/access/ticket", "hands out a login"),
    refuse("DELETE", "/access/ticket", "ends a login, of which this server has none to end"),
    refuse("POST", "/access/vncticket", "checks tickets, of which this server makes none"),
    refuse("POST", "/access/openid/auth-url|login", "is a step of a login"),
    refuse("POST", "/access/tfa/{userid}", "hands out recovery codes, or takes the secret of a second factor"),
    refuse("POST", "/access/users/{userid}/token/{token-name}", "hands out the secret of a token, which would pass through the model"),
    when(&["regenerate"], refuse("PUT", "/access/users/{userid}/token/{token-name}", "hands out the new secret of a token, which would pass through the model")),

    // Files, which are no parameters.
    refuse("GET", "/admin/datastore/{store}/download|download-decoded|pxar-file-download", "gives a file: that is for the tool that restores files"),
    refuse("POST", "/admin/datastore/{store}/upload-backup-log", "takes a file"),

    // Reads that are more.
    destroy("GET", "/tape/media/destroy", "forgets a tape and what is on it"),
    operate("GET", "/tape/drive/{drive}/read-label", "moves the tape, and can write the inventory"),
    operate("GET", "/config/acme/tos", "makes the server contact a host that the caller names"),

    // Deletions of nothing that is missed.
    operate("DELETE", "/nodes/{node}/tasks/{upid}", "stops a task"),
    operate("DELETE", "/nodes/{node}/network", "drops changes that are not applied yet"),

    // Backups and what keeps them.
    destroy("POST", "/admin/datastore/{store}/prune|prune-datastore", "removes backups"),
    destroy("POST", "/admin/prune/{id}/run", "removes backups"),
    destroy("POST", "/config/prune", "makes runs remove backups"),
    destroy("PUT", "/config/prune/{id}", "makes runs remove backups"),
    when(&["keep-*"], destroy("POST", "/config/datastore", "makes runs remove backups")),
    when(&["keep-*"], destroy("PUT", "/config/datastore/{name}", "makes runs remove backups")),
    when(&["overwrite-in-use"], destroy("POST", "/config/datastore", "takes over a store that another server uses")),
    when(&["remove-vanished"], destroy("POST", "/pull|push", "removes backups that are gone on the other side")),
    when(&["remove-vanished"], destroy("POST", "/config/sync", "makes runs remove backups that are gone on the other side")),
    when(&["remove-vanished"], destroy("PUT", "/config/sync/{id}", "makes runs remove backups that are gone on the other side")),
    when(&["store", "ns", "remote", "remote-store", "remote-ns", "group-filter", "max-depth", "sync-direction"], destroy("PUT", "/config/sync/{id}", "can make its runs remove backups in another place")),
    destroy("POST", "/admin/sync/{id}/run", "removes backups that are gone on the other side, where the job says so"),
    when(&["tuning"], destroy("POST", "/config/datastore", "can let garbage collection take what is still in use")),
    when(&["tuning"], destroy("PUT", "/config/datastore/{name}", "can let garbage collection take what is still in use")),

    // Disks and tapes.
    destroy("PUT", "/nodes/{node}/disks/wipedisk", "erases a disk"),
    destroy("POST", "/nodes/{node}/disks/initgpt", "writes a new partition table"),
    destroy("POST", "/nodes/{node}/disks/directory|zfs", "formats disks"),
    destroy("POST", "/tape/drive/{drive}/format-media", "erases a tape"),
    destroy("POST", "/tape/drive/{drive}/label-media|barcode-label-media", "writes a new label, and what is behind it is lost"),
    destroy("POST", "/tape/backup", "writes over tapes whose retention is over"),
    destroy("POST", "/tape/backup/{id}", "writes over tapes whose retention is over"),
    destroy("POST", "/config/tape-backup-job", "makes runs write over tapes whose retention is over"),
    destroy("PUT", "/config/tape-backup-job/{id}", "makes runs write over tapes whose retention is over"),
    when(&["retention"], destroy("POST", "/config/media-pool", "says when tapes are written over")),
    destroy("PUT", "/config/media-pool/{name}", "says when tapes are written over"),
    destroy("PUT", "/config/tape-encryption-keys/{fingerprint}", "changes the password of a key: without it tapes cannot be read"),

    // The server.
    destroy("POST", "/nodes/{node}/status", "reboots or shuts down the server"),
    destroy("POST", "/nodes/{node}/services/{service}/stop|restart|reload", "can end the API itself, and the backups that run"),
    destroy("POST", "/nodes/{node}/certificates/custom", "replaces the certificate, and whoever pins it is cut off"),
    destroy("PUT", "/nodes/{node}/network", "can cut the server off"),

    // Who may do what.
    destroy("PUT", "/access/acl", "changes who may do what"),
    destroy("PUT", "/access/password", "changes a password"),
    destroy("POST", "/access/users", "changes who may do what"),
    destroy("PUT", "/access/users/{userid}", "changes who may do what"),
    destroy("POST", "/access/domains/{realm}/sync", "makes users, and can remove them"),
    destroy("PUT", "/access/tfa/{userid}/{id}", "changes a second factor"),
    destroy("PUT", "/access/users/{userid}/unlock-tfa", "opens an account that was locked"),
    destroy("PUT", "/access/users/{userid}/token/{token-name}", "changes what a token may do"),
    destroy("POST", "/config/access/ad|ldap|openid", "changes who may log in"),
    destroy("PUT", "/config/access/ad|ldap|openid/{realm}", "changes who may log in"),
    destroy("PUT", "/config/access/pam|pbs", "changes who may log in"),
    destroy("PUT", "/config/access/tfa/webauthn", "changes the second factor of everybody"),
];
