//! The simulator as a whole: targets, listeners, and the settings that point at them.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::call::Books;
use crate::config::SimConfig;
use crate::error::SimError;
use crate::estate;
use crate::levers::{Inner, Levers};
use crate::server::{self, Gate, Port, World};
use crate::state::access::Access;
use crate::state::{Estate, Home};
use crate::tls::{Authority, Slot, server_config};

/// A running simulator. Dropping it stops all listeners and connections.
pub struct Sim {
    targets: Vec<SimTarget>,
    levers: Levers,
    tasks: Vec<JoinHandle<()>>,
}

/// Which product a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Proxmox VE.
    Pve,
    /// Proxmox Backup Server.
    Pbs,
}

/// One settings table's worth of servers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SimTarget {
    /// The settings key: `lab`, `edge`, `vault`.
    pub key: String,
    /// The product.
    pub product: Product,
    /// Its nodes; a backup server has one.
    pub nodes: Vec<SimNode>,
    /// The authority that signed the nodes' certificates.
    pub ca_pem: String,
    /// Its API tokens.
    pub tokens: Vec<SimToken>,
    /// An administrator's name and password.
    pub admin: (String, String),
    /// A user with a second factor (PVE only): name, password, TOTP secret in base32.
    pub totp: Option<(String, String, String)>,
}

/// One node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SimNode {
    /// Its name in the API.
    pub name: String,
    /// Its address, `https://127.0.0.1:PORT`.
    pub url: String,
    /// SHA-256 of its certificate at the start, `AB:CD:…`.
    pub fingerprint: String,
}

/// One API token.
#[derive(Clone)]
#[non_exhaustive]
pub struct SimToken {
    /// `user@realm!name`
    pub id: String,
    /// Its secret, worth nothing outside this process.
    pub secret: String,
    /// What it may do, in a phrase.
    pub privileges: &'static str,
}

// === impl Sim ===

impl Sim {
    /// Builds the estate and starts listening.
    ///
    /// # Errors
    /// A certificate could not be made, or a port could not be bound.
    pub async fn start(config: SimConfig) -> Result<Self, SimError> {
        let mut estate = estate::build(&config, crate::clock::now_ms() + config.ahead_ms);
        estate.ahead = config.ahead_ms;
        let books = Books::new(config.pve_release)?;
        let mut authorities = Vec::new();
        let mut targets = Vec::new();
        let mut bound = Vec::new();
        let homes: Vec<Home> = (0..estate.clusters.len())
            .map(Home::Pve)
            .chain((0..estate.vaults.len()).map(Home::Pbs))
            .collect();
        for home in homes {
            let (key, names) = names(&estate, home);
            let authority = Authority::new(&key)?;
            let mut nodes = Vec::new();
            for (at, name) in names.into_iter().enumerate() {
                let listener = server::bind(SocketAddr::new(config.listen, 0)).await?;
                let address = listener.local_addr().map_err(|source| SimError::Listen {
                    address: config.listen.to_string(),
                    source,
                })?;
                let issued = authority.issue(&name, &config.listen.to_string())?;
                let slot = Slot::new(&issued);
                let node = SimNode {
                    name,
                    url: format!("https://{address}"),
                    fingerprint: issued.fingerprint.clone(),
                };
                match home {
                    Home::Pve(cluster) => {
                        let state = &mut estate.clusters[cluster].nodes[at];
                        (state.fingerprint, state.pem) = (issued.fingerprint, issued.pem);
                    }
                    Home::Pbs(vault) => {
                        estate::point_at(&mut estate.clusters, address, &issued.fingerprint);
                        let state = &mut estate.vaults[vault];
                        (state.fingerprint, state.pem) = (issued.fingerprint, issued.pem);
                    }
                }
                nodes.push(node);
                bound.push((home, at, address, listener, slot));
            }
            if let Home::Pve(at) = home {
                estate.clusters[at].ca = (authority.fingerprint(), authority.pem());
            }
            targets.push(target(&estate, home, nodes, authority.pem()));
            authorities.push((key, authority));
        }
        let world = World::new(estate, books, config.auth_delay);
        let mut ports = Vec::new();
        let mut tasks = Vec::new();
        for (home, node, address, listener, slot) in bound {
            let (gate, watcher) = watch::channel(Gate::default());
            let tls = server_config(Arc::clone(&slot))?;
            let run = server::listen(Arc::clone(&world), home, node, listener, tls, watcher);
            tasks.push(tokio::spawn(run));
            ports.push(Port { home, node, address, slot, gate });
        }
        let levers = Levers::new(Inner { world, ports, authorities });
        Ok(Self { targets, levers, tasks })
    }

    /// One target per settings table.
    pub fn targets(&self) -> &[SimTarget] {
        &self.targets
    }

    /// The target with this key.
    ///
    /// # Panics
    /// If there is none; the keys of an estate are fixed.
    pub fn target(&self, key: &str) -> &SimTarget {
        let found = self.targets.iter().find(|target| target.key == key);
        found.unwrap_or_else(|| panic!("the estate has no target {key:?}"))
    }

    /// The paths that a target answers to GET, with their parameters as names.
    ///
    /// # Panics
    /// If there is no such target; the keys of an estate are fixed.
    pub fn readable(&self, target: &str) -> Vec<String> {
        let books = &self.levers.inner().world.books;
        let book = match self.target(target).product {
            Product::Pve => &books.pve,
            Product::Pbs => &books.pbs,
        };
        let gets = book.table.methods.iter().filter(|method| method.verb == "GET");
        gets.map(|method| method.path.clone()).collect()
    }

    /// A handle on the levers.
    pub fn levers(&self) -> Levers {
        self.levers.clone()
    }

    /// Writes token and authority files into `dir` and returns settings that point at the simulator.
    ///
    /// # Errors
    /// A file could not be written.
    pub fn settings_toml(&self, dir: &Path) -> io::Result<String> {
        std::fs::create_dir_all(dir)?;
        let mut out = String::new();
        for target in &self.targets {
            let product = match target.product {
                Product::Pve => "pve",
                Product::Pbs => "pbs",
            };
            let ca = dir.join(format!("{}-ca.pem", target.key));
            std::fs::write(&ca, &target.ca_pem)?;
            let file = dir.join(format!("{}.token", target.key));
            let Some(token) = target.tokens.first() else { continue };
            write_secret(&file, &token.secret)?;
            // What may change things is a token of its own, as an operator with an eye on safety sets it up.
            let operator = target.token("operator");
            let operate = dir.join(format!("{}-operate.token", target.key));
            write_secret(&operate, &operator.secret)?;
            let urls: Vec<String> = target.nodes.iter().map(|node| quote(&node.url)).collect();
            let _ = writeln!(out, "[{product}.{}]", target.key);
            let _ = writeln!(out, "endpoints = [{}]", urls.join(", "));
            let _ = writeln!(out, "token_id = {}", quote(&token.id));
            let _ = writeln!(out, "token_file = {}", quote(&file.to_string_lossy()));
            let _ = writeln!(out, "operate_token_id = {}", quote(&operator.id));
            let _ = writeln!(out, "operate_token_file = {}", quote(&operate.to_string_lossy()));
            let _ = writeln!(out, "ca_file = {}\n", quote(&ca.to_string_lossy()));
        }
        Ok(out)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        for port in &self.levers.inner().ports {
            port.gate.send_modify(|gate| gate.stopped = true);
        }
        for task in &self.tasks {
            task.abort();
        }
    }
}

// === impl SimTarget ===

impl SimTarget {
    /// The token with this short name: `agent`, `readonly`, `nothing` or `operator`.
    ///
    /// # Panics
    /// If there is none; every target has these four.
    pub fn token(&self, name: &str) -> &SimToken {
        let suffix = format!("!{name}");
        let found = self.tokens.iter().find(|token| token.id.ends_with(&suffix));
        found.unwrap_or_else(|| panic!("target {:?} has no token {name:?}", self.key))
    }
}

// === impl SimToken ===

impl std::fmt::Debug for SimToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SimToken")
            .field("id", &self.id)
            .field("privileges", &self.privileges)
            .finish_non_exhaustive()
    }
}

fn names(estate: &Estate, home: Home) -> (String, Vec<String>) {
    match home {
        Home::Pve(at) => {
            let cluster = &estate.clusters[at];
            (cluster.key.clone(), cluster.nodes.iter().map(|node| node.name.clone()).collect())
        }
        Home::Pbs(at) => (estate.vaults[at].key.clone(), vec![estate.vaults[at].node.clone()]),
    }
}

fn target(estate: &Estate, home: Home, nodes: Vec<SimNode>, ca_pem: String) -> SimTarget {
    let (key, _) = names(estate, home);
    let (access, product) = match home {
        Home::Pve(at) => (&estate.clusters[at].access, Product::Pve),
        Home::Pbs(at) => (&estate.vaults[at].access, Product::Pbs),
    };
    let totp = (product == Product::Pve)
        .then(|| ("totp@pve".to_owned(), "totp-pass".to_owned(), estate::TOTP_BASE32.to_owned()));
    SimTarget {
        key,
        product,
        nodes,
        ca_pem,
        tokens: tokens(access),
        admin: ("root@pam".to_owned(), "sim-admin".to_owned()),
        totp,
    }
}

fn tokens(access: &Access) -> Vec<SimToken> {
    let mut tokens = Vec::new();
    for (name, privileges) in [
        ("agent", "reads everything; power, snapshots, backups and the guest agent"),
        ("readonly", "audit only"),
        ("nothing", "no privileges"),
        ("operator", "everything that a token may do"),
    ] {
        for (user, account) in &access.users {
            if let Some(token) = account.tokens.get(name) {
                let id = format!("{user}!{name}");
                tokens.push(SimToken { id, secret: token.secret.clone(), privileges });
            }
        }
    }
    tokens
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)?.write_all(text.as_bytes())
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
