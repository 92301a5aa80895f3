//! Real services for tests: started on loopback, on a free port, with data that goes with them.
//!
//! Each leaves its URL in `.services/<name>.url`, which is where tests look (`testkit::services`).

use anyhow::Result;
use clap::ValueEnum;

mod debian;
mod dovecot;
pub(crate) mod issuer;
mod postgres;

/// A service that tests use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// PostgreSQL, for the store.
    Postgres,
    /// An OAuth issuer, for authentication over HTTP.
    Issuer,
    /// Dovecot, for the mailbox reader.
    Dovecot,
}

/// Starts the services, all of them where none is named.
pub(crate) fn start(services: &[Service]) -> Result<()> {
    for service in chosen(services) {
        match service {
            Service::Postgres => postgres::start()?,
            Service::Issuer => issuer::start()?,
            Service::Dovecot => dovecot::start()?,
        }
    }
    Ok(())
}

/// Stops the services, all of them where none is named.
pub(crate) fn stop(services: &[Service]) -> Result<()> {
    for service in chosen(services) {
        match service {
            Service::Postgres => postgres::stop()?,
            Service::Issuer => issuer::stop()?,
            Service::Dovecot => dovecot::stop()?,
        }
    }
    Ok(())
}

/// Says which services run.
pub(crate) fn status(services: &[Service]) -> Result<()> {
    for service in chosen(services) {
        match service {
            Service::Postgres => postgres::status()?,
            Service::Issuer => issuer::status(),
            Service::Dovecot => dovecot::status(),
        }
    }
    Ok(())
}

fn chosen(services: &[Service]) -> &[Service] {
    if services.is_empty() { Service::value_variants() } else { services }
}
