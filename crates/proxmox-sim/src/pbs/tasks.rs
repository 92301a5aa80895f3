//! Tasks of the backup server.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data};
use crate::state::task::Task;

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/tasks", list),
    ("GET", "/nodes/{node}/tasks/{upid}/status", status),
    ("GET", "/nodes/{node}/tasks/{upid}/log", log),
    ("DELETE", "/nodes/{node}/tasks/{upid}", stop),
];

fn visible(call: &Call<'_>, task: &Task) -> bool {
    task.user.split('!').next() == Some(call.who.user.as_str())
        || call.grants.may("/system/tasks", "Sys.Audit")
}

fn state(task: &Task) -> &'static str {
    match task.status.as_deref() {
        Some("OK") => "ok",
        Some(status) if status.starts_with("WARNINGS") => "warning",
        Some("unknown") | None => "unknown",
        Some(_) => "error",
    }
}

fn list(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let limit = call.int("limit").unwrap_or(50) as usize;
    let start = call.int("start").unwrap_or(0) as usize;
    let filter: Option<Vec<&str>> = call
        .params
        .get("statusfilter")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect());
    let store = call.text("store").map(|store| format!("{store}:"));
    let mut found: Vec<&Task> = call
        .vault()
        .tasks
        .list
        .iter()
        .rev()
        .filter(|task| visible(call, task))
        .filter(|task| call.flag("running") != Some(true) || task.end.is_none())
        .filter(|task| call.flag("errors") != Some(true) || state(task) == "error")
        .filter(|task| call.text("userfilter").is_none_or(|user| task.user.contains(user)))
        .filter(|task| call.text("typefilter").is_none_or(|kind| task.kind.contains(kind)))
        .filter(|task| call.int("since").is_none_or(|since| task.start >= since))
        .filter(|task| call.int("until").is_none_or(|until| task.start <= until))
        .filter(|task| filter.as_ref().is_none_or(|filter| filter.contains(&state(task))))
        .filter(|task| {
            store.as_ref().is_none_or(|store| {
                task.id.starts_with(store.as_str()) || format!("{}:", task.id) == *store
            })
        })
        .collect();
    found.sort_by_key(|task| std::cmp::Reverse(task.start));
    let node = call.arg("node");
    let total = found.len();
    let limit = if limit == 0 { usize::MAX } else { limit };
    let rows: Vec<Value> = found
        .into_iter()
        .skip(start)
        .take(limit)
        .map(|task| {
            let mut row = json!({
                "upid": task.upid, "node": node, "pid": task.pid, "pstart": task.pstart, "starttime": task.start,
                "worker_type": task.kind, "worker_id": task.id, "user": task.user,
            });
            if let Some(end) = task.end {
                row["endtime"] = json!(end);
                row["status"] = json!(task.status);
            }
            row
        })
        .collect();
    // The real total is one more than what is shown, when there is more.
    let shown = start + rows.len();
    let total = total.min(shown + 1);
    Ok(Reply::from(Value::Array(rows)).with("total", total))
}

fn find<'a>(call: &'a Call<'_>) -> Result<&'a Task, Fault> {
    let upid = call.arg("upid");
    if !upid.starts_with("UPID:") || upid.matches(':').count() != 9 {
        return Err(Fault::bad(
            "parameter verification failed - 'upid': value does not match the regex pattern",
        ));
    }
    let task = call.vault().tasks.get(upid).ok_or_else(|| Fault::bad("no such task"))?;
    if !visible(call, task) {
        return Err(Fault::new(403, "task access not allowed"));
    }
    Ok(task)
}

fn status(call: &mut Call<'_>) -> Answer {
    let task = find(call)?;
    let (user, token) = task
        .user
        .split_once('!')
        .map_or((task.user.as_str(), None), |(user, token)| (user, Some(token)));
    let mut row = json!({
        "upid": task.upid, "node": task.node, "pid": task.pid, "pstart": task.pstart, "starttime": task.start,
        "type": task.kind, "id": task.id, "user": user,
    });
    if let Some(token) = token {
        row["tokenid"] = json!(token);
    }
    match (&task.status, task.end) {
        (Some(status), Some(end)) => {
            row["status"] = json!("stopped");
            row["exitstatus"] = json!(status);
            row["endtime"] = json!(end);
        }
        _ => row["status"] = json!("running"),
    }
    data(row)
}

fn log(call: &mut Call<'_>) -> Answer {
    let task = find(call)?;
    if call.flag("download") == Some(true) {
        return Ok(Reply::text(task.log.join("\n") + "\n"));
    }
    let start = call.int("start").unwrap_or(0) as usize;
    let limit = match call.int("limit").unwrap_or(50) {
        0 => usize::MAX,
        limit => limit as usize,
    };
    let lines: Vec<Value> = task
        .log
        .iter()
        .enumerate()
        .skip(start)
        .take(limit)
        .map(|(at, text)| json!({"n": at + 1, "t": text}))
        .collect();
    let mut reply =
        Reply::from(Value::Array(lines)).with("total", task.log.len()).with("success", 1);
    if call.flag("test-status") == Some(true) {
        reply = reply.with("active", task.end.is_none());
    }
    Ok(reply)
}

fn stop(call: &mut Call<'_>) -> Answer {
    let task = find(call)?;
    let upid = task.upid.clone();
    let own = task.user.split('!').next() == Some(call.who.user.as_str());
    if !own && !call.grants.may("/system/tasks", "Sys.Modify") {
        return Err(Fault::new(403, "permission check failed"));
    }
    let home = call.pbs();
    call.estate.stop_task(home, &upid);
    data(Value::Null)
}
