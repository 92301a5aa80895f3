//! The system below: logs and certificates.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data};
use crate::state::admin::Line;

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/syslog", syslog),
    ("GET", "/nodes/{node}/journal", journal),
    ("GET", "/nodes/{node}/certificates/info", certificates),
];

/// The node's lines: those of the cluster log, of its services and of cron.
fn lines(call: &Call<'_>) -> Vec<Line> {
    let node = &call.cluster().nodes[call.node];
    let mut lines = node.host.journal.clone();
    let log = call.cluster().log.iter().filter(|line| line["node"] == node.name.as_str());
    lines.extend(log.map(|line| {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let user = text("user");
        let who = if user.is_empty() { String::new() } else { format!("<{user}> ") };
        Line {
            time: line["time"].as_i64().unwrap_or(0),
            unit: text("tag").to_owned(),
            text: format!("{who}{}", text("msg")),
        }
    }));
    let now = call.estate.seconds();
    lines.extend((0..20).map(|at| Line {
        time: now - now % 60 - at * 3600,
        unit: "CRON".to_owned(),
        text:
            "pam_unix(cron:session): session opened for user root(uid=0) by root(uid=0)".to_owned(),
    }));
    lines.sort_by_key(|line| line.time);
    lines
}

/// A line as `journalctl` prints it.
pub(crate) fn printed(line: &Line, node: &str) -> String {
    let stamp = crate::clock::utc(line.time, "%b %d %H:%M:%S");
    let pid = 900 + line.unit.len() * 37 + (line.time % 1000) as usize;
    format!("{stamp} {node} {}[{pid}]: {}", line.unit, line.text)
}

/// Lines of a range and unit, a page of them, with the count of all.
pub(crate) fn syslog_page(call: &Call<'_>, lines: Vec<Line>, node: &str) -> Answer {
    let since = moment(call, "since", 0)?;
    let until = moment(call, "until", i64::MAX)?;
    let unit = call.text("service").map(|unit| unit.trim_end_matches(".service"));
    let all: Vec<String> = lines
        .into_iter()
        .filter(|line| (since..=until).contains(&line.time))
        .filter(|line| unit.is_none_or(|unit| unit == line.unit))
        .map(|line| printed(&line, node))
        .collect();
    let start = call.int("start").unwrap_or(0) as usize;
    let limit = call.int("limit").map_or(50, |limit| limit as usize);
    let rows: Vec<Value> = all
        .iter()
        .enumerate()
        .skip(start)
        .take(limit)
        .map(|(at, line)| json!({"n": at + 1, "t": line}))
        .collect();
    if all.is_empty() {
        return data(json!([{"n": 1, "t": "no content"}])).map(|reply| reply.with("total", 1));
    }
    Ok(Reply::from(Value::Array(rows)).with("total", all.len()))
}

/// `YYYY-MM-DD`, with a time or without, in the node's zone, which is UTC here.
fn moment(call: &Call<'_>, name: &str, absent: i64) -> Result<i64, Fault> {
    let Some(text) = call.text(name) else { return Ok(absent) };
    let padded = match text.len() {
        10 => format!("{text} 00:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    crate::clock::parse_utc(&padded)
        .ok_or_else(|| Fault::param(name, "value does not match the regex pattern"))
}

fn syslog(call: &mut Call<'_>) -> Answer {
    let node = call.cluster().nodes[call.node].name.clone();
    syslog_page(call, lines(call), &node)
}

/// Lines between two moments or two cursors, or the last ones; a cursor before and after.
pub(crate) fn journal_range(call: &Call<'_>, lines: &[Line], node: &str) -> Answer {
    let since = call.int("since").unwrap_or(0);
    let until = call.int("until").unwrap_or(i64::MAX);
    let at = |name: &str| {
        let cursor = call.text(name)?;
        let hex = cursor.split(';').find_map(|part| part.strip_prefix("i="))?;
        usize::from_str_radix(hex, 16).ok()
    };
    let (from, to) = (at("startcursor").map_or(0, |at| at + 1), at("endcursor"));
    let found: Vec<(usize, &Line)> = lines
        .iter()
        .enumerate()
        .filter(|(at, line)| {
            (since..=until).contains(&line.time) && *at >= from && to.is_none_or(|to| *at < to)
        })
        .collect();
    let keep = call.int("lastentries").map_or(found.len(), |keep| (keep as usize).min(found.len()));
    let shown = &found[found.len() - keep..];
    let cursor = |found: Option<&(usize, &Line)>| {
        let (at, time) = found.map_or((0, 0), |(at, line)| (*at, line.time));
        json!(format!("s=5e1f;i={at:x};b=51;m=1;t={:x};x=0", time * 1_000_000))
    };
    let mut rows = vec![cursor(shown.first())];
    rows.extend(shown.iter().map(|(_, line)| json!(printed(line, node))));
    rows.push(cursor(shown.last()));
    data(rows)
}

fn journal(call: &mut Call<'_>) -> Answer {
    let node = call.cluster().nodes[call.node].name.clone();
    journal_range(call, &lines(call), &node)
}

fn certificates(call: &mut Call<'_>) -> Answer {
    let cluster = call.cluster();
    let node = &cluster.nodes[call.node];
    let issuer = format!("/O=Simulated Proxmox/CN={} CA", cluster.key);
    data(json!([
        {"filename": "pve-root-ca.pem", "fingerprint": cluster.ca.0, "issuer": issuer, "subject": issuer,
         "san": [], "notbefore": node.not_after - 730 * 86_400, "notafter": node.not_after + 2_900 * 86_400,
         "pem": cluster.ca.1, "public-key-type": "id-ecPublicKey", "public-key-bits": 256},
        {"filename": "pve-ssl.pem", "fingerprint": node.fingerprint, "issuer": issuer,
         "subject": format!("/O=Simulated Proxmox/CN={}", node.name), "san": ["127.0.0.1", "localhost", node.name],
         "notbefore": node.not_after - 730 * 86_400, "notafter": node.not_after, "pem": node.pem,
         "public-key-type": "id-ecPublicKey", "public-key-bits": 256},
    ]))
}
