//! Finds who holds a task. A UPID names its node, and node names are not unique in an estate.

use std::sync::Arc;

use api_core::{Error, ErrorKind};
use estate::{Upid, UpidGrammar};
use futures::future::join_all;

use crate::{
    error::ToolError,
    fleet::GATHER_DEADLINE,
    follow::Holder,
    report::{Cell, Report, Table},
    tool::Cx,
    view::View,
};

/// Reads a UPID as the caller wrote it.
pub(super) fn parse(text: &str) -> Result<Upid, ToolError> {
    text.trim().parse().map_err(|error: estate::InvalidUpid| {
        let text = stdx::untrusted::line(&error.to_string(), 200).into_owned();
        ToolError::new(text).hint("copy the whole UPID, with its last colon, from tasks_list")
    })
}

/// The member that has the task: the one named, the only one with such a node, or the only one that
/// knows the task.
pub(super) async fn locate(
    cx: &Cx,
    upid: &Upid,
    cluster: Option<&str>,
) -> Result<Holder, ToolError> {
    let (holders, silent) = candidates(cx, upid, cluster).await?;
    if let [holder] = holders.as_slice() {
        return Ok(holder.clone());
    }
    // Several: whoever knows the task has it. Those that are silent might know it too.
    let asked = holders.iter().map(|holder| async move { holder.outcome(upid).await });
    let answers = join_all(asked).await;
    let mut known = Vec::new();
    let mut silent = silent;
    for (holder, answer) in holders.iter().zip(answers) {
        match answer {
            Ok(_) => known.push(holder),
            Err(error) if error.is_unreachable() => {
                silent = silent.unreachable(vec![crate::report::Unreachable {
                    what: holder.key().to_owned(),
                    why: stdx::Chain(&error).to_string(),
                }]);
            }
            Err(_) => {}
        }
    }
    match known.as_slice() {
        [holder] => Ok((*holder).clone()),
        [] => Err(with(silent, format!("no member of the estate knows the task {upid}"))),
        several => {
            let mut table = Table::new("clusters", &["cluster"]);
            for holder in several {
                table.push(vec![Cell::text(holder.key())]);
            }
            Err(with(silent, format!("{} members know a task {upid}", several.len()))
                .hint("name one as cluster")
                .choices(table))
        }
    }
}

/// Who can have it, and a report of who was silent.
async fn candidates(
    cx: &Cx,
    upid: &Upid,
    cluster: Option<&str>,
) -> Result<(Vec<Holder>, Report), ToolError> {
    if upid.grammar() == UpidGrammar::Pbs {
        // A backup server answers for any node name, so each has to be asked for the task.
        let members = cx.fleet.pbs(cluster)?;
        return Ok((members.into_iter().map(server).collect(), Report::default()));
    }
    let members = cx.fleet.pve(cluster)?;
    if members.len() == 1 {
        return Ok((members.into_iter().map(holder).collect(), Report::default()));
    }
    let gathered = cx.fleet.gather(members, GATHER_DEADLINE, View::load).await;
    let silent = gathered.tell(Report::default());
    let with_node = gathered
        .answers
        .iter()
        .filter(|(_, view)| view.nodes.iter().any(|node| node.name == *upid.node()));
    let holders: Vec<_> = with_node.map(|(member, _)| holder(Arc::clone(member))).collect();
    if holders.is_empty() {
        let lead = format!("no cluster that answers has a node {}", upid.node());
        return Err(with(silent, lead));
    }
    Ok((holders, silent))
}

fn holder(member: Arc<crate::fleet::Pve>) -> Holder {
    let client = member.client.clone();
    Holder::Pve(member, client)
}

fn server(member: Arc<crate::fleet::Pbs>) -> Holder {
    let client = member.client.clone();
    Holder::Pbs(member, client)
}

fn with(mut report: Report, lead: String) -> ToolError {
    report.lead = lead;
    ToolError::from_report(report)
}

/// A task that could not be read, in words that say what is wrong with it.
pub(super) fn unreadable(holder: &Holder, upid: &Upid, error: &Error) -> ToolError {
    let is_unknown = error.is_not_found()
        || error.kind() == ErrorKind::Parameter && error.params().contains_key("upid");
    if is_unknown {
        return ToolError::new(format!("{} does not know the task {upid}", holder.key()))
            .hint("old tasks are forgotten; tasks_list shows those that are kept");
    }
    ToolError::api(format!("read the task {upid} of {}", holder.key()), error)
}
