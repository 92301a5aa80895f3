//! Telling clients of changes: `subscriptions/listen` of the modern era, and what an older client is told on its connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CustomNotification, ErrorCode, GetExtensions as _, GetMeta as _, NotificationMetaObject,
    PromptListChangedNotification, ProtocolVersion, RequestId, ResourceListChangedNotification,
    ResourceUpdatedNotification, ResourceUpdatedNotificationParam, ServerNotification,
    ServerResult, SubscriptionFilter, SubscriptionsListenResult, TaskStatusNotification,
    TaskStatusNotificationParams, ToolListChangedNotification,
};
use rmcp::service::{OriginatingRequestId, Peer, RequestContext, ServiceError};
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::handler::{Handler, era};
use super::tasks;
use crate::app::App;
use crate::context::{CallContext, Era};
use crate::job::JobId;
use crate::notify::{Filter, Listener, MAX_WATCHED};

const METHOD: &str = "subscriptions/listen";
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// A job that somebody follows, and whose process may be gone, is looked at again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The jobs that a listener names, which the SDK's own type does not hold. Left by whoever reads the message.
#[derive(Debug, Clone, Default)]
pub(super) struct TaskIds(pub(super) Vec<String>);

/// What an older client hears as long as its connection lives. Dropping it ends that.
pub(super) struct Ear {
    pub(super) listener: Arc<Listener>,
    pump: JoinHandle<()>,
}

/// Serves one `subscriptions/listen` until the client or the server ends it.
pub(super) async fn listen(
    handler: &Handler,
    wanted: SubscriptionFilter,
    context: &RequestContext<RoleServer>,
) -> Result<ServerResult, ErrorData> {
    if era(context) == Era::Legacy {
        return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, METHOD, None));
    }
    check_meta(context)?;
    let cx = handler.call_context(context);
    let jobs = context.extensions.get::<TaskIds>().map(|ids| ids.0.as_slice()).unwrap_or_default();
    let uris = wanted.resource_subscriptions.as_deref().unwrap_or_default();
    if uris.len() + jobs.len() > MAX_WATCHED {
        let message =
            format!("at most {MAX_WATCHED} resources and tasks can be listened to at once");
        return Err(ErrorData::invalid_params(message, None));
    }
    let filter = accepted(handler, &cx, &wanted, uris, jobs).await?;
    // Before the acknowledgment, so that no change falls between the two.
    let listener = handler.app.inner.notifier.listen(filter.clone());
    let sending = Sending { peer: &context.peer, id: &context.id };
    let ending = handler.session.listening_ends();
    tokio::select! {
        biased;
        () = context.ct.cancelled() => {}
        () = ending => {}
        result = tell(handler, &cx, &filter, &listener, &sending) => result?,
    }
    Ok(closed(context.id.clone()))
}

/// The result that says that nothing more comes.
pub(super) fn closed(id: RequestId) -> ServerResult {
    ServerResult::SubscriptionsListenResult(SubscriptionsListenResult::complete(id))
}

/// What the SDK checks of every other request.
fn check_meta(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    if let Some(version) = context.meta.protocol_version()
        && !ProtocolVersion::KNOWN_VERSIONS.contains(&version)
    {
        let supported = ProtocolVersion::KNOWN_VERSIONS;
        return Err(ErrorData::unsupported_protocol_version(version, supported));
    }
    let missing = context.meta.missing_required_keys(&ProtocolVersion::V_2026_07_28);
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    let message = format!("request _meta is missing or has malformed required fields: {missing}");
    Err(ErrorData::invalid_params(message, None))
}

/// What of the wanted will be told: what the app announces, and what is this caller's to hear.
async fn accepted(
    handler: &Handler,
    cx: &CallContext,
    wanted: &SubscriptionFilter,
    uris: &[String],
    jobs: &[String],
) -> Result<Filter, ErrorData> {
    let app = &handler.app.inner;
    let is = |wanted: Option<bool>| wanted == Some(true);
    let mut filter = Filter {
        tools: is(wanted.tools_list_changed) && app.changes.tools,
        prompts: is(wanted.prompts_list_changed) && app.changes.prompts,
        resources: is(wanted.resources_list_changed) && app.changes.resources,
        ..Filter::default()
    };
    if let Some(resources) = app.resources.as_ref().filter(|_| app.changes.updates) {
        for uri in uris {
            if resources.is_watchable(cx, uri).await {
                filter.uris.insert(uri.clone());
            }
        }
    }
    if let Some(tasks) = app.tasks.as_ref().filter(|_| cx.capabilities().tasks) {
        for id in jobs {
            let id = JobId::from_text(id);
            let job = tasks.kept(cx.caller().subject(), &id).await;
            if job.map_err(|error| tasks::store_error(&error))?.is_some() {
                filter.jobs.insert(id);
            }
        }
    }
    Ok(filter)
}

/// Acknowledges, then tells until nobody listens.
async fn tell(
    handler: &Handler,
    cx: &CallContext,
    filter: &Filter,
    listener: &Listener,
    sending: &Sending<'_>,
) -> Result<(), ErrorData> {
    sending.acknowledge(filter).await.map_err(|_| gone())?;
    let mut open = filter.jobs.clone();
    // A change between the acceptance and now has no other way to be told.
    look_again(handler, cx, &mut open, sending).await?;
    loop {
        let again = async {
            if open.is_empty() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let changed = tokio::select! {
            changed = listener.next() => Some(changed),
            () = again => None,
        };
        let Some(changed) = changed else {
            look_again(handler, cx, &mut open, sending).await?;
            continue;
        };
        for id in &changed.jobs {
            tell_job(handler, cx, id, &mut open, sending, true).await?;
        }
        sending.changes(changed).await.map_err(|_| gone())?;
    }
}

/// Looks at the jobs whose end has not been told: their process may be gone, and nobody else would notice.
async fn look_again(
    handler: &Handler,
    cx: &CallContext,
    open: &mut BTreeSet<JobId>,
    sending: &Sending<'_>,
) -> Result<(), ErrorData> {
    for id in open.clone() {
        tell_job(handler, cx, &id, open, sending, false).await?;
    }
    Ok(())
}

/// Tells how a job is; without `always` only if it has ended or asks something.
async fn tell_job(
    handler: &Handler,
    cx: &CallContext,
    id: &JobId,
    open: &mut BTreeSet<JobId>,
    sending: &Sending<'_>,
    always: bool,
) -> Result<(), ErrorData> {
    let app = &handler.app.inner;
    let Some(tasks) = &app.tasks else { return Ok(()) };
    let job = tasks.look(cx.caller().subject(), id, app.clock.now()).await;
    let Ok(Some(job)) = job else { return Ok(()) };
    let is_news = open.contains(id) && job.state.is_finished();
    if !always && !is_news {
        return Ok(());
    }
    if job.state.is_finished() && !open.remove(id) {
        // Its end has been told.
        return Ok(());
    }
    let detailed = tasks::detailed(job, cx.protocol_version())?;
    let params = TaskStatusNotificationParams::new(detailed);
    sending.send(TaskStatusNotification::new(params)).await.map_err(|_| gone())
}

fn gone() -> ErrorData {
    ErrorData::internal_error("the client does not listen any more", None)
}

/// The way out of one subscription.
struct Sending<'a> {
    peer: &'a Peer<RoleServer>,
    id: &'a RequestId,
}

// === impl Sending ===

impl Sending<'_> {
    async fn acknowledge(&self, filter: &Filter) -> Result<(), ServiceError> {
        let mut accepted = json!({});
        for (key, is_accepted) in [
            ("toolsListChanged", filter.tools),
            ("promptsListChanged", filter.prompts),
            ("resourcesListChanged", filter.resources),
        ] {
            if is_accepted {
                accepted[key] = json!(true);
            }
        }
        if !filter.uris.is_empty() {
            accepted["resourceSubscriptions"] = json!(filter.uris);
        }
        if !filter.jobs.is_empty() {
            let ids: Vec<&str> = filter.jobs.iter().map(JobId::as_str).collect();
            accepted["taskIds"] = json!(ids);
        }
        let id = self.id.clone().into_json_value();
        let params = json!({ "_meta": { SUBSCRIPTION_ID: id }, "notifications": accepted });
        let mut notification = CustomNotification::new(ACKNOWLEDGED, Some(params));
        notification.extensions.insert(OriginatingRequestId(self.id.clone()));
        self.peer.send_notification(ServerNotification::CustomNotification(notification)).await
    }

    async fn changes(&self, changed: Filter) -> Result<(), ServiceError> {
        for notification in notifications(changed) {
            self.send(notification).await?;
        }
        Ok(())
    }

    /// Sends it with the subscription that it belongs to.
    async fn send(&self, notification: impl Into<ServerNotification>) -> Result<(), ServiceError> {
        let mut notification = notification.into();
        let extensions = notification.extensions_mut();
        extensions.insert(OriginatingRequestId(self.id.clone()));
        extensions.get_or_insert_with(NotificationMetaObject::new);
        notification.get_meta_mut().set_subscription_id(self.id.clone());
        self.peer.send_notification(notification).await
    }
}

/// The changes as notifications, without those of jobs.
fn notifications(changed: Filter) -> Vec<ServerNotification> {
    let mut all = Vec::new();
    if changed.tools {
        all.push(ToolListChangedNotification::default().into());
    }
    if changed.prompts {
        all.push(PromptListChangedNotification::default().into());
    }
    if changed.resources {
        all.push(ResourceListChangedNotification::default().into());
    }
    for uri in changed.uris {
        let params = ResourceUpdatedNotificationParam::new(uri);
        all.push(ResourceUpdatedNotification::new(params).into());
    }
    all
}

// === impl Ear ===

impl Ear {
    /// Begins to tell an older client what the app announces.
    pub(super) fn open(app: &App, peer: &Peer<RoleServer>) -> Self {
        let changes = app.inner.changes;
        let filter = Filter {
            tools: changes.tools,
            prompts: changes.prompts,
            resources: changes.resources,
            ..Filter::default()
        };
        let listener = Arc::new(app.inner.notifier.listen(filter));
        let (heard, peer) = (Arc::clone(&listener), peer.clone());
        let pump = tokio::spawn(async move {
            loop {
                for notification in notifications(heard.next().await) {
                    if peer.send_notification(notification).await.is_err() {
                        return;
                    }
                }
            }
        });
        Self { listener, pump }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// The ids of tasks in a message of this method, or what is wrong with them.
pub(super) fn task_ids(method: &str, params: Option<&Value>) -> Result<Option<TaskIds>, String> {
    if method != METHOD {
        return Ok(None);
    }
    let Some(ids) = params.and_then(|params| params.pointer("/notifications/taskIds")) else {
        return Ok(None);
    };
    let texts: Option<Vec<String>> = ids
        .as_array()
        .and_then(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect());
    match texts {
        Some(ids) => Ok(Some(TaskIds(ids))),
        None => Err(format!("params of {METHOD}: taskIds must be a list of strings")),
    }
}
