//! Networks: interfaces and what is pending, SDN, and the firewall.

mod apply;
mod back;
mod change;
mod firewall;
mod get;
mod lines;
mod matching;
mod options;
mod place;
mod rule;
mod sdn;
mod verdict;

use std::sync::Arc;

use estate::NodeName;

use crate::{fleet::Pve, plan::Calls, tool::EstateTool};

/// The tools, in the order of their list.
pub(super) static TOOLS: &[&dyn EstateTool] = &[
    &get::NetworkGet,
    &change::NetworkChange,
    &apply::NetworkApply,
    &apply::NetworkRevert,
    &sdn::SdnList,
    &firewall::FirewallGet,
    &verdict::FirewallMatch,
    &rule::FirewallRuleChange,
    &options::FirewallOptionsChange,
];

/// The calls that write a node's network again as it runs now, and apply it; why not, if not.
pub(super) async fn way_back(member: &Arc<Pve>, node: &NodeName) -> Result<Calls, String> {
    let written = place::Written::read(member, node).await;
    let written =
        written.map_err(|error| format!("what runs cannot be read: {}", stdx::Chain(&error)))?;
    let diff = written.changes.as_deref().unwrap_or_default();
    back::way_back(diff, &written, (member.key.as_str(), node.as_str()))
}
