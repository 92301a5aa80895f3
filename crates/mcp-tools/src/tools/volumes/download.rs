//! `storage_download`: a node fetches a file from the web onto a storage, and checks it.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::{
    fetch,
    storage::{self, ContentKind, DownloadUrlParams},
};
use serde::Deserialize;
use serde_json::json;

use super::spot::Spot;
use crate::{
    address::{Purpose, quoted},
    error::ToolError,
    plan::{ActionTool, Plan, Step, Undo},
    report::{Report, bytes},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::compute::image::checksum,
};

/// Fetches a file.
pub(super) struct StorageDownload;

#[derive(Debug, Deserialize)]
struct Args {
    url: String,
    storage: String,
    cluster: Option<String>,
    node: Option<String>,
    content: Option<String>,
    filename: Option<String>,
    checksum: Option<String>,
}

#[async_trait]
impl ActionTool for StorageDownload {
    fn definition(&self) -> Definition {
        Definition {
            name: "storage_download",
            title: "Download onto a storage",
            description: "A node fetches an ISO, container template or disk image by URL onto a \
                storage and checks its checksum.",
            input: Input::new()
                .text("url", "http or https")
                .required("url")
                .text("storage", "name or cluster/name")
                .required("storage")
                .cluster()
                .node()
                .choice("content", &["iso", "vztmpl", "import"], "told from the file's ending")
                .text("filename", "default: as in the URL")
                .text("checksum", "hex, or sha256:hex"),
            output: Output::new()
                .fact("volume", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("bytes", "integer")
                .fact("verified", "boolean")
                .fact("cause", "string"),
            access: Access::Operate,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let url = address(&args.url)?;
        let sum = checksum(args.checksum.as_deref())?;
        let last = url.split(['?', '#']).next().and_then(|path| path.rsplit('/').next());
        let given = args.filename.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let file = file_name(given.or(last).unwrap_or_default())?;
        let content = kind_of(&file, args.content.as_deref())?;
        let (cluster, node) = (args.cluster.as_deref(), args.node.as_deref());
        let spot = Spot::find(cx, cluster, &args.storage, node, Purpose::Write).await?;
        let row = spot.one()?;
        let id = format!("{}:{content}/{file}", spot.name);
        let what = format!("download of {file} to {}", spot.at());
        holds(&spot, content.as_str())?;
        let on_node = format!("/nodes/{}", row.node);
        let path = format!("/storage/{}", spot.name);
        spot.need(&what, &[(&["Datastore.AllocateTemplate"], path)])?;
        let fetches = |held: &crate::permissions::Permissions| {
            held.has(&on_node, "Sys.AccessNetwork")
                || held.has("/", "Sys.Audit") && held.has("/", "Sys.Modify")
        };
        if spot.held.as_deref().is_some_and(|held| !fetches(held)) {
            spot.need(&what, &[(&["Sys.AccessNetwork"], on_node.clone())])?;
        }
        let client = &spot.member.operator;
        let listed = storage::content(&row.node, &row.name, Some(&content), None);
        let (asked, there) = futures::join!(
            client.call(fetch::url_metadata(&row.node, &url)),
            spot.member.client.call(listed)
        );
        let mut plan = Plan::new(what.as_str())
            .fact("volume", format!("{}/{id}", spot.member.key))
            .effect(format!("node {}/{} fetches it itself", spot.member.key, row.node))
            .undo(Undo::Call("volume_delete", {
                let volume = format!("{}/{id}", spot.member.key);
                crate::tools::power::object(json!({"volume": volume, "node": row.node.as_str()}))
            }));
        let room = row.size.saturating_sub(row.used);
        match asked {
            Ok(found) => {
                let size = found.size_bytes.unwrap_or_default();
                if size > room && row.size > 0 {
                    return Err(ToolError::new(format!(
                        "{} has no room for it: {} are needed, {} are left",
                        spot.at(),
                        bytes(size),
                        bytes(room)
                    )));
                }
                if size > 0 {
                    plan = plan.effect(format!("{} of {} are taken", bytes(size), bytes(room)));
                }
            }
            Err(error) if error.message().contains("invalid server response") => {
                return Err(ToolError::not_found(format!(
                    "{}/{} cannot fetch {}: {}",
                    spot.member.key,
                    row.node,
                    quoted(&url),
                    stdx::untrusted::line(error.message(), 200)
                ))
                .hint("check the URL; the node needs the way out and a name server"));
            }
            Err(error) => {
                plan = plan.note(format!("its size is not known: {}", stdx::Chain(&error)));
            }
        }
        match there {
            Ok(volumes) if volumes.iter().any(|volume| volume.id == id) => {
                if sum.is_none() {
                    let report =
                        Report::new(format!("{what} was not tried: {id} is there already"));
                    return Err(ToolError::from_report(report.fact("status", "refused"))
                        .hint("give another filename, or a checksum: the file that is there is checked then"));
                }
                plan = plan
                    .effect("a file of that name is there: it is checked, and kept if it is right");
            }
            Ok(_) => plan = plan.target(format!("{}/{id}", spot.member.key), [("there", "no")]),
            Err(error) => {
                plan =
                    plan.note(format!("whether it is there is not known: {}", stdx::Chain(&error)));
            }
        }
        if sum.is_none() {
            plan = plan.warn("unchecked", "no checksum is given: what arrives is not checked");
        }
        if url.to_ascii_lowercase().starts_with("http:") && sum.is_none() {
            plan = plan.warn("plain_http", "over http anybody on the way can change it");
        }
        let is_checked = sum.is_some();
        let params = DownloadUrlParams {
            url: url.clone(),
            content: Some(content.clone()),
            filename: file.clone(),
            checksum: sum.as_ref().map(|sum| sum.value.clone()),
            checksum_algorithm: sum.map(|sum| sum.algorithm.to_owned()),
            ..DownloadUrlParams::default()
        };
        let (member, node, name) = (Arc::clone(&spot.member), row.node.clone(), row.name.clone());
        let step = Step::pve(&member, what.as_str(), storage::download_url(&node, &name, params))
            .task(&["download"], file)
            .stoppable();
        Ok(plan.step(step).settle(move |_, done| async move {
            let call = storage::content(&node, &name, Some(&content), None);
            let now = member.client.call(call).await;
            Ok(arrived(&done, &format!("{}/{id}", member.key), &id, now)
                .fact("verified", is_checked))
        }))
    }
}

/// Says what is on the storage now.
pub(super) fn arrived(
    done: &crate::plan::Done,
    at: &str,
    id: &str,
    now: Result<Vec<storage::Volume>, api_core::Error>,
) -> Report {
    match now {
        Ok(volumes) => match volumes.iter().find(|volume| volume.id == id) {
            Some(volume) => done
                .report(format!("{at} is there, {} ({})", bytes(volume.size_bytes), done.span()))
                .fact("bytes", volume.size_bytes),
            None => done
                .report(format!("{at}: the task ended {}", done.ended()))
                .note("the storage does not list it: it may have got another name"),
        },
        Err(error) => done
            .report(format!("{at}: the task ended {}", done.ended()))
            .note(format!("that it is there could not be seen: {}", stdx::Chain(&error))),
    }
}

fn address(text: &str) -> Result<String, ToolError> {
    let text = text.trim();
    let rest = text.split_once("://").filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    let is_good = rest.is_some_and(|(_, rest)| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    });
    if is_good {
        return Ok(text.to_owned());
    }
    Err(ToolError::new(format!("{} is no URL of a file", quoted(text)))
        .hint("nodes fetch over http and https only"))
}

/// Checks a file's name: what a node would change, or refuse, is refused here with what to do.
pub(super) fn file_name(name: &str) -> Result<String, ToolError> {
    let is_good = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    if is_good {
        return Ok(name.to_owned());
    }
    Err(ToolError::new(format!("{} is no name for a file there", quoted(name)))
        .hint("give filename: letters, digits, `-`, `_`, `.` and `+`"))
}

/// What a file is, by its ending; a storage refuses other endings.
pub(super) fn kind_of(file: &str, given: Option<&str>) -> Result<ContentKind, ToolError> {
    const ENDINGS: &[(&str, &[&str])] = &[
        ("iso", &[".iso", ".img"]),
        ("vztmpl", &[".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tgz"]),
        ("import", &[".qcow2", ".raw", ".vmdk", ".ova", ".ovf"]),
    ];
    let lower = file.to_ascii_lowercase();
    let fits = ENDINGS.iter().find(|(_, ends)| ends.iter().any(|end| lower.ends_with(end)));
    match (fits, given) {
        (Some((kind, _)), None) => Ok(ContentKind::from(*kind)),
        (Some((kind, _)), Some(given)) if *kind == given => Ok(ContentKind::from(given)),
        (_, Some(given)) => {
            let ends = ENDINGS.iter().find(|(kind, _)| *kind == given);
            let ends = ends.map(|(_, ends)| ends.join(", ")).unwrap_or_default();
            Err(ToolError::new(format!("{} cannot be kept as {given}", quoted(file)))
                .hint(format!("a file of that content ends in {ends}: give such a filename")))
        }
        (None, None) => Err(ToolError::new(format!("what {} is cannot be told", quoted(file)))
            .hint("give content and a filename with its ending: .iso, .tar.zst, .qcow2, …")),
    }
}

/// Checks that the storage takes such content.
pub(super) fn holds(spot: &Spot, content: &str) -> Result<(), ToolError> {
    let kinds: Vec<&str> =
        spot.rows.iter().flat_map(|row| &row.content).map(String::as_str).collect();
    if kinds.contains(&content) {
        return Ok(());
    }
    let mut fit: Vec<&str> = spot
        .view
        .storages
        .iter()
        .filter(|row| row.content.iter().any(|kind| kind == content))
        .map(|row| row.name.as_str())
        .collect();
    fit.dedup();
    let hint = if fit.is_empty() {
        format!("an administrator turns it on: pvesm set STORAGE --content …,{content}")
    } else {
        format!("these do: {}", fit.join(", "))
    };
    Err(ToolError::new(format!("{} does not hold {content}", spot.at())).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_ending() {
        for (file, given, expected) in [
            ("debian.iso", None, "iso"),
            ("noble.img", None, "iso"),
            ("noble.img", Some("import"), "cannot be kept"),
            ("debian-13.tar.zst", None, "vztmpl"),
            ("noble.qcow2", Some("import"), "import"),
            ("noble.qcow2.xz", None, "cannot be told"),
        ] {
            let said = match kind_of(file, given) {
                Ok(kind) => kind.to_string(),
                Err(error) => error.message().to_owned(),
            };
            assert!(said.contains(expected), "{file}: {said}");
        }
        assert!(file_name("../x.iso").is_err() && file_name(".x.iso").is_err());
        assert!(file_name("a b.iso").is_err() && file_name("a+b-1_2.iso").is_ok());
        assert!(address("file:///etc/passwd").is_err() && address("https://").is_err());
    }
}
