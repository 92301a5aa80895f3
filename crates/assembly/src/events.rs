//! From settings to a running event pipeline.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use checks::{Beat, Ways};
use event_core::{ComponentId, EventSink, EventSource};
use gateway::Hooks;
use inputs::tasks::{self, Api, Observed, Tasks};
use inputs::websocket::{console, feed};
use inputs::{Echo, Identity, email, gotify, ntfy, syslog, webhook};
use jiff::SignedDuration;
use manager::Supervisor;
use manager::events::{EventParts, Events, Input, Output, OwnTasks};
use mcp_tools::fleet::Fleet;
use mcp_tools::redaction::Redaction;
use outputs::heartbeat::Heartbeat;
use outputs::{Kit, Pace, discord, slack, stdout};
use proxmox_sim::Levers;
use rules::Rules;
use settings::{EventsSettings, InputSettings, OutputChannel, OutputSettings};
use store::Spool;
use tokio::sync::mpsc;

use crate::drama::{self, Printer, Show};
use crate::estate::Estate;
use crate::quiet::Quiet;

/// Measurements between the inputs and the rules; what finds no room is told again.
const OBSERVED: usize = 1024;

/// An event pipeline that is ready to be started.
pub struct EventPlan {
    parts: EventParts,
    heartbeats: Vec<Heartbeat>,
    /// Of a demo in which something is to happen.
    levers: Option<Levers>,
    /// Where events wait while the store is away, and how many bytes may.
    spool: Option<(PathBuf, u64)>,
    /// What takes what is posted, for the gateway.
    pub hooks: Hooks,
}

impl EventPlan {
    /// The pipeline that the settings describe; nothing where they switch it off. Opens the store. That
    /// of a demo hears the simulated estate, and prints what it would have told.
    ///
    /// # Errors
    /// What cannot be made of the settings, and a store that cannot be opened.
    pub async fn of(estate: &Estate) -> anyhow::Result<Option<Self>> {
        if estate.demo_folder().is_some() {
            return Self::of_demo(estate).await.map(Some);
        }
        let settings = &estate.loaded.settings.events;
        if !settings.enabled {
            return Ok(None);
        }
        let store = estate.store.get().await.context("open the store of events")?;
        let (watcher, observed) = mpsc::channel(OBSERVED);
        let mut hooks = Hooks::new();
        let mut inputs = Vec::new();
        for (id, input) in &settings.inputs {
            let input = with_ours(input, settings);
            let source = source(id, &input, &estate.fleet, &watcher, &mut hooks)
                .with_context(|| format!("set up [input.{id}]"))?;
            inputs.push(Input { source, kind: input.kind(), echo: input.echo().cloned() });
        }
        let instance = settings.instance.clone().unwrap_or_else(machine);
        let redaction = &estate.options.redaction;
        let (outputs, heartbeats) = outputs_of(settings, &instance, redaction)?;
        let keep = settings.keep;
        let parts = EventParts {
            store,
            rules: settings.rules.clone(),
            inputs,
            outputs,
            observed: Some(observed),
            spool: None,
            own: own(estate),
            redactor: estate.options.redaction.redactor(),
            keep,
            clock: stdx::SystemClock::shared(),
        };
        let state = &estate.loaded.settings.server.state_dir;
        let folder = settings.spool_dir.clone().unwrap_or_else(|| state.join("spool"));
        let spool = Some((folder, settings.spool_max_bytes));
        Ok(Some(Self { parts, heartbeats, spool, hooks, levers: None }))
    }

    async fn of_demo(estate: &Estate) -> anyhow::Result<Self> {
        let store = estate.store.get().await.context("open the store of events")?;
        let (watcher, observed) = mpsc::channel(OBSERVED);
        let mut inputs = Vec::new();
        for (key, _) in estate.fleet.keys() {
            let identity = Identity { cluster: Some(key.clone()), ..Identity::default() };
            let mut config = tasks::Config::new(identity);
            // Whoever tries it does not wait for minutes.
            (config.pace.calm, config.pace.often) =
                (Duration::from_secs(3), Duration::from_secs(5));
            let id: ComponentId = format!("tasks_{key}").parse().context("name an input")?;
            let settings = InputSettings::Tasks(Box::new(config));
            let source = source(&id, &settings, &estate.fleet, &watcher, &mut Hooks::new())?;
            inputs.push(Input { source, kind: settings.kind(), echo: None });
        }
        let mut config = rules::Config::default().outputs([drama::OUTPUT]);
        config.wait = SignedDuration::from_secs(2);
        config.hold.insert("node.offline".to_owned(), SignedDuration::from_secs(15));
        let rules = Rules::try_new(&config).ok().context("the demo's rules")?;
        let outputs = vec![Output {
            sink: Arc::new(Quiet::new(Arc::new(Printer::new()), &estate.options.redaction)),
            service: "stderr",
            fallback: None,
            pace: Pace::default(),
        }];
        let parts = EventParts {
            store,
            rules,
            inputs,
            outputs,
            observed: Some(observed),
            spool: None,
            own: own(estate),
            redactor: estate.options.redaction.redactor(),
            keep: SignedDuration::from_hours(24),
            clock: stdx::SystemClock::shared(),
        };
        let levers = estate.demo_levers();
        Ok(Self { parts, heartbeats: Vec::new(), spool: None, hooks: Hooks::new(), levers })
    }

    /// Shows what the demo would have told by this instead of the log.
    #[must_use]
    pub fn shown_by(mut self, estate: &Estate, show: &Show) -> Self {
        if estate.demo_folder().is_some() {
            for output in &mut self.parts.outputs {
                let printer = Arc::new(Printer::by(Arc::clone(show)));
                output.sink = Arc::new(Quiet::new(printer, &estate.options.redaction));
            }
        }
        self
    }

    /// Starts it under this supervisor. The caller holds the lock of the state folder.
    ///
    /// # Errors
    /// The folder where events wait while the store is away cannot be used.
    pub fn start(self, supervisor: &Supervisor) -> anyhow::Result<Events> {
        let Self { mut parts, heartbeats, levers, spool, hooks: _ } = self;
        let opened = spool.map(|(folder, max_bytes)| Spool::open(&folder, max_bytes)).transpose();
        parts.spool = opened.context("open the folder where events wait, events.spool_dir")?;
        let events = Events::start(parts, supervisor);
        for heartbeat in heartbeats {
            events.beat(heartbeat, supervisor);
        }
        if let Some(levers) = levers {
            supervisor.spawn("demo", move |stop| {
                let levers = levers.clone();
                Box::pin(async move {
                    drama::play(levers, stop).await;
                    Ok(())
                })
            });
        }
        Ok(events)
    }
}

/// What this program began itself, which events of its tasks are told to belong to.
fn own(estate: &Estate) -> Option<OwnTasks> {
    let memory = estate.memory.as_ref()?;
    let traits = estate.fleet.members().map(|member| member.traits);
    let accounts = traits.flat_map(|it| it.accounts.iter().chain(&it.user)).cloned().collect();
    Some(OwnTasks { actions: memory.actions(), accounts })
}

/// Inputs and outputs for the tester: made, and not started.
///
/// # Errors
/// What cannot be made of the settings.
pub fn event_ways(estate: &Estate) -> anyhow::Result<Ways> {
    let settings = &estate.loaded.settings.events;
    let mut ways = Ways::default();
    if !settings.enabled {
        return Ok(ways);
    }
    let (watcher, _) = mpsc::channel(1);
    for (id, input) in &settings.inputs {
        let made = source(id, input, &estate.fleet, &watcher, &mut Hooks::new());
        ways.inputs.push(made.with_context(|| format!("set up [input.{id}]"))?);
    }
    let instance = settings.instance.clone().unwrap_or_else(machine);
    let (outputs, heartbeats) = outputs_of(settings, &instance, &estate.options.redaction)?;
    ways.outputs.extend(outputs.into_iter().map(|output| output.sink));
    ways.heartbeats.extend(heartbeats.into_iter().map(beat));
    ways.is_taken = manager::Lock::is_held(&estate.loaded.settings.server.state_dir);
    Ok(ways)
}

/// A heartbeat, as the tester asks it.
fn beat(heartbeat: Heartbeat) -> Beat {
    let heartbeat = Arc::new(heartbeat);
    let id = heartbeat.id().clone();
    let check = move || {
        let heartbeat = Arc::clone(&heartbeat);
        Box::pin(async move { heartbeat.check().await }) as _
    };
    Beat { id, check: Arc::new(check) }
}

/// The events of a demo, in this process; they end when it is dropped.
pub struct DemoEvents {
    /// For people and tools.
    pub events: Events,
    supervisor: Supervisor,
}

/// Lets a demo hear its simulated estate; nothing for a real one, whose events a manager hears.
///
/// # Errors
/// The pipeline cannot be made.
pub async fn demo_events(estate: &Estate) -> anyhow::Result<Option<DemoEvents>> {
    if estate.demo_folder().is_none() {
        return Ok(None);
    }
    let Some(plan) = EventPlan::of(estate).await? else { return Ok(None) };
    let supervisor = Supervisor::new(stdx::SystemClock::shared());
    let events = plan.start(&supervisor)?;
    Ok(Some(DemoEvents { events, supervisor }))
}

impl Drop for DemoEvents {
    fn drop(&mut self) {
        self.supervisor.cancel();
    }
}

/// What this machine calls itself.
pub(crate) fn machine() -> String {
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "manager".to_owned() } else { name.to_owned() }
}

/// The input, which knows the webhooks of our own outputs where it could hear what they post.
fn with_ours(input: &InputSettings, settings: &EventsSettings) -> InputSettings {
    let mut input = input.clone();
    if let InputSettings::Discord(config) = &mut input {
        let mut ours = BTreeSet::new();
        for (_, output) in &settings.outputs {
            if let OutputChannel::Discord(discord) = &output.channel {
                ours.extend(discord.webhooks().iter().map(|number| format!("webhook:{number}")));
            }
        }
        config.echo = Echo::new(Arc::new(move |mark| ours.contains(mark)));
    }
    input
}

fn source(
    id: &ComponentId,
    settings: &InputSettings,
    fleet: &Fleet,
    watcher: &mpsc::Sender<Observed>,
    hooks: &mut Hooks,
) -> anyhow::Result<Arc<dyn EventSource>> {
    let id = id.clone();
    Ok(match settings.clone() {
        InputSettings::Tasks(config) => {
            let key = config.identity.cluster.clone().context("a cluster is missing")?;
            let api = match fleet.product_of(key.as_str()) {
                Some(estate::Product::Pve) => {
                    Api::Pve(fleet.pve(Some(key.as_str()))?.remove(0).client.clone())
                }
                _ => Api::Pbs(fleet.pbs(Some(key.as_str()))?.remove(0).client.clone()),
            };
            Arc::new(Tasks::try_new(id, api, *config)?.watched_by(watcher.clone()))
        }
        InputSettings::Syslog(config) => Arc::new(syslog::Syslog::try_new(id, *config)?),
        InputSettings::Webhook(config) => {
            let name = id.to_string();
            let webhook = Arc::new(webhook::Webhook::try_new(id, *config)?);
            hooks.insert(name, Arc::clone(&webhook));
            webhook
        }
        InputSettings::Smtp(config) => Arc::new(email::smtp::Smtp::try_new(id, *config)?),
        InputSettings::Imap(config) => Arc::new(email::imap::Imap::try_new(id, *config)?),
        InputSettings::Gotify(config) => Arc::new(gotify::Gotify::try_new(id, *config)?),
        InputSettings::Ntfy(config) => Arc::new(ntfy::Ntfy::try_new(id, *config)?),
        InputSettings::Console(config) => {
            let key = config.identity.cluster.clone().context("a cluster is missing")?;
            let member = fleet.pve(Some(key.as_str()))?.remove(0);
            let (reader, opener) = (member.client.clone(), member.operator.clone());
            Arc::new(console::Console::try_new(id, reader, opener, *config)?)
        }
        InputSettings::Feed(config) => Arc::new(feed::Feed::try_new(id, *config)?),
        InputSettings::Discord(config) => Arc::new(inputs::discord::Discord::try_new(id, *config)?),
        _ => anyhow::bail!("this program does not know inputs of type {}", settings.kind()),
    })
}

/// The outputs and the heartbeats.
fn outputs_of(
    settings: &EventsSettings,
    instance: &str,
    redaction: &Redaction,
) -> anyhow::Result<(Vec<Output>, Vec<Heartbeat>)> {
    let (mut outputs, mut heartbeats) = (Vec::new(), Vec::new());
    for (id, output) in &settings.outputs {
        let set_up = || format!("set up [output.{id}]");
        let client = stdx::http::client(&output.http).with_context(set_up)?;
        let kit = Kit::new(client, stdx::SystemClock::shared(), instance);
        if let OutputChannel::Heartbeat(config) = &output.channel {
            heartbeats.push(Heartbeat::try_new(id.clone(), config, &kit).with_context(set_up)?);
            continue;
        }
        outputs.push(Output {
            sink: Arc::new(Quiet::new(sink(id, output, &kit).with_context(set_up)?, redaction)),
            service: output.kind(),
            fallback: output.fallback.clone(),
            pace: output.pace.clone(),
        });
    }
    Ok((outputs, heartbeats))
}

fn sink(
    id: &ComponentId,
    settings: &OutputSettings,
    kit: &Kit,
) -> anyhow::Result<Arc<dyn EventSink>> {
    let id = id.clone();
    Ok(match settings.channel.clone() {
        OutputChannel::Discord(it) => Arc::new(discord::Discord::try_new(id, *it, kit)?),
        OutputChannel::Gotify(it) => Arc::new(outputs::gotify::Gotify::try_new(id, *it, kit)?),
        OutputChannel::Ntfy(it) => Arc::new(outputs::ntfy::Ntfy::try_new(id, *it, kit)?),
        OutputChannel::Email(it) => Arc::new(outputs::email::Email::try_new(id, *it, kit)?),
        OutputChannel::Slack(it) => Arc::new(slack::Slack::try_new(id, *it, kit)?),
        OutputChannel::Webhook(it) => Arc::new(outputs::webhook::Webhook::try_new(id, *it, kit)?),
        OutputChannel::Syslog(it) => Arc::new(outputs::syslog::Syslog::try_new(id, *it, kit)?),
        OutputChannel::Stdout(it) => {
            Arc::new(stdout::Stdout::try_new(id, *it, kit, tokio::io::stdout())?)
        }
        _ => anyhow::bail!("this program does not know outputs of type {}", settings.kind()),
    })
}
