//! Verifies a datastore and follows the task to its end. (Backups are run by those who have the
//! data: see the other client's `run_backup`.)
//!
//! ```console
//! cargo run -p pbs-client --example run_verification -- https://pbs1:8007 'mcp@pbs!agent' token.txt AB:CD:… main
//! ```

use std::{error::Error, process::ExitCode, time::Duration};

use api_core::task::WaitOptions;
use estate::DatastoreName;
use pbs_client::datastores::{self, VerifyParams};

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
    let [store] = &arguments[..] else {
        return Err(format!("{} DATASTORE", common::USAGE).into());
    };
    let store: DatastoreName = store.parse()?;
    let options = VerifyParams {
        ignore_verified: Some(true),
        outdated_after_days: Some(30),
        ..VerifyParams::default()
    };
    let task = client.call(datastores::verify(&store, options)).await?;
    println!("{task}");
    let wait = WaitOptions::within(Duration::from_hours(12));
    let outcome = client.wait(&task, &wait, |line| println!("  {line}")).await?;
    println!("{:?}", outcome.state);
    Ok(outcome.is_success())
}
