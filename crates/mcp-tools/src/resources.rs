//! Resources: the estate as documents that a client can pin, read through the same tools as calls.

use std::sync::Arc;

use async_trait::async_trait;
use event_core::live::LiveQuery;
use mcp_protocol::{
    CallContext, JsonObject, Outcome, Resource, ResourceContents, ResourceError, ResourceTemplate,
    Resources,
};
use serde_json::{Value, json};

use crate::{
    app::{Catalogue, Options},
    error::Kind,
    fleet::{Fleet, GATHER_DEADLINE, Member},
    needs::{self, Product},
    offer::Offer,
    reading,
    tools::events,
};

const JSON: &str = "application/json";

/// The documents with a fixed address: URI, name, title, description.
const FIXED: &[(&str, &str, &str, &str)] = &[
    (
        "proxmox://config",
        "config",
        "Configuration",
        "Clusters, servers, labels, mode and toolsets; no secrets.",
    ),
    ("proxmox://nodes", "nodes", "Nodes", "Every node with load and state."),
    (
        "proxmox://capabilities",
        "capabilities",
        "Capabilities",
        "Versions, what each token cannot see, and which tools are not listed for that.",
    ),
    ("proxmox://status", "status", "Status", "The estate in a few lines, worst first."),
    ("proxmox://incidents", "incidents", "Incidents", "Open incidents, worst first."),
    (
        "proxmox://live",
        "live",
        "Live state",
        "What was last seen or heard of nodes, guests, storages and jobs, each with its age.",
    ),
];

/// The families: URI template, name, title, description, the tool that answers.
const FAMILIES: &[(&str, &str, &str, &str)] = &[
    (
        "proxmox://guest/{cluster}/{vmid}",
        "guest",
        "Guest",
        "One guest: status, configuration, addresses.",
    ),
    ("proxmox://node/{cluster}/{node}", "node", "Node", "One node: status, versions, services."),
    (
        "proxmox://storage/{cluster}/{storage}",
        "storage",
        "Storage",
        "One storage: use and contents.",
    ),
    (
        "proxmox://incident/{id}",
        "incident",
        "Incident",
        "One incident: what is wrong, its timeline, all reports.",
    ),
    ("proxmox://events/{id}", "event", "Event", "One event with its message and original."),
];

/// Serves the documents.
pub(crate) struct Documents {
    fleet: Arc<Fleet>,
    tools: Catalogue,
    options: Options,
    offer: Arc<Offer>,
}

// === impl Documents ===

impl Documents {
    pub(crate) fn new(
        fleet: Arc<Fleet>,
        tools: Catalogue,
        options: &Options,
        offer: Arc<Offer>,
    ) -> Self {
        Self { fleet, tools, options: options.clone(), offer }
    }

    /// The settings as they are in force.
    fn config(&self, fleet: &Fleet) -> Value {
        let members = fleet.members();
        let members = members.map(|member| {
            json!({
                "key": member.key,
                "product": member.product,
                "labels": member.traits.labels,
                "expected_off": member.traits.expected_off,
            })
        });
        json!({
            "mode": self.options.mode.as_str(),
            "toolsets": self.options.toolsets,
            "answer_ceiling_bytes": self.options.ceiling,
            "members": members.collect::<Vec<_>>(),
        })
    }

    /// What each member is and what its token lacks.
    async fn capabilities(&self, fleet: &Fleet) -> Value {
        let now = fleet.now();
        let pve = fleet.pve(None).unwrap_or_default();
        let pve = fleet.gather(pve, GATHER_DEADLINE, |member| async move {
            let version = member.client.call(pve_client::version::get()).await?;
            Ok((version.version, member.permissions(now).await?))
        });
        let pbs = fleet.pbs(None).unwrap_or_default();
        let pbs = fleet.gather(pbs, GATHER_DEADLINE, |member| async move {
            let version = member.client.call(pbs_client::version::get()).await?;
            Ok((version.version, member.permissions(now).await?))
        });
        let (pve, pbs, hidden) = futures::join!(pve, pbs, self.offer.reasons());
        let one = |key: &str, product, version: &str, held: &crate::permissions::Permissions| {
            let lacks = needs::unmet(product, held).map(|need| {
                json!({
                    "privilege": need.privileges[0], "path": need.path,
                    "without": need.without, "tools": need.tools,
                })
            });
            json!({"key": key, "version": version, "token_lacks": lacks.collect::<Vec<_>>()})
        };
        let mut members: Vec<Value> = Vec::new();
        for (member, (version, held)) in &pve.answers {
            members.push(one(member.key().as_str(), Product::Pve, version, held));
        }
        for (member, (version, held)) in &pbs.answers {
            members.push(one(member.key().as_str(), Product::Pbs, version, held));
        }
        let silent = pve.unreachable.iter().chain(&pbs.unreachable);
        let silent: Vec<Value> =
            silent.map(|part| json!({"what": part.what, "why": part.why})).collect();
        json!({"members": members, "unreachable": silent, "tools_not_listed": *hidden})
    }

    /// How the estate is, as far as was seen and heard.
    async fn live(&self, fleet: &Fleet) -> Value {
        let Some(desk) = &self.options.events else {
            return json!({"facts": null, "note": events::NO_PIPELINE, "next": events::HOW});
        };
        let view = match desk.live(LiveQuery::default()).await {
            Ok(view) => view,
            Err(error) => return json!({"facts": null, "note": error.to_string()}),
        };
        let is_told = |key: &str| fleet.keys().any(|(known, _)| known.as_str() == key);
        let facts: Vec<_> = view.facts.iter().filter(|it| is_told(&it.cluster)).collect();
        json!({"runs": view.runs, "at": view.at, "is_cut": view.is_cut, "facts": facts})
    }

    /// What of the estate this caller may be told of.
    fn told(&self, cx: &CallContext) -> Result<Arc<Fleet>, ResourceError> {
        let told = reading::of_document(&self.options, cx, &self.fleet);
        told.map_err(|error| ResourceError::Unavailable { message: error.message().to_owned() })
    }

    async fn by_tool(
        &self,
        cx: &CallContext,
        uri: &str,
        tool: &str,
        args: Value,
    ) -> Result<Value, ResourceError> {
        let args: JsonObject = mcp_protocol::schema_object(args);
        let outcome = self.tools.run(cx, tool, args).await;
        match outcome {
            Some(Outcome::Done(answer)) => Ok(Value::Object(answer.structured.unwrap_or_default())),
            Some(Outcome::Failed(answer)) => {
                // The estate does not have it: that is "no such resource", not an outage.
                let error = answer.structured.as_ref().and_then(|object| object.get("error"));
                if error.and_then(Value::as_str) == Kind::NotFound.word() {
                    return Err(ResourceError::not_found(uri));
                }
                Err(ResourceError::Unavailable { message: answer.plain_text() })
            }
            _ => Err(ResourceError::not_found(uri)),
        }
    }
}

#[async_trait]
impl Resources for Documents {
    async fn list(&self, _cx: &CallContext) -> Result<Vec<Resource>, ResourceError> {
        let all = FIXED.iter().map(|(uri, name, title, description)| Resource {
            title: Some((*title).to_owned()),
            description: Some((*description).to_owned()),
            mime_type: Some(JSON.to_owned()),
            ..Resource::new(*uri, *name)
        });
        Ok(all.collect())
    }

    async fn templates(&self, _cx: &CallContext) -> Result<Vec<ResourceTemplate>, ResourceError> {
        let all = FAMILIES.iter().map(|(uri, name, title, description)| ResourceTemplate {
            title: Some((*title).to_owned()),
            description: Some((*description).to_owned()),
            mime_type: Some(JSON.to_owned()),
            ..ResourceTemplate::new(*uri, *name)
        });
        Ok(all.collect())
    }

    async fn read(
        &self,
        cx: &CallContext,
        uri: &str,
    ) -> Result<Vec<ResourceContents>, ResourceError> {
        let path = uri.strip_prefix("proxmox://").ok_or_else(|| ResourceError::not_found(uri))?;
        let parts: Vec<&str> = path.split('/').collect();
        let mut document = match parts.as_slice() {
            ["config"] => self.config(&*self.told(cx)?),
            ["capabilities"] => self.capabilities(&*self.told(cx)?).await,
            ["nodes"] => self.by_tool(cx, uri, "nodes_list", json!({})).await?,
            ["status"] => self.by_tool(cx, uri, "fleet_overview", json!({})).await?,
            // Said rather than left out: an empty list would mean that all is well.
            ["incidents"] if self.options.events.is_none() => json!({
                "incidents": null, "note": events::NO_PIPELINE, "next": events::HOW,
            }),
            ["incidents"] => {
                match self.by_tool(cx, uri, "incidents_list", json!({"limit": 100})).await {
                    Err(ResourceError::Unavailable { message }) => {
                        json!({"incidents": null, "note": message})
                    }
                    read => read?,
                }
            }
            ["live"] => self.live(&*self.told(cx)?).await,
            ["incident", id] => {
                self.by_tool(cx, uri, "incident_get", json!({"incident": id})).await?
            }
            ["events", id] => self.by_tool(cx, uri, "events_search", json!({"event": id})).await?,
            ["guest", cluster, vmid] => {
                let args = json!({"guest": format!("{cluster}/{vmid}")});
                self.by_tool(cx, uri, "guest_get", args).await?
            }
            ["node", cluster, node] => {
                let args = json!({"cluster": cluster, "node": node});
                self.by_tool(cx, uri, "node_get", args).await?
            }
            ["storage", cluster, storage] => {
                let args = json!({"cluster": cluster, "storage": storage});
                self.by_tool(cx, uri, "storage_list", args).await?
            }
            _ => return Err(ResourceError::not_found(uri)),
        };
        self.options.redaction.document(&mut document);
        Ok(vec![ResourceContents::text(uri, JSON, document.to_string())])
    }
}
