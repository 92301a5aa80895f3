//! `proxmox-mcp events setup`: targets and matchers on clusters and backup servers that post to our hooks,
//! what mails past them, and a test that has to arrive.
//!
//! *Invariant:* nothing is changed without a yes, given at the terminal or with `--yes`; and every change is
//! a call of the same tool as everybody's, through policy and the audit log.

mod apply;
mod cause;
mod hook;
mod place;
mod plan;
mod show;
mod survey;
mod trial;

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use assembly::{Estate, Wanted};
use clap::Args;
use control_api::Client;
use estate::Product;
use guard::Mode;
use mcp_protocol::App;
use mcp_tools::fleet::Traits;
use serde_json::json;
use url::Url;

use self::hook::Hooks;
use self::place::Place;
use self::plan::{Goal, Plan, Way};
use self::trial::{Outcome, Trial};
use crate::call::Consent;
use crate::cli::{SourceArgs, parse_mode};
use crate::config::files;
use crate::config::terminal::{Console, Terminal as _};
use crate::output::Said;
use crate::{counter, estate as wishes, output};

/// Something stands in the way, was not done, or did not arrive.
const NOT_DONE: u8 = 1;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxmox-mcp events setup                       what is there and what would be done; changes nothing
  proxmox-mcp events setup home --apply --url https://mcp.example.lan:8808
  proxmox-mcp events setup --test                send a test from each and wait for it
  proxmox-mcp events setup home --apply --write  also add the hook that the settings lack

Exit codes: 0 all is as it should be, or only shown; 1 something stands in the way, was not done, or a
test did not arrive; 2 it could not run.";

/// What to set up.
#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// Clusters and backup servers, by their settings keys [default: all]
    #[arg(value_name = "CLUSTER")]
    clusters: Vec<String>,
    /// Where the nodes reach the manager's HTTP listener [default: `manager.public_url`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What target and matcher are called if they have to be made
    #[arg(long, value_name = "NAME", default_value = plan::NAME)]
    name: String,
    /// Ask for each cluster, and do it
    #[arg(long)]
    apply: bool,
    /// Add a hook to the settings where a cluster has none, its secret in a file of its own
    #[arg(long)]
    write: bool,
    /// Let backup jobs and datastores that mail past it use it; without the flag each is asked about
    #[arg(long, requires = "apply")]
    bypasses: bool,
    /// Send the secret again although nothing differs: it cannot be read back
    #[arg(long, requires = "apply")]
    resend_secret: bool,
    /// Agree beforehand, where nobody is asked; what the policy asks about waits for approval then
    #[arg(long)]
    yes: bool,
    /// Send a test from each and wait for it; done after `--apply` in any case
    #[arg(long)]
    test: bool,
    /// Send none
    #[arg(long, conflicts_with = "test")]
    no_test: bool,
    /// How long a test may take to arrive
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=300))]
    wait: u64,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
    /// How far it goes: guarded asks, trusted does what can be taken back
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    mode: Option<Mode>,
    #[command(flatten)]
    source: SourceArgs,
}

/// Everything that is the same for all of them.
struct Setup {
    args: SetupArgs,
    estate: Estate,
    app: App,
    /// Where hooks are, without their paths.
    base: Option<String>,
    /// The manager that runs.
    client: Option<Client>,
    patience: Duration,
}

/// Runs the command on the streams of this process.
pub(crate) async fn run(args: SetupArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let given = args.url.as_deref().map(base).transpose()?;
    let changes = args.apply || args.write;
    if changes && !args.yes && !Console.is_interactive() {
        bail!(
            "nobody is at the terminal to agree: --yes agrees beforehand; without --apply and --write it only shows what it would do"
        );
    }
    let toolsets = Some(vec!["api".to_owned()]);
    let wanted = Wanted { mode: args.mode, toolsets, ..wishes::from_source(&args.source, log) };
    let estate = Estate::prepare(wanted.clone()).await?;
    if (args.apply || args.test) && estate.options.mode == Mode::ReadOnly {
        bail!(
            "the mode is read-only, which changes and sends nothing: --mode guarded asks about each call"
        );
    }
    let folder = files::settings_folder(&files::usual_folders(&wanted.sources));
    if args.write && wanted.sources.env_file.is_some() {
        bail!(
            "the settings come from an `.env` file, to which no hook can be added: `proxmox-mcp config import` makes settings of it"
        );
    }
    let base = given.or_else(|| estate.loaded.settings.manager.public_url.clone());
    let hears = args.apply || args.test;
    let client = if hears { counter::find(&estate.loaded).await? } else { None };
    let app = estate.app()?;
    let patience = Duration::from_secs(args.wait);
    let mut hooks = Hooks::of(&estate.loaded.settings.events, &folder);
    let setup = Setup { args, estate, app, base, client, patience };
    let result = setup.all(&mut hooks).await;
    setup.estate.audit.finish().await;
    result
}

/// The address of the listener, as it is given.
fn base(given: &str) -> anyhow::Result<String> {
    let wrong = || {
        format!(
            "--url {given:?}: it takes scheme, host and port, for example https://mcp.example.lan:8808"
        )
    };
    let url: Url = given.parse().with_context(wrong)?;
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
        bail!(wrong());
    }
    Ok(given.trim_end_matches('/').to_owned())
}

// === impl Setup ===

impl Setup {
    /// All clusters that are meant, one after the other.
    async fn all(&self, hooks: &mut Hooks) -> anyhow::Result<ExitCode> {
        let mut documents = Vec::new();
        let mut is_well = true;
        for (key, product) in self.keys()? {
            let mut place = self.look(key, product, hooks).await?;
            if !self.args.json {
                output::line(&place.shown())?;
            }
            self.work(&mut place).await?;
            is_well &= place.is_well();
            documents.push(place.json());
        }
        if self.args.json {
            output::line(&serde_json::to_string_pretty(&json!({"clusters": documents}))?)?;
        } else if !self.args.apply && !self.args.write && !self.args.test {
            Console.say("nothing was changed: --apply asks about each cluster and does it");
        }
        Said { code: if is_well { 0 } else { NOT_DONE }, ..Said::default() }.print()
    }

    /// The clusters and backup servers that are meant.
    fn keys(&self) -> anyhow::Result<Vec<(String, Product)>> {
        let all: Vec<String> = self.estate.fleet.keys().map(|(key, _)| key.to_string()).collect();
        let meant = if self.args.clusters.is_empty() { &all } else { &self.args.clusters };
        let mut keys = Vec::new();
        for key in meant {
            match self.estate.fleet.product_of(key) {
                Some(product) => keys.push((key.clone(), product)),
                None => bail!(
                    "no [pve.{key}] or [pbs.{key}] is in the settings: there are {}",
                    all.join(", ")
                ),
            }
        }
        Ok(keys)
    }

    /// What is there, and what would be done.
    async fn look(
        &self,
        key: String,
        product: Product,
        hooks: &mut Hooks,
    ) -> anyhow::Result<Place> {
        let fleet = &self.estate.fleet;
        let (survey, is_here) = match product {
            Product::Pve => {
                let member = fleet.pve(Some(&key))?.remove(0);
                (survey::pve(&member).await, is_here(&member.traits))
            }
            Product::Pbs => {
                let member = fleet.pbs(Some(&key))?.remove(0);
                (survey::pbs(&member).await, is_here(&member.traits))
            }
        };
        let hook = hooks.find(&key).cloned();
        let new = hook.is_none().then(|| hooks.think_of(&key));
        let mut place = Place::new(key, product, is_here);
        (place.hook, place.new) = (hook, new);
        match survey {
            Ok(survey) => place.survey = survey,
            Err(why) => {
                place.is_known = false;
                place.obstacles.push(why);
            }
        }
        self.aim(&mut place);
        self.warn(&mut place);
        Ok(place)
    }

    /// Makes the plan, and says what stands in its way.
    fn aim(&self, place: &mut Place) {
        if place.hook.is_none() && !self.args.write {
            let missing = "the settings have no hook for it: --write adds it, or add it by hand";
            place.obstacles.push(missing.to_owned());
        }
        let Some(base) = &self.base else {
            place.obstacles.push(format!(
                "nobody said where the nodes reach this manager: --url https://THIS-MACHINE:{}, or manager.public_url",
                self.estate.loaded.settings.http.listen.port()
            ));
            return;
        };
        let (url, secret) = match (&place.hook, &place.new) {
            (Some(hook), _) => (hook.url(base), hook.secret.clone()),
            // It is shown as it would be; nothing of it is sent.
            (None, Some(new)) => (format!("{base}{}", new.path()), String::new().into()),
            (None, None) => return,
        };
        place.url = Some(url.clone());
        if place.is_known {
            let goal = Goal {
                product: place.product,
                name: self.args.name.clone(),
                url,
                secret,
                resend: self.args.resend_secret,
            };
            place.plan = Some(Plan::of(&goal, &place.survey.found));
        }
    }

    /// What works and should not stay as it is.
    fn warn(&self, place: &mut Place) {
        place.notes.append(&mut place.survey.gaps);
        let Some(Ok(url)) = place.url.as_deref().map(str::parse::<Url>) else { return };
        let is_loopback = cause::is_loopback(&url);
        if is_loopback && !place.is_here {
            place.notes.push(format!(
                "{} is the node itself to a node: give an address of this machine that the nodes reach",
                url.host_str().unwrap_or_default()
            ));
        } else if url.scheme() == "http" && !is_loopback {
            place.notes.push(
                "over http the secret can be read on the way: serve https (`http.tls_cert_file`)"
                    .to_owned(),
            );
        }
        // Of a hook that is there the settings say so themselves.
        if place.hook.is_none() && !self.estate.loaded.settings.manager.http {
            place.notes.push("by the settings the manager serves no HTTP: `[manager]` with `http = true`, unless `serve --http --with-events` hears in its place".to_owned());
        }
    }

    /// Asks, does, and tests.
    async fn work(&self, place: &mut Place) -> anyhow::Result<()> {
        let mut is_new = false;
        if self.args.write
            && let Some(new) = place.new.take()
        {
            is_new = true;
            let question = format!(
                "{}: write {} and a new secret into {}?",
                place.key,
                new.drop_in.display(),
                new.secret_file.display()
            );
            if !self.agreed(&question)? {
                self.refuse(place, "no hook was added to the settings: the answer was no");
                return Ok(());
            }
            place.hook = Some(new.write(&place.key)?);
            self.tell(&format!("{}: wrote {}", place.key, new.drop_in.display()));
            let hint = format!(
                "the manager hears new hooks when it is started anew; then: proxmox-mcp events setup {} --test",
                place.key
            );
            self.tell(&format!("{}: {hint}", place.key));
            place.notes.push(hint);
            if place.obstacles.is_empty() {
                // With the secret this time.
                self.aim(place);
            }
        }
        if !place.obstacles.is_empty() {
            return Ok(());
        }
        if self.args.apply {
            self.apply(place).await?;
        }
        let is_wanted = self.args.test || (self.args.apply && !self.args.no_test);
        if is_wanted
            && !is_new
            && place.done.iter().all(|(_, done)| done.is_made())
            && place.obstacles.is_empty()
        {
            self.test(place).await?;
        }
        Ok(())
    }

    /// Makes the calls of the plan, and those about what mails past it.
    async fn apply(&self, place: &mut Place) -> anyhow::Result<()> {
        let Some(plan) = &place.plan else { return Ok(()) };
        let key = place.key.as_str();
        let mut done = Vec::new();
        if !plan.calls.is_empty() {
            let count = plan.calls.len();
            let calls = if count == 1 { "this call" } else { "these calls" };
            if !self.agreed(&format!("{key}: make {calls}?"))? {
                self.refuse(place, "nothing was changed: the answer was no");
                return Ok(());
            }
        }
        let mut goes_on = true;
        for call in &plan.calls {
            let made = apply::make(&self.app, key, call, Consent::Given).await?;
            goes_on = made.is_made();
            done.push((format!("{} {}", call.method, call.path), made));
            if !goes_on {
                break;
            }
        }
        for bypass in plan.bypasses.iter().filter(|_| goes_on) {
            let Way::Call(call) = &bypass.way else { continue };
            let is_wanted = match (self.args.bypasses, Console.is_interactive()) {
                (true, false) => true,
                (true, true) if self.args.yes => true,
                (false, _) if self.args.yes => false,
                _ => self.agreed(&format!(
                    "{key}: {}. Let it tell the notification system?",
                    bypass.what
                ))?,
            };
            if is_wanted {
                let made = apply::make(&self.app, key, call, Consent::Given).await?;
                done.push((format!("{} {}", call.method, call.path), made));
            }
        }
        for (what, made) in &done {
            self.tell(&format!("{key}: {what}: {}", made.said()));
        }
        place.done = done;
        Ok(())
    }

    /// Sends a test and waits for it.
    async fn test(&self, place: &mut Place) -> anyhow::Result<()> {
        let (Some(plan), Some(hook), Some(url)) = (&place.plan, &place.hook, &place.url) else {
            return Ok(());
        };
        let is_there = plan.target_is != plan::State::Missing || self.args.apply;
        let outcome = match &self.client {
            _ if !is_there => {
                Outcome::Unsent("there is no target yet: --apply makes it".to_owned())
            }
            None => Outcome::Unsent(
                "no manager runs that could hear it: start proxmox-manager, or `proxmox-mcp serve \
                 --http --with-events`, and run it again with --test"
                    .to_owned(),
            ),
            Some(client) => {
                let settings = &self.estate.loaded.settings;
                let trial = Trial {
                    app: &self.app,
                    client,
                    cluster: &place.key,
                    product: place.product,
                    target: &plan.target,
                    input: &hook.input,
                    url,
                    secret: &hook.secret,
                    patience: self.patience,
                    proxy: place.survey.proxy.as_deref(),
                    listens: settings.manager.http.then_some(settings.http.listen),
                    is_here: place.is_here,
                };
                // Whoever said --test or agreed to the changes knows of it.
                trial.run(Consent::Given).await?
            }
        };
        for said in outcome.said(self.patience) {
            self.tell(&format!("{}: test: {said}", place.key));
        }
        place.test = Some(outcome);
        Ok(())
    }

    /// What a person did not want.
    fn refuse(&self, place: &mut Place, why: &str) {
        self.tell(&format!("{}: {why}", place.key));
        place.obstacles.push(why.to_owned());
    }

    /// A line about what is done.
    fn tell(&self, text: &str) {
        if !self.args.json {
            // A reader that is gone wants to know nothing more.
            let _ = output::line(&stdx::untrusted::text(text, 4000));
        }
    }

    fn agreed(&self, question: &str) -> io::Result<bool> {
        if self.args.yes {
            return Ok(true);
        }
        let answer = Console.ask(&format!("{question} (yes or no): "))?;
        Ok(answer.eq_ignore_ascii_case("yes"))
    }
}

/// Whether all addresses of an endpoint are this machine's own.
fn is_here(traits: &Traits) -> bool {
    let own = |host: &str| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    !traits.addresses.is_empty() && traits.addresses.iter().all(|(host, _)| own(host))
}
