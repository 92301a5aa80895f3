//! Runs the simulator until it is interrupted, and prints how to reach it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use proxmox_sim::{EstateKind, PveRelease, Sim, SimConfig, serve_control};

/// Simulated Proxmox VE and Proxmox Backup Server, over TLS on loopback.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// What to simulate.
    #[arg(long, value_enum, default_value_t = Estate::Demo)]
    estate: Estate,
    /// Number of nodes of the `scale` estate.
    #[arg(long, default_value_t = 10)]
    nodes: u32,
    /// Number of guests of the `scale` estate.
    #[arg(long, default_value_t = 1000)]
    guests: u32,
    /// Release of the simulated PVE nodes.
    #[arg(long, value_enum, default_value_t = Release::V9_2)]
    release: Release,
    /// Milliseconds for which a 401 is held back.
    #[arg(long, default_value_t = 3000)]
    auth_delay: u64,
    /// Pace of tasks; 1 is the pace of the demo, 1000 suits tests.
    #[arg(long, default_value_t = 1.0)]
    task_speed: f64,
    /// Write settings.toml with token and authority files into this folder.
    #[arg(long, value_name = "DIR")]
    settings_dir: Option<PathBuf>,
    /// Serve the levers as `POST /levers` on this loopback port (0: any).
    #[arg(long, value_name = "PORT")]
    control: Option<u16>,
    /// Write this file when everything listens.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Estate {
    Demo,
    Scale,
    Empty,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Release {
    #[value(name = "8.4")]
    V8_4,
    #[value(name = "9.2")]
    V9_2,
}

#[expect(clippy::print_stderr, reason = "a program's last words")]
fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            eprintln!("proxmox-sim: {text}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "what it prints is what the program is for")]
async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let estate = match args.estate {
        Estate::Demo => EstateKind::Demo,
        Estate::Scale => EstateKind::Scale { nodes: args.nodes, guests: args.guests },
        Estate::Empty => EstateKind::Empty,
    };
    let release = match args.release {
        Release::V8_4 => PveRelease::V8_4,
        Release::V9_2 => PveRelease::V9_2,
    };
    let config = SimConfig::default()
        .with_estate(estate)
        .with_pve_release(release)
        .with_auth_delay(Duration::from_millis(args.auth_delay))
        .with_task_speed(args.task_speed);
    let sim = Sim::start(config).await?;
    for target in sim.targets() {
        println!("{} ({:?})", target.key, target.product);
        for node in &target.nodes {
            println!("  {:<8} {}  {}", node.name, node.url, node.fingerprint);
        }
        for token in &target.tokens {
            println!("  token    {} {}  ({})", token.id, token.secret, token.privileges);
        }
        println!("  login    {} {}", target.admin.0, target.admin.1);
    }
    if let Some(dir) = &args.settings_dir {
        let text = sim.settings_toml(dir)?;
        let file = dir.join("settings.toml");
        std::fs::write(&file, &text)?;
        println!("\n# {}\n{text}", file.display());
    }
    if let Some(port) = args.control {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let bound = serve_control(sim.levers(), address).await?;
        println!("control http://{bound}/levers");
    }
    println!("ready");
    if let Some(file) = &args.ready_file {
        std::fs::write(file, "ready\n")?;
    }
    interrupted().await?;
    Ok(())
}

/// Waits for ctrl-c or, where there is such a thing, SIGTERM.
async fn interrupted() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = term.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
