//! Which certificates each policy believes, and what is told of those that it does not.

use std::time::Duration;

use stdx::{
    Chain,
    http::{HttpOptions, client},
    tls::{
        Fingerprint, TlsError, TlsOptions, TlsPolicy, peer_certificate, rejection, seen_fingerprint,
    },
};

use crate::server::{Authority, Server};

const SOON: Duration = Duration::from_secs(20);

#[expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
async fn get(
    server: &Server,
    policy: TlsPolicy,
    server_name: Option<&str>,
) -> Result<String, reqwest::Error> {
    let tls = TlsOptions { policy, server_name: server_name.map(str::to_owned) };
    let client = client(&HttpOptions::with_tls(tls)).unwrap();
    client.get(format!("https://{}/", server.address)).send().await?.text().await
}

#[tokio::test]
async fn a_pinned_certificate_is_believed_and_another_is_told() {
    let authority = Authority::new("root");
    let leaf = authority.leaf(&["elsewhere.test"]);
    let (right, wrong) = (leaf.fingerprint(), Fingerprint::of(b"another"));
    let server = Server::start(leaf).await;

    assert_eq!(get(&server, TlsPolicy::Pins(vec![right]), None).await.unwrap(), "ok");
    // Rotation: the next certificate's pin stands beside the present one's.
    assert_eq!(get(&server, TlsPolicy::Pins(vec![wrong, right]), None).await.unwrap(), "ok");

    let error = get(&server, TlsPolicy::Pins(vec![wrong]), None).await.unwrap_err();
    assert_eq!(seen_fingerprint(&error), Some(right));
    assert_eq!(rejection(&error).unwrap().expected(), [wrong]);
    assert!(error.is_connect());
    assert!(Chain(&error).to_string().contains(&right.to_string()), "{}", Chain(&error));
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused_under_every_policy() {
    let authority = Authority::new("root");
    let leaf = authority.leaf(&["127.0.0.1"]);
    let pin = leaf.fingerprint();
    let server = Server::start(leaf.stolen()).await;
    for policy in
        [TlsPolicy::Pins(vec![pin]), TlsPolicy::Insecure, TlsPolicy::CaPem(authority.pem())]
    {
        let error = get(&server, policy.clone(), None).await.unwrap_err();
        assert!(
            Chain(&error).to_string().contains("BadSignature"),
            "{policy:?}: {}",
            Chain(&error)
        );
    }
    let address = server.address;
    let error = peer_certificate("127.0.0.1", address.port(), SOON).await.unwrap_err();
    assert!(matches!(error, TlsError::Handshake { .. }), "{error:?}");
}

#[tokio::test]
async fn an_own_root_is_believed_for_the_names_it_signed() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let leaf = ours.leaf(&["node.test"]);
    let seen = leaf.fingerprint();
    let server = Server::start(leaf).await;
    let ca = |authority: &Authority| TlsPolicy::CaPem(authority.pem());
    let both = TlsPolicy::CaPem([other.pem(), ours.pem()].concat());

    // The address is not in the certificate, so it must be said which name is.
    assert_eq!(get(&server, ca(&ours), Some("node.test")).await.unwrap(), "ok");
    assert_eq!(get(&server, both, Some("node.test")).await.unwrap(), "ok");
    assert_eq!(get(&server, TlsPolicy::Insecure, None).await.unwrap(), "ok");
    for (policy, name, why) in [
        (ca(&ours), None, "not valid for name"),
        (ca(&ours), Some("other.test"), "not valid for name"),
        (ca(&other), Some("node.test"), "UnknownIssuer"),
    ] {
        let error = get(&server, policy, name).await.unwrap_err();
        assert_eq!(seen_fingerprint(&error), Some(seen));
        let told = Chain(rejection(&error).unwrap()).to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test]
async fn a_shown_certificate_can_be_looked_at() {
    let authority = Authority::new("the root");
    let leaf = authority.leaf(&["node.test", "127.0.0.1"]);
    let fingerprint = leaf.fingerprint();
    let server = Server::start(leaf).await;
    let shown = peer_certificate("127.0.0.1", server.address.port(), SOON).await.unwrap();
    assert_eq!(shown.fingerprint, fingerprint);
    assert_eq!(shown.names, ["node.test", "127.0.0.1"]);
    assert!(shown.issuer.contains("the root"), "{shown:?}");
    assert!(!shown.self_signed && shown.not_before < shown.not_after);

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = peer_certificate("127.0.0.1", closed.port(), SOON).await.unwrap_err();
    assert!(matches!(error, TlsError::Connect { .. }), "{error:?}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let make = |policy, name: Option<&str>| {
        let tls = TlsOptions { policy, server_name: name.map(str::to_owned) };
        stdx::tls::client_config(&tls).err().map(|error| error.to_string())
    };
    let pem = TlsPolicy::CaPem;
    assert_eq!(
        make(TlsPolicy::Pins(vec![]), None).unwrap(),
        "pin a certificate without any fingerprint"
    );
    assert_eq!(make(pem(b"nothing".into()), None).unwrap(), "find a certificate in the CA file");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(make(pem(broken.into()), None).unwrap(), "use the CA certificate");
    assert_eq!(make(TlsPolicy::Insecure, Some("a b")).unwrap(), "use \"a b\" as a server name");
}
