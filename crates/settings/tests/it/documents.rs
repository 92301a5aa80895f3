//! What is made from the table of keys stays as it is in the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use expect_test::expect_file;
use settings::{Kind, SECTIONS, Section};

use crate::support::{Setup, certificate};

#[test]
fn the_default_file_is_up_to_date() {
    expect_file!["../../../../config/default.toml"].assert_eq(&settings::default_toml());
}

#[test]
fn the_reference_page_is_up_to_date() {
    expect_file!["../../../../docs/reference/config.md"].assert_eq(&settings::reference());
}

#[test]
fn the_json_schema_is_up_to_date() {
    let schema = serde_json::to_string_pretty(&settings::json_schema()).unwrap();
    expect_file!["golden/schema.json"].assert_eq(&(schema + "\n"));
}

/// The file with the settings that it only shows.
fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What says the same by other means, or means something with another value only: one of each is
/// kept.
fn is_alternative(header: &str, key: &str) -> bool {
    let is_one_of = |keys: &[&str]| keys.contains(&key);
    let file = format!("{key}_file");
    let places = SECTIONS.iter().flat_map(Section::places).filter(|it| it.header() == header);
    let has_file = places
        .flat_map(|place| place.keys())
        .any(|it| it.name == file && it.kind == Kind::SecretFile);
    if has_file {
        return true;
    }
    match header.split('.').next().unwrap_or_default() {
        "pve" | "pbs" => is_one_of(&[
            "username",
            "password_file",
            "totp_secret_file",
            "fingerprint",
            "fingerprints",
            "server_name",
            "ca_file",
        ]),
        "oauth" => key == "ca_file",
        "policy" => is_one_of(&["per_hour", "reason", "count"]),
        "maintenance" => is_one_of(&["from", "until"]),
        "input" => {
            is_one_of(&["ca_file", "fingerprint", "mapping", "severities", "mapping_labels"])
        }
        "output" if header == "output.phone" && is_one_of(&["user", "password_file"]) => true,
        "output" => is_one_of(&[
            "ca_file",
            "fingerprint",
            "channel",
            "bot_token_file",
            "fallback",
            "fallback_secs",
        ]),
        _ => false,
    }
}

fn without_alternatives(text: &str) -> String {
    let mut header = String::new();
    let mut kept = Vec::new();
    for line in text.lines() {
        if let Some(opened) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            opened.clone_into(&mut header);
        }
        let key = line.split(" = ").next().unwrap_or_default();
        if !is_alternative(&header, key) {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// Any certificate: only that it is one is looked at.
const CA: &str = include_str!("golden/ca.pem");

const SECRET: &str = "000000000000000000000000";

fn with_files(setup: Setup) -> Setup {
    let names =
        ["home", "lab", "edge", "vault", "home-operate", "lab-operate", "vault-operate", "offsite"];
    let (crt, key) = certificate();
    let setup = setup.file("/etc/group", "root:x:0:\nproxmox-approvers:x:900:alice\n");
    let setup = setup.file("/etc/proxmox-mcp/tls.crt", &crt).file("/etc/proxmox-mcp/tls.key", &key);
    let setup = setup.file("/etc/proxmox-mcp/audit.url", "https://hooks.example.lan/audit");
    let secrets = [
        "hook-home.secret",
        "mail.password",
        "home.password",
        "mailbox.password",
        "push.token",
        "topic.token",
        "chat.token",
        "phone.token",
        "ops.url",
        "storage.url",
        "team.url",
        "desk.url",
        "desk.secret",
        "desk.token",
        "alive.url",
        "alive-fail.url",
        "push-client.token",
        "house.token",
        "mail.secret",
    ];
    let setup = secrets.iter().fold(setup, |setup, name| {
        let text =
            if name.ends_with("url") { "https://discord.com/api/webhooks/1/x" } else { SECRET };
        setup.file(&format!("/etc/proxmox-mcp/{name}"), text)
    });
    let setup = ["title.txt", "body.txt", "body.html"]
        .iter()
        .fold(setup, |setup, name| setup.file(&format!("/etc/proxmox-mcp/{name}"), "{{ title }}"));
    names.iter().fold(setup, |setup, name| {
        setup
            .file(&format!("/etc/proxmox-mcp/{name}.token"), "secret")
            .file(&format!("/etc/proxmox-mcp/{name}-ca.pem"), CA)
    })
}

#[test]
fn the_default_file_has_every_key_and_loads_when_filled_in() {
    let text = uncommented(settings::DEFAULT);
    let document: toml::Table = text.parse().unwrap();
    let tables = SECTIONS.iter().flat_map(Section::places);
    for place in tables.filter(|it| it.section.types.is_empty() || it.of_type.is_some()) {
        let header = place.header();
        let table = header.split('.').fold(None, |table: Option<&toml::Value>, name| {
            Some(table.map_or_else(|| &document[name], |table| &table[name]))
        });
        let table = table.unwrap().as_table().unwrap();
        for key in place.keys() {
            assert!(table.get(key.name).is_some(), "{header} {}", key.name);
        }
        if place.of_type.is_some() && place.nested.is_none() {
            assert_eq!(table["type"].as_str(), place.of_type.map(|it| it.name), "{header}");
        } else if place.section.tables.is_empty() {
            assert_eq!(table.len(), place.keys().len(), "{header}");
        }
    }
    let text = without_alternatives(&text);
    let rendered = with_files(Setup::main(&text)).render();
    assert!(!rendered.contains("error:"), "{rendered}");
}

#[test]
fn the_example_file_loads() {
    let example = include_str!("../../../../config/example.toml");
    let setup = with_files(Setup::main(example));
    let loaded = setup.load().unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.settings.pve.len() >= 2 && !loaded.settings.pbs.is_empty());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn the_starter_file_loads_as_it_is_and_filled_in() {
    let text = settings::starter();
    let setup = with_files(Setup::main(text));
    assert!(setup.load().unwrap().settings.is_empty());
    let filled = uncommented(text);
    let filled: String =
        filled.lines().filter(|l| !l.starts_with("fingerprint")).collect::<Vec<_>>().join("\n");
    let loaded =
        with_files(Setup::main(&filled)).load().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((loaded.settings.pve.len(), loaded.settings.pbs.len()), (1, 1));
}

/// What a page tells people to write, block by block.
fn blocks(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).expect("pages are text");
    let blocks = text.split("```toml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// What the guides tell people to write is at least known: keys, kinds and sections.
#[test]
fn the_guides_name_settings_that_exist() {
    let mut count = 0;
    for folder in ["guide", "dev", "concepts"] {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        for page in std::fs::read_dir(docs.join(folder)).unwrap() {
            let page = page.unwrap().path();
            for block in blocks(&page) {
                let Err(errors) = with_files(Setup::main(&block)).load() else { continue };
                for error in errors.errors {
                    let is_known =
                        !error.reason.contains("known") && !error.reason.contains("TOML");
                    assert!(is_known, "{}: {error}", page.display());
                }
                count += 1;
            }
        }
    }
    assert!(count > 0);
}

/// The examples of the guide to events are whole: a home lab and a firm, as they stand there. What names no output is an
/// excerpt, of which the test above sees that its keys are known.
#[test]
fn the_guide_to_events_shows_settings_that_load() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/events.md");
    let mut outputs = 0;
    let whole = blocks(Path::new(page)).into_iter().filter(|block| block.contains("[output."));
    for block in whole {
        let setup = with_files(Setup::main(&block))
            .file("/etc/proxmox-mcp/discord.url", "https://discord.com/api/webhooks/1/x");
        let loaded = setup.load().unwrap_or_else(|errors| panic!("{errors}\n{block}"));
        assert!(!loaded.warnings.iter().any(|it| it.key.starts_with("input")), "{block}");
        let events = loaded.settings.events;
        assert!(events.enabled);
        assert!(loaded.settings.pve.is_empty() || !events.inputs.is_empty());
        outputs += events.outputs.len();
    }
    assert_eq!(outputs, 9);
}

/// The table of keys and the clients' own types know the same keys and the same defaults.
#[test]
fn the_table_agrees_with_the_clients() {
    for (section, keys) in
        [("pve", pve_client::config::Config::KEYS), ("pbs", pbs_client::config::Config::KEYS)]
    {
        let section = SECTIONS.iter().find(|known| known.name == section).unwrap();
        let ours: BTreeSet<&str> = section.keys.iter().map(|key| key.name).collect();
        assert_eq!(ours, keys.iter().copied().collect(), "{}", section.name);
    }
    let minimal = Setup::main(crate::support::HOME).load().unwrap();
    let written: String = SECTIONS[0]
        .keys
        .iter()
        .filter_map(|key| Some(format!("{} = {}\n", key.name, key.default?)))
        .collect();
    let written = Setup::main(&(crate::support::HOME.to_owned() + &written)).load().unwrap();
    let (unset, set) = (&minimal.settings.pve["home"], &written.settings.pve["home"]);
    assert_eq!(unset.connect_timeout, set.connect_timeout);
    assert_eq!(unset.request_timeout, set.request_timeout);
    assert_eq!(unset.deadline, set.deadline);
    assert_eq!(unset.concurrency, set.concurrency);
    assert_eq!(unset.proxy, set.proxy);
    assert_eq!(unset.targets, set.targets);
}

/// Every value of the table is what its kind says, and the words are those of the types.
#[test]
fn the_table_agrees_with_itself_and_with_the_types() {
    for place in SECTIONS.iter().flat_map(Section::places) {
        for key in place.keys() {
            let at = format!("{} {}", place.header(), key.name);
            assert_eq!(key.default.is_some(), key.example.is_empty(), "{at}");
            let shown = place.fill(key.default.unwrap_or(key.example));
            assert!(shown.parse::<toml::Value>().is_ok(), "{at} {shown}");
            assert!(key.doc.ends_with('.'), "{at}");
            let is_timed = key.doc.contains("in seconds");
            assert_eq!(is_timed, key.name.ends_with("_secs"), "{at}");
        }
    }
    for section in SECTIONS.iter().filter(|section| !section.types.is_empty()) {
        let types: Vec<&str> = section.types.iter().map(|it| it.name).collect();
        assert_eq!(section.key("type").map(|key| key.kind), Some(Kind::Choice(types.leak())));
    }
    // A layer knows the key of a name, not the type of its table.
    for section in SECTIONS {
        let mut kinds: BTreeMap<(Option<&str>, &str), Kind> = BTreeMap::new();
        for place in section.places() {
            let nested = place.nested.map(|it| it.name);
            assert!(nested.is_none_or(|name| section.key(name).is_none()), "{nested:?}");
            for key in place.keys() {
                let kind = *kinds.entry((nested, key.name)).or_insert(key.kind);
                assert_eq!(kind, key.kind, "{} {}", place.header(), key.name);
            }
        }
    }
    let words = |section: &str, key: &str| {
        let section = SECTIONS.iter().find(|known| known.name == section).unwrap();
        match section.key(key).unwrap().kind {
            Kind::Choice(words) => words.to_vec(),
            _ => panic!("{key} has no words"),
        }
    };
    assert_eq!(words("server", "mode"), guard::Mode::ALL.map(guard::Mode::as_str));
    let trusts = guard::policy::ClientTrust::ALL.map(guard::policy::ClientTrust::as_str);
    assert_eq!(words("guard", "client_approves"), trusts);
    let levels: Vec<&str> = settings::LogLevel::ALL.iter().map(|level| level.as_str()).collect();
    assert_eq!(words("log", "level"), levels);
    let formats: Vec<&str> = settings::LogFormat::ALL.iter().map(|one| one.as_str()).collect();
    assert_eq!(words("log", "format"), formats);
    let topologies: Vec<&str> = settings::Topology::ALL.iter().map(|one| one.as_str()).collect();
    assert_eq!(words("server", "declared_topology"), topologies);
}
