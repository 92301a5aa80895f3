//! The trait that both ends share.

use jsonrpsee::core::{RpcResult, SubscriptionResult};
use jsonrpsee::proc_macros::rpc;

use crate::types::{
    Action, ActionFilter, Approval, ApprovalDetail, ApprovalFilter, AuditHead, AuditPage, Confirm,
    DecisionParams, Freeze, FreezeParams, Hello, LiftParams, SettleParams, Status, ToolCallParams,
    ToolEvent, Toolbox, Welcome,
};

/// What a manager can be asked.
///
/// Every method sees who calls in its extensions: the account at the other end of the socket.
#[rpc(server, client, namespace = "manager", namespace_separator = ".")]
pub trait Control {
    /// Says who calls and of what version; the answer says the same of the manager.
    #[method(name = "hello", with_extensions)]
    async fn hello(&self, hello: Hello) -> RpcResult<Welcome>;

    /// How the manager is.
    #[method(name = "status", with_extensions)]
    async fn status(&self) -> RpcResult<Status>;

    /// The approvals that the caller may see, newest first.
    #[method(name = "approvals", with_extensions)]
    async fn approvals(&self, filter: ApprovalFilter) -> RpcResult<Vec<Approval>>;

    /// One approval with its plan.
    #[method(name = "approval", with_extensions)]
    async fn approval(&self, id: String) -> RpcResult<ApprovalDetail>;

    /// Decides.
    #[method(name = "decide", with_extensions)]
    async fn decide(&self, decision: DecisionParams) -> RpcResult<Approval>;

    /// Waits until an approval is over, or the time is up, and says how it is then.
    #[method(name = "wait", with_extensions)]
    async fn wait(&self, id: String, timeout_secs: u64) -> RpcResult<Approval>;

    /// Approvals as they are asked for and change.
    #[subscription(name = "subscribe_approvals" => "approval_changed", item = Approval, with_extensions)]
    async fn subscribe_approvals(&self) -> SubscriptionResult;

    /// Whether changes are stopped.
    #[method(name = "frozen", with_extensions)]
    async fn frozen(&self) -> RpcResult<Option<Freeze>>;

    /// Stops all changes.
    #[method(name = "freeze", with_extensions)]
    async fn freeze(&self, params: FreezeParams) -> RpcResult<Freeze>;

    /// Lets changes run again.
    #[method(name = "lift", with_extensions)]
    async fn lift(&self, params: LiftParams) -> RpcResult<()>;

    /// Changes that are reverted unless somebody confirms them.
    #[method(name = "confirms", with_extensions)]
    async fn confirms(&self) -> RpcResult<Vec<Confirm>>;

    /// Confirms a change, so that it stays.
    #[method(name = "confirm", with_extensions)]
    async fn confirm(&self, id: String) -> RpcResult<Confirm>;

    /// What was or is being done.
    #[method(name = "actions", with_extensions)]
    async fn actions(&self, filter: ActionFilter) -> RpcResult<Vec<Action>>;

    /// Says how an action ended whose end is not known.
    #[method(name = "settle", with_extensions)]
    async fn settle(&self, params: SettleParams) -> RpcResult<Action>;

    /// The newest record of the audit chain.
    #[method(name = "audit_head", with_extensions)]
    async fn audit_head(&self) -> RpcResult<Option<AuditHead>>;

    /// Records of the audit chain after one.
    #[method(name = "audit_records", with_extensions)]
    async fn audit_records(&self, after: u64, limit: u32) -> RpcResult<AuditPage>;

    /// The tools that the caller may use.
    #[method(name = "tools", with_extensions)]
    async fn tools(&self) -> RpcResult<Toolbox>;

    /// Calls a tool: progress as it comes, then how it ended. To unsubscribe is to cancel.
    #[subscription(name = "call_tool" => "tool_event", unsubscribe = "cancel_tool", item = ToolEvent, with_extensions)]
    async fn call_tool(&self, call: ToolCallParams) -> SubscriptionResult;
}
