//! What is remembered of consent, and who can be asked: the guard's ports over the store, and the keys
//! of the state folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use guard::ports::{Actions, Approvals, Brakes, Confirms, Freezes, Undos};
use manager::approve::{Attestor, Book, CodeSecret, Entry, Links};
use secrecy::SecretString;
use settings::{ApproverSettings, Loaded};
use stdx::keyfile;
use stdx::seal::{SealKey, random_bytes};
use store::{GuardStore, LazyStore};

/// Seals the calls that wait.
const SEAL_KEY: &str = "seal.key";
/// Vouches for decisions that the manager has verified itself.
const ATTEST_KEY: &str = "decision.key";
/// Keeps secrets in plans, so that all programs on the folder give a plan the same digest.
const PLAN_KEY: &str = "plan.key";
/// Signs links.
const LINK_KEY: &str = "link.key";

/// The guard's ports, and who may decide. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    /// All ports but that of the approvers.
    pub store: GuardStore,
    /// Who may decide.
    pub book: Book,
}

/// Whether this process holds the secrets by which approvers prove themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holds {
    /// It serves tools: the secrets of one-time codes are none of its business.
    #[default]
    Nothing,
    /// It takes decisions.
    Codes,
}

// === impl Memory ===

impl Memory {
    /// The memory of this state folder; `None` for one that is gone with the process.
    ///
    /// # Errors
    /// A key file that cannot be made or is open to others, and approvers that make no sense.
    pub fn open(
        loaded: &Loaded,
        lazy: LazyStore,
        state: Option<&Path>,
        holds: Holds,
    ) -> anyhow::Result<Self> {
        let key = |name: &str| -> anyhow::Result<[u8; 32]> {
            match state {
                Some(state) => Ok(keyfile::random_key(&state.join(name))?),
                None => Ok(random_bytes()?),
            }
        };
        let seal = SealKey::new(&key(SEAL_KEY)?);
        if state.is_some() && !mcp_tools::plan::set_secret_key(key(PLAN_KEY)?) {
            // Only a program that has planned something before it had its state folder.
            tracing::debug!("plans keep their secrets by another key");
        }
        let attestor = Arc::new(Attestor::new(&key(ATTEST_KEY)?));
        let book = Book::new(entries(&loaded.settings.approvers, holds)?, attestor);
        Ok(Self { store: GuardStore::new(lazy, seal), book })
    }

    /// Reads the approvers anew.
    ///
    /// # Errors
    /// Approvers that make no sense; those that were known before stay.
    pub fn reload(&self, loaded: &Loaded, holds: Holds) -> anyhow::Result<()> {
        self.book.replace(entries(&loaded.settings.approvers, holds)?);
        Ok(())
    }

    /// The ports as the gate takes them.
    pub fn ports(&self) -> mcp_tools::gate::Ports {
        mcp_tools::gate::Ports {
            approvals: self.approvals(),
            actions: self.actions(),
            undos: Arc::new(self.store.clone()) as Arc<dyn Undos>,
            confirms: self.confirms(),
            freezes: self.freezes(),
            brakes: self.brakes(),
            approvers: Arc::new(self.book.clone()),
        }
    }

    /// Questions to people.
    pub fn approvals(&self) -> Arc<dyn Approvals> {
        Arc::new(self.store.clone())
    }

    /// What was begun.
    pub fn actions(&self) -> Arc<dyn Actions> {
        Arc::new(self.store.clone())
    }

    /// Changes that wait for being confirmed.
    pub fn confirms(&self) -> Arc<dyn Confirms> {
        Arc::new(self.store.clone())
    }

    /// Stops of callers who went wild, and the use of one-time codes.
    pub fn brakes(&self) -> Arc<dyn Brakes> {
        Arc::new(self.store.clone())
    }

    /// Orders to stop all changes.
    pub fn freezes(&self) -> Arc<dyn Freezes> {
        Arc::new(self.store.clone())
    }
}

/// What makes links, where the settings say where people reach the manager.
///
/// # Errors
/// The key file cannot be made.
pub(crate) fn links(loaded: &Loaded) -> anyhow::Result<Option<Arc<Links>>> {
    let settings = &loaded.settings;
    let Some(url) = settings.manager.public_url.as_ref().filter(|_| settings.manager.http) else {
        return Ok(None);
    };
    let key = keyfile::random_key(&settings.server.state_dir.join(LINK_KEY))?;
    Ok(Some(Arc::new(Links::new(&key, url))))
}

/// The approvers of the settings with what proves them.
fn entries(
    approvers: &BTreeMap<String, ApproverSettings>,
    holds: Holds,
) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, settings) in approvers {
        let about = || format!("set up [approver.{name}]");
        let key = settings.key.as_deref().map(str::parse).transpose().with_context(about)?;
        let code = match (&settings.totp_secret_file, holds) {
            (Some(path), Holds::Codes) => Some(code_secret(path).with_context(about)?),
            _ => None,
        };
        entries.push(Entry { approver: settings.approver.clone(), key, code: code.map(Arc::new) });
    }
    Ok(entries)
}

fn code_secret(path: &Path) -> anyhow::Result<CodeSecret> {
    let bytes =
        keyfile::read(path)?.with_context(|| format!("{} does not exist", path.display()))?;
    let text = String::from_utf8(bytes).context("the secret is no text")?;
    Ok(CodeSecret::try_new(&SecretString::from(text.trim()))?)
}
