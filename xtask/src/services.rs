//! Real services for tests: started on loopback, on a free port, with data that goes with them.
//!
//! Each leaves its URL in `.services/<name>.url`, which is where tests look (`testkit::services`). What a test has to
//! start with settings of its own leaves where its programs are in `.services/<name>.programs`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

mod debian;
mod dovecot;
pub(crate) mod issuer;
mod ntfy;
pub(crate) mod postgres;
mod unpacked;

use self::unpacked::{POSTFIX, RSYSLOG};
use crate::workspace::output;

/// A service that tests use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// PostgreSQL, for the store.
    Postgres,
    /// An OAuth issuer, for authentication over HTTP.
    Issuer,
    /// Dovecot, for the mailbox reader.
    Dovecot,
    /// The programs of rsyslog, which tests start with settings of their own.
    Rsyslog,
    /// The programs of Postfix, which tests start with settings of their own.
    Postfix,
    /// An ntfy server, for the input and the output.
    Ntfy,
}

/// Brings `strace` where the machine has none.
pub(crate) fn install_strace() -> Result<()> {
    if output(Command::new("strace").arg("-V")).is_ok() {
        Ok(())
    } else {
        debian::install("strace")
    }
}

/// The root that rsyslog is unpacked in, with the folders of its libraries; it is fetched where it is missing.
pub(crate) fn rsyslog() -> Result<(PathBuf, String)> {
    let root = RSYSLOG.fetch()?;
    let libraries = unpacked::libraries(&root)?;
    Ok((root, libraries))
}

/// Starts the services, all of them where none is named.
pub(crate) fn start(services: &[Service]) -> Result<()> {
    for service in chosen(services) {
        match service {
            Service::Postgres => postgres::start()?,
            Service::Issuer => issuer::start()?,
            Service::Dovecot => dovecot::start()?,
            Service::Rsyslog => RSYSLOG.start()?,
            Service::Postfix => POSTFIX.start()?,
            Service::Ntfy => ntfy::start()?,
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
            Service::Rsyslog => RSYSLOG.stop(),
            Service::Postfix => POSTFIX.stop(),
            Service::Ntfy => ntfy::stop()?,
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
            Service::Rsyslog => RSYSLOG.status(),
            Service::Postfix => POSTFIX.status(),
            Service::Ntfy => ntfy::status(),
        }
    }
    Ok(())
}

fn chosen(services: &[Service]) -> &[Service] {
    if services.is_empty() { Service::value_variants() } else { services }
}
