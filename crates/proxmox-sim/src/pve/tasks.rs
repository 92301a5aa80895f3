//! Tasks of nodes and of the cluster.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data, index};
use crate::state::task::Task;

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/cluster/tasks", of_cluster),
    ("GET", "/nodes/{node}/tasks", of_node),
    ("GET", "/nodes/{node}/tasks/{upid}", |call| {
        find(call)?;
        index("name", &["log", "status"])
    }),
    ("DELETE", "/nodes/{node}/tasks/{upid}", stop),
    ("GET", "/nodes/{node}/tasks/{upid}/log", log),
    ("GET", "/nodes/{node}/tasks/{upid}/status", status),
];

/// How many finished tasks of each node the cluster-wide list has.
const RECENT: usize = 25;

fn row(task: &Task) -> Value {
    let (user, token) = split(&task.user);
    let mut row = json!({
        "upid": task.upid, "node": task.node, "pid": task.pid, "pstart": task.pstart,
        "starttime": task.start, "type": task.kind, "id": task.id, "user": user,
    });
    if let Some(token) = token {
        row["tokenid"] = json!(token);
    }
    if let Some(end) = task.end {
        row["endtime"] = json!(end);
        row["status"] = json!(task.status);
    }
    row
}

fn split(user: &str) -> (&str, Option<&str>) {
    user.split_once('!').map_or((user, None), |(user, token)| (user, Some(token)))
}

/// A task's owner sees it; so does who may audit the node.
fn visible(call: &Call<'_>, task: &Task) -> bool {
    split(&task.user).0 == call.who.user || call.may(&format!("/nodes/{}", task.node), "Sys.Audit")
}

fn of_cluster(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let cluster = call.cluster();
    let mut shown: Vec<&Task> = Vec::new();
    for node in &cluster.nodes {
        let mut finished = 0;
        for task in cluster.tasks.list.iter().rev().filter(|task| task.node == node.name) {
            if task.end.is_some() {
                finished += 1;
            }
            if finished <= RECENT && visible(call, task) {
                shown.push(task);
            }
        }
    }
    shown.sort_by_key(|task| std::cmp::Reverse(task.start));
    let rows = shown.into_iter().enumerate().map(|(at, task)| {
        let mut row = row(task);
        if let Some(map) = row.as_object_mut() {
            map.shift_remove("pid");
            map.shift_remove("pstart");
            if task.end.is_some() {
                // The real list has the number for some and text for others.
                map.insert("saved".to_owned(), if at % 2 == 0 { json!(1) } else { json!("1") });
            }
        }
        row
    });
    data(rows.collect::<Vec<Value>>())
}

fn of_node(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let cluster = call.cluster();
    let node = &cluster.nodes[call.node].name;
    let source = call.text("source").unwrap_or("archive");
    let limit = call.int("limit").map_or(50, |limit| limit as usize);
    let start = call.int("start").unwrap_or(0) as usize;
    let vmid = call.int("vmid").map(|vmid| vmid.to_string());
    let states: Option<Vec<&str>> =
        call.text("statusfilter").map(|text| text.split([',', ';', ' ']).collect());
    let mut found: Vec<&Task> = cluster
        .tasks
        .list
        .iter()
        .filter(|task| task.node == *node && visible(call, task))
        .filter(|task| match source {
            "active" => task.end.is_none(),
            "all" => true,
            _ => task.end.is_some(),
        })
        .filter(|task| call.flag("errors") != Some(true) || state(task) == "error")
        .filter(|task| call.text("typefilter").is_none_or(|kind| task.kind == kind))
        .filter(|task| call.text("userfilter").is_none_or(|user| task.user.contains(user)))
        .filter(|task| vmid.as_ref().is_none_or(|vmid| task.id == *vmid))
        .filter(|task| call.int("since").is_none_or(|since| task.start >= since))
        .filter(|task| call.int("until").is_none_or(|until| task.start <= until))
        .filter(|task| states.as_ref().is_none_or(|states| states.contains(&state(task))))
        .collect();
    found.reverse();
    found.sort_by_key(|task| {
        (task.end.is_some(), std::cmp::Reverse(task.end.unwrap_or(task.start)))
    });
    let total = found.len();
    let limit = if limit == 0 { usize::MAX } else { limit };
    let rows: Vec<Value> = found.into_iter().skip(start).take(limit).map(row).collect();
    let reply = Reply::from(Value::Array(rows));
    Ok(if total == 0 { reply } else { reply.with("total", total) })
}

/// `ok`, `warning`, `error` or `unknown`
fn state(task: &Task) -> &'static str {
    match task.status.as_deref() {
        Some("OK") => "ok",
        Some(status) if status.starts_with("WARNINGS: ") => "warning",
        Some(_) => "error",
        None => "unknown",
    }
}

fn find<'a>(call: &'a Call<'_>) -> Result<&'a Task, Fault> {
    let upid = call.arg("upid");
    if !upid.starts_with("UPID:") || upid.matches(':').count() != 8 {
        let text = format!("unable to parse worker upid '{upid}'");
        return Err(Fault::param("upid", text));
    }
    let node = &call.cluster().nodes[call.node].name;
    let task = call.cluster().tasks.get(upid).filter(|task| task.node == *node);
    let task = task.ok_or_else(|| Fault::param("upid", "no such task"))?;
    if !visible(call, task) {
        return Err(Fault::new(403, format!("Permission check failed (/nodes/{node}, Sys.Audit)")));
    }
    Ok(task)
}

fn status(call: &mut Call<'_>) -> Answer {
    let task = find(call)?;
    let mut row = row(task);
    if let Some(map) = row.as_object_mut() {
        map.shift_remove("endtime");
        map.shift_remove("status");
    }
    match &task.status {
        None => row["status"] = json!("running"),
        Some(text) => {
            row["status"] = json!("stopped");
            row["exitstatus"] = json!(text);
        }
    }
    data(row)
}

fn log(call: &mut Call<'_>) -> Answer {
    let task = find(call)?;
    if call.flag("download") == Some(true) {
        return Ok(Reply::text(task.log.join("\n") + "\n"));
    }
    if task.log.is_empty() {
        return Ok(Reply::from(json!([{"n": 1, "t": "no content"}])).with("total", 1));
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
    Ok(Reply::from(Value::Array(lines)).with("total", task.log.len()))
}

fn stop(call: &mut Call<'_>) -> Answer {
    let task = find(call)?;
    let (upid, node) = (task.upid.clone(), task.node.clone());
    if split(&task.user).0 != call.who.user {
        call.need(&format!("/nodes/{node}"), "Sys.Modify")?;
    }
    let home = call.pve();
    call.estate.stop_task(home, &upid);
    data(Value::Null)
}
