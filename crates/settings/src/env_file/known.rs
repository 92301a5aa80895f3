//! The variables of the earlier server, and what became of those that are not settings any more.

/// Variables that become settings.
pub(super) const READ: &[&str] = &[
    "LAB_CONFIGURATION",
    "PVE_NODES",
    "PBS_NODES",
    "PVE_CLUSTER_NAME",
    "PVE_CLUSTER_PRIMARY_HOST",
    "PVE_CLUSTER_PRIMARY_USER",
    "PVE_CLUSTER_PRIMARY_TOKEN_NAME",
    "PVE_CLUSTER_PRIMARY_TOKEN_VALUE",
    "PVE_CLUSTER_SUBNODES",
    "PBS_CLUSTER_NAME",
    "PBS_CLUSTER_PRIMARY_HOST",
    "PBS_CLUSTER_PRIMARY_USER",
    "PBS_CLUSTER_PRIMARY_TOKEN_NAME",
    "PBS_CLUSTER_PRIMARY_TOKEN_VALUE",
    "PBS_CLUSTER_SUBNODES",
    "VERIFY_SSL",
    "LOG_LEVEL",
];

/// What follows a node's name in a variable of that node.
pub(super) const NODE_SUFFIXES: [&str; 4] = ["_HOST", "_USER", "_TOKEN_NAME", "_TOKEN_VALUE"];

/// Variables that are not settings of this release.
pub(super) struct Retired {
    pub(super) names: &'static [&'static str],
    pub(super) reason: &'static str,
    pub(super) hint: &'static str,
}

pub(super) const RETIRED: &[Retired] = &[
    Retired {
        names: &["EVENT_WS_RECONNECT_INTERVAL"],
        reason: "has no meaning any more",
        hint: "what is followed is followed again by itself",
    },
    Retired {
        names: &["EVENT_SYSLOG_PARSE_FORMAT"],
        reason: "has no meaning any more",
        hint: "the formats of syslog are told apart by themselves",
    },
    Retired {
        names: &["DISCORD_IN_ENABLED", "DISCORD_IN_WEBHOOK_URL", "DISCORD_IN_POLL_INTERVAL"],
        reason: "cannot work: a Discord webhook can be written to but not read",
        hint: "let a bot hear its channel, by an [input.<name>] of type discord; or let whoever \
               writes there post to one of type webhook as well, which takes bodies made for \
               Discord",
    },
];

/// What `ENABLED_EVENT_LISTENERS` can list.
pub(super) const LISTENERS: &[&str] =
    &["WEBSOCKET", "EMAIL", "SYSLOG", "DISCORD_IN", "GOTIFY_IN", "NTFY"];

/// What `ENABLED_NOTIFIERS` can list.
pub(super) const NOTIFIERS: &[&str] = &["DISCORD_OUT", "GOTIFY_OUT", "NTFY"];

/// Variables about listeners and notifiers; those of one that is off are passed over.
pub(super) const EVENTS: &[&str] = &[
    "ENABLE_EVENT_LISTENERS",
    "ENABLED_EVENT_LISTENERS",
    "EVENT_WS_ENABLED",
    "EVENT_EMAIL_ENABLED",
    "EVENT_EMAIL_IMAP_SERVER",
    "EVENT_EMAIL_IMAP_PORT",
    "EVENT_EMAIL_USERNAME",
    "EVENT_EMAIL_PASSWORD",
    "EVENT_EMAIL_FOLDER",
    "EVENT_EMAIL_POLL_INTERVAL",
    "EVENT_SYSLOG_ENABLED",
    "EVENT_SYSLOG_LISTEN_PORT",
    "GOTIFY_IN_ENABLED",
    "GOTIFY_IN_SERVER_URL",
    "GOTIFY_IN_CLIENT_TOKEN",
    "NTFY_ENABLED",
    "NTFY_TOPIC",
    "NTFY_SERVER_URL",
    "ENABLED_NOTIFIERS",
    "DISCORD_OUT_ENABLED",
    "DISCORD_OUT_WEBHOOK_URL",
    "GOTIFY_OUT_ENABLED",
    "GOTIFY_OUT_SERVER_URL",
    "GOTIFY_OUT_APP_TOKEN",
    "NOTIFY_EMAIL_ENABLED",
    "NOTIFY_EMAIL_SERVER",
    "NOTIFY_EMAIL_PORT",
    "NOTIFY_EMAIL_FROM",
    "NOTIFY_EMAIL_TO",
    "NOTIFY_EMAIL_PASSWORD",
];
