//! The command line: what can be said, and the help that makes a manual unnecessary.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::actions::ActionsCommand;
use crate::approve::ApproveArgs;
use crate::approver::ApproverCommand;
use crate::audit::AuditCommand;
use crate::events::{EventsCommand, IncidentsCommand};
use crate::freeze::FreezeArgs;
use crate::policy::PolicyCommand;
use crate::rules::RulesCommand;
use crate::token::TokenCommand;

/// Runs a Proxmox estate through the Model Context Protocol.
///
/// Try it without a Proxmox at hand: `proxmox-mcp demo`.
#[derive(Debug, Parser)]
#[command(name = "proxmox-mcp", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

const EXIT_CODES: &str = "\
Exit codes: 0 all is well; 1 a check or a call failed; 2 it could not run (settings, usage).
Standard output carries answers only; logs go to standard error.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve MCP on standard input and output (what a client starts), or over HTTP.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Show what it does, on a simulated estate: an overview, a search, a start that works, one that fails.
    Demo,
    /// Call one tool and print its answer, without a client.
    #[command(after_help = CALL_EXAMPLES)]
    Call(CallArgs),
    /// List the tools that `serve` would offer with the same flags.
    Tools(ToolsArgs),
    /// Check every endpoint (reach, TLS, credentials, permissions, clock, version) and the MCP handshake.
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    /// Make, check, show and import settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say what the policy decides about a call and why, and show its lines.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Make, list and revoke the bearer tokens of `serve --http`.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show what was done, check that the audit log is as it was written, and export it.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// List actions without a known end, and say how one ended.
    #[command(subcommand)]
    Actions(ActionsCommand),
    /// See what waits for a person, and approve or refuse it.
    Approve(ApproveArgs),
    /// Set up people who may approve.
    #[command(subcommand)]
    Approver(ApproverCommand),
    /// Stop all changes, or let them run again.
    Freeze(FreezeArgs),
    /// See what was heard, how inputs and outputs are doing, and tell people something.
    #[command(subcommand)]
    Events(EventsCommand),
    /// See what is wrong, and say that you have it or that it is over.
    #[command(subcommand)]
    Incidents(IncidentsCommand),
    /// Try the rules: with cases of your own, and with what was heard.
    #[command(subcommand)]
    Rules(RulesCommand),
}

const SERVE_EXAMPLES: &str = "\
Examples:
  proxmox-mcp serve --demo                      a simulated estate, no settings needed
  proxmox-mcp serve --config lab.toml           your own estate, reads only
  proxmox-mcp serve --mode trusted              also start, stop and snapshot guests
  proxmox-mcp serve --toolsets classic          the names of the earlier Python server
  proxmox-mcp serve --http                      MCP and REST at http://127.0.0.1:8808, with tokens
  proxmox-mcp serve --demo --http --no-auth     the same on a simulated estate, for anybody here
  proxmox-mcp serve --http=0.0.0.0:8808 --tls-cert tls.crt --tls-key tls.key";

const CALL_EXAMPLES: &str = "\
Examples:
  proxmox-mcp call fleet_overview --demo
  proxmox-mcp call guests_list status=running sort=mem --demo
  proxmox-mcp call guest_power guest=home/104 action=start --mode trusted";

const TEST_EXAMPLES: &str = "\
Examples:
  proxmox-mcp test                  a table with a hint for everything that is wrong
  proxmox-mcp test --json           the same for machines
  proxmox-mcp test --demo           on the simulated estate";

/// Where the settings come from.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SourceArgs {
    /// The settings file; `conf.d/*.toml` beside it is read as well [env: PROXMOX_MCP_CONFIG] [default: ~/.config/proxmox-mcp/config.toml, then /etc/proxmox-mcp/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Read the earlier server's `.env` file instead of a settings file
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub(crate) env_file: Option<PathBuf>,
}

/// What is served.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SurfaceArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Toolsets to offer, separated by commas: default, guests, backup, storage, network, cluster, events, api, classic, compact, guard, all
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) toolsets: Option<Vec<String>>,
    /// How far it goes: read-only hides actions, guarded refuses them, trusted runs reversible ones
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    pub(crate) mode: Option<guard::Mode>,
    /// Use a simulated estate that runs inside this process
    #[arg(long, conflicts_with_all = ["config", "env_file"])]
    pub(crate) demo: bool,
    /// Listen on this loopback address for the demo's levers: a node offline, a task that fails, …
    #[arg(long, value_name = "ADDR", requires = "demo")]
    pub(crate) demo_levers: Option<std::net::SocketAddr>,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) surface: SurfaceArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
}

/// Where `serve` listens, if it does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Over HTTP")]
pub(crate) struct HttpArgs {
    /// Serve MCP at /mcp and REST at /api/v1 on this address; port 0 takes any that is free [default: `http.listen`, 127.0.0.1:8808]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, value_parser = parse_address)]
    #[expect(clippy::option_option, reason = "what clap makes of a flag with an optional value")]
    pub(crate) http: Option<Option<std::net::SocketAddr>>,
    /// Serve on a Unix socket that only this account can open
    #[arg(long, value_name = "PATH")]
    pub(crate) unix: Option<PathBuf>,
    /// Ask nobody for a token; only on loopback and on a Unix socket
    #[arg(long)]
    pub(crate) no_auth: bool,
    /// Hear events and tell people in this process, as a manager does; no other may run on the state folder
    #[arg(long)]
    pub(crate) with_events: bool,
    /// Serve HTTPS with this certificate (PEM, with its chain); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// Arguments of `call`.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The tool (see `proxmox-mcp tools`)
    pub(crate) tool: String,
    /// Its arguments; a value that is JSON is taken as such
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) args: Vec<String>,
    /// Print the structured answer instead of the text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) surface: SurfaceArgs,
}

/// Arguments of `tools`.
#[derive(Debug, Args)]
pub(crate) struct ToolsArgs {
    /// Print the tools as clients get them
    #[arg(long)]
    pub(crate) json: bool,
    /// Toolsets to list, separated by commas: default, guests, backup, storage, network, cluster, events, api, classic, compact, guard, all
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) toolsets: Option<Vec<String>>,
    /// List as in this mode: read-only, guarded, trusted
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    pub(crate) mode: Option<guard::Mode>,
}

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Only this cluster or server (repeatable)
    #[arg(long, value_name = "KEY")]
    pub(crate) only: Vec<String>,
    /// Also send a marked test message through each output
    #[arg(long)]
    pub(crate) send: bool,
    /// How long one check may take
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) timeout: u64,
    #[command(flatten)]
    pub(crate) surface: SurfaceArgs,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Write a commented settings file to start from
    Init {
        /// Where to; standard output without it
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Overwrite the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Read the settings and say what is wrong, without contacting anything
    Check {
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Print the settings in force; secrets stay hidden
    Show {
        /// Print where each value came from
        #[arg(long)]
        origins: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Turn the earlier server's `.env` into settings
    Import {
        /// The `.env` file
        #[arg(value_name = "ENV_FILE")]
        env_file: PathBuf,
        /// Write settings and secret files into this folder; without it the settings are only printed
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Add a server: shows its fingerprint, then makes user, role and token with an administrator's password that is asked for once and never stored
    #[command(after_help = ADD_EXAMPLES)]
    Add(AddArgs),
}

const ADD_EXAMPLES: &str = "\
Examples:
  proxmox-mcp config add https://pve1.lan:8006 --key home
  proxmox-mcp config add https://pbs1.lan:8007 --key vault
  proxmox-mcp config add https://pve1.lan:8006 --key home --print     the commands for the node's shell instead";

/// Arguments of `config add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The server, such as `https://pve1.lan:8006` (PVE) or `https://pbs1.lan:8007` (PBS)
    pub(crate) url: String,
    /// The name of the settings table [default: the host's first label]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Which product answers there [default: by port, 8006 is PVE and 8007 PBS]
    #[arg(long, value_enum)]
    pub(crate) product: Option<ProductArg>,
    /// The administrator who makes user, role and token
    #[arg(long, value_name = "USER@REALM", default_value = "root@pam")]
    pub(crate) admin: String,
    /// The fingerprint that you compared on the node already; no question is asked then
    #[arg(long, value_name = "AB:CD:…")]
    pub(crate) fingerprint: Option<String>,
    /// Let the token start, stop and snapshot guests, too; it takes `--mode trusted` to use that
    #[arg(long)]
    pub(crate) operate: bool,
    /// Let the token list backup files on PVE storages; the privileges for that can make and delete backups, too
    #[arg(long)]
    pub(crate) backup_lists: bool,
    /// The token's name
    #[arg(long, value_name = "NAME", default_value = "agent")]
    pub(crate) token_name: String,
    /// Print the commands for the node's shell and change nothing
    #[arg(long)]
    pub(crate) print: bool,
    /// The folder of the settings [default: the settings file's folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// A product by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProductArg {
    /// Proxmox VE
    Pve,
    /// Proxmox Backup Server
    Pbs,
}

/// Logs.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or a filter such as api_core=debug [default: warn]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}

/// Reads an address; a port alone is one on loopback, and so is `localhost`.
fn parse_address(text: &str) -> Result<std::net::SocketAddr, String> {
    let loopback = std::net::Ipv4Addr::LOCALHOST;
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok((loopback, port).into());
    }
    let address = match text.strip_prefix("localhost") {
        Some(rest) => format!("{loopback}{rest}"),
        None => text.to_owned(),
    };
    address.parse().map_err(|_| {
        "it takes an address with its port, for example 127.0.0.1:8808, 0.0.0.0:8808 or [::]:8808"
            .to_owned()
    })
}

pub(crate) fn parse_mode(text: &str) -> Result<guard::Mode, String> {
    text.parse().map_err(|error: guard::InvalidMode| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_names_every_toolset() {
        let mut all: Vec<&str> =
            mcp_tools::tools::TOOLSETS.iter().map(|toolset| toolset.name).collect();
        all.push("all");
        let command = Cli::command();
        for name in ["serve", "tools"] {
            let command = command.find_subcommand(name).unwrap();
            let flag = command.get_arguments().find(|flag| flag.get_id() == "toolsets").unwrap();
            let help = flag.get_help().unwrap().to_string();
            let (_, named) = help.split_once(": ").unwrap();
            let mut named: Vec<&str> = named.split(", ").collect();
            named.sort_unstable();
            all.sort_unstable();
            assert_eq!(named, all, "the help of `{name} --toolsets`");
        }
    }
}
