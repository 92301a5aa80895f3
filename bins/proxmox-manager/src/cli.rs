//! The command line.

use std::path::PathBuf;

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  proxmox-manager --demo                        see events, incidents and messages of a simulated estate
  proxmox-manager --check                       test settings, servers, inputs, outputs and store, and stop
  proxmox-manager                               run in the foreground, until SIGTERM or Control-C
  systemctl enable --now proxmox-manager        run it as a service, by config/systemd/proxmox-manager.service

Signals: SIGTERM and SIGINT end it, as soon as what is under way has ended or manager.drain_secs are over;
SIGHUP reads approvers and log level anew.
Exit codes: 0 it was told to end, and with --check: all is well; 1 work was left, which it settles when it
starts again, and with --check: something is not well; 2 it could not run (settings, usage, another manager on
the same state folder or store).";

/// Runs what was approved on a Proxmox estate, and answers `proxmox-mcp` over a socket.
#[derive(Debug, Parser)]
#[command(name = "proxmox-manager", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// The settings file; `conf.d/*.toml` beside it is read as well [env: PROXMOX_MCP_CONFIG] [default: ~/.config/proxmox-mcp/config.toml, then /etc/proxmox-mcp/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How far it goes: read-only, guarded, trusted
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    pub(crate) mode: Option<guard::Mode>,
    /// Test settings, servers, inputs, outputs, store, folders and socket, and stop; a manager may run meanwhile
    #[arg(long)]
    pub(crate) check: bool,
    /// With --check: also send a marked test message through each output
    #[arg(long, requires = "check")]
    pub(crate) send: bool,
    /// With --check: print one JSON document instead of a table
    #[arg(long, requires = "check")]
    pub(crate) json: bool,
    /// Run on a simulated estate, in which something happens, and show what people would be told
    #[arg(long, conflicts_with_all = ["config", "check"])]
    pub(crate) demo: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as manager=debug [default: as `log.level` says]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}

fn parse_mode(text: &str) -> Result<guard::Mode, String> {
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
}
