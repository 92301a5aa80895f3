//! What of all that was heard a caller may be told of.
//!
//! *Invariant:* what belongs to no cluster is told only to who sees all of them: nobody can say whose
//! it is.

use std::collections::BTreeSet;

use event_core::{Logged, desk::IncidentView};

use crate::{address::quoted, error::ToolError, report::Report, tool::Cx};

/// The clusters and backup servers that a caller sees; `None` for all that there is.
#[derive(Clone, Debug)]
pub(super) struct Sight(Option<BTreeSet<String>>);

// === impl Sight ===

impl Sight {
    /// As scope and policy leave it.
    pub(super) fn of(cx: &Cx) -> Self {
        let keys = || cx.fleet.keys().map(|(key, _)| key.to_string()).collect();
        Self(cx.fleet.is_part().then(keys))
    }

    /// Whether there is something that it does not see.
    pub(super) fn is_part(&self) -> bool {
        self.0.is_some()
    }

    /// The clusters that it is kept to, if it is.
    pub(super) fn keys(&self) -> Option<&BTreeSet<String>> {
        self.0.as_ref()
    }

    /// Whether it sees what is of this cluster, or of none.
    pub(super) fn sees(&self, cluster: Option<&str>) -> bool {
        let Some(keys) = &self.0 else { return true };
        cluster.is_some_and(|key| keys.contains(key))
    }

    /// Whether it sees this event.
    pub(super) fn sees_event(&self, logged: &Logged) -> bool {
        self.sees(logged.event.subject.cluster.as_ref().map(estate::ClusterKey::as_str))
    }

    /// Whether it sees this incident.
    pub(super) fn sees_incident(&self, incident: &IncidentView) -> bool {
        self.sees(incident.cluster.as_deref())
    }

    /// The clusters to ask for: the one that is meant, those that it sees, or all at once.
    pub(super) fn clusters(&self, meant: Option<&str>) -> Vec<Option<String>> {
        match (meant, &self.0) {
            (Some(key), _) => vec![Some(key.to_owned())],
            (None, Some(keys)) => keys.iter().cloned().map(Some).collect(),
            (None, None) => vec![None],
        }
    }

    /// The one cluster that can be asked for, if it is only one.
    pub(super) fn only(&self, meant: Option<&str>) -> Option<String> {
        let keys = self.0.as_ref().filter(|keys| keys.len() == 1);
        meant.map(str::to_owned).or_else(|| keys?.first().cloned())
    }

    /// The answer, with what it leaves out.
    pub(super) fn tell(&self, report: Report) -> Report {
        let Some(keys) = &self.0 else { return report };
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let keys = if keys.is_empty() { "no cluster".to_owned() } else { keys.join(", ") };
        report.note(format!(
            "you are told of {keys} alone: what is of other clusters, or of none, is left out"
        ))
    }
}

/// The cluster that is meant, which must be one of those that the caller sees: a name that nothing
/// has would be answered by an empty list.
pub(super) fn cluster<'a>(cx: &Cx, asked: Option<&'a str>) -> Result<Option<&'a str>, ToolError> {
    let Some(asked) = asked.map(str::trim).filter(|key| !key.is_empty()) else { return Ok(None) };
    if cx.fleet.keys().any(|(key, _)| key.as_str() == asked) {
        return Ok(Some(asked));
    }
    let keys: Vec<String> = cx.fleet.keys().map(|(key, _)| key.to_string()).collect();
    let what = format!("no cluster or backup server is called {}", quoted(asked));
    Err(ToolError::not_found(what).hint(format!("give one of {}", keys.join(", "))))
}

/// `lab/104`, or `104` alone: the cluster and the id. The guest may be gone, so nobody is asked.
pub(super) fn guest(text: &str) -> Result<(Option<&str>, u32), ToolError> {
    let (cluster, id) = match text.trim().split_once('/') {
        Some((cluster, id)) => (Some(cluster), id),
        None => (None, text.trim()),
    };
    let wrong = || {
        ToolError::new(format!("{} is no guest's address", quoted(text)))
            .hint("give cluster/vmid, or vmid alone")
    };
    let id: estate::VmId = id.parse().map_err(|_| wrong())?;
    Ok((cluster, id.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_no_cluster_is_nobodys_who_is_kept_to_one() {
        let part = Sight(Some(["lab".to_owned()].into()));
        assert!(part.sees(Some("lab")) && !part.sees(Some("edge")) && !part.sees(None));
        assert_eq!(part.only(None).as_deref(), Some("lab"));
        let all = Sight(None);
        assert!(all.sees(Some("edge")) && all.sees(None));
        assert_eq!((all.only(None), all.clusters(None)), (None, vec![None]));
        // Nothing is left of the estate: nothing is asked for, and nothing is told.
        let none = Sight(Some(BTreeSet::new()));
        assert!(!none.sees(None) && none.clusters(None).is_empty());
    }

    #[test]
    fn addresses_of_guests_that_may_be_gone() {
        assert_eq!(guest("lab/104").unwrap(), (Some("lab"), 104));
        assert_eq!(guest(" 104 ").unwrap(), (None, 104));
        for text in ["", "lab/", "web", "lab/104/x", "7"] {
            assert!(guest(text).is_err(), "{text}");
        }
    }
}
