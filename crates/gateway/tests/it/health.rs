//! Probes: without credentials, and without a word too many.

use std::sync::atomic::Ordering;

use gateway::Options;

use crate::client::{ask, get};
use crate::support::{start, tokens, wait};

#[tokio::test]
async fn probes_learn_a_status_and_no_more() {
    let (authenticator, _, _folder) = tokens(&[("ci", "read")]);
    let running = start(Options::default(), authenticator).await;
    running.toy.ready.store(false, Ordering::Relaxed);
    let mut seen = Vec::new();
    for ready in [false, true] {
        running.toy.ready.store(ready, Ordering::Relaxed);
        for path in ["/livez", "/readyz", "/healthz"] {
            // Whatever name a probe uses: it may be an address that no operator listed.
            let answer = get(path).header("host", "10.1.2.3:8808").send(running.address).await;
            seen.push((path, answer.status, answer.body));
        }
    }
    assert_eq!(
        seen,
        [
            ("/livez", 200, "ok\n".to_owned()),
            ("/readyz", 503, "starting\n".to_owned()),
            ("/healthz", 503, "starting\n".to_owned()),
            ("/livez", 200, "ok\n".to_owned()),
            ("/readyz", 200, "ok\n".to_owned()),
            ("/healthz", 200, "ok\n".to_owned()),
        ]
    );
    assert_eq!(ask("HEAD", "/livez").send(running.address).await.status, 200);
    assert_eq!(ask("DELETE", "/livez").send(running.address).await.status, 405);
}

#[tokio::test]
async fn who_waits_lives_and_serves_nothing() {
    let (authenticator, _, _folder) = tokens(&[("ci", "read")]);
    let running = wait(Options::default(), authenticator).await;
    for (path, status, body) in [
        ("/livez", 200, "ok\n"),
        ("/readyz", 503, "waiting\n"),
        ("/healthz", 503, "waiting\n"),
        ("/metrics", 503, "waiting\n"),
        ("/hooks/pve/notify", 503, "waiting\n"),
    ] {
        let answer = get(path).send(running.address).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
    }
    let answer = ask("POST", "/hooks/pve/notify").send(running.address).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
}
