//! `storage_upload`: puts a small file onto a storage.

use std::{fmt::Write as _, sync::Arc};

use api_core::ByteStream;
use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use estate::Access;
use futures::stream;
use mcp_protocol::JsonObject;
use pve_client::storage::{self, Checksum, ChecksumAlgorithm};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    download::{arrived, file_name, holds, kind_of},
    spot::Spot,
};
use crate::{
    address::Purpose,
    error::ToolError,
    plan::{ActionTool, Plan, Running, Step, Undo, planned},
    report::{Report, bytes},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::object,
};

/// What a call may bring; larger files are fetched by the node.
const LIMIT: usize = 8 << 20;

/// What is sent at a time.
const PART: usize = 256 << 10;

/// Uploads a file.
pub(super) struct StorageUpload;

#[derive(Debug, Deserialize)]
struct Args {
    storage: String,
    filename: String,
    cluster: Option<String>,
    node: Option<String>,
    content: Option<String>,
    text: Option<String>,
    base64: Option<String>,
}

#[async_trait]
impl ActionTool for StorageUpload {
    fn definition(&self) -> Definition {
        Definition {
            name: "storage_upload",
            title: "Upload onto a storage",
            description: "Puts a file of up to 8 MiB (ISO, container template, disk image) onto a \
                storage. Larger ones: storage_download.",
            input: Input::new()
                .text("storage", "name or cluster/name")
                .required("storage")
                .text("filename", "")
                .required("filename")
                .cluster()
                .node()
                .choice("content", &["iso", "vztmpl", "import"], "told from the file's ending")
                .text("text", "the file, or:")
                .text("base64", "the file"),
            output: Output::new()
                .fact("volume", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("bytes", "integer")
                .fact("sha256", "string")
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
        let file = file_name(args.filename.trim())?;
        let content = kind_of(&file, args.content.as_deref())?;
        let bytes_of = decoded(args.text, args.base64.as_deref())?;
        let (cluster, node) = (args.cluster.as_deref(), args.node.as_deref());
        let spot = Spot::find(cx, cluster, &args.storage, node, Purpose::Write).await?;
        let row = spot.one()?;
        let id = format!("{}:{content}/{file}", spot.name);
        let at = format!("{}/{id}", spot.member.key);
        let what = format!("upload of {file} to {}", spot.at());
        holds(&spot, content.as_str())?;
        let path = format!("/storage/{}", spot.name);
        spot.need(&what, &[(&["Datastore.AllocateTemplate"], path)])?;
        let listed = storage::content(&row.node, &row.name, Some(&content), None);
        let there = spot.member.client.call(listed).await.map_err(|error| {
            ToolError::api(format!("read the contents of {}", spot.at()), &error)
        })?;
        if there.iter().any(|volume| volume.id == id) {
            let report = Report::new(format!("{what} was not tried: {id} is there already"));
            return Err(ToolError::from_report(report.fact("status", "refused"))
                .hint("an upload would replace it: give another filename, or delete it first (volume_delete)"));
        }
        let mut digits = String::new();
        for byte in Sha256::digest(&bytes_of) {
            let _ = write!(digits, "{byte:02x}");
        }
        let sum = Checksum { algorithm: ChecksumAlgorithm::Sha256, value: digits.clone() };
        let (member, node, name) = (Arc::clone(&spot.member), row.node.clone(), row.name.clone());
        let request = storage::upload(&node, &name, &content, &file, Some(&sum));
        let calls = vec![planned(member.key.as_str(), &request)];
        let size = bytes_of.len();
        let undo = object(json!({"volume": at.as_str(), "node": node.as_str()}));
        let plan = Plan::new(what.as_str())
            .target(at.as_str(), [("there", "no"), ("sha256", digits.as_str())])
            .fact("volume", at.as_str())
            .fact("sha256", digits.as_str())
            .effect(format!("{} are taken; the server checks the sum", bytes(size as u64)))
            .undo(Undo::Call("volume_delete", undo));
        let (sender, words) = (Arc::clone(&member), what.clone());
        let work = Box::new(move |running: Running| {
            let sent: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
                let body = parts(bytes_of, running.clone());
                let upid = sender.operator.upload(request, body, size as u64).await;
                let upid = upid.map_err(|error| ToolError::api(words.as_str(), &error))?;
                running.follow_pve(&sender, &words, &upid, false).await
            });
            sent
        });
        let step = Step::other(what, calls, work).task(&["imgcopy"], String::new());
        Ok(plan.step(step).settle(move |_, done| async move {
            let now =
                member.client.call(storage::content(&node, &name, Some(&content), None)).await;
            Ok(arrived(&done, &at, &id, now))
        }))
    }
}

/// The file in parts, each told as it goes.
fn parts(content: Vec<u8>, running: Running) -> ByteStream {
    let content = Bytes::from(content);
    let size = content.len();
    Box::pin(stream::unfold(0, move |from| {
        let (content, running) = (content.clone(), running.clone());
        async move {
            if from >= size {
                return None;
            }
            let to = (from + PART).min(size);
            running.tell(format!("{} of {} sent", bytes(to as u64), bytes(size as u64)));
            Some((Ok(content.slice(from..to)), to))
        }
    }))
}

fn decoded(text: Option<String>, base64: Option<&str>) -> Result<Vec<u8>, ToolError> {
    let content = match (text, base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(coded)) => {
            // What is too long is not decoded first.
            if coded.len() / 4 * 3 > LIMIT + 3 {
                return Err(too_large());
            }
            let coded: String = coded.split_ascii_whitespace().collect();
            base64::engine::general_purpose::STANDARD
                .decode(coded)
                .map_err(|error| ToolError::new(format!("base64 cannot be read: {error}")))?
        }
        _ => return Err(ToolError::new("the file is missing: give either text or base64")),
    };
    if content.is_empty() {
        return Err(ToolError::new("the file is empty"));
    }
    if content.len() > LIMIT {
        return Err(too_large());
    }
    Ok(content)
}

fn too_large() -> ToolError {
    ToolError::new(format!("the file is larger than {}", bytes(LIMIT as u64)))
        .hint("put it on a web server and let the node fetch it: storage_download")
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use mcp_protocol::{CallContext, Caller};

    use super::*;
    use crate::fleet::Fleet;

    #[tokio::test]
    async fn each_part_of_a_file_is_told_of_as_it_is_sent() {
        let fleet = Arc::new(Fleet::new(stdx::SystemClock::shared()));
        let cx = Cx::new(fleet, CallContext::detached(Caller::new("local:0")));
        let (running, told) = Running::listening(cx);
        let content: Vec<u8> = (0..2 * PART + 10).map(|at| (at % 251) as u8).collect();
        let mut sent = Vec::new();
        let mut parts = parts(content.clone(), running);
        let mut lines = Vec::new();
        while let Some(part) = parts.next().await {
            sent.extend_from_slice(&part.unwrap());
            lines.push(told());
        }
        assert_eq!(sent, content);
        assert_eq!(lines, ["256K of 512K sent", "512K of 512K sent", "512K of 512K sent"]);
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let said = |text: Option<&str>, base64: Option<&str>| {
            decoded(text.map(str::to_owned), base64).map_err(|error| error.message().to_owned())
        };
        assert_eq!(said(None, Some("aGVs\nbG8=")), Ok(b"hello".to_vec()));
        assert_eq!(said(Some("hello"), None), Ok(b"hello".to_vec()));
        assert!(said(None, Some("a?b=")).unwrap_err().contains("base64 cannot be read"));
        assert!(said(Some("a"), Some("YQ==")).unwrap_err().contains("either text or base64"));
        assert!(said(None, None).unwrap_err().contains("either text or base64"));
        assert!(said(Some(""), None).unwrap_err().contains("empty"));
        assert_eq!(said(Some(&"x".repeat(LIMIT)), None).unwrap().len(), LIMIT);
        assert!(said(Some(&"x".repeat(LIMIT + 1)), None).unwrap_err().contains("larger than 8M"));
        assert!(
            said(None, Some(&"A".repeat(LIMIT / 2 * 3))).unwrap_err().contains("larger than 8M")
        );
    }
}
