//! Backs up one guest and follows the task to its end.
//!
//! ```console
//! cargo run -p pve-client --example run_backup -- https://pve1:8006 'mcp@pve!agent' token.txt AB:CD:… 100 nas
//! ```

use std::{error::Error, process::ExitCode, time::Duration};

use api_core::task::WaitOptions;
use estate::{StorageName, VmId};
use pve_client::{
    cluster::{self, ResourceFilter},
    vzdump::{self, VzdumpParams},
};

mod common;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "an example talks to people")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", stdx::Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example talks to people")]
async fn run() -> Result<bool, Box<dyn Error>> {
    let (client, arguments) = common::connect()?;
    let [vmid, storage] = &arguments[..] else {
        return Err(format!("{} VMID STORAGE", common::USAGE).into());
    };
    let (vmid, storage): (VmId, StorageName) = (vmid.parse()?, storage.parse()?);

    // A backup runs on the node where the guest is; elsewhere it would be left out silently.
    let guests = client.call(cluster::resources(Some(&ResourceFilter::Guests))).await?;
    let guest = guests.into_iter().find(|guest| guest.vmid == Some(vmid));
    let node = guest.and_then(|guest| guest.node).ok_or("no such guest, or not for this token")?;

    let options = VzdumpParams {
        vmids: [vmid].into_iter().collect(),
        storage: Some(storage),
        ..VzdumpParams::default()
    };
    let task = client.call(vzdump::run(&node, options)).await?;
    println!("{task}");
    let wait = WaitOptions::within(Duration::from_hours(4));
    let outcome = client.wait(&task, &wait, |line| println!("  {line}")).await?;
    println!("{:?}", outcome.state);
    Ok(outcome.is_success())
}
