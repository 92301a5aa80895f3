//! `storage_content`: what lies on a storage, whose it is, and which disks nobody uses.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use async_trait::async_trait;
use estate::{Access, VmId};
use futures::future::join_all;
use mcp_protocol::JsonObject;
use pve_client::storage::{self, ContentKind, Volume};
use serde::Deserialize;
use serde_json::json;

use super::{refs::Refs, spot::Spot};
use crate::{
    address::Purpose,
    cursor,
    error::ToolError,
    report::{Cell, Paging, Report, Table, bytes},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::{late::Until, parts, power::object, tally::counted},
    view::Guest,
};

const NAME: &str = "storage_content";
const KINDS: &[&str] = &["images", "rootdir", "backup", "iso", "vztmpl", "snippets", "import"];

/// How many rows a page has where nobody says.
const PAGE: usize = 50;

/// How many guests' configurations are read to tell which disks are named nowhere.
const CONFIGS: usize = 300;

/// Lists volumes.
pub(super) struct StorageContent;

#[derive(Debug, Deserialize)]
struct Args {
    storage: String,
    cluster: Option<String>,
    node: Option<String>,
    content: Option<String>,
    vmid: Option<u32>,
    only: Option<Only>,
    sort: Option<Sort>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Only {
    Orphaned,
    Protected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Size,
    Age,
    Name,
}

/// A volume and what is known of it.
struct Row {
    node: String,
    volume: Volume,
    /// Why it belongs to nobody, if so.
    orphaned: Option<&'static str>,
}

#[async_trait]
impl EstateTool for StorageContent {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List a storage's contents",
            description: "Volumes on a PVE storage with owner, size, age and protection; marks \
                disks whose guest is gone or does not name them.",
            input: Input::new()
                .text("storage", "name or cluster/name")
                .required("storage")
                .cluster()
                .node()
                .choice("content", KINDS, "")
                .integer("vmid", 100..=999_999_999, "")
                .choice("only", &["orphaned", "protected"], "")
                .choice("sort", &["size", "age", "name"], "default size")
                .paged(),
            output: Output::new()
                .fact("storage", "string")
                .fact("count", "integer")
                .fact("bytes", "integer")
                .fact("orphaned", "integer")
                .fact("orphaned_bytes", "integer")
                .table("volumes"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let mut query = args.clone();
        query.remove("cursor");
        let args: Args = cx.args(args)?;
        let offset = cursor::decode(args.cursor.as_deref(), &query).map_err(|_| {
            ToolError::new("the cursor does not belong to these arguments")
                .hint("leave cursor out to begin again")
        })?;
        let spot = Spot::find(
            cx,
            args.cluster.as_deref(),
            &args.storage,
            args.node.as_deref(),
            Purpose::Read,
        )
        .await?;
        let (rows, mut report) = read(cx, &spot, &args).await?;
        let all = rows.len();
        let mut rows: Vec<Row> = rows
            .into_iter()
            .filter(|row| match args.only {
                None => true,
                Some(Only::Orphaned) => row.orphaned.is_some(),
                Some(Only::Protected) => row.volume.protected,
            })
            .collect();
        match args.sort.unwrap_or(Sort::Size) {
            Sort::Size => rows.sort_by_key(|row| Reverse(row.volume.size_bytes)),
            Sort::Age => rows.sort_by_key(|row| row.volume.created),
            Sort::Name => rows.sort_by(|a, b| a.volume.id.cmp(&b.volume.id)),
        }
        let size: u64 = rows.iter().map(|row| row.volume.size_bytes).sum();
        let orphans: Vec<&Row> = rows.iter().filter(|row| row.orphaned.is_some()).collect();
        let lost: u64 = orphans.iter().map(|row| row.volume.size_bytes).sum();
        let of = if all == rows.len() { String::new() } else { format!(" of {all}") };
        let mut lead =
            format!("{}: {}{of}, {}", spot.at(), counted(rows.len(), "volume"), bytes(size));
        if !orphans.is_empty() {
            let disks = counted(orphans.len(), "disk");
            lead = format!("{lead}; {disks} of {} that no guest names", bytes(lost));
        }
        report.lead = lead;
        report = report
            .fact("storage", spot.at())
            .fact("count", rows.len())
            .fact("bytes", size)
            .fact("orphaned", orphans.len())
            .fact("orphaned_bytes", lost);
        if let Some(first) = orphans.first() {
            let volume = format!("{}/{}", spot.member.key, first.volume.id);
            let mut again = json!({"volume": volume, "plan": true});
            if !spot.rows.iter().any(|row| row.shared) {
                again["node"] = first.node.as_str().into();
            }
            report = report.next("volume_delete", again);
        }
        let table = table(cx, &spot, &args, query, offset, &rows);
        Ok(report.table(table).unreachable(spot.unreachable.clone()))
    }
}

/// What the nodes say, each volume judged; in the report stands what is missing.
async fn read(cx: &Cx, spot: &Spot, args: &Args) -> Result<(Vec<Row>, Report), ToolError> {
    let until = Until::of(&cx.fleet).after_search();
    let kind = args.content.as_deref().map(ContentKind::from);
    let vmid = match args.vmid {
        Some(id) => Some(VmId::try_new(id).map_err(|error| ToolError::new(error.to_string()))?),
        None => None,
    };
    let (member, client) = (&spot.member, &spot.member.client);
    let asked = spot.asked().into_iter().map(|row| {
        let call = storage::content(&row.node, &row.name, kind.as_ref(), vmid);
        async move { (row, until.wait(client.call(call)).await) }
    });
    let (mut rows, mut report, mut heard, mut failed) = (Vec::new(), Report::default(), 0, None);
    for (row, answer) in join_all(asked).await {
        match answer {
            Ok(volumes) => {
                heard += 1;
                let node = row.node.to_string();
                rows.extend(volumes.into_iter().map(|volume| Row {
                    node: node.clone(),
                    volume,
                    orphaned: None,
                }));
            }
            Err(error) => {
                let what = format!("{}/{}", member.key, row.node);
                let part = format!("contents of {}", spot.at());
                report = parts::missing_at(report, &what, &part, &error);
                failed = Some(error);
            }
        }
    }
    if let (0, Some(error)) = (heard, failed) {
        return Err(ToolError::api(format!("read the contents of {}", spot.at()), &error).map(
            |mut said| {
                said.unreachable.extend(report.unreachable);
                said
            },
        ));
    }
    let report = judge(spot, &mut rows, report).await;
    let holds_backups = spot.rows.iter().any(|row| row.content.iter().any(|it| it == "backup"));
    let wants_backups = args.content.as_deref().is_none_or(|kind| kind == "backup");
    let report = if holds_backups && wants_backups {
        let needs = &["backup_volumes_storage", "backup_volumes_guest"];
        sight::tell(report, member.key.as_str(), spot.held.as_deref(), needs)
    } else {
        report
    };
    Ok((rows, report))
}

/// Finds the disks that no guest names.
async fn judge(spot: &Spot, rows: &mut [Row], mut report: Report) -> Report {
    let guests: BTreeMap<VmId, &Guest> =
        spot.view.guests.iter().map(|guest| (guest.at.vmid, guest)).collect();
    let owners: BTreeSet<VmId> =
        rows.iter().filter(|row| is_disk(&row.volume)).filter_map(|row| row.volume.vmid).collect();
    if owners.is_empty() {
        return report;
    }
    let sees_all = spot.held.as_deref().is_some_and(|held| held.has("/vms", "VM.Audit"));
    let away: BTreeSet<&str> = spot.view.offline_nodes().map(|node| node.name.as_str()).collect();
    let known: Vec<&Guest> = owners
        .iter()
        .filter_map(|id| guests.get(id).copied())
        .filter(|guest| !away.contains(guest.node.as_str()))
        .collect();
    let skipped = known.len().saturating_sub(CONFIGS);
    let read: BTreeSet<VmId> = known.iter().take(CONFIGS).map(|guest| guest.at.vmid).collect();
    let refs = Refs::read(&spot.member, known.into_iter().take(CONFIGS).collect(), false).await;
    let mut unseen = false;
    for row in rows.iter_mut().filter(|row| is_disk(&row.volume)) {
        let Some(vmid) = row.volume.vmid else { continue };
        let named = refs.of(&row.volume.id);
        row.orphaned = match guests.get(&vmid) {
            None if sees_all => Some("guest-gone"),
            None => {
                unseen = true;
                None
            }
            Some(guest) => {
                let at = guest.at.to_string();
                let is_known = read.contains(&vmid)
                    && !refs.unread.iter().any(|text| text.starts_with(&format!("{at}:")));
                // What a snapshot keeps of memory is named by the snapshot alone.
                let is_state = row.volume.id.contains("-state-");
                match named {
                    [] if is_known && !is_state => Some("not-named"),
                    [.., only] if named.len() == 1 && only.is_unused() => Some("unused"),
                    _ => None,
                }
            }
        };
    }
    if unseen {
        report = report.note(
            "some disks' guests are not seen: they are gone, or the token lacks VM.Audit on /vms",
        );
    }
    if skipped > 0 || !refs.unread.is_empty() {
        let count = skipped + refs.unread.len();
        report = report.note(format!(
            "{} could not be read: whether their disks are named is not known",
            counted(count, "guest configuration")
        ));
    }
    if rows.iter().any(|row| row.orphaned == Some("not-named")) {
        report = report.note(
            "not-named: the guest's configuration does not name it; a snapshot of it still could (volume_delete looks)",
        );
    }
    report
}

fn is_disk(volume: &Volume) -> bool {
    matches!(volume.content, ContentKind::Images | ContentKind::RootDir)
}

fn table(
    cx: &Cx,
    spot: &Spot,
    args: &Args,
    query: JsonObject,
    offset: usize,
    rows: &[Row],
) -> Table {
    let mut columns = vec!["volume", "content", "guest", "size", "created", "marks"];
    let by_node = spot.asked().len() > 1;
    if by_node {
        columns.insert(0, "node");
    }
    let mut table = Table::new("volumes", &columns);
    let page = cursor::limit(args.limit, PAGE);
    for row in rows.iter().skip(offset).take(page) {
        let volume = &row.volume;
        let mut marks: Vec<String> = Vec::new();
        marks.extend(row.orphaned.map(str::to_owned));
        if volume.protected {
            marks.push("protected".to_owned());
        }
        if volume.encrypted.is_some() {
            marks.push("encrypted".to_owned());
        }
        if let Some(verification) = &volume.verification {
            marks.push(format!("verified:{}", verification.state));
        }
        let guest = volume.vmid.map(|vmid| format!("{}/{vmid}", spot.member.key));
        let mut cells = vec![
            Cell::text(&*volume.id),
            Cell::text(volume.content.to_string()),
            Cell::opt(guest),
            Cell::bytes(volume.size_bytes),
            volume.created.map_or_else(Cell::none, |then| Cell::moment(then, cx.now())),
            Cell::words(&marks),
        ];
        if by_node {
            cells.insert(0, Cell::text(&*row.node));
        }
        table.push(cells);
    }
    table.total = Some(rows.len());
    table.paging = Some(Paging { tool: NAME, args: object(query.into()), offset });
    table
}
