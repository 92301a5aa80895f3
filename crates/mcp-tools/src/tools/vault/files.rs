//! `backup_files` and `backup_file_get`: what is in a backup, and single small files of it.
//!
//! A guest's backup is opened by a node of its cluster; a group, by the backup server itself, which
//! reads file archives (containers, hosts) but no disks.

use std::sync::Arc;

use api_core::Body;
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use estate::{Access, NodeName, StorageName};
use futures::StreamExt as _;
use mcp_protocol::JsonObject;
use pbs_client::snapshots::{self, SnapshotRef};
use pve_client::storage;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    find,
    spot::{self, Asked, Spot, object},
};
use crate::{
    address::quoted,
    error::ToolError,
    fleet::Pve,
    report::{Cell, Report, Table, bytes, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

/// How far into a file is read at most.
const REACH: u64 = 16 << 20;
/// Bytes of an answer that are not the file.
const FRAME: usize = 2048;

/// Lists a folder of a backup.
pub struct BackupFiles;

/// Reads a file of a backup.
pub struct BackupFileGet;

#[derive(Deserialize)]
struct Args {
    guest: Option<String>,
    from: Option<String>,
    group: Option<String>,
    cluster: Option<String>,
    datastore: Option<String>,
    namespace: Option<String>,
    time: Option<String>,
    path: Option<String>,
    #[serde(default)]
    offset: u64,
}

/// A backup that can be opened.
enum Opened {
    Pve { member: Arc<Pve>, node: NodeName, storage: StorageName, volume: String },
    Pbs { spot: Spot, at: SnapshotRef },
}

/// An entry of a folder.
struct Entry {
    name: String,
    kind: String,
    size: Option<u64>,
    modified: Option<jiff::Timestamp>,
}

fn input() -> Input {
    Input::new()
        .text("guest", "cluster/vmid; or group")
        .text("from", "with guest: PVE storage or volume")
        .text("group", "on a PBS, such as host/nas")
        .text("cluster", "PBS key")
        .text("datastore", "")
        .text("namespace", "")
        .text("time", "RFC 3339; default latest")
}

#[async_trait]
impl EstateTool for BackupFiles {
    fn definition(&self) -> Definition {
        Definition {
            name: "backup_files",
            title: "Files in a backup",
            description: "One folder of a backup on a backup server; without path its archives or disks.",
            input: input().text("path", "as listed: /root.pxar.didx/etc"),
            output: Output::new().fact("backup", "string").fact("path", "string").table("files"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let path = clean(args.path.as_deref().unwrap_or("/"))?;
        let (opened, label, notes) = open(cx, &args).await?;
        let entries = opened.list(&path, &label).await?;
        let mut table = Table::new("files", &["name", "type", "size", "modified"]);
        for entry in &entries {
            table.push(vec![
                Cell::text(stdx::untrusted::line(&entry.name, 200)),
                Cell::text(word(&entry.kind)),
                Cell::opt(entry.size.map(|size| Cell::with(size, bytes(size)))),
                Cell::opt(entry.modified.map(rfc3339)),
            ]);
        }
        let count = entries.len();
        let plural = if count == 1 { "entry" } else { "entries" };
        let mut report = Report::new(format!("{path} in {label}: {count} {plural}"))
            .fact("backup", label)
            .fact("path", path)
            .table(table);
        report.notes.extend(notes);
        Ok(report)
    }
}

#[async_trait]
impl EstateTool for BackupFileGet {
    fn definition(&self) -> Definition {
        Definition {
            name: "backup_file_get",
            title: "One file of a backup",
            description: "Text, or base64 of what is not text; a part at a time (offset).",
            input: input().text("path", "").required("path").count("offset"),
            output: Output::new()
                .fact("backup", "string")
                .fact("path", "string")
                .fact("encoding", "string")
                .fact("size_bytes", "integer")
                .fact("bytes", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let mut again = args.clone();
        let args: Args = cx.args(args)?;
        let path = clean(args.path.as_deref().unwrap_or_default())?;
        if args.offset >= REACH {
            return Err(ToolError::new(format!("files are read up to {} only", bytes(REACH)))
                .hint("restore the guest for more: backup_restore"));
        }
        let (opened, label, notes) = open(cx, &args).await?;
        let Some((folder, name)) = path.rsplit_once('/').filter(|(_, name)| !name.is_empty())
        else {
            return Err(ToolError::new("path names no file").hint("backup_files lists them"));
        };
        let folder = if folder.is_empty() { "/" } else { folder };
        let entries = opened.list(folder, &label).await?;
        let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
            return Err(ToolError::not_found(format!("{} is not in {label}", quoted(&path))));
        };
        if entry.kind != "f" {
            let lead = format!("{} is no file but a {}", quoted(&path), word(&entry.kind));
            return Err(ToolError::new(lead));
        }
        // Both forms of the answer carry the content; escapes and base64 make it longer.
        let room = cx.ceiling.saturating_sub(FRAME) / 2;
        let (mut part, more) = opened.read(&path, &label, args.offset, room).await?;
        let text = match std::str::from_utf8(&part) {
            Ok(_) => true,
            // A character that the end cuts in two begins the next part.
            Err(error) if error.error_len().is_none() && more && error.valid_up_to() > 0 => {
                part.truncate(error.valid_up_to());
                true
            }
            Err(_) => false,
        };
        let is_text = text && !part.contains(&0);
        let shown = if is_text {
            String::from_utf8_lossy(&part).into_owned()
        } else {
            STANDARD.encode(&part)
        };
        let encoding = if is_text { "text" } else { "base64" };
        let end = args.offset + part.len() as u64;
        let whole = entry.size.map_or_else(String::new, |size| format!(" of {}", bytes(size)));
        let lead = format!("{path} in {label}: bytes {} to {end}{whole}, {encoding}", args.offset);
        let mut report = Report::new(lead)
            .fact("backup", label.as_str())
            .fact("path", path.as_str())
            .fact("encoding", encoding)
            .fact("bytes", part.len())
            .untrusted(format!("{path} of {label}"), shown);
        if let Some(size) = entry.size {
            report = report.fact("size_bytes", size);
        }
        report.notes.extend(notes);
        if more {
            report = report.note("the file goes on");
            if end < REACH {
                again.insert("offset".to_owned(), end.into());
                report = report.next("backup_file_get", Value::Object(again));
            }
        }
        Ok(report)
    }
}

/// A path without dots, so that it means what it says.
fn clean(path: &str) -> Result<String, ToolError> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) || path.contains('\0') {
        return Err(ToolError::new(format!("{} is no path in a backup", quoted(path))));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// As the servers take it.
fn encoded(path: &str) -> String {
    if path == "/" { path.to_owned() } else { STANDARD.encode(path) }
}

fn word(kind: &str) -> &str {
    match kind {
        "f" => "file",
        "d" => "folder",
        "v" => "archive",
        "l" => "link",
        "h" => "hardlink",
        "b" | "c" => "device",
        "s" => "socket",
        "p" => "fifo",
        _ => "other",
    }
}

/// The backup that is meant.
async fn open(cx: &Cx, args: &Args) -> Result<(Opened, String, Vec<String>), ToolError> {
    match (&args.guest, &args.group) {
        (Some(guest), None) => of_guest(cx, args, guest).await,
        (None, Some(group)) => of_group(cx, args, group).await,
        (Some(_), Some(_)) => {
            Err(ToolError::new("group and guest both say what is meant: give one"))
        }
        (None, None) => Err(ToolError::new("which backup is not said: give guest, or group")),
    }
}

async fn of_guest(
    cx: &Cx,
    args: &Args,
    guest: &str,
) -> Result<(Opened, String, Vec<String>), ToolError> {
    let whose = find::whose(cx, guest).await?;
    let mut search = whose.copies(cx, args.from.as_deref()).await?;
    let on_server = |storage: &StorageName| {
        whose.view.storages.iter().any(|row| row.name == *storage && row.plugin == "pbs")
    };
    let before = search.copies.len();
    search.copies.retain(|copy| on_server(&copy.storage));
    if search.copies.is_empty() && before > 0 {
        return Err(ToolError::new(format!(
            "the backups of {} there are single archives: only those on backup servers can be opened",
            whose.name()
        ))
        .hint("backup_restore makes a guest of one"));
    }
    let (copy, mut notes) = whose.pick(search, args.time.as_deref(), cx.now())?;
    notes.extend(whose.notes.iter().cloned());
    let label = format!("{}/{}", whose.member.key, copy.volume.id);
    let opened = Opened::Pve {
        member: Arc::clone(&whose.member),
        node: copy.node,
        storage: copy.storage,
        volume: copy.volume.id,
    };
    Ok((opened, label, notes))
}

async fn of_group(
    cx: &Cx,
    args: &Args,
    group: &str,
) -> Result<(Opened, String, Vec<String>), ToolError> {
    let asked = Asked {
        cluster: args.cluster.as_deref(),
        datastore: args.datastore.as_deref(),
        namespace: args.namespace.as_deref(),
    };
    let spot = spot::group(cx, asked, group).await?;
    let all = spot.snapshots().await?;
    let one = spot::pick(&spot, &all, args.time.as_deref().unwrap_or("latest"), cx.now())?;
    let label = format!("{}/{}", spot.label(), rfc3339(one.time));
    if !one.files.iter().any(|file| file.name.starts_with("catalog.pcat1")) {
        return Err(ToolError::new(format!(
            "{label} has no catalog: the backup server cannot open it"
        ))
        .hint("disks, and archives with split metadata, are opened through the cluster: give guest")
        .next("backup_copies", object(json!({"guest": spot.group.backup_id}))));
    }
    let at = SnapshotRef { group: spot.group.clone(), time: one.time };
    Ok((Opened::Pbs { spot, at }, label, Vec::new()))
}

// === impl Opened ===

impl Opened {
    async fn list(&self, path: &str, label: &str) -> Result<Vec<Entry>, ToolError> {
        let failed = |error| ToolError::api(format!("list {path} in {label}"), &error);
        let path = encoded(path);
        Ok(match self {
            Self::Pve { member, node, storage, volume } => {
                let call = storage::backup_files(node, storage, volume, &path);
                let all = member.client.call(call).await.map_err(failed)?;
                let entry = |one: storage::BackupEntry| Entry {
                    name: one.name,
                    kind: one.kind,
                    size: one.size_bytes,
                    modified: one.modified,
                };
                all.into_iter().map(entry).collect()
            }
            Self::Pbs { spot, at } => {
                let call = snapshots::catalog(&spot.place.store, at, &path);
                let all = spot.place.server.client.call(call).await.map_err(failed)?;
                let entry = |one: snapshots::CatalogEntry| Entry {
                    name: one.name,
                    kind: one.kind,
                    size: one.size_bytes,
                    modified: one.modified,
                };
                all.into_iter().map(entry).collect()
            }
        })
    }

    /// At most `room` bytes from `offset` on, and whether the file goes on after them.
    async fn read(
        &self,
        path: &str,
        label: &str,
        offset: u64,
        room: usize,
    ) -> Result<(Vec<u8>, bool), ToolError> {
        let failed = |error| ToolError::api(format!("read {path} in {label}"), &error);
        let path = encoded(path);
        let answer = match self {
            Self::Pve { member, node, storage, volume } => {
                member.client.open(storage::backup_file(node, storage, volume, &path)).await
            }
            Self::Pbs { spot, at } => {
                let call = snapshots::file(&spot.place.store, at, &path);
                spot.place.server.client.open(call).await
            }
        };
        let mut skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut out = Vec::new();
        let mut take = |piece: &[u8]| {
            let past = skip.min(piece.len());
            skip -= past;
            out.extend_from_slice(&piece[past..]);
            out.len() > room
        };
        match answer.map_err(failed)?.into_body() {
            Body::Full(all) => drop(take(&all)),
            Body::Stream(mut pieces, _) => {
                while let Some(piece) = pieces.next().await {
                    let piece = piece.map_err(|error| {
                        let why = stdx::Chain(&error);
                        ToolError::new(format!("{label} broke off: {why}"))
                    })?;
                    if take(&piece) {
                        break;
                    }
                }
            }
        }
        let more = out.len() > room;
        out.truncate(room);
        Ok((out, more))
    }
}
