//! Layered settings, the earlier environment file, and errors that name key, origin and remedy.
//!
//! ```no_run
//! let sources = settings::Sources::from_process();
//! match settings::load(&sources) {
//!     Ok(loaded) => {
//!         for warning in &loaded.warnings {
//!             eprintln!("{warning}");
//!         }
//!         for (key, cluster) in &loaded.settings.pve {
//!             println!("{key}: {}", cluster.targets[0].url);
//!         }
//!     }
//!     Err(errors) => eprintln!("{errors}"),
//! }
//! ```
//!
//! The order is `config/default.toml` (embedded) < settings file < `conf.d/*.toml` beside it, by
//! name < the earlier server's `.env` < environment < flags.
//! One [table of keys](SECTIONS) is the source of the default file, the reference page, the JSON
//! schema, the hints and the reading of variables.
//!
//! *Invariant:* no other crate reads the process's environment or names figment.
//! *Invariant:* no error, warning, origin or `Debug` carries a secret.
//! *Invariant:* nothing is connected to and nothing is written here: import and init return text.
//!
//! For details, see: `docs/guide/settings.md` and the generated `docs/reference/config.md`.

mod audit;
mod check;
mod document;
pub mod env_file;
mod environment;
mod error;
mod events;
mod guard;
mod http;
mod keys;
mod kinds;
mod layer;
mod layers;
mod load;
mod manager;
mod oauth;
mod origins;
mod settings;
mod sources;
mod table;
mod text;

pub use self::guard::{ApproverSettings, GuardSettings, OwnGuest};
pub use api_core::endpoint::{Disk, FileContent, ReadFile};
pub use audit::AuditSettings;
pub use document::{DEFAULT, default_toml, json_schema, reference, starter};
pub use environment::{CONFIG_VARIABLE, ENV_FILE_VARIABLE, Flag, PREFIX};
pub use error::{ConfigError, ConfigErrors, Origin, Warning};
pub use events::{EventsSettings, InputSettings, OutputChannel, OutputSettings};
pub use http::{HttpSettings, TlsFiles};
pub use keys::{Key, Kind, Nested, Place, Section, Type};
pub use load::{Loaded, load, load_from};
pub use manager::ManagerSettings;
pub use oauth::OAuthSettings;
pub use origins::OriginEntry;
pub use settings::{LogFormat, LogLevel, LogSettings, ServerSettings, Settings, Topology};
pub use sources::{Files, Sources};
pub use table::SECTIONS;
