//! The heartbeat against a service that counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use outputs::heartbeat::{Config, Heartbeat};
use testkit::{Progress, contract::sink::Traits, wait_for};
use tokio_util::sync::CancellationToken;

use crate::fake::{Call, Fake, Reply, Rules, kit};

#[derive(Default)]
struct Counter;

impl Rules for Counter {
    fn answer(&mut self, _: &Call) -> Reply {
        Reply::text(200, "OK")
    }

    fn shown(&self) -> Vec<String> {
        Vec::new()
    }

    fn refuse(&self, _: &Call) -> Reply {
        Reply::text(404, "(not found)")
    }

    fn traits(&self) -> Traits {
        Traits::default()
    }
}

#[tokio::test]
async fn it_calls_while_all_is_well_and_says_once_when_it_is_not() {
    let fake = Fake::start(Counter).await;
    let mut config = Config::new(fake.url("/ping/s3cret").into());
    config.fail_url = Some(fake.url("/ping/s3cret/fail").into());
    config.every = Duration::from_secs(10);
    let heartbeat = Heartbeat::try_new("alive".parse().unwrap(), &config, &kit()).unwrap();
    let said = heartbeat.check().await.unwrap();
    assert!(said.contains("takes connections") && !said.contains("s3cret"), "{said}");
    assert_eq!(fake.calls().len(), 0, "a check says nothing about health");

    let is_well = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let stop = CancellationToken::new();
    let (well, asking) = (Arc::clone(&is_well), Arc::clone(&asked));
    let healthy = move || {
        asking.fetch_add(1, SeqCst);
        if well.load(SeqCst) { Ok(()) } else { Err("an input is mute".to_owned()) }
    };
    let task = tokio::spawn(heartbeat.run(healthy, stop.clone()));
    let paths = || fake.calls().iter().map(|call| call.path.clone()).collect::<Vec<_>>();
    let beat = async |number: usize, calls: usize, then_well: bool| {
        wait_for("the heartbeat to ask and call", Duration::from_mins(1), async || {
            match (asked.load(SeqCst), paths()) {
                (asked, paths) if asked == number && paths.len() == calls => Progress::Ready(()),
                seen => Progress::Pending(format!("{seen:?}")),
            }
        })
        .await;
        // The next one is due at once.
        is_well.store(then_well, SeqCst);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::time::resume();
    };
    beat(1, 1, false).await;
    beat(2, 2, false).await;
    beat(3, 2, false).await;
    beat(4, 2, true).await;
    beat(5, 3, true).await;
    assert_eq!(paths()[..3], ["/ping/s3cret", "/ping/s3cret/fail", "/ping/s3cret"]);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let mut config = Config::new("ftp://x".into());
    assert!(Heartbeat::try_new("alive".parse().unwrap(), &config, &kit()).is_err());
    config = Config::new("https://example.org/ping".into());
    config.every = Duration::from_secs(1);
    let error = Heartbeat::try_new("alive".parse().unwrap(), &config, &kit()).unwrap_err();
    assert!(error.to_string().contains("at least 10"), "{error}");
}
