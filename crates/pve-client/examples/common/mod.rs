//! What the examples share: a client made of the command line.

use std::error::Error;

use api_core::endpoint::{Disk, EndpointConfig, OneOrMany};
use pve_client::{Client, Config};

/// How every example's command line begins.
pub(crate) const USAGE: &str = "ADDRESS TOKEN_ID TOKEN_FILE FINGERPRINT
  ADDRESS      https://host:8006
  TOKEN_ID     user@realm!name
  TOKEN_FILE   a file with the token's secret, readable by you only
  FINGERPRINT  SHA-256 of the certificate, AB:CD:…, or - to go by the system's roots";

/// A client for Proxmox VE, and the arguments that are left.
pub(crate) fn connect() -> Result<(Client, Vec<String>), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or(USAGE);
    let (address, token_id, token_file, fingerprint) = (next()?, next()?, next()?, next()?);
    let config = Config(EndpointConfig {
        endpoints: vec![address],
        token_id: Some(token_id),
        token_file: Some(token_file.into()),
        fingerprint: (fingerprint != "-").then(|| OneOrMany(vec![fingerprint])),
        ..EndpointConfig::default()
    });
    let options = config.validate("example", &Disk)?.value;
    Ok((Client::connect(&options)?, arguments.collect()))
}
