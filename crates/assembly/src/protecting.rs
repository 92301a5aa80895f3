//! What is protected: the settings' tags, and the guest that this program runs in.

use std::{fs, path::Path};

use mcp_tools::{
    facts::{Identity, Own, OwnGuest, Protecting},
    fleet::Fleet,
};
use settings::GuardSettings;
use tracing::{info, warn};

/// What the settings say; `is_demo` has no machine behind it that could be one of its guests.
pub(crate) fn protecting(settings: &GuardSettings, is_demo: bool) -> Protecting {
    let own = match &settings.own_guest {
        settings::OwnGuest::Guest(guest) => Own::set(guest.clone()),
        settings::OwnGuest::Auto if !is_demo => Own::found_by(identity(Path::new("/"))),
        _ => Own::none(),
    };
    Protecting { tags: settings.protected_tags.clone(), own }
}

/// Finds the guest that this program runs in, and says so: nothing is done to it.
pub async fn tell_own_guest(fleet: &Fleet) {
    match fleet.protecting().own.look(fleet).await {
        OwnGuest::Set(guest) => {
            info!(%guest, "this server runs in a guest of the estate, by its settings: it is protected");
        }
        OwnGuest::Found(guest) => {
            warn!(
                %guest,
                "this server runs in a guest of the estate: nothing is done to it, nor to the power of its node"
            );
        }
        OwnGuest::None => info!("this server runs in no guest of the estate that it knows of"),
    }
}

/// What the system below `root` says of the machine; what cannot be read is left out.
fn identity(root: &Path) -> Identity {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    // The hardware's UUID is for root only; the machine's own id is often made from it.
    let uuids = ["sys/class/dmi/id/product_uuid", "etc/machine-id"].map(read);
    let cards = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
    let addresses = cards.map(|card| fs::read_to_string(card.path().join("address")));
    let addresses: Vec<String> = addresses.map(Result::unwrap_or_default).collect();
    Identity::new(uuids.iter().map(String::as_str), addresses.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_what_its_files_say() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(identity(root.path()).is_empty());
        put("etc/machine-id", "0a3b6cfd6e0a4b3c9d42000000000106\n");
        put("sys/class/net/lo/address", "00:00:00:00:00:00\n");
        put("sys/class/net/eth0/address", "BC:24:11:00:01:31\n");
        let known = identity(root.path());
        assert_eq!(known.uuids, ["0a3b6cfd6e0a4b3c9d42000000000106"]);
        assert_eq!(known.macs, ["bc2411000131"]);
    }
}
