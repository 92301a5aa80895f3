//! Services that tests pretend to be, and what an output is made with to tell them.

use std::sync::Arc;

use outputs::Kit;
use stdx::{
    ManualClock,
    http::{HttpOptions, client},
};
pub(crate) use testkit::fake::{Call, Fake, Reply, Rules, moods};

/// A kit for tests: no TLS roots are read, and the clock stands still.
pub(crate) fn kit() -> Kit {
    let tls = stdx::tls::TlsOptions { policy: stdx::tls::TlsPolicy::Insecure, server_name: None };
    let client = client(&HttpOptions::with_tls(tls)).unwrap();
    let clock = ManualClock::at("2026-11-22T01:00:31Z".parse().unwrap());
    Kit::new(client, Arc::new(clock), "home")
}
