//! Replication of local disks between nodes.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/cluster/replication", jobs),
    ("GET", "/cluster/replication/{id}", job),
    ("GET", "/nodes/{node}/replication", states),
    ("GET", "/nodes/{node}/replication/{id}/status", state_of),
    ("GET", "/nodes/{node}/replication/{id}/log", log),
    ("POST", "/nodes/{node}/replication/{id}/schedule_now", run),
];

/// Seconds between two runs of `*/15`.
const EVERY: i64 = 900;
/// How long the scheduler takes to notice, in milliseconds at demo pace.
const NOTICE: f64 = 3000.0;
const RUN: f64 = 4210.0;

fn text<'a>(job: &'a Map<String, Value>, key: &str) -> &'a str {
    job.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn visible(call: &Call<'_>) -> Vec<Map<String, Value>> {
    let jobs = call.cluster().replication.iter();
    let seen = jobs.filter(|job| {
        let vmid = job.get("guest").and_then(Value::as_u64).unwrap_or_default();
        call.may(&format!("/vms/{vmid}"), "VM.Audit")
    });
    seen.cloned().collect()
}

fn jobs(call: &mut Call<'_>) -> Answer {
    data(visible(call).into_iter().map(Value::Object).collect::<Vec<Value>>())
}

fn find(call: &Call<'_>, privilege: &str) -> Result<Map<String, Value>, Fault> {
    let id = call.arg("id");
    let (vmid, _) = id.split_once('-').unwrap_or((id, ""));
    call.need(&format!("/vms/{vmid}"), privilege)?;
    let found = call.cluster().replication.iter().find(|job| text(job, "id") == id);
    found.cloned().ok_or_else(|| Fault::internal(format!("no such replication job '{id}'")))
}

fn job(call: &mut Call<'_>) -> Answer {
    data(Value::Object(find(call, "VM.Audit")?))
}

/// A job with how it goes.
fn with_state(call: &Call<'_>, mut row: Map<String, Value>) -> Value {
    let now = call.estate.seconds();
    let id = text(&row, "id").to_owned();
    let kept = call.cluster().common.replication.get(&id).cloned().unwrap_or_default();
    let regular = now - now % EVERY;
    let vmid = row.get("guest").and_then(Value::as_u64).unwrap_or_default() as u32;
    let guest = call.cluster().guests.get(&vmid);
    let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
    put("last_sync", json!(kept.last_sync.unwrap_or(regular)));
    put("last_try", json!(kept.last_try.unwrap_or(regular)));
    put("next_sync", json!(regular + EVERY));
    put("duration", json!(4.21));
    put("fail_count", json!(kept.failures));
    put("vmtype", json!(guest.map_or("qemu", |guest| guest.kind.word())));
    if kept.failures > 0 {
        put("error", json!(kept.cause.unwrap_or_default()));
    }
    Value::Object(row)
}

fn states(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let node = call.cluster().nodes[call.node].name.clone();
    let guest = call.int("guest");
    let mine = visible(call).into_iter().filter(|job| {
        text(job, "source") == node
            && guest.is_none_or(|guest| job.get("guest").and_then(Value::as_i64) == Some(guest))
    });
    data(mine.map(|job| with_state(call, job)).collect::<Vec<Value>>())
}

fn state_of(call: &mut Call<'_>) -> Answer {
    let job = find(call, "VM.Audit")?;
    data(with_state(call, job))
}

fn log(call: &mut Call<'_>) -> Answer {
    let job = find(call, "VM.Audit")?;
    let id = text(&job, "id");
    let kept = call.cluster().common.replication.get(id).cloned().unwrap_or_default();
    let mut lines = vec![
        format!("{id}: start replication job"),
        format!(
            "{id}: guest => VM {}, running => 4711",
            text(&job, "id").split('-').next().unwrap_or("")
        ),
        format!("{id}: volumes => local-lvm:vm-disk-0"),
    ];
    match kept.cause.filter(|_| kept.failures > 0) {
        Some(cause) => lines.push(format!("{id}: end replication job with error: {cause}")),
        None => lines.push(format!("{id}: end replication job")),
    }
    let limit = call.int("limit").map_or(lines.len(), |limit| limit as usize);
    let rows = lines.iter().take(limit).enumerate();
    data(rows.map(|(at, line)| json!({"n": at + 1, "t": line})).collect::<Vec<Value>>())
}

/// Marks a job as due; the scheduler runs it a moment later.
fn run(call: &mut Call<'_>) -> Answer {
    let job = find(call, "VM.Replicate")?;
    let (at, id) = (call.home, text(&job, "id").to_owned());
    call.estate.after(NOTICE + RUN, move |estate| {
        let now = estate.seconds();
        let kept = estate.clusters[at].common.replication.entry(id).or_default();
        // A job is told apart from its last run by the second in which it began, so a simulator in a
        // hurry must not begin two in one; the regular one counts, too.
        let now = now.max(kept.last_try.unwrap_or(now - now % EVERY) + 1);
        kept.last_try = Some(now);
        if kept.cause.is_some() {
            kept.failures += 1;
        } else {
            kept.failures = 0;
            kept.last_sync = Some(now);
        }
    });
    data(Value::Null)
}
