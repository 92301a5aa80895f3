//! Where commands find what is kept, without making or contacting anything else.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use store::{LazyStore, Store, StoreUrl};

use crate::cli::SourceArgs;
use crate::estate;

/// Where the store is.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct KeptArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The folder of the store and its keys, whatever the settings say [default: `server.state_dir`]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "env_file"])]
    state_dir: Option<PathBuf>,
}

/// What is kept, not opened yet.
pub(crate) struct Kept {
    /// The store's URL.
    url: StoreUrl,
    /// The folder of the keys.
    pub(crate) state: PathBuf,
}

// === impl KeptArgs ===

impl KeptArgs {
    /// The settings, unless a folder is named in their place.
    pub(crate) fn settings(&self, log: Option<&str>) -> Option<assembly::Wanted> {
        self.state_dir.is_none().then(|| estate::from_source(&self.source, log))
    }

    /// Reads the settings, unless a folder is named.
    pub(crate) fn find(&self) -> anyhow::Result<Kept> {
        if let Some(folder) = &self.state_dir {
            let folder = std::path::absolute(folder)
                .with_context(|| format!("find the folder {}", folder.display()))?;
            let url = StoreUrl::Sqlite(folder.join("store.db"));
            return Ok(Kept { url, state: folder });
        }
        let loaded = settings::load(&estate::sources(&self.source)).context(
            "find the store in the settings (--state-dir names its folder without them)",
        )?;
        let url = assembly::store_url(&loaded)?;
        let settings = loaded.settings;
        Ok(Kept { url, state: settings.server.state_dir })
    }
}

// === impl Kept ===

impl Kept {
    /// The store, if it has ever been used: looking makes none.
    pub(crate) async fn existing(&self) -> anyhow::Result<Option<Arc<dyn Store>>> {
        if let StoreUrl::Sqlite(path) = &self.url
            && !path.try_exists().with_context(|| format!("look at {}", path.display()))?
        {
            return Ok(None);
        }
        Ok(Some(self.lazy().get().await?))
    }

    /// The store, opened by its first use.
    pub(crate) fn lazy(&self) -> LazyStore {
        // What looks at the store logs nothing, and whoever typed it has to know.
        LazyStore::new(self.url.clone()).telling(|migrated| {
            // Whoever closed standard error does not want to know.
            let _ = writeln!(std::io::stderr(), "warning: {migrated}");
        })
    }
}
