//! Traffic control: how fast which networks may read and write.

use api_core::{Request, de::Done, params, path, reply};

reply! {
    /// A rule.
    pub struct TrafficRule {
        pub name: String,
        /// In CIDR notation.
        pub networks: Vec<String> = "network",
        /// Such as `10 MB`, per second.
        pub rate_in: Option<String> = "rate-in",
        pub rate_out: Option<String> = "rate-out",
        pub burst_in: Option<String> = "burst-in",
        pub burst_out: Option<String> = "burst-out",
        /// When it holds, such as `mon..fri 8:00-19:00`; always without.
        pub timeframes: Vec<Timeframe> = "timeframe",
        pub users: Vec<String>,
        pub comment: Option<String>,
        /// Only from [`current`]: bytes per second just now.
        pub current_in_bytes_per_sec: Option<u64> = "cur-rate-in",
        pub current_out_bytes_per_sec: Option<u64> = "cur-rate-out",
    }
}

/// A span of hours and weekdays as it is written: it holds blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeframe(pub String);

impl<'de> api_core::de::Lenient<'de> for Timeframe {
    fn read<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Ok(String::read(deserializer)?.map(Self))
    }
}

params! {
    /// A rule to make or to change.
    pub struct TrafficRuleParams {
        pub networks: Vec<String> = "network",
        pub rate_in: Option<String> = "rate-in",
        pub rate_out: Option<String> = "rate-out",
        pub burst_in: Option<String> = "burst-in",
        pub burst_out: Option<String> = "burst-out",
        pub timeframes: Vec<String> = "timeframe",
        pub comment: Option<String>,
    }
}

/// `GET /admin/traffic-control`: with what flows just now. Needs `Sys.Audit` on `/`.
pub fn current() -> Request<Vec<TrafficRule>> {
    Request::get(path!["admin", "traffic-control"])
}

/// `GET /config/traffic-control`. Needs `Sys.Modify` on `/`, although it only reads.
pub fn list() -> Request<Vec<TrafficRule>> {
    Request::get(path!["config", "traffic-control"])
}

/// `GET /config/traffic-control/{name}`. Needs `Sys.Audit` on `/`.
pub fn get(name: &str) -> Request<TrafficRule> {
    Request::get(path!["config", "traffic-control", name])
}

/// `POST /config/traffic-control`. Needs `Sys.Modify` on `/`.
pub fn create(name: &str, options: TrafficRuleParams) -> Request<Done> {
    Request::post(path!["config", "traffic-control"]).param("name", name).params(options.into())
}

/// `PUT /config/traffic-control/{name}`. Needs `Sys.Modify` on `/`.
pub fn update(name: &str, options: TrafficRuleParams) -> Request<Done> {
    Request::put(path!["config", "traffic-control", name]).params(options.into())
}

/// `DELETE /config/traffic-control/{name}`. Needs `Sys.Modify` on `/`.
pub fn delete(name: &str) -> Request<Done> {
    Request::delete(path!["config", "traffic-control", name])
}
