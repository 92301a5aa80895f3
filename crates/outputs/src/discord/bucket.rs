//! Discord's rate limits, as its answers announce them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Method;
use tokio::time::{Instant, sleep};

use crate::http::{Answer, pause, retry_after};

/// What is waited out here; whoever delivers has better things to do than to wait longer.
const SHORT: Duration = Duration::from_secs(5);

/// When there is room again, for each place and method, and for everything.
///
/// Discord counts for each webhook or channel by itself, and announces in each answer what is left. One place and
/// method never share a bucket with another place, so this is never bolder than Discord allows.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    closed: Mutex<HashMap<(String, Method), Instant>>,
    all: Mutex<Option<Instant>>,
}

// === impl Buckets ===

impl Buckets {
    /// Waits for room, if that is a short wait.
    pub(super) async fn room(&self, place: &str, method: &Method) -> Result<(), Duration> {
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

    /// Learns from an answer.
    pub(super) fn heard(&self, place: &str, method: &Method, answer: &Answer) {
        let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let seconds = |name| header(name).and_then(|text| text.parse().ok()).and_then(pause);
        let mut closed_for = None;
        if header("x-ratelimit-remaining") == Some("0") {
            closed_for = seconds("x-ratelimit-reset-after");
        }
        if answer.status == 429 {
            let body = answer.json();
            let named = body["retry_after"].as_f64().and_then(pause);
            closed_for =
                named.or_else(|| retry_after(&answer.headers, jiff::Timestamp::UNIX_EPOCH));
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

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Answer { status, headers: headers.collect(), body: body.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_bucket_is_waited_for_and_others_are_not() {
        let buckets = Buckets::default();
        let (post, patch) = (Method::POST, Method::PATCH);
        let empty = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "1.5")];
        buckets.heard("ops", &post, &answer(200, &empty, ""));
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
        buckets.heard("ops", &post, &answer(429, &[], r#"{"retry_after":64.57,"global":false}"#));
        assert_eq!(buckets.room("ops", &post).await, Err(Duration::from_millis(64_570)));
        assert_eq!(buckets.room("", &post).await, Ok(()));
        buckets.heard("ops", &post, &answer(429, &[("retry-after", "65")], r#"{"global":true}"#));
        assert_eq!(buckets.room("", &post).await, Err(Duration::from_secs(65)));
        sleep(Duration::from_secs(65)).await;
        assert_eq!(buckets.room("", &post).await, Ok(()));
        buckets.heard("ops", &post, &answer(200, &[("x-ratelimit-remaining", "4")], ""));
        assert_eq!(buckets.room("ops", &post).await, Ok(()));
    }
}
