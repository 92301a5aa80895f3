//! `cargo xtask crashes`: what is left when a program is killed with SIGKILL in the middle of an action.
//!
//! For every step of an action (planned, asked, consented, begun, sent, followed, verified, written down) the real
//! programs run over a real store and a simulated estate, and are killed at that very moment. Two things tell when it
//! has come, both from outside: the simulator holds the request, or a trigger in the store holds the write. Then they
//! are started again, as an operator would, and it is looked at what there is: nothing was sent twice, what cannot be
//! told is `unknown` and counted, nothing that was approved is lost, and the audit chain verifies.
//!
//! The event pipeline is killed at random moments under load instead, and a trace of its system calls shows what comes
//! before it says that a report is kept.

mod events;
mod house;
mod steps;
mod store;
mod syncs;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use self::house::House;
use self::steps::{Found, Step};
use crate::workspace::{cargo, root, run};

/// A part of it; each prints a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Actions, killed at every step.
    Actions,
    /// The event pipeline, killed at random moments under load.
    Events,
    /// What the kernel saw before a report was acknowledged.
    Syncs,
}

/// What is done.
pub(crate) struct Options {
    /// Whether what is needed is built.
    pub(crate) build: bool,
    /// Only these parts; all if there is none.
    pub(crate) parts: Vec<Part>,
    /// Only the steps with this in their name.
    pub(crate) only: Option<String>,
    /// How often the event pipeline is killed.
    pub(crate) kills: u32,
    /// What the moments follow from.
    pub(crate) seed: Option<u64>,
}

/// Builds what is needed if asked to, and kills.
pub(crate) fn run_all(options: &Options) -> Result<()> {
    let Options { build, only, kills, seed, .. } = options;
    let build = *build;
    if build {
        let packages = ["proxmox-mcp", "proxmox-manager", "proxmox-sim"];
        let args = packages.iter().flat_map(|package| ["--package", package]);
        run(&mut cargo(&std::iter::once("build").chain(args).collect::<Vec<_>>()))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let binaries = root().join("target/debug");
    let is_wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    if is_wanted(Part::Actions) {
        runtime.block_on(kill_all(&binaries, only.as_deref()))?;
        println!();
    }
    if is_wanted(Part::Syncs) {
        syncs::run(&binaries)?;
        println!();
    }
    if is_wanted(Part::Events) {
        let seed = seed.unwrap_or_else(rand::random);
        runtime.block_on(events::kill_all(&binaries, *kills, seed))?;
    }
    Ok(())
}

async fn kill_all(binaries: &Path, only: Option<&str>) -> Result<()> {
    let begun = Instant::now();
    let key = house::key()?;
    let (mut cases, mut wrong) = (0, 0);
    for program in [steps::Program::Manager, steps::Program::Serve] {
        println!("{}{}", if cases == 0 { "" } else { "\n" }, program.title());
        println!("      {:<58} found after it was started again", "killed when");
        for step in steps::of(program).filter(|step| only.is_none_or(|it| step.name.contains(it))) {
            let found = one(binaries, &key, &step).await;
            cases += 1;
            let (good, got) = judged(&step, &found);
            wrong += usize::from(!good);
            println!("  {} {:<58} {got}", if good { "ok " } else { "NOT" }, step.name);
        }
    }
    println!("\n{cases} crashes in {:.0} s", begun.elapsed().as_secs_f64());
    ensure!(cases > 0, "no step is called so");
    ensure!(wrong == 0, "{wrong} of {cases} crashes left something else than they should");
    Ok(())
}

/// One action that is killed at this step, and what is found afterwards.
async fn one(binaries: &Path, key: &house::Key, step: &Step) -> Result<Found> {
    let mut house = House::start(binaries, key, step.program)?;
    house.prepare().await?;
    house.until_killed(step).await?;
    house.again(step).await?;
    house.look().await
}

fn judged(step: &Step, found: &Result<Found>) -> (bool, String) {
    match found {
        Ok(found) if step.expects.fits(found) => (true, found.to_string()),
        Ok(found) => (false, format!("{found}; it should be: {}", step.expects)),
        Err(error) => (false, format!("{error:#}")),
    }
}
