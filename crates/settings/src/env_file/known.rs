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
        names: &["ENABLE_EVENT_LISTENERS", "ENABLED_EVENT_LISTENERS"],
        reason: "listed the event listeners, which this release does not have",
        hint: "each will be a table [input.<name>], which is on when it is there",
    },
    Retired {
        names: &["EVENT_WS_ENABLED", "EVENT_WS_RECONNECT_INTERVAL"],
        reason: "has no meaning: Proxmox publishes no WebSocket of events",
        hint: "the task list will be followed instead (an [input.<name>] of type tasks), \
               reconnecting by itself",
    },
    Retired {
        names: &[
            "EVENT_EMAIL_ENABLED",
            "EVENT_EMAIL_IMAP_SERVER",
            "EVENT_EMAIL_IMAP_PORT",
            "EVENT_EMAIL_USERNAME",
            "EVENT_EMAIL_PASSWORD",
            "EVENT_EMAIL_FOLDER",
            "EVENT_EMAIL_POLL_INTERVAL",
        ],
        reason: "set up reading mail, which this release does not do",
        hint: "it will be an [input.<name>] of type email; keep the values",
    },
    Retired {
        names: &["EVENT_SYSLOG_ENABLED", "EVENT_SYSLOG_LISTEN_PORT", "EVENT_SYSLOG_PARSE_FORMAT"],
        reason: "set up listening for syslog, which this release does not do",
        hint: "it will be an [input.<name>] of type syslog, which tells the formats apart by \
               itself; keep the port",
    },
    Retired {
        names: &["DISCORD_IN_ENABLED", "DISCORD_IN_WEBHOOK_URL", "DISCORD_IN_POLL_INTERVAL"],
        reason: "cannot work: a Discord webhook can be written to but not read",
        hint: "an [input.<name>] of type discord will take a bot's token",
    },
    Retired {
        names: &["GOTIFY_IN_ENABLED", "GOTIFY_IN_SERVER_URL", "GOTIFY_IN_CLIENT_TOKEN"],
        reason: "set up listening to Gotify, which this release does not do",
        hint: "it will be an [input.<name>] of type gotify; keep the values",
    },
    Retired {
        names: &["NTFY_ENABLED", "NTFY_TOPIC", "NTFY_SERVER_URL"],
        reason: "set up ntfy, which this release does not use",
        hint: "it will be an [input.<name>] and an [output.<name>] of type ntfy; keep the values",
    },
    Retired {
        names: &["ENABLED_NOTIFIERS"],
        reason: "listed the notifiers, which this release does not have",
        hint: "each will be a table [output.<name>], which is on when it is there",
    },
    Retired {
        names: &["DISCORD_OUT_ENABLED", "DISCORD_OUT_WEBHOOK_URL"],
        reason: "set up sending to Discord, which this release does not do",
        hint: "it will be an [output.<name>] of type discord; keep the URL",
    },
    Retired {
        names: &["GOTIFY_OUT_ENABLED", "GOTIFY_OUT_SERVER_URL", "GOTIFY_OUT_APP_TOKEN"],
        reason: "set up sending to Gotify, which this release does not do",
        hint: "it will be an [output.<name>] of type gotify; keep the values",
    },
    Retired {
        names: &[
            "NOTIFY_EMAIL_ENABLED",
            "NOTIFY_EMAIL_SERVER",
            "NOTIFY_EMAIL_PORT",
            "NOTIFY_EMAIL_FROM",
            "NOTIFY_EMAIL_TO",
            "NOTIFY_EMAIL_PASSWORD",
        ],
        reason: "set up sending mail, which this release does not do",
        hint: "it will be an [output.<name>] of type email; keep the values",
    },
];
