//! The trait that both ends share.

use jsonrpsee::core::{RpcResult, SubscriptionResult};
use jsonrpsee::proc_macros::rpc;

use crate::types::{Hello, Status, ToolCallParams, ToolEvent, Toolbox, Welcome};

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

    /// The tools that the caller may use.
    #[method(name = "tools", with_extensions)]
    async fn tools(&self) -> RpcResult<Toolbox>;

    /// Calls a tool: progress as it comes, then how it ended. To unsubscribe is to cancel.
    #[subscription(name = "call_tool" => "tool_event", unsubscribe = "cancel_tool", item = ToolEvent, with_extensions)]
    async fn call_tool(&self, call: ToolCallParams) -> SubscriptionResult;
}
