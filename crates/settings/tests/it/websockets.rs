//! `[input.…]` of the types `console` and `feed`.

use std::time::Duration;

use event_core::Severity;
use expect_test::expect;
use inputs::websocket::{console, console::Place, feed};
use secrecy::ExposeSecret as _;
use settings::InputSettings;

use crate::support::{HOME, Setup};

const VAULT: &str = r#"
[pbs.vault]
endpoints = ["https://pbs1:8007"]
token_id = "mcp@pbs!agent"
token = "11111111-2222-3333-4444-555555555555"
"#;

fn setup(text: &str) -> Setup {
    let labels = "labels = { site = \"cellar\" }";
    Setup::main(&format!("{HOME}{labels}\n[events]\npoll = false\n{VAULT}{text}"))
        .file("/etc/proxmox-mcp/feed.token", "planted-7\n")
}

fn inputs(text: &str) -> Vec<(String, InputSettings)> {
    let loaded = setup(text).load().unwrap_or_else(|errors| panic!("{errors}"));
    let inputs = loaded.settings.events.inputs;
    inputs.into_iter().map(|(id, input)| (id.to_string(), input)).collect()
}

fn consoles(text: &str) -> Vec<(String, console::Config)> {
    let one = |(name, input)| match input {
        InputSettings::Console(config) => (name, *config),
        other => panic!("{other:?}"),
    };
    inputs(text).into_iter().map(one).collect()
}

fn feed(text: &str) -> feed::Config {
    match inputs(text).remove(0).1 {
        InputSettings::Feed(config) => *config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_guest_and_node_is_an_input_of_its_own() {
    let text = r#"
[input.watch]
type = "console"
cluster = "home"
guests = [104, "105"]
nodes = "PVE-1"
serial = 1
without = "segfault"
window_secs = 60

[input.watch.pattern.ups]
regex = "(?i)on battery"
kind = "other.ups"
severity = "critical"
title = "the UPS runs on battery"
"#;
    let all = consoles(text);
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["watch_104", "watch_105", "watch_pve_1"]);
    let (_, guest) = &all[0];
    assert_eq!((guest.serial, guest.window), (Some(1), Duration::from_mins(1)));
    assert_eq!(guest.identity.labels["site"], "cellar");
    assert_eq!(guest.identity.cluster.as_ref().unwrap().as_str(), "home");
    let first = &guest.patterns[0];
    assert_eq!(
        (first.name.as_str(), first.kind.as_str(), first.severity),
        ("ups", "other.ups", Severity::Critical)
    );
    assert!(first.title.is_some() && first.regex.is_match("UPS: ON BATTERY"));
    assert_eq!(guest.patterns.len(), console::SHIPPED.len());
    assert!(guest.patterns.iter().all(|pattern| pattern.name != "segfault"));
    let (_, node) = &all[2];
    assert_eq!((&node.place, node.serial), (&Place::Node("PVE-1".parse().unwrap()), None));
}

#[test]
fn a_feed_is_read() {
    let text = r#"
[input.house]
type = "feed"
url = "wss://feed.lan/v1?kind=all"
token_file = "feed.token"
token_header = "X-Api-Key"
headers = { "X-Api-Version" = "2" }
subscribe = '{"op": "subscribe"}'
place = "/seq"
place_query = "since"
subscribe_from = ['{"op": "from", "since": "{place}"}']
only = { "/type" = ["alarm", "clear"], "/level" = "high" }
mapping = { title = "/what" }
severities = { orange = "error" }
heartbeat_secs = 10
heartbeat_text = "beat"
silence_secs = 25
max_bytes = 65536
cluster = "home"
"#;
    let it = feed(text);
    assert_eq!(it.token.unwrap().expose_secret(), "planted-7");
    assert_eq!(
        (it.token_header.as_deref(), it.headers["X-Api-Version"].as_str()),
        (Some("X-Api-Key"), "2")
    );
    let resume = it.resume.unwrap();
    assert_eq!((resume.place, resume.query.as_deref()), ("/seq".parse().unwrap(), Some("since")));
    assert_eq!((it.subscribe.len(), resume.subscribe.len()), (1, 1));
    let only: Vec<usize> = it.only.iter().map(|(_, words)| words.len()).collect();
    assert_eq!(only, [1, 2]);
    assert_eq!(it.mapping.title, ["/what".parse().unwrap()]);
    assert_eq!(
        (it.heartbeat.every, it.heartbeat.silence),
        (Duration::from_secs(10), Duration::from_secs(25))
    );
    assert_eq!((it.heartbeat.text.as_deref(), it.max_bytes), (Some("beat"), 65536));
    assert_eq!(it.identity.labels["site"], "cellar");
}

#[test]
fn the_defaults_are_those_of_the_inputs() {
    let read = feed("[input.x]\ntype = 'feed'\nurl = 'wss://feed.lan'");
    let own = feed::Config::new("wss://feed.lan");
    assert_eq!(
        (read.max_bytes, read.heartbeat.every, read.heartbeat.silence),
        (own.max_bytes, own.heartbeat.every, own.heartbeat.silence)
    );
    assert!(read.token.is_none() && read.resume.is_none() && read.subscribe.is_empty());
    let (_, read) =
        consoles("[input.x]\ntype = 'console'\ncluster = 'home'\nguests = [100]").remove(0);
    let own = console::Config::new(read.identity.clone(), read.place.clone());
    assert_eq!(
        (read.window, read.serial, read.patterns.len()),
        (own.window, own.serial, own.patterns.len())
    );
    let ups = "[input.x.pattern.ups]\nregex = 'battery'";
    let (_, read) =
        consoles(&format!("[input.x]\ntype = 'console'\ncluster = 'home'\nguests = [100]\n{ups}"))
            .remove(0);
    let own = console::Pattern::try_new("ups", "battery").unwrap();
    assert_eq!((&read.patterns[0].kind, read.patterns[0].severity), (&own.kind, own.severity));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let text = r#"
[input.nothing]
type = "console"
cluster = "home"

[input.other]
type = "console"
cluster = "vault"
guests = [100]

[input.bad]
type = "console"
cluster = "home"
guests = [7, "web"]
without = ["ooom"]

[input.bad.pattern.open]
regex = "a("

[input.bad.pattern.any]
regex = ".*"
kind = "guest.gone"

[input.bad.pattern.none]
severity = "awful"

[input.node]
type = "console"
cluster = "home"
nodes = ["pve1", "-"]
serial = 9

[input.all]
type = "console"
cluster = "home"
guests = [100]
without = ["kernel_panic", "oom", "oops", "lockup", "hung_task", "filesystem", "fsck", "disk", "raid", "hardware", "boot", "unit", "segfault"]

[input.one]
type = "feed"
url = "https://feed.lan"

[input.two]
type = "feed"
url = "wss://feed.lan"
place_query = "since"
subscribe = "{place}"

[input.three]
type = "feed"
url = "wss://feed.lan"
place = "seq"
only = { "type" = "x" }
silence_secs = 10

[input.four]
type = "websocket"
"#;
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:15: input.nothing: watches nothing; name guests = [104] or nodes = ["pve1"]
        error: /etc/proxmox-mcp/config.toml:21: input.other.cluster: is a backup server, which has no consoles that can be watched; name a table [pve.…]
        error: /etc/proxmox-mcp/config.toml:27: input.bad.guests: is not valid: guest id "7" is not valid: use 100 to 999999999
        error: /etc/proxmox-mcp/config.toml:27: input.bad.guests: is not valid: guest id "web" is not valid: use a number from 100 to 999999999
        error: /etc/proxmox-mcp/config.toml:28: input.bad.without: names "ooom", which is no shipped pattern; did you mean `oom`?
        error: /etc/proxmox-mcp/config.toml:31: input.bad.pattern.open.regex: is no regular expression: unclosed group
        error: /etc/proxmox-mcp/config.toml:34: input.bad.pattern.any.regex: fits an empty line, so every line would fit it
        error: /etc/proxmox-mcp/config.toml:37: input.bad.pattern.none.regex: is missing; for example regex = "(?i)on battery"
        error: /etc/proxmox-mcp/config.toml:38: input.bad.pattern.none.severity: is "awful"; it takes one of: debug, info, notice, warning, error, critical
        error: /etc/proxmox-mcp/config.toml:43: input.node.nodes: is not valid: node name "-" is not valid: use letters, digits, - and . only, at most 63 characters
        error: /etc/proxmox-mcp/config.toml:44: input.node.serial: is 9; it takes a number from 0 to 3
        error: /etc/proxmox-mcp/config.toml:46: input.all: the input has no pattern, so nothing is news to it: leave some in
        error: /etc/proxmox-mcp/config.toml:52: input.one: `https://feed.lan` is no address of a websocket: begin it with wss://
        error: /etc/proxmox-mcp/config.toml:59: input.two.place_query: means nothing without place; say in place where a message says what it is known by
        error: /etc/proxmox-mcp/config.toml:65: input.three.place: `seq` is no place in a JSON document: write it as `/alarm/name`
        error: /etc/proxmox-mcp/config.toml:66: input.three.only.type: `type` is no place in a JSON document: write it as `/alarm/name`
        error: /etc/proxmox-mcp/config.toml:70: input.four.type: is "websocket"; it takes one of: tasks, syslog, webhook, smtp, imap, gotify, ntfy, console, feed, discord
    "#]].assert_eq(&setup(text).render());
}

#[test]
fn a_node_has_no_serial_port() {
    let text = "[input.n]\ntype = 'console'\ncluster = 'home'\nnodes = ['pve1']\nserial = 1";
    assert!(setup(text).render().contains("input.n.serial: means nothing for nodes"));
}
