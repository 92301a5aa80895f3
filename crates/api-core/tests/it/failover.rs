//! Several endpoints as one: order, retries, limits, deadlines, health.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use api_core::{
    ApiClient, Endpoint, Error, ErrorKind, Failover, FailoverOptions, Request, Sent,
    TransportError, TransportErrorKind as Kind, path,
};
use stdx::{Chain, ManualClock};
use tokio::{sync::Notify, time};

use crate::fake::{Fake, answer, classify, fails};

fn join(fakes: &[&Fake], options: FailoverOptions) -> (ApiClient, Failover) {
    let endpoints = fakes
        .iter()
        .enumerate()
        .map(|(at, fake)| Endpoint { name: format!("https://n{at}"), transport: fake.shared() });
    let clock = Arc::new(ManualClock::at(jiff::Timestamp::UNIX_EPOCH));
    let failover = Failover::new(endpoints.collect(), options, clock);
    (ApiClient::new(Arc::new(failover.clone()), classify), failover)
}

fn good() -> Fake {
    Fake::now(|_| answer(200, r#"{"data":"yes"}"#))
}

fn refuses() -> Fake {
    Fake::now(|_| fails(Kind::Connect, Sent::No))
}

fn read() -> Request<String> {
    Request::get(path!["x"]).on(&"pve1".parse().expect("a node's name"))
}

async fn kind(client: &ApiClient, request: Request<String>) -> Result<String, ErrorKind> {
    client.call(request).await.map_err(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_is_passed_over_and_the_one_that_answered_stays() {
    let (dead, alive) = (refuses(), good());
    let (client, failover) = join(&[&dead, &alive], FailoverOptions::default());
    for _ in 0..3 {
        assert_eq!(kind(&client, read()).await.as_deref(), Ok("yes"));
    }
    assert_eq!((dead.lines().len(), alive.lines().len()), (1, 3));
    let health = failover.health();
    assert_eq!(health.preferred, "https://n1");
    assert!(health.endpoints[0].down_since.is_some() && health.endpoints[1].down_since.is_none());
    assert_eq!(health.endpoints[0].why, "connect (fake)");
    assert!(!health.all_down());
}

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_is_probed_with_growing_pauses_and_found_again() {
    let up = Arc::new(AtomicBool::new(false));
    let lever = Arc::clone(&up);
    let flaky = Fake::now(move |_| {
        if lever.load(SeqCst) { answer(200, "{}") } else { fails(Kind::Connect, Sent::No) }
    });
    let mut options = FailoverOptions::default();
    options.probe_path = "/probe";
    let (client, failover) = join(&[&flaky, &good()], options);
    // A request a second for two minutes: pauses grow from one second to thirty.
    for _ in 0..120 {
        kind(&client, read()).await.expect("the other one answers");
        time::sleep(Duration::from_secs(1)).await;
    }
    let probes = flaky.lines().iter().filter(|line| *line == "GET /probe").count();
    assert!((6..=14).contains(&probes), "{probes} probes");
    up.store(true, SeqCst);
    for _ in 0..40 {
        kind(&client, read()).await.expect("the other one answers");
        time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(failover.health().endpoints[0].down_since, None);
    // Being back is no reason to move: both are the same cluster.
    assert_eq!(failover.health().preferred, "https://n1");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_harmless_is_sent_twice() {
    let write = || Request::<String>::post(path!["x"]);
    for (kind_of, sent, request, sends, result) in [
        (Kind::Connect, Sent::No, write(), (1, 1), Ok("yes")),
        (Kind::Timeout, Sent::Maybe, write(), (1, 0), Err(ErrorKind::Timeout)),
        (Kind::Closed, Sent::Maybe, write(), (1, 0), Err(ErrorKind::Unreachable)),
        (Kind::Closed, Sent::Maybe, write().idempotent(), (2, 1), Ok("yes")),
        (Kind::Timeout, Sent::Maybe, read(), (1, 1), Ok("yes")),
        (Kind::Closed, Sent::Maybe, read(), (2, 1), Ok("yes")),
        (Kind::Tls, Sent::No, write(), (1, 1), Ok("yes")),
    ] {
        let bad = Fake::now(move |_| fails(kind_of, sent));
        let other = good();
        let (client, _) = join(&[&bad, &other], FailoverOptions::default());
        let got = kind(&client, request).await;
        assert_eq!((bad.lines().len(), other.lines().len()), sends, "{kind_of:?}");
        assert_eq!(got.as_deref().map_err(|kind| *kind), result, "{kind_of:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_connection_costs_one_try_and_no_reputation() {
    let count = AtomicUsize::new(0);
    let stale = Fake::now(move |_| match count.fetch_add(1, SeqCst) {
        0 => fails(Kind::Closed, Sent::Maybe),
        _ => answer(200, r#"{"data":"yes"}"#),
    });
    let (client, failover) = join(&[&stale], FailoverOptions::default());
    assert_eq!(kind(&client, read()).await.as_deref(), Ok("yes"));
    assert_eq!(failover.health().endpoints[0].down_since, None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_is_asked_for_everywhere_once_and_then_taken_as_lost() {
    let lost = || Fake::now(|_| answer(595, ""));
    let (first, second) = (lost(), lost());
    let (client, failover) = join(&[&first, &second], FailoverOptions::default());
    assert_eq!(kind(&client, read()).await, Err(ErrorKind::NodeUnreachable));
    assert_eq!((first.lines().len(), second.lines().len()), (1, 1));
    assert_eq!(kind(&client, read()).await, Err(ErrorKind::NodeUnreachable));
    assert_eq!((first.lines().len(), second.lines().len()), (2, 1));
    time::sleep(Duration::from_secs(20)).await;
    assert_eq!(kind(&client, read()).await, Err(ErrorKind::NodeUnreachable));
    assert_eq!((first.lines().len(), second.lines().len()), (3, 2));
    // The endpoints themselves live.
    assert!(failover.health().endpoints.iter().all(|endpoint| endpoint.down_since.is_none()));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_cut_off_from_its_cluster_is_left_for_another() {
    let (cut_off, other) = (Fake::now(|_| answer(596, "")), good());
    let (client, failover) = join(&[&cut_off, &other], FailoverOptions::default());
    assert_eq!(kind(&client, read()).await.as_deref(), Ok("yes"));
    assert_eq!(failover.health().preferred, "https://n1");
    // A write may have begun behind a 596.
    let (client, _) = join(&[&cut_off, &other], FailoverOptions::default());
    let error = client.call(Request::<String>::post(path!["x"])).await.expect_err("a 596");
    assert!(error.may_have_run() && error.kind() == ErrorKind::NodeUnreachable);
}

#[tokio::test(start_paused = true)]
async fn when_none_answers_the_error_tells_all_and_the_worst_first() {
    let wrong = Fake::now(|_| Err(TransportError::new(Kind::Tls, Sent::No, "https://n1")));
    let (client, failover) = join(&[&refuses(), &wrong], FailoverOptions::default());
    let error: Error = client.call(read()).await.expect_err("none answers");
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(!error.may_have_run());
    let told = Chain(&error).to_string();
    assert_eq!(
        told,
        "GET /x: agree on TLS: no endpoint answered; connect (fake): agree on TLS (https://n1)"
    );
    assert!(failover.health().all_down());
    // All are down, and all are asked all the same.
    assert_eq!(kind(&client, read()).await, Err(ErrorKind::Tls));
    assert_eq!(wrong.lines().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_whatever_hangs() {
    let hangs = || Fake::new(|_| std::future::pending());
    let (first, second) = (hangs(), hangs());
    let (client, _) = join(&[&first, &second], FailoverOptions::default());
    let begun = time::Instant::now();
    let error = client.call(read()).await.expect_err("it hangs");
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, Duration::from_mins(1)));
    assert!(error.may_have_run());
    let begun = time::Instant::now();
    let short = read().deadline(Duration::from_secs(3));
    assert_eq!(kind(&client, short).await, Err(ErrorKind::Timeout));
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_not_asked_first_for_ever() {
    let hangs = Fake::new(|_| std::future::pending());
    let (client, failover) = join(&[&hangs, &good()], FailoverOptions::default());
    // The caller loses patience long before the request's own time is up.
    let cut = time::timeout(Duration::from_secs(8), client.call(read())).await;
    assert!(cut.is_err());
    assert_eq!(kind(&client, read()).await.as_deref(), Ok("yes"));
    assert_eq!((hangs.lines().len(), failover.health().preferred.as_str()), (1, "https://n1"));
    assert_eq!(failover.health().endpoints[0].down_since, None);
}

#[tokio::test(start_paused = true)]
async fn at_most_three_privileged_calls_work_on_a_node_and_eight_go_to_an_endpoint() {
    let (gate, most, now) =
        (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let busy = {
        let (gate, most, now) = (Arc::clone(&gate), Arc::clone(&most), Arc::clone(&now));
        Fake::new(move |_| {
            let (gate, most, now) = (Arc::clone(&gate), Arc::clone(&most), Arc::clone(&now));
            async move {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                gate.notified().await;
                now.fetch_sub(1, SeqCst);
                answer(200, r#"{"data":"yes"}"#)
            }
        })
    };
    let (client, _) = join(&[&busy], FailoverOptions::default());
    let call = |request: Request<String>| {
        let client = client.clone();
        tokio::spawn(async move { client.call(request).await })
    };
    let on =
        |node: &str| Request::get(path!["x"]).on(&node.parse().expect("a node's name")).protected();
    let mut calls: Vec<_> = (0..6).map(|_| call(on("pve1"))).collect();
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(now.load(SeqCst), 3, "three for one node");
    calls.extend((0..2).map(|_| call(on("pve2"))));
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(now.load(SeqCst), 5, "another node has its own");
    calls.extend((0..9).map(|_| call(read())));
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(now.load(SeqCst), 8, "eight for the endpoint");
    // Who waited too long has certainly not been sent.
    let late =
        client.call(on("pve1").deadline(Duration::from_secs(2))).await.expect_err("no place");
    assert!(late.kind() == ErrorKind::Timeout && !late.may_have_run());

    let mut done = 0;
    for call in calls {
        while !call.is_finished() {
            gate.notify_waiters();
            time::sleep(Duration::from_millis(1)).await;
        }
        done += usize::from(call.await.expect("no panic").is_ok());
    }
    assert_eq!((done, most.load(SeqCst)), (17, 8));
}
