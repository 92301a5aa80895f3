//! The certificate verifier: roots, pins, or anything; signatures always.

use std::{error::Error as StdError, fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::Fingerprint;

/// A certificate was not believed. Found inside other errors by [`rejection`].
#[derive(Clone, Debug)]
pub struct CertificateRejected {
    seen: Fingerprint,
    expected: Vec<Fingerprint>,
    cause: Option<rustls::Error>,
}

#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust {
    Roots { webpki: Arc<WebPkiServerVerifier>, name: Option<ServerName<'static>> },
    Pins(Vec<Fingerprint>),
    Anything,
}

// === impl CertificateRejected ===

impl CertificateRejected {
    /// The fingerprint of the certificate that the server showed.
    pub fn seen(&self) -> Fingerprint {
        self.seen
    }

    /// The fingerprints that were allowed; empty unless the policy was to pin.
    pub fn expected(&self) -> &[Fingerprint] {
        &self.expected
    }

    /// What rustls found wrong, for policies that look at roots and names.
    pub fn cause(&self) -> Option<&rustls::Error> {
        self.cause.as_ref()
    }
}

impl fmt::Display for CertificateRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            None => write!(f, "another certificate than the pinned one: {}", self.seen),
            Some(_) => write!(f, "certificate {}", self.seen),
        }
    }
}

impl StdError for CertificateRejected {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// The rejected certificate in this error's chain, if that is what it was about.
///
/// Neither `std::io::Error` nor `rustls::Error` shows what it wraps as its source, hence the
/// detours.
pub fn rejection<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CertificateRejected> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<CertificateRejected>() {
            return Some(found);
        }
        let wrapped: Option<&'a (dyn StdError + 'static)> =
            match error.downcast_ref::<std::io::Error>() {
                Some(io) => io.get_ref().map(|inner| inner as _),
                None => match error.downcast_ref::<rustls::Error>() {
                    Some(rustls::Error::InvalidCertificate(CertificateError::Other(
                        OtherError(inner),
                    ))) => Some(&**inner),
                    _ => None,
                },
            };
        next = wrapped.or_else(|| error.source());
    }
    None
}

/// The fingerprint of the certificate that was not believed, if this error is about one.
pub fn seen_fingerprint(error: &(dyn StdError + 'static)) -> Option<Fingerprint> {
    rejection(error).map(CertificateRejected::seen)
}

// === impl Verifier ===

impl Verifier {
    pub(super) fn roots(
        webpki: Arc<WebPkiServerVerifier>,
        name: Option<ServerName<'static>>,
    ) -> Self {
        let algorithms = super::provider().signature_verification_algorithms;
        Self { trust: Trust::Roots { webpki, name }, algorithms }
    }

    pub(super) fn pins(pins: Vec<Fingerprint>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust: Trust::Pins(pins), algorithms }
    }

    pub(super) fn anything(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust: Trust::Anything, algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let rejected = |expected: &[Fingerprint], cause| {
            let seen = Fingerprint::of(end_entity);
            let rejected = CertificateRejected { seen, expected: expected.to_vec(), cause };
            let other = OtherError(Arc::new(rejected));
            rustls::Error::InvalidCertificate(CertificateError::Other(other))
        };
        match &self.trust {
            Trust::Anything => Ok(ServerCertVerified::assertion()),
            Trust::Pins(pins) if pins.contains(&Fingerprint::of(end_entity)) => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::Pins(pins) => Err(rejected(pins, None)),
            Trust::Roots { webpki, name } => {
                let name = name.as_ref().unwrap_or(server_name);
                webpki
                    .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
                    .map_err(|cause| rejected(&[], Some(cause)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
