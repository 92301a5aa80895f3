//! The guard against a hostile model that also has a shell as the calling account: it asks, forges,
//! widens, races, waits, hides, exhausts, climbs, looks and breaks in, and each time says what it got.
//!
//! Over the demo there is one account and no approver: what is asked there is answered in the client,
//! which is trusted with everything since nothing is real; the cases hold what it promises all the
//! same. The manager has an account of its own, and so have the model and the people: that takes root.

mod bounds;
mod consent;
mod demo;
mod house;
mod model;
mod speak;
mod walls;

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

pub(crate) use self::speak::speak;
use super::Report;
use crate::sim;

/// Runs all of it.
pub(super) fn run(binaries: &Path, report: &mut Report) -> Result<()> {
    demo::run(binaries, report)?;
    if !house::is_root() {
        println!(
            "\nskipped: a manager, a model and people in accounts of their own; it takes root, and setpriv"
        );
        return Ok(());
    }
    let mut house = house::House::start(binaries)?;
    let mut model = house.model()?;
    // Its time runs out while the others are tried.
    let late =
        consent::asks(&mut model, "guest_power", json!({"guest": "lab/100", "action": "reset"}))?;
    let asked = std::time::Instant::now();
    consent::its_own(&mut house, &mut model, report)?;
    consent::reuse(&mut house, &mut model, report)?;
    consent::moved(&mut house, &mut model, report)?;
    consent::races(&mut house, &mut model, report)?;
    bounds::widened(&mut house, &mut model, report)?;
    let control = house.sim.control.clone();
    bounds::hidden(&mut model, &control, "by the manager", report)?;
    bounds::climbing(&mut model, &control, "by the manager", report)?;
    bounds::classic(&house, &mut model, report)?;
    bounds::budgets(&mut house, &mut model, report)?;
    walls::others(&mut house, &mut model, report)?;
    walls::frozen(&mut house, &mut model, report)?;
    walls::files(&mut house, &mut model, report)?;
    walls::own_client(&mut house, binaries, report)?;
    walls::late(&mut house, &mut model, &late, asked, report)?;
    bounds::wild(&mut model, report)?;
    drop(model);
    walls::secrets(&house, report)?;
    walls::audit(&mut house, report)
}

/// What the simulator was sent that changes something, since it began to keep it.
fn writes(control: &str) -> Result<Vec<String>> {
    let heads = sim::pull(control, &json!({"lever": "heads"}))?;
    let heads = heads.as_array().context("the simulator does not say what it heard")?;
    let heads = heads.iter().filter_map(Value::as_str);
    Ok(heads.filter(|head| !head.starts_with("GET ")).map(str::to_owned).collect())
}
