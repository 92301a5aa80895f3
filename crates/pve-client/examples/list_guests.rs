//! Lists the guests that a token may see.
//!
//! ```console
//! cargo run -p pve-client --example list_guests -- https://pve1:8006 'mcp@pve!agent' token.txt AB:CD:…
//! ```

use std::{error::Error, process::ExitCode};

use pve_client::cluster::{self, ResourceFilter};

mod common;

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]
async fn main() -> ExitCode {
    match run().await {
        Ok(rows) => {
            println!("{rows}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", stdx::Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<String, Box<dyn Error>> {
    let (client, _) = common::connect()?;
    let mut guests = client.call(cluster::resources(Some(&ResourceFilter::Guests))).await?;
    guests.sort_by_key(|guest| guest.vmid);
    let rows = guests.iter().map(|guest| {
        let vmid = guest.vmid.map(|id| id.to_string()).unwrap_or_default();
        let node = guest.node.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = guest.name.as_deref().unwrap_or("-");
        let kind = &guest.kind;
        let state = if guest.template { "template" } else { &guest.status };
        format!("{vmid:>9}  {kind:<5} {state:<9} {node:<12} {name}")
    });
    Ok(rows.collect::<Vec<_>>().join("\n"))
}
