//! What is said of certificates.

use api_core::endpoint::Target;
use stdx::tls::TlsOptions;

use super::*;
use crate::finding::Status;

const NOW: &str = "2026-03-01T12:00:00Z";

#[expect(clippy::needless_pass_by_value, reason = "reads better with the policy given by value")]
fn judged(policy: TlsPolicy, ends: &str, trust: &Trust, several: bool) -> Finding {
    let target = |port| Target {
        url: format!("https://10.0.0.1:{port}"),
        host: "10.0.0.1".to_owned(),
        port,
        tls: TlsOptions { policy: policy.clone(), server_name: None },
    };
    let all = if several { vec![target(8006), target(9006)] } else { vec![target(8006)] };
    let place = Place {
        subject: "lab https://10.0.0.1:8006".to_owned(),
        product: Product::Pve,
        key: "lab",
        target: &all[0],
        all: &all,
    };
    let shown = Shown {
        fingerprint: Fingerprint::of(b"shown"),
        names: vec!["alder.lan".to_owned(), "alder".to_owned()],
        not_after: ends.parse().unwrap(),
        self_signed: false,
    };
    judge(&place, Some(&shown), trust, NOW.parse().unwrap())
}

fn pins() -> TlsPolicy {
    TlsPolicy::Pins(vec![Fingerprint::of(b"expected")])
}

#[test]
fn the_end_of_a_certificate_is_seen_coming() {
    for (ends, status) in [
        ("2027-03-01T12:00:00Z", Status::Pass),
        ("2026-03-16T12:00:01Z", Status::Pass),
        ("2026-03-15T11:59:59Z", Status::Warn),
        ("2026-02-01T12:00:00Z", Status::Warn),
    ] {
        let finding = judged(pins(), ends, &Trust::Held, false);
        assert_eq!(finding.status, status, "{ends}: {}", finding.detail);
    }
    let insecure = judged(TlsPolicy::Insecure, "2027-03-01T12:00:00Z", &Trust::Held, false);
    assert_eq!(insecure.status, Status::Warn);
    assert!(insecure.hints.iter().any(|hint| hint.contains("fingerprint = \"")));
}

#[test]
fn a_certificate_that_is_not_believed_says_what_to_compare_and_paste() {
    let seen = Fingerprint::of(b"shown");
    let far = "2027-03-01T12:00:00Z";
    let because = |why: Option<&str>| Trust::Rejected { seen, why: why.map(str::to_owned) };
    let cases = [
        judged(pins(), far, &because(None), false),
        judged(pins(), far, &because(None), true),
        judged(
            TlsPolicy::System,
            far,
            &because(Some("invalid peer certificate: UnknownIssuer")),
            false,
        ),
        judged(
            TlsPolicy::CaPem(Vec::new()),
            far,
            &because(Some("invalid peer certificate: certificate not valid for name \"10.0.0.1\"")),
            false,
        ),
        judged(
            TlsPolicy::CaPem(Vec::new()),
            "2026-02-01T12:00:00Z",
            &because(Some("invalid peer certificate: certificate expired")),
            false,
        ),
    ];
    let mut out = String::new();
    for finding in cases {
        assert_eq!(finding.status, Status::Fail);
        out.push_str(&finding.detail);
        out.push('\n');
        for hint in finding.hints {
            out.push_str("  - ");
            out.push_str(&hint);
            out.push('\n');
        }
    }
    expect_test::expect![[r#"
        another certificate than the pinned one: BA:AF:53:62:2A:51:D9:75:23:5F:27:62:87:BD:C1:B6:4A:A4:64:0C:77:14:2C:BC:A0:76:87:7D:9E:AC:68:15
          - on the server's own shell `pvenode cert info` must print BA:AF:53:62:2A:51:D9:75…
          - if it does, in [pve.lab]: fingerprint = "BA:AF:53:62:2A:51:D9:75:23:5F:27:62:87:BD:C1:B6:4A:A4:64:0C:77:14:2C:BC:A0:76:87:7D:9E:AC:68:15"
          - if it differs there too, somebody stands between: send no credential this way
        another certificate than the pinned one: BA:AF:53:62:2A:51:D9:75:23:5F:27:62:87:BD:C1:B6:4A:A4:64:0C:77:14:2C:BC:A0:76:87:7D:9E:AC:68:15
          - on the server's own shell `pvenode cert info` must print BA:AF:53:62:2A:51:D9:75…
          - if it does, in [pve.lab]: fingerprints = { "10.0.0.1:8006" = "BA:AF:53:62:2A:51:D9:75:23:5F:27:62:87:BD:C1:B6:4A:A4:64:0C:77:14:2C:BC:A0:76:87:7D:9E:AC:68:15", … }
          - if it differs there too, somebody stands between: send no credential this way
        the certificate is signed by an authority of its own, as is usual for Proxmox VE (invalid peer certificate: UnknownIssuer)
          - copy /etc/pve/pve-root-ca.pem from a node of this cluster and name the copy as ca_file in [pve.lab]
          - or pin the certificate: on the server's own shell `pvenode cert info` must print BA:AF:53:62:2A:51:D9:75…
          - if it does, in [pve.lab]: fingerprint = "BA:AF:53:62:2A:51:D9:75:23:5F:27:62:87:BD:C1:B6:4A:A4:64:0C:77:14:2C:BC:A0:76:87:7D:9E:AC:68:15"
        the certificate does not name 10.0.0.1; it names: alder.lan, alder
          - use one of these names in endpoints, or add server_name = "alder.lan" to [pve.lab]
        the certificate ended on 2026-02-01
          - on the server: `pvecm updatecerts --force && systemctl restart pveproxy`
          - if that date lies ahead, the clock of this machine is wrong
    "#]].assert_eq(&out);
}
