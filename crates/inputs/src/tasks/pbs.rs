//! One look at a Proxmox Backup Server.

use api_core::{Error, Request};
use estate::{NodeName, TaskStatus, Upid};
use event_core::Subject;
use jiff::{SignedDuration, Timestamp};
use pbs_client::{
    Client, datastores, jobs, node,
    tasks::{self, Task, TaskListParams},
};
use serde::de::DeserializeOwned;

use super::{
    conditions,
    cursor::Memory,
    facts,
    list::TaskRow,
    look::{MAX_ROWS, PAST, Seen, Silence, Wants},
    observe,
};
use crate::recognize::task::describe;

/// The client, and what it could not see.
pub(super) struct Eyes {
    pub(super) client: Client,
    pub(super) silence: Silence,
}

// === impl Eyes ===

impl Eyes {
    /// Looks.
    pub(super) async fn look(
        &self,
        memory: &Memory,
        wants: Wants,
        base: &Subject,
        at: Timestamp,
    ) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        let known = &memory.known;
        // One list holds the tasks of all nodes of the server, which is one.
        let floor = known.newest.keys().filter_map(|node| known.floor(node)).min();
        let floor = floor.or(known.since).unwrap_or(at - PAST);
        let since = TaskListParams {
            since: Some(floor),
            limit: Some(MAX_ROWS),
            ..TaskListParams::default()
        };
        let mut rows: Vec<TaskRow> =
            self.client.call(tasks::list(since)).await?.iter().filter_map(row).collect();
        let running = TaskListParams {
            running: Some(true),
            limit: Some(MAX_ROWS),
            ..TaskListParams::default()
        };
        rows.extend(self.client.call(tasks::list(running)).await?.iter().filter_map(row));
        for upid in known.missing(&rows) {
            match self.client.call(tasks::list(exactly(upid.started()))).await {
                Ok(list) => match list.iter().find(|task| task.upid == upid) {
                    Some(task) => rows.extend(row(task)),
                    None => seen.gone.push(upid),
                },
                Err(error) => self.silence.note("a task that ended unseen", &error),
            }
        }
        let node = rows.first().map(|row| row.upid.node().clone());
        let node = node.or_else(|| known.newest.keys().next().cloned());
        seen.rows = rows;
        if wants.often
            && let Some(usages) = self.maybe("datastores", datastores::usage()).await
        {
            seen.parts.extend(base.cluster.iter().map(|it| facts::datastores(it, &usages)));
            seen.measured = observe::datastores(&usages, base, at);
            seen.look.wrong.insert("datastores".to_owned(), conditions::datastores(&usages));
        }
        if wants.jobs {
            seen.estate = self.jobs(base, at).await;
        }
        if wants.seldom {
            let node = node.or_else(|| "localhost".parse().ok());
            if let Some(node) = node {
                self.seldom(&node, &mut seen, at).await;
            }
        }
        Ok(seen)
    }

    async fn seldom(&self, name: &NodeName, seen: &mut Seen, at: Timestamp) {
        if let Some(list) = self.maybe("certificates", node::certificates()).await {
            let ends = list.iter().map(|it| (it.filename.as_str(), it.not_after));
            let found = conditions::certificates(name, ends, at);
            seen.look.wrong.insert("certificates".to_owned(), found);
        }
        if let Some(list) = self.maybe("updates", node::updates()).await {
            let names: Vec<&str> = list.iter().map(|it| it.package.as_str()).collect();
            seen.look.wrong.insert("updates".to_owned(), conditions::updates(name, &names));
        }
    }

    async fn jobs(&self, base: &Subject, at: Timestamp) -> Option<rules::Estate> {
        let gc = self.maybe("garbage collections", datastores::gc_statuses()).await?;
        let verify = self.maybe("verification jobs", jobs::verify_jobs(None)).await?;
        let sync = self.maybe("sync jobs", jobs::sync_jobs(None)).await?;
        let mut runs: Vec<Task> = Vec::new();
        for kind in [observe::VERIFY, observe::SYNC] {
            let list = TaskListParams {
                kind: Some(kind.to_owned()),
                since: at.checked_sub(observe::LATELY).ok(),
                limit: Some(MAX_ROWS),
                ..TaskListParams::default()
            };
            let list = self.maybe("the runs of jobs", tasks::list(list)).await;
            runs.extend(list.into_iter().flatten());
        }
        let usual = |kind: &str, job: &str| {
            let is_of_job = |run: &&Task| {
                let mut of_run = Subject::default();
                describe(&run.upid, &mut of_run);
                run.kind == kind && of_run.job.as_deref() == Some(job)
            };
            observe::longest(runs.iter().filter(is_of_job).map(|run| (run.started, run.ended)))
        };
        Some(observe::server_jobs(&gc, &verify, &sync, usual, base))
    }

    async fn maybe<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: Request<T>,
    ) -> Option<T> {
        match self.client.call(request).await {
            Ok(reply) => Some(reply),
            Err(error) => {
                self.silence.note(what, &error);
                None
            }
        }
    }
}

fn exactly(started: Timestamp) -> TaskListParams {
    TaskListParams {
        since: Some(started),
        until: started.checked_add(SignedDuration::from_secs(1)).ok(),
        limit: Some(MAX_ROWS),
        ..TaskListParams::default()
    }
}

fn row(task: &Task) -> Option<TaskRow> {
    let end = match (task.ended, task.outcome()) {
        (Some(at), outcome) => {
            Some((at, outcome.unwrap_or_else(|| TaskStatus::Failed("unknown".to_owned()))))
        }
        (None, None) => None,
        (None, Some(_)) => return None,
    };
    let upid: &Upid = &task.upid;
    Some(TaskRow { upid: upid.clone(), end })
}
