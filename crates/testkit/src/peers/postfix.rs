//! Postfix as the mail server of a node: it queues what programs send, passes it on, and tries again where it must.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use super::{Daemon, Folder, PATIENCE};
use crate::services::{missing, programs};
use crate::{Progress, wait_for};

const PROGRAM: &str = "usr/lib/postfix/sbin/master";
/// How often a port is tried: between its choice and its use another may take it.
const ATTEMPTS: usize = 5;

/// The account `daemon` and the group `mail`, which have these numbers on every Debian.
const OWNER: (&str, u32) = ("daemon", 1);
const DROP_GROUP: (&str, u32) = ("mail", 8);

/// A running Postfix.
#[derive(Debug)]
pub struct Postfix {
    address: SocketAddr,
    // In this order: it ends before its folder goes.
    _daemon: Daemon,
    folder: Folder,
}

impl Postfix {
    /// Starts one that passes all mail on to this port of loopback, or gives `None` after saying that there is none.
    ///
    /// `settings` are more lines for its `main.cf`, such as how it uses TLS; `{folder}` in them is the daemon's own
    /// folder, where `files` are put first, as names and contents. What it cannot pass on it keeps, and tries again
    /// every second or two.
    ///
    /// # Panics
    ///
    /// When there is none, or this is not run as root, and `REQUIRE_SERVICES=1`; and when it does not start.
    pub async fn start(relay: u16, files: &[(&str, &str)], settings: &str) -> Option<Self> {
        let programs = programs("postfix")?;
        if fs::metadata("/proc/self").map_or(0, |own| own.uid()) != 0 {
            missing("root", "Postfix refuses to run as anybody else");
            return None;
        }
        let root = programs.root.to_str().expect("the workspace has a name of text").to_owned();
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let folder = Folder::new("postfix");
            for (name, text) in files {
                folder.write(name, text);
            }
            let address = free_address();
            prepare(&folder, &root, relay, address.port(), settings);
            let arguments = ["-c", path(&folder), "-d"];
            let mut daemon = Daemon::start(&programs, PROGRAM, &arguments, &folder);
            let starting = wait_for("Postfix to listen", PATIENCE, async || {
                if daemon.has_ended() {
                    return Progress::Ready(false);
                }
                match TcpStream::connect(address) {
                    Ok(_) => Progress::Ready(true),
                    Err(error) => Progress::Pending(error.to_string()),
                }
            });
            if starting.await {
                return Some(Self { address, _daemon: daemon, folder });
            }
            said = folder.read("log") + &folder.read("said");
        }
        panic!("Postfix does not start: {said}")
    }

    /// Where it takes mail, from anybody on this machine.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log so far: who connected, what was passed on, and what it was answered.
    pub fn log(&self) -> String {
        self.folder.read("log")
    }
}

fn path(folder: &Folder) -> &str {
    folder.path().to_str().expect("the temporary folder has a name of text")
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port left");
    listener.local_addr().expect("a listener has an address")
}

/// Writes its settings and makes its queue, with the owners that it insists on.
fn prepare(folder: &Folder, root: &str, relay: u16, port: u16, settings: &str) {
    folder.write("main.cf", &main_settings(path(folder), root, relay, settings));
    folder.write("master.cf", &services(port));
    let make = |name: &str, group: Option<u32>, mode: u32| {
        let place = folder.path().join(name);
        fs::create_dir_all(&place).expect("the folder is ours to write to");
        fs::set_permissions(&place, Permissions::from_mode(mode)).expect("it is ours");
        let owner = if matches!(name, "queue" | "queue/pid") { 0 } else { OWNER.1 };
        chown(&place, Some(owner), group).expect("root may give it away");
    };
    make("queue", None, 0o755);
    make("queue/pid", None, 0o755);
    make("data", None, 0o700);
    for name in ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"] {
        make(&format!("queue/{name}"), None, 0o700);
    }
    for name in ["private", "saved", "trace"] {
        make(&format!("queue/{name}"), None, 0o700);
    }
    make("queue/public", Some(DROP_GROUP.1), 0o710);
    make("queue/maildrop", Some(DROP_GROUP.1), 0o730);
}

fn main_settings(folder: &str, root: &str, relay: u16, settings: &str) -> String {
    let (owner, group) = (OWNER.0, DROP_GROUP.0);
    let temporary = std::env::temp_dir();
    let temporary = temporary.display();
    format!(
        "compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {root}/usr/lib/postfix/sbin
command_directory = {root}/usr/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {root}/etc/postfix
mail_owner = {owner}
setgid_group = {group}
import_environment = LD_LIBRARY_PATH MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ
export_environment = LD_LIBRARY_PATH MAIL_CONFIG TZ
maillog_file = {folder}/log
maillog_file_prefixes = {temporary}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mta.lab.example
mydestination =
mynetworks = 127.0.0.0/8
local_recipient_maps =
alias_maps =
alias_database =
relayhost = [localhost]:{relay}
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_relay_restrictions = permit_mynetworks, reject
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
{}
",
        settings.replace("{folder}", folder)
    )
}

fn services(port: u16) -> String {
    format!(
        "127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"
    )
}
