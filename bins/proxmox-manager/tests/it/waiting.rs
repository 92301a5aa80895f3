//! A database that is away when a manager starts, and settings that change while it waits.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use testkit::{Progress, services, skip_aloud, wait_for};
use tokio::io::copy_bidirectional;

use crate::support::{House, LONG, Manager, connect};

/// What the service manager hears.
pub(crate) struct Notified(UnixDatagram);

/// A schema of a real server, by its own name.
struct Schema {
    server: String,
    name: String,
}

// === impl Notified ===

impl Notified {
    /// Listens in the house, for a command that is told so.
    pub(crate) fn by(house: &House, command: &mut Command) -> Self {
        let path = house.folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_read_timeout(Some(LONG)).unwrap();
        command.env("NOTIFY_SOCKET", &path);
        Self(listener)
    }

    /// The next that is said. What is asked of the simulator meanwhile goes on.
    pub(crate) fn hear(&self) -> String {
        tokio::task::block_in_place(|| {
            let mut buffer = [0; 1024];
            let length = self.0.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        })
    }
}

// === impl Schema ===

impl Schema {
    fn create() -> Option<Self> {
        let server = services::postgres_url()?;
        if Command::new("psql").arg("--version").output().is_err() {
            skip_aloud("psql", "REQUIRE_SERVICES", "PostgreSQL's client makes a schema");
            return None;
        }
        let schema = Self { server, name: format!("test_manager_{}", std::process::id()) };
        schema.execute(&format!("CREATE SCHEMA {}", schema.name));
        Some(schema)
    }

    fn execute(&self, statement: &str) {
        let [head, name, password, place] = self.parts();
        let mut psql = Command::new("psql");
        psql.env("PGPASSWORD", password).args(["--quiet", "--no-psqlrc", "--command", statement]);
        let done = psql.arg("--dbname").arg(format!("{head}://{name}@{place}")).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Scheme, user, password, and where it is.
    fn parts(&self) -> [&str; 4] {
        let (head, rest) = self.server.split_once("://").unwrap();
        let (user, place) = rest.rsplit_once('@').unwrap();
        let (name, password) = user.split_once(':').unwrap();
        [head, name, password, place]
    }

    /// Host and port.
    fn address(&self) -> &str {
        self.parts()[3].split('/').next().unwrap()
    }

    /// The same schema, by another way and perhaps with another password.
    fn at(&self, port: u16, password: Option<&str>) -> String {
        let [head, name, own, place] = self.parts();
        let (_, database) = place.split_once('/').unwrap();
        let password = password.unwrap_or(own);
        format!(
            "{head}://{name}:{password}@127.0.0.1:{port}/{database}?options[search_path]={}",
            self.name
        )
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Passes on what comes to this port.
async fn relay(port: u16, server: String) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let mut there = tokio::net::TcpStream::connect(&server).await.unwrap();
                // Either side ends it.
                let _ = copy_bidirectional(&mut here, &mut there).await;
            });
        }
    });
}

/// The first line and the last of what is answered to a probe.
fn probe(port: u16, path: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let of = |line: Option<&str>| line.unwrap_or_default().to_owned();
    Ok((of(answer.lines().next()), of(answer.lines().last())))
}

async fn answers(port: u16, path: &str, status: &str, body: &str) {
    wait_for("an answer to a probe", LONG, async || {
        match tokio::task::block_in_place(|| probe(port, path)) {
            Ok((first, last)) if first.contains(status) && last == body => Progress::Ready(()),
            other => Progress::Pending(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_at_the_start_is_waited_for() {
    let Some(schema) = Schema::create() else { return };
    let house = House::new("http = true\n").await;
    let (database, web) = (free_port(), free_port());
    let plain = std::fs::read_to_string(&house.config).unwrap();
    let settle = |url: &str| {
        let server = format!("[server]\nstore_url = \"{url}\"\n");
        let text = plain.replace("[server]\n", &server);
        let http = format!("{text}\n[http]\nlisten = \"127.0.0.1:{web}\"\n");
        std::fs::write(&house.config, http).unwrap();
    };
    settle(&schema.at(database, None));
    let mut command = house.command();
    let notified = Notified::by(&house, &mut command);
    let manager = Manager::of(command.spawn().unwrap());
    let said = notified.hear();
    assert!(said.contains("READY=1\nSTATUS=waits for the store: open the store at"), "{said}");
    assert!(!said.contains(schema.parts()[2]), "{said}");
    answers(web, "/readyz", "503", "waiting").await;
    answers(web, "/livez", "200", "ok").await;
    let check = tokio::task::block_in_place(|| house.command().arg("--check").output().unwrap());
    assert_eq!(check.status.code(), Some(1), "it does not wait");

    relay(database, schema.address().to_owned()).await;
    let said = notified.hear();
    assert!(said.contains("STATUS=runs"), "{said}");
    let client = connect(&house.socket()).await;
    assert_eq!(client.status().await.unwrap().pid, manager.pid());
    answers(web, "/readyz", "200", "ok").await;
    manager.signal("TERM");
    assert_eq!(manager.ended().await.status.code(), Some(0));

    // What waiting does not mend is said at once.
    settle(&schema.at(database, Some("guessed")));
    let refused = tokio::task::block_in_place(|| house.command().output().unwrap());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("password authentication failed"), "{said}");
    schema.execute(&format!("DROP SCHEMA {} CASCADE", schema.name));
}

/// A manager that waits for a database which never comes, and its settings without one.
async fn in_vain() -> (House, Notified, Manager, String) {
    let house = House::new("").await;
    let text = std::fs::read_to_string(&house.config).unwrap();
    let url = format!("postgres://mcp:secret@127.0.0.1:{}/mcp", free_port());
    let server = format!("[server]\nstore_url = \"{url}\"\n");
    std::fs::write(&house.config, text.replace("[server]\n", &server)).unwrap();
    let mut command = house.command();
    let notified = Notified::by(&house, &mut command);
    let manager = Manager::of(command.spawn().unwrap());
    assert!(notified.hear().contains("waits for the store"));
    (house, notified, manager, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_ends_as_it_is_told() {
    let (_house, _notified, manager, _) = in_vain().await;
    manager.signal("TERM");
    assert_eq!(manager.ended().await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_reads_its_settings_anew() {
    let (house, notified, manager, text) = in_vain().await;
    std::fs::write(&house.config, "[server]\nno_such_setting = 1\n").unwrap();
    manager.signal("HUP");
    assert!(notified.hear().contains("waits for the store"), "mistakes change nothing");
    // A store that is there.
    std::fs::write(&house.config, text).unwrap();
    manager.signal("HUP");
    assert!(notified.hear().contains("STATUS=runs"));
    manager.signal("TERM");
    assert_eq!(manager.ended().await.status.code(), Some(0));
}
