//! Waiting for a state without sleeping for a guess.

use std::time::Duration;

/// What one look at the thing waited for found.
#[derive(Debug)]
pub enum Progress<T> {
    /// It is so.
    Ready(T),
    /// Not so yet; the text says what was seen and is printed when time runs out.
    Pending(String),
    /// It will never be so.
    Failed(String),
}

/// Looks until the thing is ready, and panics when it fails or the deadline passes.
///
/// `look` reads a level ("the guest is running"), never an edge ("the guest has just started"),
/// so that a slow machine misses nothing. Under a paused tokio clock the pauses between looks
/// advance the clock.
///
/// # Panics
///
/// When `look` says `Failed`, or when `deadline` passes; both name `what` and what was last seen.
pub async fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Progress<T>,
) -> T {
    let mut pause = Duration::from_millis(2);
    let mut last_seen = String::from("nothing yet");
    let waited = tokio::time::timeout(deadline, async {
        loop {
            match look().await {
                Progress::Ready(value) => return value,
                Progress::Pending(seen) => last_seen = seen,
                Progress::Failed(reason) => panic!("waited for {what}: {reason}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    })
    .await;
    waited.unwrap_or_else(|_| panic!("waited {deadline:?} for {what}; last seen: {last_seen}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn returns_when_ready() {
        let mut looks = 0;
        let value = wait_for("three looks", Duration::from_secs(5), async || {
            looks += 1;
            if looks == 3 { Progress::Ready(looks) } else { Progress::Pending(looks.to_string()) }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "for a miracle; last seen: water")]
    async fn the_deadline_tells_what_was_seen() {
        wait_for("a miracle", Duration::from_secs(5), async || {
            Progress::<()>::Pending("water".to_owned())
        })
        .await;
    }
}
