//! Asks nodes and backup servers side by side, and says what is missing of their answers.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use api_core::{Error, ErrorKind};
use estate::NodeName;
use futures::future::join_all;

use crate::{
    address::{FoundNode, Purpose},
    error::ToolError,
    fleet::{GATHER_DEADLINE, Gathered, Member, Pbs, Pve},
    report::{Report, Unreachable},
    tool::Cx,
    tools::late::{self, Until},
    view::View,
};

/// What the nodes of one cluster said.
#[derive(Debug)]
pub(super) struct Nodes<T> {
    pub(super) view: View,
    /// Of the nodes that are online.
    pub(super) answers: Vec<(NodeName, Result<T, Error>)>,
}

/// What one backup server said.
#[derive(Debug)]
pub(super) struct Server<T> {
    pub(super) answer: Result<T, Error>,
}

/// The answers of nodes and servers, and who was not heard.
pub(super) struct Asked<T, U> {
    pub(super) pve: Gathered<Pve, Nodes<T>>,
    pub(super) pbs: Gathered<Pbs, Server<U>>,
    found: Option<FoundNode>,
}

/// Which part of the estate is meant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Where<'a> {
    /// A settings key.
    pub(super) cluster: Option<&'a str>,
    /// A node of a cluster.
    pub(super) node: Option<&'a str>,
}

/// Asks every online node and every backup server that is meant.
pub(super) async fn everywhere<T, U, F, G>(
    cx: &Cx,
    place: Where<'_>,
    of_node: impl Fn(Arc<Pve>, NodeName) -> F + Sync,
    of_server: impl Fn(Arc<Pbs>) -> G + Sync,
) -> Result<Asked<T, U>, ToolError>
where
    T: Send,
    U: Send,
    F: Future<Output = Result<T, Error>> + Send,
    G: Future<Output = Result<U, Error>> + Send,
{
    let node = place.node.map(str::trim).filter(|node| !node.is_empty());
    let until = Until::of(&cx.fleet);
    let (clusters, servers, found) = match node {
        // A backup server is a node of its own, and goes by its settings key.
        Some(key)
            if cx.fleet.pbs(Some(key)).is_ok() && place.cluster.is_none_or(|it| it == key) =>
        {
            (Vec::new(), cx.fleet.pbs(Some(key))?, None)
        }
        Some(node) => {
            let found = cx.fleet.find_node(place.cluster, node, Purpose::Read).await?;
            (vec![Arc::clone(&found.member)], Vec::new(), Some(found))
        }
        None => {
            let (clusters, servers) = cx.fleet.members_for(place.cluster)?;
            (clusters, servers, None)
        }
    };
    let until = if found.is_some() { until.after_search() } else { until };
    let only = found.as_ref().map(|found| found.name().clone());
    let (of_node, of_server, only) = (&of_node, &of_server, only.as_ref());
    let cluster = |member: Arc<Pve>| async move {
        let mut view = View::load(Arc::clone(&member)).await?;
        if let Some(only) = only {
            view.nodes.retain(|node| node.name == *only);
        }
        let online = view.nodes.iter().filter(|node| node.is_online());
        let asked = online.map(|node| {
            let answer = of_node(Arc::clone(&member), node.name.clone());
            let name = node.name.clone();
            async move { (name, until.wait(answer).await) }
        });
        let answers = join_all(asked).await;
        Ok(Nodes { view, answers })
    };
    let server = |member: Arc<Pbs>| async move {
        match until.wait(of_server(Arc::clone(&member))).await {
            Err(error) if error.is_unreachable() && !late::is_late(&error) => Err(error),
            answer => Ok(Server { answer }),
        }
    };
    let (pve, pbs) = futures::join!(
        cx.fleet.gather(clusters, GATHER_DEADLINE, cluster),
        cx.fleet.gather(servers, GATHER_DEADLINE, server),
    );
    Ok(Asked { pve, pbs, found })
}

// === impl Asked ===

impl<T, U> Asked<T, U> {
    /// Says who was not heard: members that are silent, nodes that are off.
    pub(super) fn tell(&self, mut report: Report) -> Report {
        for (member, nodes) in &self.pve.answers {
            report = report.unreachable(away(member.key().as_str(), &nodes.view));
        }
        report = self.pbs.tell(self.pve.tell(report));
        match &self.found {
            Some(found) => found.tell(report),
            None => report,
        }
    }

    /// Each answer with its address (`lab/birch`, `vault`), what is missing set aside.
    pub(super) fn heard<'a, V>(
        &'a self,
        part: &'static str,
        of_node: impl Fn(&'a T) -> V,
        of_server: impl Fn(&'a U) -> V,
    ) -> (Vec<(String, V)>, Missing) {
        let (mut heard, mut missing) = (Vec::new(), Missing::new(part));
        for (member, nodes) in &self.pve.answers {
            for (node, answer) in &nodes.answers {
                let at = format!("{}/{node}", member.key);
                match answer {
                    Ok(answer) => heard.push((at, of_node(answer))),
                    Err(error) => missing.add(at, error),
                }
            }
        }
        for (member, server) in &self.pbs.answers {
            let at = member.key.to_string();
            match &server.answer {
                Ok(answer) => heard.push((at, of_server(answer))),
                Err(error) => missing.add(at, error),
            }
        }
        (heard, missing)
    }
}

/// The nodes that are not online, as parts that did not answer.
pub(super) fn away(key: &str, view: &View) -> Vec<Unreachable> {
    let away = view.offline_nodes().map(|node| Unreachable {
        what: format!("{key}/{}", node.name),
        why: format!("node {}", node.status),
    });
    away.collect()
}

/// What several did not tell, said once for each reason.
#[derive(Debug)]
pub(super) struct Missing {
    part: &'static str,
    /// Who, by the reason.
    refused: BTreeMap<String, Vec<String>>,
    silent: Vec<Unreachable>,
}

// === impl Missing ===

impl Missing {
    /// Nothing is missing yet of `part`.
    pub(super) fn new(part: &'static str) -> Self {
        Self { part, refused: BTreeMap::new(), silent: Vec::new() }
    }

    /// Adds one who did not tell.
    pub(super) fn add(&mut self, at: String, error: &Error) {
        if late::is_late(error) {
            let why = format!("{}: {}", self.part, late::LATE);
            self.silent.push(Unreachable { what: at, why });
        } else if error.is_unreachable() {
            let why = format!("{}: {}", self.part, stdx::Chain(error));
            self.silent.push(Unreachable { what: at, why });
        } else {
            let name = at.rsplit('/').next().unwrap_or(&at);
            let why = reason(error).replace(&format!("/nodes/{name}"), "/nodes/…");
            self.refused.entry(why).or_default().push(at);
        }
    }

    /// Says it.
    pub(super) fn tell(self, mut report: Report) -> Report {
        for (why, who) in self.refused {
            report.notes.push(format!("{} of {}: {why}", self.part, few(&who)));
        }
        report.unreachable(self.silent)
    }
}

fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied if error.message().is_empty() => {
            "the token may not see this".to_owned()
        }
        ErrorKind::PermissionDenied => {
            format!("the token may not see this: {}", error.message())
        }
        ErrorKind::NotImplemented => "this server's version does not have it".to_owned(),
        // The path is our own; what the server said is the reason.
        _ if !error.message().is_empty() => error.message().to_owned(),
        _ => stdx::Chain(error).to_string(),
    }
}

/// The first few of several, and how many more there are.
pub(super) fn few<S: AsRef<str>>(all: &[S]) -> String {
    const SHOWN: usize = 6;
    let mut text = all.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if all.len() > SHOWN {
        // Writing to a `String` cannot fail.
        let _ = write!(text, " and {} more", all.len() - SHOWN);
    }
    text
}
