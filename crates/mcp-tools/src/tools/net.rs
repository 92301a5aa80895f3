//! Networks: interfaces and what is pending, SDN, and the firewall.

mod apply;
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

use crate::tool::EstateTool;

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
