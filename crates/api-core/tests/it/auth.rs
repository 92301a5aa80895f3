//! Tokens and tickets: what is sent, when a login happens, and what never leaks.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use api_core::{
    ApiClient, ErrorKind, Request, Sent, TransportErrorKind as Kind,
    auth::{Password, TicketAuth, TokenAuth, TotpSecret},
    path,
};
use http::header;
use serde_json::Value;
use stdx::{Chain, ManualClock};
use tokio::time;

use crate::fake::{Fake, Seen, answer, classify, fails};

const PASSWORD: &str = "planted-password";

fn password(totp: Option<&str>) -> Password {
    let totp = totp.map(|secret| TotpSecret::try_new(&secret.into()).expect("a valid secret"));
    Password { username: "bob@pve".into(), password: PASSWORD.into(), totp }
}

fn login(transport: &Fake, who: Password) -> (ApiClient, Arc<TicketAuth>) {
    let clock = Arc::new(ManualClock::at(jiff::Timestamp::from_second(59).expect("a time")));
    let auth = Arc::new(TicketAuth::new(transport.shared(), who, "Cookie", clock));
    (ApiClient::new(Arc::clone(&auth) as _, classify), auth)
}

fn ticket(number: usize) -> String {
    format!(
        r#"{{"data":{{"ticket":"T:{number}+/=","CSRFPreventionToken":"csrf-{number}","username":"bob@pve"}}}}"#
    )
}

/// Answers logins with numbered tickets, and everything else while `valid` is the ticket sent.
struct Server {
    fake: Fake,
    logins: Arc<AtomicUsize>,
    valid: Arc<Mutex<String>>,
}

impl Server {
    fn new() -> Self {
        let (logins, valid) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
        let (count, current) = (Arc::clone(&logins), Arc::clone(&valid));
        let fake = Fake::new(move |seen: Seen| {
            let (count, current) = (Arc::clone(&count), Arc::clone(&current));
            async move {
                // As slow as a network, so that callers meet.
                time::sleep(Duration::from_millis(10)).await;
                if seen.line.ends_with("/access/ticket") {
                    let number = count.fetch_add(1, SeqCst) + 1;
                    *current.lock().expect("no panic") = format!("Cookie=T%3A{number}%2B%2F%3D");
                    return answer(200, &ticket(number));
                }
                let sent = seen.headers.get(header::COOKIE).and_then(|value| value.to_str().ok());
                let good = sent == Some(current.lock().expect("no panic").as_str());
                if good { answer(200, r#"{"data":"yes"}"#) } else { answer(401, "No ticket") }
            }
        });
        Self { fake, logins, valid }
    }

    fn expire(&self) {
        self.valid.lock().expect("no panic").clear();
    }

    fn logins(&self) -> usize {
        self.logins.load(SeqCst)
    }
}

fn read() -> Request<Value> {
    Request::get(path!["x"])
}

#[tokio::test(start_paused = true)]
async fn a_token_goes_with_every_request_and_shows_nowhere() {
    let fake = Fake::now(|_| fails(Kind::Connect, Sent::No));
    let auth = TokenAuth::new(fake.shared(), &"Scheme=bob@pve!x=planted-secret".into())
        .expect("a valid header");
    let shown = format!("{auth:?} {:?}", auth.header());
    let error =
        ApiClient::new(Arc::new(auth), classify).call(read()).await.expect_err("no connection");
    let headers = &fake.seen()[0].headers;
    assert_eq!(headers[header::AUTHORIZATION], "Scheme=bob@pve!x=planted-secret");
    assert!(headers[header::AUTHORIZATION].is_sensitive());
    for text in [shown, format!("{error:?} {}", Chain(&error)), format!("{headers:?}")] {
        assert!(!text.contains("planted"), "{text}");
    }
    assert!(TokenAuth::new(fake.shared(), &"two\nlines".into()).is_err());
}

#[tokio::test(start_paused = true)]
async fn one_login_serves_all_who_wait_and_writes_carry_the_csrf_token() {
    let server = Server::new();
    let (client, auth) = login(&server.fake, password(None));
    let calls = (0..20).map(|_| client.call(read()));
    for result in futures::future::join_all(calls).await {
        assert_eq!(result.expect("logged in"), "yes");
    }
    assert_eq!(server.logins(), 1);
    client.call(Request::<Value>::post(path!["x"]).param("a", 1)).await.expect("logged in");

    let seen = server.fake.seen();
    assert_eq!(seen[0].body, format!("username=bob%40pve&password={PASSWORD}"));
    let (first, last) = (&seen[1], &seen[seen.len() - 1]);
    assert!(first.headers.get("csrfpreventiontoken").is_none());
    assert_eq!(last.headers["csrfpreventiontoken"], "csrf-1");
    assert!(
        last.headers["csrfpreventiontoken"].is_sensitive()
            && last.headers[header::COOKIE].is_sensitive()
    );
    assert_eq!(format!("{auth:?} {:?}", password(None)).matches("planted").count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_renewed_by_itself_before_it_ends() {
    let server = Server::new();
    let (client, _) = login(&server.fake, password(None));
    client.call(read()).await.expect("logged in");
    time::sleep(Duration::from_mins(80)).await;
    client.call(read()).await.expect("still logged in");
    assert_eq!(server.logins(), 1);
    time::sleep(Duration::from_mins(15)).await;
    client.call(read()).await.expect("renewed");
    assert_eq!(server.logins(), 2);
    // Without the password: the ticket itself is enough.
    let renewal =
        server.fake.seen().into_iter().rfind(|seen| seen.line.starts_with("POST")).expect("one");
    assert_eq!(renewal.body, "username=bob%40pve&password=T%3A1%2B%2F%3D");
    // After a long silence only the password helps.
    time::sleep(Duration::from_hours(3)).await;
    client.call(read()).await.expect("logged in anew");
    let anew =
        server.fake.seen().into_iter().rfind(|seen| seen.line.starts_with("POST")).expect("one");
    assert!(anew.body.contains(PASSWORD));
}

#[tokio::test(start_paused = true)]
async fn a_refused_ticket_leads_to_one_login_and_no_loop() {
    let server = Server::new();
    let (client, _) = login(&server.fake, password(None));
    client.call(read()).await.expect("logged in");
    server.expire();
    // A 401 says that nothing ran, so even a write is sent again.
    client.call(Request::<Value>::post(path!["x"]).param("a", 1)).await.expect("logged in anew");
    assert_eq!(server.logins(), 2);
    assert_eq!(server.fake.seen().last().expect("a request").body, "a=1");

    // What streams is sent once; the next one finds a fresh login all the same.
    for (logins, good) in [(2, false), (3, true)] {
        if !good {
            server.expire();
        }
        let body = api_core::Body::Stream(Box::pin(futures::stream::empty()), Some(0));
        let kind = http::HeaderValue::from_static("text/plain");
        let sent = client.send_body(Request::<Value>::post(path!["x"]), kind, body).await;
        assert_eq!((sent.is_ok(), server.logins()), (good, logins));
    }

    // A server that refuses whatever it is shown is asked twice, not for ever.
    let stubborn = Fake::now(|seen| {
        if seen.line.ends_with("/access/ticket") {
            answer(200, &ticket(1))
        } else {
            answer(401, "No ticket")
        }
    });
    let (client, _) = login(&stubborn, password(None));
    let error = client.call(read()).await.expect_err("refused");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unauthorized, "No ticket"));
    assert_eq!(stubborn.lines().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_told_and_not_repeated_at_once() {
    let open = Arc::new(AtomicBool::new(false));
    let lever = Arc::clone(&open);
    let fake =
        Fake::now(move |seen| match (seen.line.ends_with("/access/ticket"), lever.load(SeqCst)) {
            (true, false) => answer(401, "authentication failure"),
            (true, true) => answer(200, &ticket(1)),
            _ => answer(200, r#"{"data":"yes"}"#),
        });
    let (client, _) = login(&fake, password(None));
    for _ in 0..3 {
        let error = client.call(read()).await.expect_err("refused");
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Unauthorized, "authentication failure")
        );
        assert!(!format!("{error:?} {}", Chain(&error)).contains("planted"));
    }
    assert_eq!(fake.lines().len(), 1);
    open.store(true, SeqCst);
    time::sleep(Duration::from_secs(31)).await;
    assert_eq!(client.call(read()).await.expect("logged in"), "yes");
}

#[tokio::test(start_paused = true)]
async fn a_second_factor_is_given_where_there_is_one() {
    let challenge = r#"{"data":{"ticket":"X:!tfa!abc","CSRFPreventionToken":"x","NeedTFA":1}}"#;
    let fake = Fake::now(move |seen| {
        if !seen.line.ends_with("/access/ticket") {
            answer(200, r#"{"data":"yes"}"#)
        } else if seen.body.contains("tfa-challenge") {
            answer(200, &ticket(1))
        } else {
            answer(200, challenge)
        }
    });
    let (client, _) = login(&fake, password(Some("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")));
    client.call(read()).await.expect("logged in");
    let second = &fake.seen()[1].body;
    assert_eq!(second, "username=bob%40pve&password=totp%3A287082&tfa-challenge=X%3A%21tfa%21abc");

    let (client, _) = login(&fake, password(None));
    let error = client.call(read()).await.expect_err("no second factor");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(error.message(), "the user has a second factor, and no totp_secret is configured");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_sent_leaves_the_request_unsent() {
    let fake = Fake::now(|_| fails(Kind::Timeout, Sent::Maybe));
    let (client, _) = login(&fake, password(None));
    let error = client.call(Request::<Value>::post(path!["x"])).await.expect_err("no answer");
    assert!(!error.may_have_run(), "only the login may have arrived");
}
