//! Static tokens, from the file that the command line writes to the grant of a request.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use expect_test::expect;
use gateway::auth::{AuthFailure, Authenticator, Reason, TokenFile, Tokens};
use guard::{Grant, Scope};
use http::request::Parts;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use stdx::{Clock as _, ManualClock};
use testkit::{Progress, wait_for};

/// A state folder with the server that reads it.
struct Setup {
    folder: tempfile::TempDir,
    file: TokenFile,
    clock: ManualClock,
    tokens: Arc<Authenticator>,
}

// === impl Setup ===

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("state"));
        let clock = ManualClock::at("2026-11-20T12:00:00Z".parse().unwrap());
        let tokens = Tokens::new(file.clone(), Arc::new(clock.clone()));
        let tokens = Arc::new(Authenticator::new(Some(tokens), Vec::new()));
        Self { folder, file, clock, tokens }
    }

    fn create(&self, name: &str, scope: &str, expires: Option<&str>) -> String {
        let expires = expires.map(|time| time.parse().unwrap());
        let made = self.file.create(name, &scope.parse().unwrap(), expires, self.clock.now());
        made.unwrap().0.expose_secret().to_owned()
    }

    async fn ask(&self, token: &str) -> Result<Grant, AuthFailure> {
        self.tokens.authenticate(&bearer(token)).await
    }

    fn path(&self) -> std::path::PathBuf {
        self.file.path()
    }
}

pub(crate) fn bearer(token: &str) -> Parts {
    let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
    request.body(()).unwrap().into_parts().0
}

/// A token of the right shape that nobody made, with this id.
fn invented(id: &str, number: usize) -> String {
    format!("pmx_{id}_{number:064x}")
}

#[tokio::test]
async fn from_making_to_revoking() {
    let setup = Setup::new();
    let empty = setup.tokens.authenticate(&http::Request::new(()).into_parts().0).await;
    assert_eq!(empty.unwrap_err().reason(), Reason::Missing);
    assert!(setup.tokens.is_closed());

    let token = setup.create("n8n", "read,toolset:default", None);
    let other = setup.create("backup.1", "operate,cluster:home", None);
    assert!(!setup.tokens.is_closed());
    let grant = setup.ask(&token).await.unwrap();
    assert_eq!(format!("{} {}", grant.principal, grant.scope), "token:n8n read,toolset:default");
    let grant = setup.ask(&other).await.unwrap();
    assert_eq!(
        format!("{} {}", grant.principal, grant.scope),
        "token:backup.1 operate,cluster:home"
    );

    // The server that has just taken it refuses it with the next request.
    let revoked = setup.file.revoke("n8n").unwrap();
    assert_eq!(revoked.name, "n8n");
    let failure = setup.ask(&token).await.unwrap_err();
    assert_eq!(failure.reason(), Reason::Invalid);
    assert!(setup.ask(&other).await.is_ok());

    // A token of the same name is another token.
    let again = setup.create("n8n", "destroy", None);
    assert!(setup.ask(&token).await.is_err());
    assert_eq!(setup.ask(&again).await.unwrap().scope, Scope::everything());
}

#[tokio::test]
async fn a_token_ends_when_it_was_said_to() {
    let setup = Setup::new();
    let token = setup.create("short", "read", Some("2026-11-20T13:00:00Z"));
    setup.clock.advance(Duration::from_mins(59));
    assert!(setup.ask(&token).await.is_ok());
    setup.clock.advance(Duration::from_mins(1));
    let failure = setup.ask(&token).await.unwrap_err();
    expect![[
        r#"the credentials are not valid: the token "short" expired at 2026-11-20T13:00:00Z"#
    ]]
    .assert_eq(&failure.to_string());
    expect![[r#"Bearer error="invalid_token", error_description="the token 'short' expired at 2026-11-20T13:00:00Z""#]]
        .assert_eq(failure.challenge().unwrap().to_str().unwrap());
    let past = Timestamp::UNIX_EPOCH;
    let made = setup.file.create("past", &Scope::read_only(), Some(past), setup.clock.now());
    expect!["make the token: it would have expired already"]
        .assert_eq(&made.unwrap_err().to_string());
}

#[tokio::test]
async fn hashing_is_done_once_and_wrong_tokens_cost_little() {
    let folder = tempfile::tempdir().unwrap();
    let file = TokenFile::new(folder.path());
    let clock = stdx::SystemClock::shared();
    let (token, info) = file.create("a", &Scope::read_only(), None, clock.now()).unwrap();
    let authenticator = Arc::new(Authenticator::new(Some(Tokens::new(file, clock)), Vec::new()));
    let tokens = authenticator.tokens().unwrap();
    let ask = |token: String| {
        let authenticator = Arc::clone(&authenticator);
        tokio::spawn(async move { authenticator.authenticate(&bearer(&token)).await })
    };

    // Many at once with the same token: no more hashes than run side by side.
    let asked: Vec<_> = (0..24).map(|_| ask(token.expose_secret().to_owned())).collect();
    for answer in asked {
        assert!(answer.await.unwrap().is_ok());
    }
    let once = tokens.hashed();
    assert!((1..=2).contains(&once), "{once}");

    // Ids that nobody has cost nothing.
    for number in 0..100 {
        assert!(ask(invented("00000000", number)).await.unwrap().is_err());
    }
    assert_eq!(tokens.hashed(), once);

    // A flood of wrong secrets: most are turned away unhashed, and the good one still gets in.
    let flood: Vec<_> = (0..400).map(|number| ask(invented(&info.id, number))).collect();
    assert!(ask(token.expose_secret().to_owned()).await.unwrap().is_ok());
    let (mut refused, mut busy) = (0, 0);
    for answer in flood {
        match answer.await.unwrap().unwrap_err().reason() {
            Reason::Invalid => refused += 1,
            Reason::Unavailable => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused + busy, 400);
    assert!(busy > 0, "{refused} of 400 waited to be hashed");
    assert_eq!(tokens.hashed(), once + refused);

    // What was wrong a moment ago is wrong still, without another hash.
    let wrong = invented(&info.id, 1_000);
    assert!(ask(wrong.clone()).await.unwrap().is_err());
    let before = tokens.hashed();
    assert!(ask(wrong).await.unwrap().is_err());
    assert_eq!(tokens.hashed(), before);
}

#[test]
fn two_writers_lose_nothing() {
    let setup = Setup::new();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let setup = &setup;
            scope.spawn(move || {
                setup.create(&format!("t{number}"), "read", None);
                if number % 2 == 0 {
                    setup.file.revoke(&format!("t{number}")).unwrap();
                }
            });
        }
    });
    let names: Vec<_> = setup.file.list().unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["t1", "t3", "t5"]);
    let left: Vec<_> = std::fs::read_dir(setup.folder.path().join("state")).unwrap().collect();
    assert_eq!(left.len(), 2, "the tokens and the lock: {left:?}");
}

#[test]
fn mistakes_are_named() {
    let setup = Setup::new();
    setup.create("n8n", "read", None);
    let mut table = String::new();
    for name in ["n8n", "", "a b", "-x", "ä", "../x", &"x".repeat(65)] {
        let made = setup.file.create(name, &Scope::read_only(), None, setup.clock.now());
        writeln!(table, "{}", made.unwrap_err()).unwrap();
    }
    writeln!(table, "{}", setup.file.revoke("other").unwrap_err()).unwrap();
    writeln!(table, "{}", TokenFile::new(setup.folder.path()).revoke("other").unwrap_err())
        .unwrap();
    expect![[r#"
        make the token: there is one called "n8n"; revoke it first, or choose another name
        name a token "": use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit
        name a token "a b": use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit
        name a token "-x": use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit
        name a token "ä": use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit
        name a token "../x": use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit
        name a token "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit
        find a token called "other"; there are n8n
        find a token called "other"; there are none
    "#]].assert_eq(&table);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_the_owners_and_a_broken_one_lets_nobody_in() {
    use std::os::unix::fs::PermissionsExt as _;
    let setup = Setup::new();
    let token = setup.create("a", "read", None);
    let path = setup.path();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    // Made by root for a server that is not: whoever owns the folder can read it.
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap()) == 0 {
        let folder = path.parent().unwrap();
        std::os::unix::fs::chown(folder, Some(65_534), Some(65_534)).unwrap();
        setup.create("b", "read", None);
        for file in std::fs::read_dir(folder).unwrap() {
            let metadata = file.unwrap().metadata().unwrap();
            assert_eq!(std::os::unix::fs::MetadataExt::uid(&metadata), 65_534);
        }
        std::os::unix::fs::chown(folder, Some(0), Some(0)).unwrap();
        setup.file.revoke("b").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&token) && !text.contains(&token[13..]), "{text}");
    assert!(setup.ask(&token).await.is_ok());
    // The day of that use is written beside it, and would put the good file back over a broken one.
    wait_for("the day of use", Duration::from_secs(20), async || {
        match setup.file.list().unwrap()[0].last_used {
            Some(_) => Progress::Ready(()),
            None => Progress::Pending("not written yet".to_owned()),
        }
    })
    .await;

    let mut errors = String::new();
    let mut check = async |what: &str, text: &str| {
        std::fs::write(&path, text).unwrap();
        let failure = setup.ask(&token).await.unwrap_err();
        assert_eq!(failure.reason(), Reason::Unavailable, "{what}");
        assert!(failure.retry_after_secs().is_some() && failure.challenge().is_none());
        let error = setup.file.list().unwrap_err().to_string();
        let error = error.replace(&path.display().to_string(), "tokens.toml");
        assert!(!error.contains("argon2"), "{error}");
        writeln!(errors, "{what}: {error}").unwrap();
        // A writer does not build upon it either.
        assert!(setup.file.revoke("a").is_err());
    };
    check("syntax", &text.replace("scope = ", "scope ")).await;
    check("version", &text.replace("version = 1", "version = 2")).await;
    check("unknown key", &text.replace("scope = ", "admin = true\nscope = ")).await;
    check("scope", &text.replace("scope = \"read\"", "scope = \"everything\"")).await;
    check("hash", &text.replace("$argon2id$", "$argon2i$")).await;
    check("time", &text.replace("created = \"2026", "created = \"x")).await;
    std::fs::write(&path, &text).unwrap();
    assert!(setup.ask(&token).await.is_ok());

    let writable = std::fs::Permissions::from_mode(0o620);
    std::fs::set_permissions(&path, writable).unwrap();
    let error = setup.file.list().unwrap_err().to_string();
    writeln!(errors, "mode: {}", error.replace(&path.display().to_string(), "tokens.toml"))
        .unwrap();
    expect![[r#"
        syntax: understand tokens.toml: line 8 is not as `proxmox-mcp token` writes it
        version: understand tokens.toml: it is of version 2, and this release knows 1
        unknown key: understand tokens.toml: line 8 is not as `proxmox-mcp token` writes it
        scope: understand tokens.toml: the scope of the token "a" is not valid
        hash: understand tokens.toml: the hash of the token "a" is not valid
        time: understand tokens.toml: `created` of the token "a" is not valid
        mode: trust tokens.toml: others may write to it (chmod 600)
    "#]]
    .assert_eq(&errors);
}

#[tokio::test]
async fn the_day_of_use_is_kept() {
    let setup = Setup::new();
    let token = setup.create("a", "read", None);
    let noted = async |day: &str| {
        wait_for("the day of use", Duration::from_secs(20), async || {
            let known = setup.file.list().unwrap()[0].last_used;
            match known {
                Some(known) if known.to_string() == day => Progress::Ready(()),
                other => Progress::Pending(format!("{other:?}")),
            }
        })
        .await;
    };
    setup.ask(&token).await.unwrap();
    noted("2026-11-20").await;
    setup.clock.advance(Duration::from_hours(24));
    setup.ask(&token).await.unwrap();
    noted("2026-11-21").await;
    assert!(setup.ask(&token).await.is_ok());
}

#[test]
fn no_message_holds_a_token() {
    testkit::alone("auth::no_message_holds_a_token", no_token_anywhere());
}

async fn no_token_anywhere() {
    let told = listen();
    let setup = Setup::new();
    let token = setup.create("a", "read", None);
    let secret = token[13..].to_owned();
    let mut said = format!("{:?} {:?}", setup.tokens, setup.file);
    let shapes = [
        token.clone(),
        token[..token.len() - 1].to_owned(),
        token.replace("pmx_", "PMX_"),
        format!("{token} {token}"),
        format!("eyJhbGciOiJub25lIn0.{secret}.{secret}"),
    ];
    for broken in [false, true] {
        if broken {
            // Broken for whatever the secret is: a bracket is missing.
            std::fs::write(setup.path(), format!("[token.\"{secret}\"\nhash = \"{secret}\"\n"))
                .unwrap();
        }
        for shape in &shapes {
            write!(said, "{:?}", setup.ask(shape).await).unwrap();
        }
        write!(said, "{:?}", setup.file.list()).unwrap();
        for address in [format!("/mcp?access_token={token}"), format!("/mcp?token={token}")] {
            let request = http::Request::builder().uri(address).body(()).unwrap();
            let failure = setup.tokens.authenticate(&request.into_parts().0).await.unwrap_err();
            write!(said, "{failure:?} {failure} {:?}", failure.challenge()).unwrap();
        }
    }
    let logged: Vec<String> = told.try_iter().collect();
    assert!(logged.iter().any(|line| line.contains("cannot be read")), "{logged:?}");
    write!(said, "{logged:?}").unwrap();
    assert!(!said.contains(&secret) && !said.contains("$argon2"), "{said}");
}

/// Sends every field of every event to a channel.
struct Recorder(mpsc::Sender<String>);

/// Hears all that this process logs from now on: for tests that have it to themselves.
pub(crate) fn listen() -> mpsc::Receiver<String> {
    let (log, told) = mpsc::channel();
    tracing::subscriber::set_global_default(Recorder(log)).expect("no other is global");
    told
}

struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl tracing::Subscriber for Recorder {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut fields = Fields(String::new());
        span.record(&mut fields);
        self.0.send(fields.0).ok();
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        self.0.send(fields.0).ok();
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.send(fields.0).ok();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
