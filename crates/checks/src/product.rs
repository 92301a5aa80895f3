//! What differs between the two products, and a client for either.

use std::collections::BTreeMap;

use api_core::{
    Error,
    endpoint::{Credential, EndpointOptions, Target},
};
use mcp_tools::permissions::Permissions;
use stdx::Chain;

pub(crate) use mcp_tools::needs::Product;

/// The words and commands of a product.
#[derive(Debug)]
pub(crate) struct Words {
    /// The product's name.
    pub(crate) name: &'static str,
    /// The settings section.
    pub(crate) section: &'static str,
    /// The port that it listens on by default.
    pub(crate) port: u16,
    /// The service that answers there.
    pub(crate) service: &'static str,
    /// The command that prints the certificate's fingerprint on the server.
    pub(crate) certificate: &'static str,
    /// The command that makes a new certificate.
    pub(crate) renew: &'static str,
    /// A token's id, for example.
    pub(crate) token: &'static str,
    /// The releases that are supported, oldest first: major and minor.
    pub(crate) oldest: (u32, u32),
    /// The newest major release that is known.
    pub(crate) newest: u32,
    /// The supported releases in words.
    pub(crate) supported: &'static str,
}

static PVE: Words = Words {
    name: "Proxmox VE",
    section: "pve",
    port: 8006,
    service: "pveproxy",
    certificate: "pvenode cert info",
    renew: "pvecm updatecerts --force && systemctl restart pveproxy",
    token: "mcp@pve!agent",
    oldest: (8, 4),
    newest: 9,
    supported: "8.4 and 9",
};

static PBS: Words = Words {
    name: "Proxmox Backup Server",
    section: "pbs",
    port: 8007,
    service: "proxmox-backup-proxy",
    certificate: "proxmox-backup-manager cert info",
    renew: "proxmox-backup-manager cert update --force && systemctl reload proxmox-backup-proxy",
    token: "mcp@pbs!agent",
    oldest: (3, 4),
    newest: 4,
    supported: "3.4 and 4",
};

/// The words of `product`.
pub(crate) fn words(product: Product) -> &'static Words {
    match product {
        Product::Pve => &PVE,
        Product::Pbs => &PBS,
    }
}

/// One settings table.
#[derive(Clone, Debug)]
pub(crate) enum Table {
    Pve(pve_client::ConnectOptions),
    Pbs(pbs_client::ConnectOptions),
}

/// A client of either product.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    Pve(pve_client::Client),
    Pbs(pbs_client::Client),
}

/// What `/version` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// In the server's words.
    pub(crate) text: String,
    /// Major and minor number.
    pub(crate) numbers: (u32, u32),
}

// === impl Table ===

impl Table {
    pub(crate) fn product(&self) -> Product {
        match self {
            Self::Pve(_) => Product::Pve,
            Self::Pbs(_) => Product::Pbs,
        }
    }

    pub(crate) fn options(&self) -> &EndpointOptions {
        match self {
            Self::Pve(options) => options,
            Self::Pbs(options) => options,
        }
    }

    pub(crate) fn key(&self) -> &str {
        self.options().key.as_str()
    }

    /// The same, for one of its addresses and for reads only.
    pub(crate) fn only(&self, target: &Target) -> Self {
        match self {
            Self::Pve(options) => Self::Pve(options.only(target)),
            Self::Pbs(options) => Self::Pbs(options.only(target)),
        }
    }

    /// The same, with another credential.
    pub(crate) fn with_credential(&self, credential: Credential) -> Self {
        match self {
            Self::Pve(options) => Self::Pve(options.with_credential(credential)),
            Self::Pbs(options) => Self::Pbs(options.with_credential(credential)),
        }
    }

    /// A client with the reading credential; nothing is sent yet.
    pub(crate) fn client(&self) -> Result<Client, String> {
        Ok(match self {
            Self::Pve(options) => Client::Pve(
                pve_client::Client::connect(options)
                    .map_err(|error| Chain(&error).to_string())?
                    .read_only(),
            ),
            Self::Pbs(options) => Client::Pbs(
                pbs_client::Client::connect(options)
                    .map_err(|error| Chain(&error).to_string())?
                    .read_only(),
            ),
        })
    }
}

// === impl Client ===

impl Client {
    pub(crate) async fn release(&self) -> Result<Release, Error> {
        Ok(match self {
            Self::Pve(client) => {
                let version = client.call(pve_client::version::get()).await?;
                Release { numbers: version.numbers(), text: version.version }
            }
            Self::Pbs(client) => {
                let version = client.call(pbs_client::version::get()).await?;
                let text = match version.release.as_str() {
                    "" => version.version.clone(),
                    release => format!("{}.{release}", version.version),
                };
                Release { numbers: version.numbers(), text }
            }
        })
    }

    pub(crate) async fn permissions(&self) -> Result<Permissions, Error> {
        Ok(match self {
            Self::Pve(client) => {
                let found = client.call(pve_client::access::permissions(None, None)).await?;
                let paths = found.into_iter().map(|(path, privileges)| {
                    let privileges = privileges.into_iter().map(|(name, below)| (name, below.0));
                    (path, privileges.collect::<BTreeMap<_, _>>())
                });
                Permissions::from(paths.collect::<BTreeMap<_, _>>())
            }
            Self::Pbs(client) => {
                Permissions::from(client.call(pbs_client::access::permissions(None, None)).await?)
            }
        })
    }
}
