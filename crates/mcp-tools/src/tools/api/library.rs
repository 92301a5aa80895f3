//! The schemas of the estate: read from the server that will answer, kept by product and version.
//!
//! A member's version is asked now and then; its schema is taken from memory, from the disk, or from
//! the server itself, in this order. Where a server does not publish it, a short list of our own
//! stands in, and the answer says so.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api_core::{
    Error,
    schema::{Schema, Target, cache},
};
use estate::{NodeName, Product};
use jiff::Timestamp;
use stdx::Chain;
use tracing::{debug, info, warn};

use super::place::Place;

/// How long a member's version is taken as unchanged.
const VERSION_TTL_SECS: i64 = 600;
/// How long a member that gave no schema is not asked again.
const RETRY_SECS: i64 = 60;
/// How long the server may take over its version, and over its schema.
const VERSION_DEADLINE: Duration = Duration::from_secs(8);
const SCHEMA_DEADLINE: Duration = Duration::from_secs(20);

/// Our own lists, for servers that publish nothing.
const BUNDLED_PVE: &str = include_str!("bundled/pve.txt");
const BUNDLED_PBS: &str = include_str!("bundled/pbs.txt");

/// The schemas that are known. One for a process: what several clients see of one estate comes from
/// the same.
#[derive(Default)]
pub struct Library {
    folder: Option<PathBuf>,
    members: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Option<Known>>>>>,
    /// The versions of nodes, by member and node.
    nodes: Mutex<Versions>,
    schemas: Mutex<BTreeMap<(Product, String), Arc<Schema>>>,
    bundled: Mutex<BTreeMap<Product, Arc<Schema>>>,
}

/// When each node was asked for its version, and what it said.
type Versions = BTreeMap<(String, NodeName), (Timestamp, Option<String>)>;

/// The schema that speaks for a member.
#[derive(Clone, Debug)]
pub struct Book {
    /// The product.
    pub product: Product,
    /// The member's version, if it told.
    pub version: Option<String>,
    /// The schema.
    pub schema: Arc<Schema>,
    /// Why it is not the server's own.
    pub why_bundled: Option<String>,
    /// The node that will answer and its version, where the schema is that of another version.
    pub elsewhere: Option<(NodeName, String)>,
}

struct Known {
    book: Book,
    asked: Timestamp,
}

// === impl Library ===

impl Library {
    /// A library that keeps what servers publish in this folder.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder), ..Self::default() }
    }

    /// The schema that speaks for a member. There always is one.
    pub async fn of(&self, place: &Place, now: Timestamp) -> Book {
        let product = place.product();
        let slot = {
            let mut members = lock(&self.members);
            Arc::clone(members.entry(format!("{product}.{}", place.key())).or_default())
        };
        // Whoever comes meanwhile waits for the same answer instead of asking again.
        let mut slot = slot.lock().await;
        if let Some(known) = &*slot {
            let age = now.as_second() - known.asked.as_second();
            let lasts =
                if known.book.why_bundled.is_none() { VERSION_TTL_SECS } else { RETRY_SECS };
            if (0..lasts).contains(&age) {
                return known.book.clone();
            }
        }
        let version = match within(VERSION_DEADLINE, place.version()).await {
            Ok(version) => version,
            Err(why) => {
                // What it was is more than nothing: a server that is away is not another one.
                if let Some(known) = slot.as_ref().filter(|known| known.book.why_bundled.is_none())
                {
                    return known.book.clone();
                }
                let book = self.bundled(
                    product,
                    None,
                    format!("{} did not tell its version: {why}", place.key()),
                );
                *slot = Some(Known { book: book.clone(), asked: now });
                return book;
            }
        };
        let book = match self.published(place, product, &version).await {
            Ok(schema) => {
                Book { product, version: Some(version), schema, why_bundled: None, elsewhere: None }
            }
            Err(why) => {
                info!(cluster = %place.key(), why, "no published schema");
                let why = format!("{} does not publish it: {why}", place.key());
                self.bundled(product, Some(version), why)
            }
        };
        *slot = Some(Known { book: book.clone(), asked: now });
        book
    }

    /// The schema that speaks for what will answer a path: where the path names a node, the one of that
    /// node's version if it is known, else the one of the endpoint, and then the book says so. In the
    /// middle of an upgrade the nodes of a cluster differ.
    pub async fn at(&self, place: &Place, path: &str, now: Timestamp) -> Book {
        let book = self.of(place, now).await;
        let (Some(node), None) = (node_in(path), &book.why_bundled) else { return book };
        let Some(version) = self.version_of(place, &node, now).await else { return book };
        if book.version.as_deref() == Some(version.as_str()) {
            return book;
        }
        match self.known(book.product, &version).await {
            Some(schema) => Book { version: Some(version), schema, ..book },
            None => Book { elsewhere: Some((node, version)), ..book },
        }
    }

    /// A node's version, asked now and then; nothing where it does not answer, or is no node.
    async fn version_of(&self, place: &Place, node: &NodeName, now: Timestamp) -> Option<String> {
        let name = (format!("{}.{}", place.product(), place.key()), node.clone());
        if let Some((asked, version)) = lock(&self.nodes).get(&name) {
            let age = now.as_second() - asked.as_second();
            let lasts = if version.is_some() { VERSION_TTL_SECS } else { RETRY_SECS };
            if (0..lasts).contains(&age) {
                return version.clone();
            }
        }
        let version =
            within(VERSION_DEADLINE, place.version_of(node)).await.unwrap_or_else(|why| {
                debug!(cluster = %place.key(), %node, why, "no version of the node");
                None
            });
        let mut nodes = lock(&self.nodes);
        // Names come from callers: those of no node must not pile up.
        nodes.retain(|_, (asked, _)| now.as_second() - asked.as_second() < VERSION_TTL_SECS);
        nodes.insert(name, (now, version.clone()));
        version
    }

    /// Our own list of a product.
    pub fn bundled(&self, product: Product, version: Option<String>, why: String) -> Book {
        let mut bundled = lock(&self.bundled);
        let schema = bundled.entry(product).or_insert_with(|| {
            let lines = match product {
                Product::Pve => BUNDLED_PVE,
                Product::Pbs => BUNDLED_PBS,
            };
            Arc::new(Schema::parse_lines(lines).expect("a test reads the bundled lists"))
        });
        let schema = Arc::clone(schema);
        Book { product, version, schema, why_bundled: Some(why), elsewhere: None }
    }

    async fn published(
        &self,
        place: &Place,
        product: Product,
        version: &str,
    ) -> Result<Arc<Schema>, String> {
        if let Some(schema) = self.known(product, version).await {
            return Ok(schema);
        }
        let served = within(SCHEMA_DEADLINE, place.published_schema()).await?;
        let schema = Arc::new(self.read(product, version, served).await?);
        lock(&self.schemas).insert((product, version.to_owned()), Arc::clone(&schema));
        Ok(schema)
    }

    /// The schema of a version, if any server of it was read before.
    async fn known(&self, product: Product, version: &str) -> Option<Arc<Schema>> {
        let name = (product, version.to_owned());
        if let Some(schema) = lock(&self.schemas).get(&name) {
            return Some(Arc::clone(schema));
        }
        let schema = Arc::new(self.kept_on_disk(product, version).await?);
        lock(&self.schemas).insert(name, Arc::clone(&schema));
        Some(schema)
    }

    async fn kept_on_disk(&self, product: Product, version: &str) -> Option<Schema> {
        let folder = self.folder.clone()?;
        let version = version.to_owned();
        let load = move || cache::load(&folder, product.as_str(), &version);
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok(schema)) => schema,
            Ok(Err(error)) => {
                warn!(%product, error = %Chain(&error), "cached schema is read anew from the server");
                None
            }
            Err(_) => None,
        }
    }

    async fn read(
        &self,
        product: Product,
        version: &str,
        served: bytes::Bytes,
    ) -> Result<Schema, String> {
        let (folder, version) = (self.folder.clone(), version.to_owned());
        let read = move || {
            let text = std::str::from_utf8(&served).map_err(|_| "it is no text".to_owned())?;
            let schema = Schema::parse(text).map_err(|error| Chain(&error).to_string())?;
            if let Some(folder) = folder
                && let Err(error) = cache::store(&folder, product.as_str(), &version, text)
            {
                warn!(%product, error = %Chain(&error), "published schema is not kept");
            }
            debug!(%product, version, endpoints = schema.endpoints().len(), "schema read");
            Ok(schema)
        };
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|_| Err("reading it failed".to_owned()))
    }
}

async fn within<T>(
    deadline: Duration,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, String> {
    match tokio::time::timeout(deadline, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Chain(&error).to_string()),
        Err(_) => Err(format!("no answer within {} s", deadline.as_secs())),
    }
}

/// The node that a path names.
fn node_in(path: &str) -> Option<NodeName> {
    let target = Target::parse(path).ok()?;
    match target.segments() {
        [nodes, node, ..] if nodes == "nodes" => node.parse().ok(),
        _ => None,
    }
}

/// Locks; a panic elsewhere leaves these maps at worst without an entry.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Book ===

impl Book {
    /// What an answer says of it: nothing, if it is the server's own.
    pub fn note(&self) -> Option<String> {
        if let Some((node, version)) = &self.elsewhere {
            let known = self.version.as_deref().unwrap_or("another version");
            return Some(format!(
                "{node} runs {version}, whose schema is not known here: checked by that of {known}"
            ));
        }
        let why = self.why_bundled.as_ref()?;
        Some(format!(
            "only a short bundled list of {} endpoints is known here, and parameters are not all \
             checked ({why})",
            self.product.name()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_lists_say_what_the_products_publish() {
        let library = Library::default();
        for (product, file) in
            [(Product::Pve, "api/pve-9.2.json"), (Product::Pbs, "api/pbs-4.2.json")]
        {
            let book = library.bundled(product, None, "test".to_owned());
            assert!(book.note().unwrap().contains("bundled"));
            let Some(text) = testkit::fixtures::text(file) else { continue };
            let published = Schema::parse(&text).unwrap();
            for ours in book.schema.endpoints() {
                let theirs = published
                    .endpoints()
                    .find(|one| (one.method(), one.path()) == (ours.method(), ours.path()))
                    .unwrap_or_else(|| panic!("{ours:?} is not published"));
                for param in ours.params().filter(|param| !ours.is_in_path(param.name())) {
                    let published =
                        theirs.param(param.name()).unwrap_or_else(|| panic!("{ours:?} {param:?}"));
                    assert_eq!(param.is_optional(), published.is_optional(), "{ours:?} {param:?}");
                }
                for param in theirs.params().filter(|param| !param.is_optional()) {
                    assert!(ours.param(param.name()).is_some(), "{ours:?} needs {param:?}");
                }
                // Their words are not ours to ship.
                assert_ne!(ours.about(), theirs.about(), "{ours:?}");
            }
        }
    }
}
