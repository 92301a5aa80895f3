//! HTTPS, and certificates that change while it runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::{Certificate, Listen, Options, Reload, TlsFiles};
use rustls_pki_types::ServerName;
use stdx::tls::{TlsOptions, TlsPolicy};
use tokio::net::TcpStream;

use crate::client::get;
use crate::support::{open, start_at};

fn files(folder: &Path) -> TlsFiles {
    TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") }
}

/// Writes a new pair and returns its certificate.
fn renew(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = files(folder);
    std::fs::write(files.key, made.signing_key.serialize_pem()).unwrap();
    std::fs::write(files.certificate, made.cert.pem()).unwrap();
    made.cert.pem()
}

/// Whether a client that trusts this certificate and no other gets an answer.
async fn is_served(address: std::net::SocketAddr, pem: &str) -> bool {
    let options = TlsOptions { policy: TlsPolicy::CaPem(pem.into()), server_name: None };
    let config = stdx::tls::client_config(&options).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let Ok(stream) = tokio_rustls::TlsConnector::from(config).connect(name, stream).await else {
        return false;
    };
    get("/livez").send_over(stream).await.status == 200
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = renew(folder.path());
    let mut options = Options::default();
    options.reload_every = Duration::from_millis(5);
    let place =
        Listen::Tcp { address: "127.0.0.1:0".parse().unwrap(), tls: Some(files(folder.path())) };
    let running = start_at(options, open(), &[place]).await.unwrap();
    assert!(running.places[0].to_string().starts_with("https://127.0.0.1:"));
    assert!(is_served(running.address, &first).await);

    let second = renew(folder.path());
    testkit::wait_for("the new certificate to be served", Duration::from_secs(10), async || {
        if is_served(running.address, &second).await {
            testkit::Progress::Ready(())
        } else {
            testkit::Progress::Pending("still the old one".to_owned())
        }
    })
    .await;
    assert!(!is_served(running.address, &first).await);

    // A client that speaks no TLS gets nothing, and takes nothing from others.
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, &get("/livez").bytes()).await.unwrap();
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut rest).await.ok();
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP"), "{rest:?}");
    assert!(is_served(running.address, &second).await);
}

#[test]
fn each_way_in_which_files_change() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let missing = Certificate::load(files.clone()).unwrap_err();
    assert!(missing.to_string().starts_with("read "), "{missing}");
    renew(folder.path());
    let certificate: Arc<Certificate> = Certificate::load(files.clone()).unwrap();
    let look = || format!("{:?}", certificate.reload());
    assert_eq!(look(), "Unchanged");
    // Written again as it was: nothing to say.
    let text = std::fs::read(&files.certificate).unwrap();
    std::fs::write(&files.certificate, text).unwrap();
    assert_eq!(look(), "Unchanged");
    // A key that does not belong to the certificate, as between the two writes of a renewal.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
    let kept = certificate.reload();
    assert!(
        matches!(&kept, Reload::Kept(error) if error.to_string().starts_with("use the certificate")),
        "{kept:?}"
    );
    assert_eq!(look(), "Unchanged", "a complaint is made once");
    std::fs::write(&files.certificate, other.cert.pem()).unwrap();
    assert_eq!(look(), "Replaced");
    std::fs::write(&files.certificate, "rubbish").unwrap();
    assert!(matches!(certificate.reload(), Reload::Kept(_)));
    std::fs::remove_file(&files.certificate).unwrap();
    assert!(matches!(certificate.reload(), Reload::Kept(_)));
    std::fs::write(&files.certificate, other.cert.pem()).unwrap();
    assert_eq!(look(), "Unchanged", "the same certificate as before the trouble");
}
