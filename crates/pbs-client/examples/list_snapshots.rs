//! Lists every snapshot that a token may see, with how its verification went.
//!
//! ```console
//! cargo run -p pbs-client --example list_snapshots -- https://pbs1:8007 'mcp@pbs!agent' token.txt AB:CD:…
//! ```

use std::{error::Error, process::ExitCode};

use pbs_client::{datastores, namespaces, snapshots};

mod common;

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]
async fn main() -> ExitCode {
    match run().await {
        Ok(rows) => {
            println!("{}", rows.join("\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", stdx::Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let (client, _) = common::connect()?;
    let mut rows = Vec::new();
    for store in client.call(datastores::list()).await? {
        for namespace in client.call(namespaces::list(&store.name, None, None)).await? {
            let request = snapshots::list(&store.name, Some(&namespace.name));
            for snapshot in client.call(request).await? {
                let verified = match &snapshot.verification {
                    Some(verification) => verification.state.as_str(),
                    None => "never verified",
                };
                let place = snapshot.reference(&namespace.name);
                let bytes = snapshot.size_bytes.unwrap_or_default();
                rows.push(format!("{}:{place}  {bytes} bytes  {verified}", store.name));
            }
        }
    }
    Ok(rows)
}
