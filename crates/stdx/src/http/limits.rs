//! Rate limits, as the answers of a service announce them (`X-RateLimit-…`, `Retry-After`).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{
    Method,
    header::{HeaderMap, RETRY_AFTER},
};
use tokio::time::{Instant, sleep};

/// What is waited out here; whoever asks has better things to do than to wait longer.
const SHORT: Duration = Duration::from_secs(5);
/// The longest pause that a service can ask for.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// When there is room again, for each place and method, and for everything.
///
/// A service such as Discord counts for each place (a webhook, a channel) by itself, and announces in each answer what is
/// left. One place and method never share a bucket with another place, so this is never bolder than is allowed.
#[derive(Debug, Default)]
pub struct Buckets {
    closed: Mutex<HashMap<(String, Method), Instant>>,
    all: Mutex<Option<Instant>>,
}

// === impl Buckets ===

impl Buckets {
    /// Waits for room, if that is a short wait.
    ///
    /// # Errors
    /// How long the wait would be.
    pub async fn room(&self, place: &str, method: &Method) -> Result<(), Duration> {
        let pause = self.pause(place, method, Instant::now());
        if pause > SHORT {
            return Err(pause);
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
        Ok(())
    }

    fn pause(&self, place: &str, method: &Method, now: Instant) -> Duration {
        let until = lock(&self.closed).get(&(place.to_owned(), method.clone())).copied();
        let all = *lock(&self.all);
        let until = until.into_iter().chain(all).max();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Learns from an answer: its status, its headers, and its body, which is JSON where it says something.
    pub fn heard(
        &self,
        place: &str,
        method: &Method,
        status: u16,
        headers: &HeaderMap,
        body: &str,
    ) {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let seconds = |name| header(name).and_then(|text| text.parse().ok()).and_then(pause);
        let mut closed_for = None;
        if header("x-ratelimit-remaining") == Some("0") {
            closed_for = seconds("x-ratelimit-reset-after");
        }
        if status == 429 {
            closed_for = retry_after_429(headers, body, Timestamp::UNIX_EPOCH);
            let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            let is_global = body["global"] == true || header("x-ratelimit-global") == Some("true");
            if let (true, Some(pause)) = (is_global, closed_for) {
                *lock(&self.all) = Some(Instant::now() + pause);
            }
        }
        let mut closed = lock(&self.closed);
        let key = (place.to_owned(), method.clone());
        match closed_for {
            Some(pause) => closed.insert(key, Instant::now() + pause),
            None => closed.remove(&key),
        };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a 429 wants its service to be left alone: by its body, which is exact, or else by its headers.
pub fn retry_after_429(headers: &HeaderMap, body: &str, now: Timestamp) -> Option<Duration> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    body["retry_after"].as_f64().and_then(pause).or_else(|| retry_after(headers, now))
}

/// How long a service wants to be left alone: seconds, or a date.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match value.parse::<f64>() {
        Ok(seconds) => return pause(seconds),
        Err(_) => jiff::fmt::rfc2822::parse(value).ok()?.timestamp().duration_since(now),
    };
    Some(Duration::try_from(pause).unwrap_or_default().min(LONGEST_PAUSE))
}

/// A pause in seconds, as a service names it.
pub fn pause(seconds: f64) -> Option<Duration> {
    let longest = LONGEST_PAUSE.as_secs_f64();
    if seconds.is_nan() { None } else { Some(Duration::from_secs_f64(seconds.clamp(0.0, longest))) }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    /// What was heard of this place.
    fn hear(
        buckets: &Buckets,
        (place, method): (&str, &Method),
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        buckets.heard(place, method, status, &headers.collect(), body);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_bucket_is_waited_for_and_others_are_not() {
        let buckets = Buckets::default();
        let (post, patch) = (Method::POST, Method::PATCH);
        let empty = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "1.5")];
        hear(&buckets, ("ops", &post), 200, &empty, "");
        let before = Instant::now();
        assert_eq!(buckets.room("ops", &patch).await, Ok(()));
        assert_eq!(buckets.room("", &post).await, Ok(()));
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(buckets.room("ops", &post).await, Ok(()));
        assert_eq!(before.elapsed(), Duration::from_millis(1500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_given_back_and_a_global_one_holds_for_all() {
        let buckets = Buckets::default();
        let post = Method::POST;
        hear(&buckets, ("ops", &post), 429, &[], r#"{"retry_after":64.57,"global":false}"#);
        assert_eq!(buckets.room("ops", &post).await, Err(Duration::from_millis(64_570)));
        assert_eq!(buckets.room("", &post).await, Ok(()));
        hear(&buckets, ("ops", &post), 429, &[("retry-after", "65")], r#"{"global":true}"#);
        assert_eq!(buckets.room("", &post).await, Err(Duration::from_secs(65)));
        sleep(Duration::from_secs(65)).await;
        assert_eq!(buckets.room("", &post).await, Ok(()));
        hear(&buckets, ("ops", &post), 200, &[("x-ratelimit-remaining", "4")], "");
        assert_eq!(buckets.room("ops", &post).await, Ok(()));
    }

    #[test]
    fn pauses_are_seconds_or_dates_and_bounded() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let read = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]), now)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(read("Sun, 22 Nov 2026 12:01:00 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(read("Sun, 22 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("1e99"), Some(LONGEST_PAUSE));
        assert_eq!(read("-5"), Some(Duration::ZERO));
        assert_eq!(read("NaN"), None);
        assert_eq!(read("soon"), None);
    }
}
