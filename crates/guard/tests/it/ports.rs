//! The guard's ports in memory keep their contract.

use guard::ports::ActionId;
use testkit::{contract::ports as contract, ports::MemoryPorts};

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::approvals(&MemoryPorts::new()).await;
    contract::actions(&MemoryPorts::new()).await;
    contract::undos(&MemoryPorts::new(), ActionId::from_bits(1)).await;
    contract::confirms(&MemoryPorts::new(), ActionId::from_bits(1)).await;
    contract::freezes(&MemoryPorts::new()).await;
}
