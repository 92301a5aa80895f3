//! Where a cluster posts to: the hook of the settings, or the one that they lack.
//!
//! *Invariant:* a secret is written into a file of its own, that only its owner can read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use inputs::webhook;
use secrecy::{ExposeSecret as _, SecretString};
use settings::{EventsSettings, InputSettings};
use stdx::seal::random_bytes;

use crate::config::files;

/// The name of the input that is made, if it is free.
const INPUT: &str = "hook";
/// The file of the tables that are made, within `conf.d`.
const FILE: &str = "hooks.toml";
/// The length of a secret that is made, in bytes; it is written in hexadecimal digits.
const SECRET_LEN: usize = 24;

/// A path with its secret.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    /// The input's name.
    pub(super) input: String,
    /// The hook's name within the input.
    pub(super) name: String,
    pub(super) secret: SecretString,
}

/// A hook that is to be added to the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewHook {
    input: String,
    name: String,
    /// The table of the input is there already.
    has_input: bool,
    /// The file of the tables.
    pub(super) drop_in: PathBuf,
    /// The file of the secret.
    pub(super) secret_file: PathBuf,
}

/// Knows the inputs that there are, and those that were thought of.
pub(super) struct Hooks {
    folder: PathBuf,
    /// Each input with its hooks; nothing where it is no webhook input.
    inputs: BTreeMap<String, Option<Vec<String>>>,
    known: BTreeMap<String, Hook>,
}

// === impl Hook ===

impl Hook {
    /// Its address below that of the manager's HTTP listener.
    pub(super) fn url(&self, base: &str) -> String {
        format!("{}{}/{}/{}", base.trim_end_matches('/'), webhook::PATH, self.input, self.name)
    }
}

// === impl Hooks ===

impl Hooks {
    /// Those of these settings, which are in this folder.
    pub(super) fn of(events: &EventsSettings, folder: &Path) -> Self {
        let mut hooks =
            Self { folder: folder.to_owned(), inputs: BTreeMap::new(), known: BTreeMap::new() };
        for (input, settings) in &events.inputs {
            let InputSettings::Webhook(config) = settings else {
                hooks.inputs.insert(input.to_string(), None);
                continue;
            };
            let names = config.hooks.keys().cloned().collect();
            hooks.inputs.insert(input.to_string(), Some(names));
            for (name, hook) in &config.hooks {
                // One of a single node is not the whole cluster's.
                let Some(cluster) = hook.identity.cluster.as_ref() else { continue };
                if hook.identity.node.is_none() {
                    let (input, name) = (input.to_string(), name.clone());
                    let hook = Hook { input, name, secret: hook.secret.clone() };
                    hooks.known.entry(cluster.to_string()).or_insert(hook);
                }
            }
        }
        hooks
    }

    /// The hook of a cluster.
    pub(super) fn find(&self, cluster: &str) -> Option<&Hook> {
        self.known.get(cluster)
    }

    /// The hook that a cluster without one would get. Of several, each knows what those before it add.
    pub(super) fn think_of(&mut self, cluster: &str) -> NewHook {
        let is_webhook = |(_, hooks): &(&String, &Option<Vec<String>>)| hooks.is_some();
        let known = self.inputs.iter().find(is_webhook).map(|(name, _)| name.clone());
        let has_input = known.is_some();
        let input = known.unwrap_or_else(|| free(INPUT, |name| self.inputs.contains_key(name)));
        let hooks = self.inputs.entry(input.clone()).or_default().get_or_insert_default();
        let name = free(cluster, |name| hooks.iter().any(|it| it == name));
        hooks.push(name.clone());
        NewHook {
            has_input,
            drop_in: self.folder.join("conf.d").join(FILE),
            secret_file: self.folder.join("secrets").join(format!("{input}-{name}.secret")),
            input,
            name,
        }
    }
}

// === impl NewHook ===

impl NewHook {
    /// The tables to add.
    pub(super) fn table(&self, cluster: &str) -> String {
        let Self { input, name, .. } = self;
        let mut text = String::new();
        if !self.has_input {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[input.{input}]\ntype = \"webhook\"\n");
        }
        let file = toml::Value::from(self.secret_file.to_string_lossy().into_owned());
        let _ = writeln!(
            text,
            "[input.{input}.hook.{name}]\nsecret_file = {file}\ncluster = \"{cluster}\""
        );
        text
    }

    /// Writes secret and tables, and gives the hook. What was in the file of the tables stays as it is.
    pub(super) fn write(&self, cluster: &str) -> anyhow::Result<Hook> {
        let bytes = random_bytes::<SECRET_LEN>().context("make a secret")?;
        let mut digits = String::with_capacity(2 * SECRET_LEN);
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        let secret = SecretString::from(digits);
        for (file, is_private) in [(&self.secret_file, true), (&self.drop_in, false)] {
            if let Some(folder) = file.parent() {
                files::folder(folder, is_private)?;
            }
        }
        let line = format!("{}\n", secret.expose_secret());
        files::write_new(&self.secret_file, line.as_bytes(), files::PRIVATE)?;
        let table = self.table(cluster);
        let text = if self.drop_in.exists() { format!("\n{table}") } else { table };
        files::append(&self.drop_in, &text)?;
        Ok(Hook { input: self.input.clone(), name: self.name.clone(), secret })
    }

    /// Where it will be posted to, below the address of the listener.
    pub(super) fn path(&self) -> String {
        format!("{}/{}/{}", webhook::PATH, self.input, self.name)
    }
}

/// The name, or the next one with a number that is free.
fn free(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use settings::Sources;

    use super::*;

    const PVE: &str = "[pve.lab]\nendpoints = [\"https://192.0.2.1:8006\"]\n\
                       token_id = \"a@pve!b\"\ntoken = \"x\"\n\
                       [pve.edge]\nendpoints = [\"https://192.0.2.2:8006\"]\n\
                       token_id = \"a@pve!b\"\ntoken = \"x\"\n";

    fn hooks(text: &str, folder: &Path) -> Hooks {
        let mut sources = Sources::default();
        sources.texts.push(("test".to_owned(), format!("{PVE}{text}")));
        let loaded = settings::load(&sources).unwrap_or_else(|error| panic!("{error}"));
        Hooks::of(&loaded.settings.events, folder)
    }

    #[test]
    fn a_cluster_has_the_hook_that_names_it_and_no_node() {
        let hook = |name: &str, more: &str| {
            format!("[input.in.hook.{name}]\nsecret = \"0123456789abcdef\"\n{more}\n")
        };
        let text = format!(
            "[input.in]\ntype = \"webhook\"\n{}{}{}",
            hook("any", ""),
            hook("one", "cluster = \"lab\"\nnode = \"alder\""),
            hook("zoo", "cluster = \"lab\""),
        );
        let hooks = hooks(&text, Path::new("/etc/proxmox-mcp"));
        let found = hooks.find("lab").unwrap();
        assert_eq!(found.url("https://mcp:8808/"), "https://mcp:8808/hooks/in/zoo");
        assert!(hooks.find("edge").is_none());
    }

    #[test]
    fn what_is_missing_is_thought_of_without_taking_a_name() {
        let folder = Path::new("/etc/proxmox-mcp");
        let mut taken =
            hooks("[input.hook]\ntype = \"syslog\"\nlisten = \"udp://127.0.0.1:5514\"\n", folder);
        let (lab, edge) = (taken.think_of("lab"), taken.think_of("edge"));
        expect![[r#"
            [input.hook_2]
            type = "webhook"

            [input.hook_2.hook.lab]
            secret_file = "/etc/proxmox-mcp/secrets/hook_2-lab.secret"
            cluster = "lab"

            [input.hook_2.hook.edge]
            secret_file = "/etc/proxmox-mcp/secrets/hook_2-edge.secret"
            cluster = "edge"
        "#]]
        .assert_eq(&(lab.table("lab") + "\n" + &edge.table("edge")));
        let mut given = hooks(
            "[input.in]\ntype = \"webhook\"\n[input.in.hook.lab]\nsecret = \"0123456789abcdef\"\n",
            folder,
        );
        assert_eq!(given.think_of("lab").path(), "/hooks/in/lab_2");
    }

    #[test]
    fn what_is_written_is_read_again_and_the_secret_is_its_owners() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("config.toml");
        std::fs::write(&main, PVE).unwrap();
        let mut hooks = hooks("", folder.path());
        let written = [("lab", hooks.think_of("lab")), ("edge", hooks.think_of("edge"))];
        for (cluster, new) in &written {
            let hook = new.write(cluster).unwrap();
            let mode = std::fs::metadata(&new.secret_file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            // A second time nothing is overwritten.
            assert!(new.write(cluster).is_err());
            assert_eq!(hook.secret.expose_secret().len(), 2 * SECRET_LEN);
        }
        let mut sources = Sources::default();
        sources.config = Some(main);
        let loaded = settings::load(&sources).unwrap_or_else(|error| panic!("{error}"));
        let read = Hooks::of(&loaded.settings.events, folder.path());
        for (cluster, new) in &written {
            assert!(read.find(cluster).unwrap().url("").ends_with(&new.path()));
        }
    }
}
