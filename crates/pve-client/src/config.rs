//! The settings table `[pve.<key>]`.

use std::ops::Deref;

use api_core::endpoint::{self, Checked, ConfigError, EndpointConfig, EndpointOptions, ReadFile};
use serde::Deserialize;

/// The port that an address without one means.
pub const DEFAULT_PORT: u16 = 8006;

/// One table, unchecked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Config(pub EndpointConfig);

/// How to reach one Proxmox VE: checked, with every secret at hand.
#[derive(Clone, Debug)]
pub struct ConnectOptions(EndpointOptions);

// === impl Config ===

impl Config {
    /// Every key that the table can have.
    pub const KEYS: &[&str] = EndpointConfig::KEYS;

    /// Checks the table `[pve.<key>]` and reads the files that it names through `files`
    /// ([`endpoint::Disk`] outside tests).
    ///
    /// # Errors
    ///
    /// The first value that cannot be used, with its full key and a hint.
    pub fn validate(
        &self,
        key: &str,
        files: &dyn ReadFile,
    ) -> Result<Checked<ConnectOptions>, ConfigError> {
        let Checked { value, warnings } = self.0.check("pve", DEFAULT_PORT, key, files)?;
        Ok(endpoint::Checked { value: ConnectOptions(value), warnings })
    }
}

// === impl ConnectOptions ===

impl ConnectOptions {
    /// The same, for one of the addresses only: for checks that ask each in turn.
    #[must_use]
    pub fn only(&self, target: &endpoint::Target) -> Self {
        Self(self.0.only(target))
    }

    /// The same, with another credential.
    #[must_use]
    pub fn with_credential(&self, credential: endpoint::Credential) -> Self {
        let mut options = self.0.clone();
        options.credential = credential;
        options.operate = None;
        Self(options)
    }
}

impl Deref for ConnectOptions {
    type Target = EndpointOptions;

    fn deref(&self) -> &EndpointOptions {
        &self.0
    }
}
