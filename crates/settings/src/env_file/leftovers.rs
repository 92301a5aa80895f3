//! Variables that become no setting: what each was for, or what was probably meant.

use super::estate::Reader;
use super::known::{EVENTS, NODE_SUFFIXES, READ, RETIRED};
use crate::keys::nearest;

// === impl Reader ===

impl Reader<'_> {
    pub(super) fn retired(&mut self) {
        for group in RETIRED {
            let present: Vec<&str> = group
                .names
                .iter()
                .copied()
                .filter(|name| self.variables.contains_key(*name))
                .collect();
            let Some(first) = present.first() else { continue };
            self.used.extend(present.iter().map(|&name| name.to_owned()));
            let origin = self.origin(first);
            let reason = if present.len() == 1 {
                group.reason.to_owned()
            } else {
                format!("(with {}) {}", present[1..].join(", "), group.reason)
            };
            self.warn(&origin, reason, group.hint);
        }
    }

    /// The variables with a value that nothing has asked for.
    fn unread(&self) -> Vec<String> {
        let unread = self.variables.iter().filter(|(name, variable)| {
            !self.used.contains(*name) && !variable.value.trim().is_empty()
        });
        unread.map(|(name, _)| name.clone()).collect()
    }

    /// One warning for the variables of a part that the declared topology leaves out.
    fn left_out(&mut self, start: &str, topology: &str) {
        let mut names = self.unread();
        names.retain(|name| name.starts_with(start) && READ.contains(&name.as_str()));
        let Some((first, others)) = names.split_first() else { return };
        let origin = self.origin(first);
        let others = match others {
            [] => String::new(),
            others => format!("(with {}) ", others.join(", ")),
        };
        let hint = "correct LAB_CONFIGURATION if it should be";
        self.warn(&origin, format!("{others}is not used{topology}"), hint);
        for name in names.iter().filter(|name| name.ends_with("NODES")) {
            for node in self.list(name) {
                self.claim(&node);
            }
        }
        self.used.extend(names);
    }

    pub(super) fn left_over(&mut self) {
        let node_names = self
            .prefixes
            .iter()
            .flat_map(|prefix| NODE_SUFFIXES.iter().map(move |suffix| format!("{prefix}{suffix}")));
        let node_names: Vec<String> = node_names.collect();
        let mut known: Vec<&str> = node_names.iter().map(String::as_str).collect();
        known.extend(READ);
        known.extend(EVENTS);
        known.extend(RETIRED.iter().flat_map(|group| group.names));
        // What belongs to a listener or notifier that is off.
        self.used.extend(EVENTS.iter().map(|&name| name.to_owned()));
        let topology = self.topology.map_or_else(String::new, |topology| {
            format!(" with LAB_CONFIGURATION={}", topology.as_str().to_ascii_uppercase())
        });
        for start in ["PVE_NODES", "PVE_CLUSTER_", "PBS_NODES", "PBS_CLUSTER_"] {
            self.left_out(start, &topology);
        }
        for name in self.unread() {
            let origin = self.origin(&name);
            if let Some(meant) = nearest(&name, &known) {
                self.warn(&origin, "is not a known variable", format!("did you mean {meant}?"));
                continue;
            }
            match NODE_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)) {
                Some(node) => {
                    let reason = format!("is of a node that no list names{topology}");
                    let hint =
                        format!("add {} to PVE_NODES or PBS_NODES", node.to_ascii_lowercase());
                    self.warn(&origin, reason, hint);
                }
                None => self.warn(&origin, "is not a known variable", "it is ignored"),
            }
        }
    }
}
