//! `[output.…]`: what is read of every type, and every class of error.

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::expect;
use outputs::{discord, email, ntfy, slack};
use secrecy::ExposeSecret as _;
use settings::{OutputChannel, OutputSettings};
use stdx::http::Proxy;
use stdx::tls::TlsPolicy;

use crate::support::{HOME, Setup};

fn setup(text: &str) -> Setup {
    Setup::main(&format!("{HOME}\n{text}"))
        .file("/etc/proxmox-mcp/ops.url", "https://discord.com/api/webhooks/1/planted-url\n")
        .file("/etc/proxmox-mcp/push.token", "planted-token\n")
        .file("/etc/proxmox-mcp/title.txt", "{{ severity }}: {{ title }}")
        .file("/etc/proxmox-mcp/broken.txt", "{% if %}")
        .file("/etc/proxmox-mcp/ca.pem", include_str!("golden/ca.pem"))
}

fn load(text: &str) -> settings::Loaded {
    setup(text).load().unwrap_or_else(|errors| panic!("{errors}"))
}

fn one(text: &str) -> OutputSettings {
    let mut outputs = load(text).settings.events.outputs;
    assert_eq!(outputs.len(), 1);
    outputs.remove(0).1
}

#[test]
fn what_all_outputs_have_goes_to_the_rules_and_the_courier() {
    let text = r#"
[output.ops]
type = "discord"
webhook_url_file = "ops.url"
quiet_hours = ["22:00-07:00", "sat+sun/00:00-24:00@Europe/Vienna"]
digest = false
flood = 3
flood_secs = 60
fallback = "console"
fallback_secs = 120
give_up_secs = 600
title_file = "title.txt"

[output.console]
type = "stdout"
format = "json"

[output.alive]
type = "heartbeat"
url = "https://hc.lan/planted-url"
every_secs = 60

[rule.all]
route = "console"

[rule.all.escalate.first]
after_secs = 600
to = ["ops"]
"#;
    let loaded = load(text);
    let events = &loaded.settings.events;
    assert!(events.enabled);
    let names: Vec<String> =
        events.outputs.iter().map(|(id, it)| format!("{id}:{}", it.kind())).collect();
    assert_eq!(names, ["alive:heartbeat", "console:stdout", "ops:discord"]);
    let told = &events.config.outputs;
    assert_eq!(told.keys().collect::<Vec<_>>(), ["console", "ops"], "a heartbeat tells nobody");
    assert_eq!((told["ops"].flood.count, told["ops"].flood.per.as_secs()), (3, 60));
    assert_eq!((told["ops"].digest, told["ops"].quiet_hours.len()), (false, 2));
    assert_eq!(format!("{:?}", told["console"]), format!("{:?}", rules::OutputConfig::default()));
    let ops = &events.outputs[2].1;
    assert_eq!(ops.fallback.as_ref().unwrap().as_str(), "console");
    assert_eq!(ops.pace.down_after, Duration::from_mins(2));
    assert_eq!(ops.pace.give_up_after, Duration::from_mins(10));
    let pace = outputs::deliver::Pace::default();
    assert_eq!(events.outputs[1].1.pace.down_after, pace.down_after);
    assert_eq!(events.outputs[1].1.pace.give_up_after, pace.give_up_after);
    let OutputChannel::Discord(config) = &ops.channel else { panic!() };
    assert_eq!(config.wording.title.as_deref(), Some("{{ severity }}: {{ title }}"));
    assert_eq!(events.config.rules["all"].escalate[0].to, ["ops"]);
    let mut shown = format!("{:?} {events:?}", loaded.settings);
    for entry in loaded.origins() {
        let _ = write!(shown, "{}={}", entry.key, entry.value);
    }
    assert!(!shown.contains("planted"), "{shown}");
    let secrets = loaded.settings.secrets();
    let planted = secrets.iter().filter(|it| it.expose_secret().contains("planted-url"));
    assert_eq!(planted.count(), 2, "the redactor knows them");
}

#[test]
fn places_are_webhooks_or_channels() {
    let text = r#"
[output.ops]
type = "discord"
channel = "1100000000000000000"
bot_token = "planted"
api = "http://127.0.0.1:9/api"

[output.ops.route.storage]
webhook_url_file = "ops.url"
thread = "1100000000000000001"
"#;
    let OutputChannel::Discord(config) = one(text).channel else { panic!() };
    assert!(matches!(&config.place, discord::Place::Channel(id) if id.starts_with("11")));
    assert!(matches!(&config.routes["storage"], discord::Place::Webhook { thread: Some(_), .. }));
    assert_eq!(config.api, "http://127.0.0.1:9/api");
    let with = |rule: &str| format!("{text}\n[rule.full]\n{rule}");
    let loaded = load(&with("route = ['ops:storage']"));
    assert_eq!(loaded.settings.events.config.rules["full"].route, ["ops:storage"]);
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:19: rule.full.route: names `ops:attic`, but `ops` has no route `attic`; add [output.ops.route.attic], or take one of storage
    "#]]
    .assert_eq(&setup(&with("route = 'ops:attic'")).render());
    let phone = "[output.phone]\ntype = 'ntfy'\nserver = 'https://ntfy.lan'\ntopic = 'lab'\n\
                 [output.mail]\ntype = 'email'\nserver = 'mail.lan'\nfrom = 'a@b.lan'\nto = 'c@b.lan'\n\
                 [output.log]\ntype = 'stdout'\n";
    load(&format!("{phone}[rule.one]\nroute = ['phone:night-watch', 'mail:ann@b.lan', 'log']"));
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:19: rule.one.route: names `phone:a b`, but `a b` is not a topic: letters, digits, `_` and `-`, at most 64; write one, or name `phone` alone
        error: /etc/proxmox-mcp/config.toml:21: rule.two.route: names `mail:ann`, but `ann` is not an address of mail; write one, or name `mail` alone
        error: /etc/proxmox-mcp/config.toml:23: rule.three.route: names `log:x`, but `log` has no places; name `log` alone, or add an output for it
    "#]]
    .assert_eq(
        &setup(&format!(
            "{phone}[rule.one]\nroute = 'phone:a b'\n[rule.two]\nroute = 'mail:ann'\n\
             [rule.three]\nroute = 'log:x'"
        ))
        .render(),
    );
    let text = "[output.team]\ntype = 'slack'\nwebhook_url = 'https://hooks.slack.com/services/x'";
    let OutputChannel::Slack(config) = one(text).channel else { panic!() };
    assert!(matches!(config.place, slack::Place::Webhook(_)));
}

#[test]
fn every_other_type_is_read() {
    let text = "[output.push]\ntype = 'gotify'\nserver = 'https://push.lan/x'\n\
                token_file = 'push.token'\nca_file = 'ca.pem'\nproxy = 'http://proxy.lan:3128'";
    let output = one(text);
    let OutputChannel::Gotify(config) = &output.channel else { panic!() };
    assert_eq!(config.token.expose_secret(), "planted-token");
    assert!(matches!(output.http.tls.policy, TlsPolicy::CaPem(_)));
    assert_eq!(output.http.proxy, Proxy::Url("http://proxy.lan:3128".to_owned()));

    let text = "[output.phone]\ntype = 'ntfy'\nserver = 'https://ntfy.lan'\ntopic = 'lab'\n\
                user = 'me'\npassword = 'x'";
    let OutputChannel::Ntfy(config) = one(text).channel else { panic!() };
    assert!(matches!(config.login, ntfy::Login::Password { .. }));

    let text = "[output.mail]\ntype = 'email'\nserver = 'mail.lan'\nfrom = 'Proxmox <p@lan.example>'\n\
                to = 'ops@lan.example'\nsecurity = 'tls'\nuser = 'p'\npassword = 'x'\nport = 2465";
    let OutputChannel::Email(config) = one(text).channel else { panic!() };
    assert_eq!((config.security, config.port), (email::Security::Tls, Some(2465)));

    let text =
        "[output.desk]\ntype = 'webhook'\nurl = 'https://desk.lan'\nsecret = '0042'\nraw = true";
    let OutputChannel::Webhook(config) = one(text).channel else { panic!() };
    assert_eq!(config.secret.unwrap().expose_secret(), "0042");
    assert!(config.raw && config.token.is_none());

    let text = "[events]\ninstance = 'cellar'\n[output.log]\ntype = 'syslog'\n\
                target = 'udp://log.lan:514'\nfacility = 16";
    let OutputChannel::Syslog(config) = one(text).channel else { panic!() };
    assert_eq!((config.host.as_str(), config.facility), ("cellar", 16));
}

#[test]
fn what_is_wrong_with_an_output_is_said_at_once_with_its_place() {
    let text = r#"
[output.ops]
type = "discord"
webhook_url = "https://example.org/planted"
channel = "1"
flood = 0

[output.bare]
type = "slack"

[output.bot]
type = "slack"
channel = "C1"
fallback = "alive"

[output.nobot]
type = "discord"
webhook_url_file = "ops.url"
bot_token = "planted"
fallback = "nobot"

[output.push]
type = "gotify"
server = "push.lan"
token_file = "push.token"
topic = "x"
fallback_secs = 60

[output.phone]
type = "ntfy"
server = "https://ntfy.lan"
topic = "not a topic"
password = "planted"

[output.mail]
type = "email"
from = "nobody"
to = []
server = "mail.lan:25"

[output.desk]
type = "webhook"
proxy = "socks5://user:planted@proxy.lan"

[output.log]
type = "syslog"
target = "log.lan"
quiet_hours = "22-6"

[output.console]
type = "stdout"
title_file = "broken.txt"
body_file = "missing.txt"

[output.alive]
type = "heartbeat"
url = "https://hc.lan/planted"
digest = true
every_secs = 1

[output.alive.route.x]
channel = "1"

[output.slow]
type = "ntfyy"

[rule.one]
route = ["opps", "alive", "slow"]

[rule.two]
route = "opps:storage"
"#;
    let said = setup(text).render();
    assert!(!said.contains("planted"), "{said}");
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:11: output.ops.channel: is set, and a webhook too; keep one of them
        error: /etc/proxmox-mcp/config.toml:12: output.ops.flood: is 0; it takes a number from 1 to 10000
        error: /etc/proxmox-mcp/config.toml:14: output.bare: names no place; set webhook_url_file, or channel with a bot's token
        error: /etc/proxmox-mcp/config.toml:20: output.bot.fallback: names "alive", which carries no messages; the outputs are: bare, console, desk, log, mail, nobot, ops, phone, push, slow
        error: /etc/proxmox-mcp/config.toml:25: output.nobot.bot_token: means nothing without channel; name a channel, or take it out
        error: /etc/proxmox-mcp/config.toml:26: output.nobot.fallback: names the output itself; name another one
        error: /etc/proxmox-mcp/config.toml:30: output.push.server: is no address of a server; write https://push.lan
        error: /etc/proxmox-mcp/config.toml:32: output.push.topic: means nothing with type = "gotify"; its keys are: type, quiet_hours, digest, flood, flood_secs, fallback, fallback_secs, give_up_secs, title_file, body_file, server, token, token_file, client_token, client_token_file, ca_file, fingerprint, insecure, proxy
        error: /etc/proxmox-mcp/config.toml:33: output.push.fallback_secs: means nothing without fallback; name the output that is told then, or take it out
        error: /etc/proxmox-mcp/config.toml:39: output.phone.password: is set without user; say whose password it is
        error: /etc/proxmox-mcp/config.toml:41: output.mail: `to` names nobody: give at least one address
        error: /etc/proxmox-mcp/config.toml:47: output.desk.url: is missing; name a file with it in url_file, or set it by the environment
        error: /etc/proxmox-mcp/config.toml:49: output.desk.proxy: is not the address of an HTTP proxy; write none, env or http://host:port
        error: /etc/proxmox-mcp/config.toml:53: output.log.target: is not valid: `log.lan` is no receiver of syslog: write udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT
        error: /etc/proxmox-mcp/config.toml:54: output.log.quiet_hours: is not valid: `22-6` has no hours such as 08:00-18:00
        error: /etc/proxmox-mcp/config.toml:59: output.console.body_file: names /etc/proxmox-mcp/missing.txt, which does not exist
        error: /etc/proxmox-mcp/config.toml:64: output.alive.digest: means nothing with type = "heartbeat", which carries no messages; take it out
        error: /etc/proxmox-mcp/config.toml:65: output.alive.every_secs: is 1; it takes a number from 10 to 86400
        error: /etc/proxmox-mcp/config.toml:67: output.alive.route.x: means nothing with type = "heartbeat"; take it out, or change the type
        error: /etc/proxmox-mcp/config.toml:71: output.slow.type: is "ntfyy"; did you mean `ntfy`?
        error: /etc/proxmox-mcp/config.toml:74: rule.one.route: names "alive", which is no output; the outputs are: bare, bot, console, desk, log, mail, nobot, ops, phone, push, slow
        error: /etc/proxmox-mcp/config.toml:74: rule.one.route: names "opps", which is no output; did you mean `ops`?
        error: /etc/proxmox-mcp/config.toml:77: rule.two.route: names "opps", which is no output; did you mean `ops`?
    "#]].assert_eq(&said);
}
