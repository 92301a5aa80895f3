//! What happens in the simulated estate of `--demo`, so that there is something to hear: within two
//! minutes a backup fails, a storage fills up and a node goes away, and all of it ends well.
//!
//! Nobody is told by any real channel: what would have been sent is shown.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_core::{ComponentId, Delivery, EventSink, Message, Receipt, SinkError};
use proxmox_sim::{Levers, SimError, TaskSpec};
use tokio_util::sync::CancellationToken;

/// The name of the output that prints.
pub(crate) const OUTPUT: &str = "demo";

/// When what happens, in seconds after the start.
const SCRIPT: &[(u64, Scene)] = &[
    (15, Scene::BackupFails),
    (40, Scene::StorageFills),
    (65, Scene::NodeGoes),
    (105, Scene::NodeReturns),
    (135, Scene::StorageHasRoom),
    (160, Scene::BackupSucceeds),
];

#[derive(Clone, Copy)]
enum Scene {
    BackupFails,
    StorageFills,
    NodeGoes,
    NodeReturns,
    StorageHasRoom,
    BackupSucceeds,
}

/// How what would have been sent is shown.
pub type Show = Arc<dyn Fn(&Message) + Send + Sync>;

/// Shows what would have been sent.
pub(crate) struct Printer {
    id: ComponentId,
    show: Show,
}

// === impl Scene ===

impl Scene {
    fn play(self, levers: &Levers) -> Result<(), SimError> {
        match self {
            Self::BackupFails => {
                let why = "job errors: no space left on device";
                levers.add_task("lab", "alder", &TaskSpec::finished("vzdump", "104", why)).map(drop)
            }
            Self::StorageFills => levers.set_storage_usage("lab", "nas", 0.97),
            Self::NodeGoes => levers.node_offline("lab", "cedar", true),
            Self::NodeReturns => levers.node_offline("lab", "cedar", false),
            Self::StorageHasRoom => levers.set_storage_usage("lab", "nas", 0.60),
            Self::BackupSucceeds => levers
                .add_task("lab", "alder", &TaskSpec::finished("vzdump", "104", "OK"))
                .map(drop),
        }
    }
}

/// Plays until the end, or until it is stopped.
pub(crate) async fn play(levers: Levers, stop: CancellationToken) {
    let mut passed = 0;
    for (at, scene) in SCRIPT {
        let pause = tokio::time::sleep(Duration::from_secs(at - passed));
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
        passed = *at;
        if let Err(error) = scene.play(&levers) {
            // Whoever pulls levers of their own may have taken the scene apart.
            tracing::debug!(%error, "a scene of the demo was left out");
        }
    }
}

// === impl Printer ===

impl Printer {
    /// Shows it in the log.
    pub(crate) fn new() -> Self {
        Self::by(Arc::new(|message| {
            tracing::warn!(
                stand = message.stand.as_str(),
                severity = message.severity.as_str(),
                incident = message.incident,
                "would tell: {}",
                message.title
            );
        }))
    }

    pub(crate) fn by(show: Show) -> Self {
        Self { id: OUTPUT.parse().expect("a valid name"), show }
    }
}

#[async_trait]
impl EventSink for Printer {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SinkError> {
        Ok("shows what would have been sent".to_owned())
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        (self.show)(&delivery.message);
        Ok(Receipt { ids: vec![delivery.key.as_str().to_owned()], ..Receipt::default() })
    }
}
