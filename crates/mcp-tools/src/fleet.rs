//! The estate as the tools see it: named clients, asked side by side.
//!
//! *Invariant:* what does not answer in time is told apart from what is empty; no caller can lose
//! the difference, because [`Gathered`] carries both.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use estate::{ClusterKey, GuestKind, NodeName, Product, VmId};
use futures::future::join_all;
use jiff::Timestamp;
use stdx::{Chain, Clock};

use crate::{
    error::ToolError, facts::Protecting, permissions::Permissions, report::Unreachable,
    tools::api::Library,
};

/// How long an answer about the whole estate waits for its slowest part.
pub const GATHER_DEADLINE: Duration = Duration::from_secs(8);

/// Where a backup server listens unless it is said otherwise.
const PBS_PORT: u16 = 8007;

/// How long the token's own permissions are taken as unchanged.
const PERMISSIONS_TTL_SECS: i64 = 60;

/// All clusters, standalone nodes and backup servers of the settings.
pub struct Fleet {
    pve: BTreeMap<ClusterKey, Arc<Pve>>,
    pbs: BTreeMap<ClusterKey, Arc<Pbs>>,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    library: Arc<Library>,
    protecting: Arc<Protecting>,
    is_part: bool,
}

/// What the settings say of an endpoint beside how to reach it.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// The operator's own labels.
    pub labels: BTreeMap<String, String>,
    /// Nodes and guest ids that are meant to be off.
    pub expected_off: Vec<String>,
    /// Where its endpoints are: host (a name or an address) and port.
    pub addresses: Vec<(String, u16)>,
    /// The user or token that changes are made as: it stands in the ids of their tasks.
    pub user: Option<String>,
    /// The accounts and tokens by which this server works there, as the server writes them.
    pub accounts: Vec<String>,
}

/// One line about a member.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The settings key.
    pub key: &'a str,
    /// `pve` or `pbs`.
    pub product: &'static str,
    /// Labels and what is expected.
    pub traits: &'a Traits,
}

/// A PVE cluster, or a standalone node.
pub struct Pve {
    /// The settings key.
    pub key: ClusterKey,
    /// The client for reads; it never holds the credential for changes.
    pub client: pve_client::Client,
    /// The client for changes.
    pub operator: pve_client::Client,
    /// Labels and what is expected.
    pub traits: Traits,
    places: Mutex<BTreeMap<VmId, Place>>,
    permissions: Cached<Permissions>,
    operator_permissions: Cached<Permissions>,
}

/// A Proxmox Backup Server.
pub struct Pbs {
    /// The settings key.
    pub key: ClusterKey,
    /// The client for reads; it never holds the credential for changes.
    pub client: pbs_client::Client,
    /// The client for changes.
    pub operator: pbs_client::Client,
    /// Labels.
    pub traits: Traits,
    permissions: Cached<Permissions>,
    operator_permissions: Cached<Permissions>,
}

/// Clusters and backup servers to ask.
pub type Members = (Vec<Arc<Pve>>, Vec<Arc<Pbs>>);

/// Where a guest was when it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its node.
    pub node: NodeName,
    /// Its kind.
    pub kind: GuestKind,
}

/// Answers from several members, and what is missing.
#[derive(Debug)]
pub struct Gathered<M, T> {
    /// Who answered, and what.
    pub answers: Vec<(Arc<M>, T)>,
    /// Who did not.
    pub unreachable: Vec<Unreachable>,
    /// Who answered, but refused: member and the server's words.
    pub refused: Vec<(ClusterKey, String)>,
}

// === impl Traits ===

impl Traits {
    /// Whether a node, or a guest by its id, is meant to be off.
    pub fn expects_off(&self, what: &str) -> bool {
        self.expected_off.iter().any(|name| name == what)
    }

    /// Whether this server works there by this account or token: that of a token's user is both.
    pub fn is_own_account(&self, who: &str) -> bool {
        let user = |own: &String| own.split_once('!').is_some_and(|(user, _)| user == who);
        self.accounts.iter().any(|own| own == who || user(own))
    }
}

// === impl Fleet ===

impl Fleet {
    /// A fleet without members.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            pve: BTreeMap::new(),
            pbs: BTreeMap::new(),
            clock,
            deadline: GATHER_DEADLINE,
            library: Arc::default(),
            protecting: Arc::default(),
            is_part: false,
        }
    }

    /// Keeps what servers publish of their API in this library, such as one on disk.
    #[must_use]
    pub fn with_library(mut self, library: Library) -> Self {
        self.library = Arc::new(library);
        self
    }

    /// What servers publish of their API.
    pub(crate) fn library(&self) -> &Library {
        &self.library
    }

    /// Sets what is protected.
    #[must_use]
    pub fn with_protecting(mut self, protecting: Protecting) -> Self {
        self.protecting = Arc::new(protecting);
        self
    }

    /// What is protected.
    pub fn protecting(&self) -> &Protecting {
        &self.protecting
    }

    /// Which product a settings key stands for.
    pub fn product_of(&self, key: &str) -> Option<Product> {
        if self.pve.contains_key(key) {
            Some(Product::Pve)
        } else if self.pbs.contains_key(key) {
            Some(Product::Pbs)
        } else {
            None
        }
    }

    /// Sets how long an answer about the whole estate waits for its slowest part.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same fleet with only the members that `keep` wants: what a narrower scope may see. The
    /// others are not refused but unknown.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        let pve = self.pve.iter().filter(|(key, _)| keep(key.as_str()));
        let pbs = self.pbs.iter().filter(|(key, _)| keep(key.as_str()));
        Self {
            pve: pve.map(|(key, member)| (key.clone(), Arc::clone(member))).collect(),
            pbs: pbs.map(|(key, member)| (key.clone(), Arc::clone(member))).collect(),
            clock: Arc::clone(&self.clock),
            deadline: self.deadline,
            library: Arc::clone(&self.library),
            protecting: Arc::clone(&self.protecting),
            is_part: true,
        }
    }

    /// Whether there is more of the estate than this: what a narrower scope or a line of the policy
    /// leaves.
    pub fn is_part(&self) -> bool {
        self.is_part
    }

    /// Adds a PVE cluster or node.
    #[must_use]
    pub fn with_pve(
        mut self,
        key: ClusterKey,
        client: &pve_client::Client,
        traits: Traits,
    ) -> Self {
        let member = Pve {
            key: key.clone(),
            client: client.read_only(),
            operator: client.operate(),
            traits,
            places: Mutex::default(),
            permissions: Mutex::default(),
            operator_permissions: Mutex::default(),
        };
        self.pve.insert(key, Arc::new(member));
        self
    }

    /// Adds a backup server.
    #[must_use]
    pub fn with_pbs(
        mut self,
        key: ClusterKey,
        client: &pbs_client::Client,
        traits: Traits,
    ) -> Self {
        let member = Pbs {
            key: key.clone(),
            client: client.read_only(),
            operator: client.operate(),
            traits,
            permissions: Mutex::default(),
            operator_permissions: Mutex::default(),
        };
        self.pbs.insert(key, Arc::new(member));
        self
    }

    /// Now, by the fleet's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The PVE members, all or the one named.
    pub fn pve(&self, only: Option<&str>) -> Result<Vec<Arc<Pve>>, ToolError> {
        pick(&self.pve, only, "PVE cluster", "pve", self)
    }

    /// The backup servers, all or the one named.
    pub fn pbs(&self, only: Option<&str>) -> Result<Vec<Arc<Pbs>>, ToolError> {
        pick(&self.pbs, only, "backup server", "pbs", self)
    }

    /// The backup server that others know by this host, and port if they name one; the settings may
    /// have none, or several that differ by port.
    pub fn pbs_at(&self, host: &str, port: Option<u16>) -> Vec<Arc<Pbs>> {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.');
        let is_at = |member: &Pbs, port: Option<u16>| {
            member.traits.addresses.iter().any(|(name, at)| {
                name.trim_end_matches('.').eq_ignore_ascii_case(host)
                    && port.is_none_or(|port| port == *at)
            })
        };
        let all = |port| self.pbs.values().filter(move |m| is_at(m, port)).map(Arc::clone);
        let found: Vec<_> = all(port).collect();
        // Without a port the usual one is meant, if that tells them apart.
        if port.is_none() && found.len() > 1 {
            let usual: Vec<_> = all(Some(PBS_PORT)).collect();
            return if usual.is_empty() { found } else { usual };
        }
        found
    }

    /// How long an answer waits for its slowest part.
    pub fn deadline(&self) -> Duration {
        self.deadline.min(GATHER_DEADLINE)
    }

    /// The members of both products, all or the one named.
    pub fn members_for(&self, only: Option<&str>) -> Result<Members, ToolError> {
        match only {
            Some(key) if self.pbs.contains_key(key) => Ok((Vec::new(), self.pbs(only)?)),
            Some(key) if self.pve.contains_key(key) => Ok((self.pve(only)?, Vec::new())),
            Some(_) => {
                let none = BTreeMap::<ClusterKey, Arc<Pve>>::new();
                pick(&none, only, "cluster or backup server", "", self)
                    .map(|members| (members, Vec::new()))
            }
            None => Ok((self.pve(None)?, self.pbs(None)?)),
        }
    }

    /// Every settings key with its product, in order.
    pub fn keys(&self) -> impl Iterator<Item = (&ClusterKey, &'static str)> {
        let pve = self.pve.keys().map(|key| (key, "pve"));
        pve.chain(self.pbs.keys().map(|key| (key, "pbs")))
    }

    /// What the settings say of every member.
    pub fn members(&self) -> impl Iterator<Item = About<'_>> {
        let pve = self.pve.values().map(|m| About {
            key: m.key.as_str(),
            product: "pve",
            traits: &m.traits,
        });
        let pbs = self.pbs.values().map(|m| About {
            key: m.key.as_str(),
            product: "pbs",
            traits: &m.traits,
        });
        pve.chain(pbs)
    }

    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.pve.is_empty() && self.pbs.is_empty()
    }

    /// Asks all of `members` side by side; none waits for another, and none longer than `deadline`
    /// or what [`Fleet::with_deadline`] set, whichever is shorter.
    pub async fn gather<M: Member, T, F>(
        &self,
        members: Vec<Arc<M>>,
        deadline: Duration,
        ask: impl Fn(Arc<M>) -> F,
    ) -> Gathered<M, T>
    where
        F: Future<Output = Result<T, api_core::Error>>,
    {
        let deadline = deadline.min(self.deadline);
        let asked = members.into_iter().map(|member| {
            let answer = ask(Arc::clone(&member));
            async move { (member, tokio::time::timeout(deadline, answer).await) }
        });
        let mut out =
            Gathered { answers: Vec::new(), unreachable: Vec::new(), refused: Vec::new() };
        for (member, answer) in join_all(asked).await {
            match answer {
                Ok(Ok(answer)) => out.answers.push((member, answer)),
                Ok(Err(error)) if is_absence(&error) => {
                    let what = member.key().to_string();
                    out.unreachable.push(Unreachable { what, why: Chain(&error).to_string() });
                }
                Ok(Err(error)) => {
                    out.refused.push((member.key().clone(), Chain(&error).to_string()));
                }
                Err(_) => {
                    let what = member.key().to_string();
                    let why = format!("no answer within {} s", deadline.as_secs());
                    out.unreachable.push(Unreachable { what, why });
                }
            }
        }
        out
    }
}

/// Whether the member as a whole has no answer for us, rather than refused this one question. One
/// that refuses the credential tells as little as one that is away.
fn is_absence(error: &api_core::Error) -> bool {
    use api_core::ErrorKind as K;
    error.is_unreachable() || matches!(error.kind(), K::Tls | K::Unauthorized)
}

fn pick<M>(
    members: &BTreeMap<ClusterKey, Arc<M>>,
    only: Option<&str>,
    kind: &str,
    product: &str,
    fleet: &Fleet,
) -> Result<Vec<Arc<M>>, ToolError> {
    let Some(only) = only else { return Ok(members.values().map(Arc::clone).collect()) };
    if let Some(member) = members.get(only) {
        return Ok(vec![Arc::clone(member)]);
    }
    // Only what would do is offered; an empty product stands for both.
    let fits = |of: &str| product.is_empty() || product == of;
    let known = fleet.keys().filter(|(_, of)| fits(of)).map(|(key, of)| format!("{key} ({of})"));
    let known: Vec<_> = known.collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let is_other = fleet.keys().find(|(key, _)| key.as_str() == only).map(|(_, of)| of);
    let only: String = stdx::untrusted::line(only, 60).into_owned();
    let error = ToolError::not_found(match is_other {
        Some("pbs") => format!("no {kind} is called {only:?}: that is a backup server"),
        Some(_) => format!("no {kind} is called {only:?}: that is a PVE cluster"),
        None => format!("no {kind} is called {only:?}"),
    });
    Err(error.hint(format!("the settings have: {known}")))
}

/// What has a key.
pub trait Member: Send + Sync {
    /// The settings key.
    fn key(&self) -> &ClusterKey;
}

impl Member for Pve {
    fn key(&self) -> &ClusterKey {
        &self.key
    }
}

impl Member for Pbs {
    fn key(&self) -> &ClusterKey {
        &self.key
    }
}

// === impl Gathered ===

impl<M, T> Gathered<M, T> {
    /// The same members with something else of each.
    #[must_use]
    pub fn map<U>(self, each: impl Fn(T) -> U) -> Gathered<M, U> {
        let Self { answers, unreachable, refused } = self;
        let answers = answers.into_iter().map(|(member, answer)| (member, each(answer)));
        Gathered { answers: answers.collect(), unreachable, refused }
    }

    /// Puts what is missing into a report.
    pub fn tell(&self, mut report: crate::report::Report) -> crate::report::Report {
        report.unreachable.extend(self.unreachable.iter().cloned());
        for (key, why) in &self.refused {
            report.notes.push(format!("{key} is missing here: {why}"));
        }
        report
    }

    /// Whether anything is missing.
    pub fn is_partial(&self) -> bool {
        !self.unreachable.is_empty() || !self.refused.is_empty()
    }
}

// === impl Pve ===

impl Pve {
    /// Where the guest was last seen, if it was.
    pub fn place(&self, vmid: VmId) -> Option<Place> {
        lock(&self.places).get(&vmid).cloned()
    }

    /// Remembers where guests are.
    pub fn remember(&self, places: impl IntoIterator<Item = (VmId, Place)>) {
        let places = places.into_iter().collect();
        *lock(&self.places) = places;
    }

    /// Forgets where a guest was: it moved, or is gone.
    pub fn forget(&self, vmid: VmId) {
        lock(&self.places).remove(&vmid);
    }

    /// What the token for reads may do, at most a minute old.
    pub async fn permissions(&self, now: Timestamp) -> Result<Arc<Permissions>, api_core::Error> {
        permissions_of(&self.client, &self.permissions, now).await
    }

    /// What the token for changes may do, at most a minute old.
    pub async fn operator_permissions(
        &self,
        now: Timestamp,
    ) -> Result<Arc<Permissions>, api_core::Error> {
        permissions_of(&self.operator, &self.operator_permissions, now).await
    }
}

async fn permissions_of(
    client: &pve_client::Client,
    cache: &Cached<Permissions>,
    now: Timestamp,
) -> Result<Arc<Permissions>, api_core::Error> {
    if let Some(known) = fresh(cache, now) {
        return Ok(known);
    }
    let found = client.call(pve_client::access::permissions(None, None)).await?;
    let found = found.into_iter().map(|(path, held)| {
        let held = held.into_iter().map(|(privilege, below)| (privilege, below.0));
        (path, held.collect::<BTreeMap<_, _>>())
    });
    Ok(keep(cache, now, Permissions::from(found.collect::<BTreeMap<_, _>>())))
}

// === impl Pbs ===

impl Pbs {
    /// What the token for reads may do, at most a minute old.
    pub async fn permissions(&self, now: Timestamp) -> Result<Arc<Permissions>, api_core::Error> {
        if let Some(known) = fresh(&self.permissions, now) {
            return Ok(known);
        }
        let found = self.client.call(pbs_client::access::permissions(None, None)).await?;
        Ok(keep(&self.permissions, now, Permissions::from(found)))
    }

    /// What the token for changes may do, at most a minute old.
    pub async fn operator_permissions(
        &self,
        now: Timestamp,
    ) -> Result<Arc<Permissions>, api_core::Error> {
        if let Some(known) = fresh(&self.operator_permissions, now) {
            return Ok(known);
        }
        let found = self.operator.call(pbs_client::access::permissions(None, None)).await?;
        Ok(keep(&self.operator_permissions, now, Permissions::from(found)))
    }
}

type Cached<T> = Mutex<Option<(Timestamp, Arc<T>)>>;

fn fresh<T>(cache: &Cached<T>, now: Timestamp) -> Option<Arc<T>> {
    let cache = lock(cache);
    let (then, value) = cache.as_ref()?;
    let age = now.as_second() - then.as_second();
    (0..PERMISSIONS_TTL_SECS).contains(&age).then(|| Arc::clone(value))
}

fn keep<T>(cache: &Cached<T>, now: Timestamp, value: T) -> Arc<T> {
    let value = Arc::new(value);
    *lock(cache) = Some((now, Arc::clone(&value)));
    value
}

/// Locks; a panic elsewhere leaves these caches at worst old, never torn.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
