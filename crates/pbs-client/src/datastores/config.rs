//! A datastore's settings.

use api_core::{params, reply};
use estate::DatastoreName;

reply! {
    /// A datastore as it is configured.
    pub struct DatastoreConfig {
        pub name: DatastoreName,
        pub path: String,
        pub comment: Option<String>,
        pub gc_schedule: Option<String> = "gc-schedule",
        pub gc_on_unmount: Option<bool> = "gc-on-unmount",
        /// Until 2.4; prune jobs since.
        pub prune_schedule: Option<String> = "prune-schedule",
        pub keep_last: Option<u32> = "keep-last",
        pub keep_hourly: Option<u32> = "keep-hourly",
        pub keep_daily: Option<u32> = "keep-daily",
        pub keep_weekly: Option<u32> = "keep-weekly",
        pub keep_monthly: Option<u32> = "keep-monthly",
        pub keep_yearly: Option<u32> = "keep-yearly",
        pub verify_new: Option<bool> = "verify-new",
        pub maintenance_mode: Option<String> = "maintenance-mode",
        pub notification_mode: Option<String> = "notification-mode",
        pub notification_thresholds: Option<String> = "notification-thresholds",
        pub notify: Option<String>,
        pub notify_user: Option<String> = "notify-user",
        pub tuning: Option<String>,
        pub backend: Option<String>,
        pub backing_device: Option<String> = "backing-device",
        pub counter_reset_schedule: Option<String> = "counter-reset-schedule",
    }
}

params! {
    /// A change of a datastore's settings.
    pub struct DatastoreParams {
        pub comment: Option<String>,
        pub gc_schedule: Option<String> = "gc-schedule",
        pub verify_new: Option<bool> = "verify-new",
        pub maintenance_mode: Option<String> = "maintenance-mode",
        pub notification_mode: Option<String> = "notification-mode",
        pub tuning: Option<String>,
        /// Settings to take away.
        pub delete: Vec<String>,
        pub digest: Option<String>,
    }
}
