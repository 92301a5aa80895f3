//! `[input.…]`: what is read of every type, and every class of error.

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::expect;
use inputs::recognize::webhook::Format;
use inputs::syslog::Strangers;
use secrecy::ExposeSecret as _;
use settings::InputSettings;

use crate::support::{HOME, Setup, certificate};

fn setup(text: &str) -> Setup {
    let (certificate, key) = certificate();
    Setup::main(&format!("{HOME}labels = {{ site = \"cellar\" }}\nexpected_off = [104]\n{text}"))
        .file("/etc/proxmox-mcp/tls.crt", &certificate)
        .file("/etc/proxmox-mcp/tls.key", &key)
        .file("/etc/proxmox-mcp/hook.secret", "0123456789abcdef0123\n")
        .file("/etc/proxmox-mcp/short", "0123")
        .file("/etc/proxmox-mcp/empty", " \n")
}

fn inputs(setup: &Setup) -> Vec<(String, InputSettings)> {
    let loaded = setup.load().unwrap_or_else(|errors| panic!("{errors}"));
    let inputs = loaded.settings.events.inputs;
    inputs.into_iter().map(|(id, input)| (id.to_string(), input)).collect()
}

fn one(text: &str) -> InputSettings {
    let mut inputs = inputs(&setup(&format!("[events]\npoll = false\n{text}")));
    assert_eq!(inputs.len(), 1);
    inputs.remove(0).1
}

#[test]
fn rules_know_which_cluster_an_input_is_for() {
    let text = r#"
[input.hook]
type = "webhook"

[input.hook.hook.home]
secret_file = "hook.secret"
cluster = "home"

[input.hook.hook.desk]
secret_file = "hook.secret"

[input.log]
type = "syslog"
listen = ["udp://127.0.0.1:5514"]

[input.log.peer.home]
addresses = ["192.0.2.11"]
cluster = "home"
"#;
    let loaded = setup(text).load().unwrap_or_else(|errors| panic!("{errors}"));
    let known = &loaded.settings.events.config.inputs;
    let known = known.iter().map(|(id, clusters)| {
        let clusters: Vec<&str> = clusters.iter().map(estate::ClusterKey::as_str).collect();
        format!("{id}: {}", clusters.join(" "))
    });
    // Of syslog nobody knows which lines are sent, and what asks by itself is not in it.
    assert_eq!(known.collect::<Vec<_>>(), ["hook: home", "log: "]);
}

const VAULT: &str = r#"
[pbs.vault]
endpoints = ["https://pbs1:8007"]
token_id = "mcp@pbs!agent"
token = "11111111-2222-3333-4444-555555555555"
"#;

#[test]
fn every_cluster_and_server_is_asked_without_a_word() {
    let names = |text: &str| -> Vec<String> {
        inputs(&setup(&format!("{VAULT}{text}"))).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(""), [""; 0], "nobody wants to hear anything");
    assert_eq!(names("[events]\nenabled = true"), ["tasks_home", "tasks_vault"]);
    let console = "[output.console]\ntype = 'stdout'\n";
    assert_eq!(names(console), ["tasks_home", "tasks_vault"]);
    assert_eq!(names(&format!("{console}[events]\nenabled = false")), [""; 0]);
    assert_eq!(names(&format!("{console}[events]\npoll = false")), [""; 0]);
    let own = "[input.look]\ntype = 'tasks'\nclusters = 'vault'\ncalm_secs = 60\n";
    assert_eq!(names(own), ["look_vault"]);
    let two = format!("{own}[input.rest]\ntype = 'tasks'\nclusters = ['home']");
    assert_eq!(names(&two), ["look_vault", "rest_home"]);
}

#[test]
fn tasks_know_the_labels_and_what_may_be_off() {
    let text = "[input.look]\ntype = 'tasks'\ncalm_secs = 60\nlabels = { team = 'a' }";
    let InputSettings::Tasks(config) = one(text) else { panic!() };
    assert_eq!(config.identity.cluster.unwrap().as_str(), "home");
    assert_eq!(config.identity.labels["site"], "cellar");
    assert_eq!(config.identity.labels["team"], "a");
    assert_eq!(config.pace.calm, Duration::from_mins(1));
    assert_eq!(config.pace.disks, inputs::tasks::Pace::default().disks);
    assert!(config.expected_off.contains(&"104".parse().unwrap()));
}

#[test]
fn the_defaults_are_those_of_the_inputs() {
    let InputSettings::Tasks(config) = one("[input.look]\ntype = 'tasks'") else { panic!() };
    assert_eq!(config.pace, inputs::tasks::Pace::default());
    let text = "[input.x]\ntype = 'syslog'\nlisten = 'udp://127.0.0.1:5514'";
    let InputSettings::Syslog(config) = one(text) else { panic!() };
    let default = inputs::syslog::Config::new(config.listen.clone());
    assert_eq!(config.max_connections, default.max_connections);
    assert_eq!(config.receive_buffer_bytes, default.receive_buffer_bytes);
    assert_eq!(config.least, default.least);
    let text = "[input.x]\ntype = 'smtp'\nlisten = 'smtp://127.0.0.1:25'\n\
                [input.x.peer.a]\naddresses = '127.0.0.1'";
    let InputSettings::Smtp(config) = one(text) else { panic!() };
    let default = inputs::email::smtp::Config::new(config.listen.clone());
    assert_eq!(config.max_bytes, default.max_bytes);
    assert_eq!(config.max_connections, default.max_connections);
    assert_eq!((config.name, config.login_without_tls), (default.name, false));
    let text = "[input.x]\ntype = 'imap'\nserver = 'imap://127.0.0.1'\nuser = 'a'\npassword = 'b'";
    let InputSettings::Imap(config) = one(text) else { panic!() };
    let default = inputs::email::imap::Config::new("", "", "".into());
    assert_eq!((config.mailbox, config.poll), (default.mailbox, default.poll));
    assert_eq!(config.max_bytes, default.max_bytes);
}

#[test]
fn syslog_knows_its_peers_by_their_addresses() {
    let text = r#"
[input.log]
type = "syslog"
listen = ["udp://127.0.0.1:5514", "tls://127.0.0.1:6514"]
certificate_file = "tls.crt"
key_file = "tls.key"
strangers = "refuse"
least = "notice"

[input.log.peer.nodes]
addresses = ["192.0.2.11", "2001:db8::11"]
cluster = "home"
zone = "Europe/Vienna"

[input.log.peer.relay]
cluster = "home"
hosts = { "pve1.lan" = "home/pve1" }
"#;
    let setup =
        setup(text).variable("PROXMOX_MCP_INPUT__LOG__PEER__RELAY__ADDRESSES", "192.0.2.99");
    let (_, InputSettings::Syslog(config)) = inputs(&setup).remove(0) else { panic!() };
    let nodes = &config.peers["nodes"];
    assert_eq!(nodes.addresses.len(), 2);
    assert_eq!(nodes.identity.zone.iana_name(), Some("Europe/Vienna"));
    assert_eq!(nodes.identity.labels["site"], "cellar");
    let relay = &config.peers["relay"];
    assert_eq!(relay.addresses, ["192.0.2.99".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(relay.hosts["pve1.lan"].node.as_ref().unwrap().as_str(), "pve1");
    assert!(matches!(config.strangers, Strangers::Refuse) && config.tls.is_some());
    let text = "[input.x]\ntype = 'syslog'\nlisten = 'udp://127.0.0.1:5514'\ncluster = 'home'";
    let InputSettings::Syslog(config) = one(text) else { panic!() };
    let Strangers::Accept(stranger) = &config.strangers else { panic!() };
    assert_eq!(stranger.labels["site"], "cellar", "whoever sends is of home");
}

#[test]
fn hooks_have_a_secret_and_may_have_a_mapping() {
    let text = r#"
[input.hook]
type = "webhook"

[input.hook.hook.home]
secret_file = "hook.secret"
cluster = "home"

[input.hook.hook.ups]
format = "json"
mapping = { each = "/alarms", title = "/what", severity = ["/how/bad", "/level"] }
severities = { orange = "error" }
mapping_labels = { rack = "/place/rack" }
"#;
    let secret = "000000000000000000000042";
    let setup = setup(text)
        .variable("PROXMOX_MCP_INPUT__HOOK__HOOK__UPS__SECRET", secret)
        .variable("PROXMOX_MCP_INPUT__HOOK__HOOK__UPS__MAPPING__KEY", "/no");
    let (_, InputSettings::Webhook(config)) = inputs(&setup).remove(0) else { panic!() };
    assert_eq!(config.hooks["home"].secret.expose_secret(), "0123456789abcdef0123");
    assert_eq!(config.hooks["ups"].secret.expose_secret(), secret, "no zero is lost");
    let Format::Json(mapping) = &config.hooks["ups"].format else { panic!() };
    let default = inputs::recognize::json::Mapping::default();
    assert_eq!((mapping.severity.len(), mapping.key.len()), (2, 1));
    assert_eq!(mapping.message.len(), default.message.len(), "the usual names");
    assert!(mapping.each.is_some() && mapping.labels.contains_key("rack"));
    let loaded = setup.load().unwrap();
    let known: Vec<String> =
        loaded.settings.secrets().iter().map(|it| it.expose_secret().to_owned()).collect();
    assert!(known.iter().any(|it| it == secret), "the redactor knows it");
    let mut shown = format!("{:?} {:?}", loaded.settings, loaded.settings.events);
    for entry in loaded.origins() {
        let _ = write!(shown, "{}={}", entry.key, entry.value);
    }
    assert!(!shown.contains(secret) && !shown.contains("0123456789abcdef0123"));
}

#[test]
fn mail_gotify_and_ntfy_are_read() {
    let text = r#"
[input.mail]
type = "smtp"
listen = "smtp://127.0.0.1:2525"
certificate_file = "tls.crt"
key_file = "tls.key"

[input.mail.login.home]
password = "correct horse"
cluster = "home"

[input.mail.recipient.home]
address = "Home@Events.lan"
cluster = "home"
node = "pve1"
"#;
    let InputSettings::Smtp(config) = one(text) else { panic!() };
    assert_eq!(config.users["home"].password.expose_secret(), "correct horse");
    assert_eq!(config.recipients["home@events.lan"].node.as_ref().unwrap().as_str(), "pve1");
    let text = "[input.box]\ntype = 'imap'\nserver = 'imaps://mail.lan'\nuser = 'events'\n\
                password = '007'\npoll_secs = 5\n\
                [input.box.recipient.lab]\naddress = 'lab@lan.example'\ncluster = 'home'";
    let InputSettings::Imap(config) = one(text) else { panic!() };
    assert_eq!((config.password.expose_secret(), config.recipients.len()), ("007", 1));
    let text = "[input.push]\ntype = 'gotify'\nserver = 'https://push.lan'\ntoken = 'C1'\n\
                applications = [3, '7']";
    let InputSettings::Gotify(config) = one(text) else { panic!() };
    assert_eq!(config.applications.into_iter().collect::<Vec<_>>(), [3, 7]);
    let text = "[input.topic]\ntype = 'ntfy'\nserver = 'https://ntfy.lan'\ntopics = 'lab'";
    let InputSettings::Ntfy(config) = one(text) else { panic!() };
    assert_eq!(config.topics, ["lab"]);
    assert!(config.token.is_none());
}

#[test]
fn discord_is_read() {
    let text = "[input.chat]\ntype = 'discord'\ntoken = '0001'\nchannels = [1047160600000000001, '222']\n\
                authors = [5]\nproxy = 'http://proxy.lan:3128'\nmentions = false\ncluster = 'home'";
    let InputSettings::Discord(config) = one(text) else { panic!() };
    assert_eq!(config.token.expose_secret(), "0001");
    assert_eq!(config.channels, [222, 1_047_160_600_000_000_001].into());
    assert_eq!((config.authors.len(), config.mentions), (1, false));
    assert_eq!(config.http.proxy, stdx::http::Proxy::Url("http://proxy.lan:3128".to_owned()));
    assert_eq!(config.identity.cluster.unwrap().as_str(), "home");
    // As it is without a word about it.
    let InputSettings::Discord(config) = one("[input.chat]\ntype = 'discord'\ntoken = 'x'") else {
        panic!()
    };
    let default = inputs::discord::Config::new("x".into(), []);
    assert_eq!((config.mentions, &config.api), (default.mentions, &default.api));
    let text = "[input.chat]\ntype = 'discord'\nchannels = ['ops']\nmentions = false";
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:8: input.chat.token: is missing; name a file with it in token_file, or set it by the environment
        error: /etc/proxmox-mcp/config.toml:10: input.chat.channels: is not valid: "ops" is no id: copy it in Discord, with developer mode on; it has digits only
    "#]].assert_eq(&setup(text).render());
}

#[test]
fn what_works_and_should_not_stay_so_is_warned_about() {
    let text = r#"
[input.hook]
type = "webhook"

[input.hook.hook.home]
secret_file = "hook.secret"

[input.push]
type = "gotify"
server = "https://push.lan"
token_file = "open"
insecure = true
"#;
    let setup = setup(text).world_readable("/etc/proxmox-mcp/open", "C1");
    let warnings = setup.load().unwrap().warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    expect![[r#"
        /etc/proxmox-mcp/config.toml:9: input.hook: cannot be posted to: the manager has no HTTP listener (manager.http); set http = true in [manager]
        /etc/proxmox-mcp/config.toml:18: input.push.token_file: names a file that everybody on this machine can read; chmod 600 /etc/proxmox-mcp/open
        /etc/proxmox-mcp/config.toml:19: input.push.insecure: any certificate is believed: whoever is on the way can read the secrets; use fingerprint or ca_file"#]].assert_eq(&warnings.join("\n"));
    let served = setup.variable("PROXMOX_MCP_MANAGER__HTTP", "true").load().unwrap();
    assert_eq!(served.warnings.len(), 2);
}

#[test]
fn names_that_are_made_of_two_meet_no_other() {
    let text = "[input.tasks_home]\ntype = 'syslog'\nlisten = 'udp://127.0.0.1:5514'";
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:8: input.tasks_home: is the name of two inputs; rename it: it is also the name under which a cluster is asked
    "#]].assert_eq(&setup(text).render());
}

#[test]
fn what_is_wrong_with_an_input_is_said_at_once_with_its_place() {
    let text = r#"
[input.shut]
type = "syslog"
listen = "udp://127.0.0.1:1"
strangers = "refuse"

[input.none]
listen = "udp://127.0.0.1:1"

[input.what]
type = "syslogg"

[input.log]
type = "syslog"
listen = ["udp://localhost:5514", "tls://127.0.0.1:6514"]
server = "https://push.lan"
key_file = "tls.key"
zone = "Mars/Olympus"

[input.log.peer.one]
addresses = ["192.0.2.1", "pve1"]
cluster = "hom"

[input.log.peer.two]
addresses = "192.0.2.1"
hosts = { "a.lan" = "home/pve 1", "b.lan" = "attic" }

[input.log.hook.x]
secret = "0123456789abcdef"

[input.hook]
type = "webhook"

[input.hook.hook.a]

[input.hook.hook.b]
secret_file = "short"
mapping = { title = "/x" }

[input.hook.hook.c]
secret_file = "empty"
format = "json"
mapping = { titel = "/x", message = "x" }
severities = { red = "very" }

[input.hook.hook.d]
secret = "0123456789abcdef"
secret_file = "hook.secret"

[input.hook.hook.e]
secret_file = "missing"

[input.nothing]
type = "webhook"

[input.mail]
type = "smtp"
listen = "tcp://127.0.0.1:25"

[input.mail.recipient.x]
address = "home"

[input.push]
type = "gotify"
server = "push.lan"
token = "C1"
insecure = true
fingerprint = "AB"
applications = ["ops"]

[input.topic]
type = "ntfy"
server = "https://ntfy.lan"
topics = []
ca_file = "hook.secret"

[input.box]
type = "imap"
server = "imap://mail.lan"
user = "events"
password_file = "hook.secret"

[input.look]
type = "tasks"
clusters = ["home", "offsite"]
busy_secs = 60
"#;
    expect![[r#"
        error: /etc/proxmox-mcp/config.toml:12: input.shut.strangers: refuses everybody, since there is no peer; add a table [input.….peer.…] with its addresses
        error: /etc/proxmox-mcp/config.toml:14: input.none.type: is missing; for example type = "syslog"
        error: /etc/proxmox-mcp/config.toml:18: input.what.type: is "syslogg"; did you mean `syslog`?
        error: /etc/proxmox-mcp/config.toml:22: input.log.listen: is not valid: `udp://localhost:5514` is no address to listen on: write udp://, tcp:// or tls://, an IP address and a port, such as udp://0.0.0.0:5514
        error: /etc/proxmox-mcp/config.toml:23: input.log.server: means nothing with type = "syslog"; its keys are: type, listen, certificate_file, key_file, strangers, cluster, zone, labels, least, max_connections, receive_buffer_bytes
        error: /etc/proxmox-mcp/config.toml:24: input.log.key_file: is set without certificate_file; TLS takes both
        error: /etc/proxmox-mcp/config.toml:25: input.log.zone: is "Mars/Olympus", which is no time zone here; name a zone of the system's list, such as Europe/Vienna or UTC; the list is in the package tzdata
        error: /etc/proxmox-mcp/config.toml:28: input.log.peer.one.addresses: is not valid: "pve1" is no IP address
        error: /etc/proxmox-mcp/config.toml:29: input.log.peer.one.cluster: names "hom", which no cluster or server is called; did you mean `home`?
        error: /etc/proxmox-mcp/config.toml:31: input.log.peer.two.hosts: names "attic", which no cluster or server is called; they are called: home
        error: /etc/proxmox-mcp/config.toml:32: input.log.peer.two.addresses: lists 192.0.2.1, which peer one lists too; an address can be one peer's only
        error: /etc/proxmox-mcp/config.toml:33: input.log.peer.two.hosts."a.lan": node name "pve 1" is not valid: use letters, digits, - and . only, at most 63 characters; write cluster or cluster/node
        error: /etc/proxmox-mcp/config.toml:35: input.log.hook.x: means nothing with type = "syslog"; take it out, or change the type
        error: /etc/proxmox-mcp/config.toml:41: input.hook.hook.a.secret: is missing; name a file with it in secret_file, or set it by the environment
        error: /etc/proxmox-mcp/config.toml:43: input.hook.hook.b.mapping: means nothing with format = "auto"; take it out, or set format = "json"
        error: /etc/proxmox-mcp/config.toml:44: input.hook.hook.b.secret_file: is shorter than 16 bytes; `openssl rand -hex 24` makes one
        error: /etc/proxmox-mcp/config.toml:48: input.hook.hook.c.secret_file: names a file that is empty; put the secret into it
        error: /etc/proxmox-mcp/config.toml:50: input.hook.hook.c.mapping.message: `x` is no place in a JSON document: write it as `/alarm/name`
        error: /etc/proxmox-mcp/config.toml:50: input.hook.hook.c.mapping.titel: is no part of an event; did you mean `title`?
        error: /etc/proxmox-mcp/config.toml:51: input.hook.hook.c.severities.red: `very` is not a severity: use debug, info, notice, warning, error or critical
        error: /etc/proxmox-mcp/config.toml:54: input.hook.hook.d.secret: is set, and secret_file too; keep one of them
        error: /etc/proxmox-mcp/config.toml:58: input.hook.hook.e.secret_file: names /etc/proxmox-mcp/missing, which does not exist
        error: /etc/proxmox-mcp/config.toml:60: input.nothing: the input has no hook: nobody could post to it
        error: /etc/proxmox-mcp/config.toml:65: input.mail.listen: is not valid: `tcp://127.0.0.1:25` is no address to listen on: write smtp:// or smtps://, an IP address and a port, such as smtp://0.0.0.0:2525
        error: /etc/proxmox-mcp/config.toml:68: input.mail.recipient.x.address: is no address of mail; write it as home@events.lan
        error: /etc/proxmox-mcp/config.toml:72: input.push.server: is no address of a server; write https://push.lan
        error: /etc/proxmox-mcp/config.toml:75: input.push.fingerprint: is set, and insecure too; keep one of them
        error: /etc/proxmox-mcp/config.toml:76: input.push.applications: is not valid: "ops" is no number
        error: /etc/proxmox-mcp/config.toml:82: input.topic.ca_file: cannot be used: find a certificate in the CA file; the root certificate of a PVE cluster is /etc/pve/pve-root-ca.pem
        error: /etc/proxmox-mcp/config.toml:84: input.box: `imap://mail.lan` is no address of a mail server: without TLS the password can be read on the way; write imaps://, a host and perhaps a port
        error: /etc/proxmox-mcp/config.toml:92: input.look.clusters: names "offsite", which no cluster or server is called; they are called: home
        error: /etc/proxmox-mcp/config.toml:93: input.look.busy_secs: is 60, and calm_secs 15; let it be the shorter one
    "#]].assert_eq(&setup(text).render());
}
