//! Both sources under the contract of `EventSource`.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use inputs::{
    Identity,
    recognize::webhook::Format,
    syslog::{Config, Listen, Syslog},
    webhook::{self, Hook, Webhook},
};
use testkit::contract::source::{Reporter, Told, source};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
    sync::watch,
};

/// How a line is sent.
#[derive(Clone, Copy)]
enum Way {
    Udp,
    Lines,
    Counted,
}

struct Sender {
    way: Way,
    addresses: watch::Receiver<Vec<SocketAddr>>,
}

pub(crate) async fn first(addresses: &mut watch::Receiver<Vec<SocketAddr>>) -> SocketAddr {
    let known = addresses.wait_for(|addresses| !addresses.is_empty()).await.unwrap();
    known[0]
}

#[async_trait]
impl Reporter for Sender {
    async fn report(&self, text: &str) -> Told {
        let to = first(&mut self.addresses.clone()).await;
        let line = format!("<30>Nov 22 17:55:05 alder prog[1]: {text}");
        match self.way {
            Way::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.send_to(line.as_bytes(), to).await.unwrap();
            }
            Way::Lines | Way::Counted => {
                let mut stream = TcpStream::connect(to).await.unwrap();
                let framed = match self.way {
                    Way::Counted => format!("{} {line}", line.len()),
                    _ => format!("{line}\n"),
                };
                stream.write_all(framed.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
        Told::Nothing
    }

    fn is_answered(&self) -> bool {
        false
    }
}

async fn syslog(listen: &str, way: Way) {
    let listen: Listen = listen.parse().unwrap();
    let input = Syslog::try_new("syslog".parse().unwrap(), Config::new(vec![listen])).unwrap();
    let addresses = input.addresses();
    source(Arc::new(input), Arc::new(Sender { way, addresses })).await;
}

#[tokio::test]
async fn syslog_over_udp() {
    syslog("udp://127.0.0.1:0", Way::Udp).await;
}

#[tokio::test]
async fn syslog_over_tcp_in_lines() {
    syslog("tcp://127.0.0.1:0", Way::Lines).await;
}

#[tokio::test]
async fn syslog_over_tcp_by_length() {
    syslog("tcp://127.0.0.1:0", Way::Counted).await;
}

pub(crate) const SECRET: &str = "a-secret-of-these-tests";

pub(crate) fn hook(format: Format) -> Arc<Webhook> {
    let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    let hook = Hook { secret: SECRET.into(), identity, format };
    let config = webhook::Config::new(BTreeMap::from([("lab".to_owned(), hook)]));
    Arc::new(Webhook::try_new("hook".parse().unwrap(), config).unwrap())
}

struct Poster(Arc<Webhook>);

#[async_trait]
impl Reporter for Poster {
    async fn report(&self, text: &str) -> Told {
        loop {
            let request = Request::post("/hooks/hook/lab")
                .header("authorization", format!("Bearer {SECRET}"))
                .body(Full::new(Bytes::from(text.to_owned())))
                .unwrap();
            let response = self.0.answer(request).await;
            let is_up = !body_says_not_running(&response);
            match response.status() {
                StatusCode::OK => return Told::Kept,
                StatusCode::SERVICE_UNAVAILABLE if is_up => return Told::Refused,
                // It does not run yet.
                StatusCode::SERVICE_UNAVAILABLE => tokio::task::yield_now().await,
                other => panic!("the answer is {other}"),
            }
        }
    }

    fn is_answered(&self) -> bool {
        true
    }
}

fn body_says_not_running(response: &http::Response<Full<Bytes>>) -> bool {
    format!("{:?}", response.body()).contains("does not run")
}

#[tokio::test]
async fn webhooks() {
    let input = hook(Format::Auto);
    source(Arc::<Webhook>::clone(&input), Arc::new(Poster(input))).await;
}
