//! What fuzzers feed and CI replays: bytes in, and nothing may panic or lose what it was given.
//!
//! Not part of the API; `cargo xtask fuzz` runs these, and a test runs them over the kept corpus.

use std::collections::BTreeSet;

use estate::{InvalidUpid, Upid};
use event_core::{
    ComponentId, Event, Kind, MAX_RAW, wire,
    wire::frames::{self, Tail},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Identity, Origin,
    discord::session as gateway,
    email::smtp::{
        self,
        pieces::{Mail, Pieces},
        session::{Fate, Session, Step},
    },
    ntfy::{Line, Lines},
    recognize::{discord, gotify, json::Pointer, mail, ntfy, syslog, webhook},
    syslog::Framer,
    websocket::{
        console::{self, Screen, Watch, shipped},
        feed::Reader,
    },
};

fn with_origin(run: impl FnOnce(&Origin<'_>) -> Vec<Event>, original: &[u8]) {
    let source: ComponentId = "fuzz".parse().expect("a name");
    let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    let received = Timestamp::from_second(1_795_348_800).expect("a time");
    let events = run(&Origin::new(&source, "fuzz", &identity, received));
    let first = events.first().expect("something is told in any case");
    let raw = first.raw.as_ref().expect("the original is kept");
    assert_eq!(raw.size, original.len() as u64);
    let head = String::from_utf8_lossy(&original[..original.len().min(MAX_RAW)]);
    assert!(head.starts_with(&*raw.text), "the original is kept as it came");
    let mut keys: Vec<&str> = events.iter().map(|event| event.source_key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), events.len(), "each event has a key of its own");
    for event in &events {
        assert_eq!(event.subject.cluster, identity.cluster, "who sends is what the settings say");
        assert!(!event.title.is_empty() && !event.title.contains('\n'));
        let written = wire::to_text(event);
        let read = wire::from_text(&written).expect("what is written is read");
        assert_eq!(read, *event);
    }
}

/// A line of syslog.
pub fn syslog_line(data: &[u8]) {
    with_origin(|origin| vec![syslog::recognize(data, origin, "fuzz/1")], data);
}

/// The body of a webhook, as each format in turn.
pub fn webhook_body(data: &[u8]) {
    use webhook::Format;
    let json = Format::Json(Box::default());
    for format in [
        Format::Auto,
        Format::Proxmox,
        Format::Gotify,
        Format::Discord,
        Format::Slack,
        Format::Alertmanager,
        json,
        Format::Text,
    ] {
        with_origin(|origin| webhook::recognize(data, &format, origin), data);
    }
}

/// The text of a backup run, within the body that Proxmox sends it in.
pub fn vzdump_text(data: &[u8]) {
    let body = serde_json::json!({
        "title": "vzdump backup status (alder.lan): backup failed",
        "message": String::from_utf8_lossy(data),
        "severity": "error",
        "timestamp": 1_795_309_331,
        "fields": {"type": "vzdump", "hostname": "alder", "job-id": "backup-1f"},
    });
    let body = body.to_string();
    let read = |origin: &Origin<'_>| {
        webhook::recognize(body.as_bytes(), &webhook::Format::Proxmox, origin)
    };
    let check = |origin: &Origin<'_>| {
        let events = read(origin);
        let (run, guests) = events.split_first().expect("a run is told");
        assert_eq!(run.kind, Kind::BackupFailed, "whatever the text says, the title says this");
        for guest in guests {
            assert!(guest.subject.vmid.is_some(), "every row is a guest's");
            assert!(!guest.keys.is_disjoint(&run.keys), "a guest belongs to its run");
        }
        events
    };
    with_origin(check, body.as_bytes());
}

/// The name of a task: what is read is printed as it came and made of its own parts, also within a line of syslog.
pub fn upid(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read: Upid = match text.parse() {
        Ok(read) => read,
        Err(error) => {
            let said: InvalidUpid = error;
            return assert!(said.to_string().len() < 4096, "an error quotes the head of it alone");
        }
    };
    assert_eq!(read.to_string(), text);
    assert!(text.starts_with(&format!("UPID:{}:", read.node())));
    assert!(text.ends_with(&format!(":{}:{}:{}:", read.kind(), read.id(), read.user())));
    assert!(read.started().as_second() >= 0 && read.display_id().len() <= read.id().len() * 4);
    let line =
        format!("<27>Nov 22 17:55:05 alder pvedaemon[1]: <{}> end task {read} OK", read.user());
    syslog_line(line.as_bytes());
}

/// A mail.
pub fn mail_message(data: &[u8]) {
    with_origin(|origin| mail::recognize(data, origin), data);
}

/// A stream of lines: it is the same lines whatever pieces it comes in, and no line is longer than the ceiling.
pub fn syslog_stream(data: &[u8]) {
    const MOST: usize = 48;
    let read = |size: usize| {
        let mut framer = Framer::new(MOST);
        let mut frames = Vec::new();
        for piece in data.chunks(size) {
            framer.push(piece);
            frames.extend(std::iter::from_fn(|| framer.next_frame()));
            // A length, its blank, and a line that is not whole yet.
            assert!(framer.held() <= MOST + 9, "{} bytes are held", framer.held());
        }
        frames.extend(framer.finish());
        frames
    };
    let whole = read(data.len().max(1));
    assert!(whole.iter().all(|frame| frame.bytes.len() <= MOST));
    for size in [1, 2, 7] {
        assert_eq!(read(size), whole, "in pieces of {size}");
    }
}

/// A frame of Gotify's stream, as a message that it is or is not.
pub fn gotify_frame(data: &[u8]) {
    let Some(posted) = serde_json::from_slice(data).ok().and_then(gotify::posted) else { return };
    told(&|origin| posted.events(origin), &posted.id.to_string());
}

/// What Discord's gateway says, a frame on each line: whatever it is, a heartbeat says no secret, an opening is one, and
/// each message makes events. The whole is tried as a message of a list as well.
pub fn discord_frames(data: &[u8]) {
    const TOKEN: &str = "kestrel";
    let message = |value| {
        let Some(posted) = discord::posted(value) else { return };
        told(&|origin| posted.events(origin), &posted.id.to_string());
    };
    let mut session = gateway::Session::default();
    let text = String::from_utf8_lossy(data);
    for frame in text.lines() {
        match session.hear(frame) {
            Ok(gateway::Step::Message(value)) => message(*value),
            Ok(gateway::Step::Greeted(pause)) => {
                assert!((50..=300_000).contains(&pause.as_millis()), "{pause:?}");
            }
            Ok(_) | Err(_) => {}
        }
        assert!(text.contains(TOKEN) || !session.beat().contains(TOKEN));
        let opening = session.opening(&TOKEN.into(), 1);
        let opening: serde_json::Value = serde_json::from_str(&opening).expect("it is JSON");
        assert_eq!(opening["d"]["token"], TOKEN);
        assert_eq!(opening["op"], if session.address().is_some() { 6 } else { 2 });
    }
    if let Ok(value) = serde_json::from_slice(data) {
        message(value);
    }
}

/// A stream of ntfy: it is the same lines whatever pieces it comes in, and each message makes events.
pub fn ntfy_stream(data: &[u8]) {
    const MOST: usize = 400;
    let read = |size: usize| {
        let mut lines = Lines::new(MOST);
        let mut read = Vec::new();
        for piece in data.chunks(size) {
            lines.push(piece);
            read.extend(std::iter::from_fn(|| lines.next_line()));
            assert!(lines.held() <= MOST, "{} bytes are held", lines.held());
        }
        read
    };
    let whole = read(data.len().max(1));
    for size in [1, 3, 8] {
        assert_eq!(read(size), whole, "in pieces of {size}");
    }
    for line in &whole {
        let Line::Whole(line) = line else { continue };
        assert!(line.len() <= MOST);
        if let Some(ntfy::Line::Message(posted)) = ntfy::line(line) {
            told(&|origin| posted.events(origin), &posted.id);
        }
    }
}

/// What a message of a server tells: its events keep its number or name, and are the same when it is read again.
fn told(events: &dyn Fn(&Origin<'_>) -> Vec<Event>, id: &str) {
    let source: ComponentId = "fuzz".parse().expect("a name");
    let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    let received = Timestamp::from_second(1_795_348_800).expect("a time");
    let origin = Origin::new(&source, "fuzz", &identity, received);
    let (first, again) = (events(&origin), events(&origin));
    assert!(!first.is_empty());
    assert_eq!(first[0].labels.get("message_id").map(String::as_str), Some(id));
    for (one, other) in first.iter().zip(&again) {
        assert_eq!(one.source_key, other.source_key, "a message that is read again is the same");
        assert_eq!(one.subject.cluster, identity.cluster);
        assert_eq!(wire::from_text(&wire::to_text(one)).expect("what is written is read"), *one);
    }
}

/// What a client of the SMTP listener sends: whoever may not send sends no mail, and whatever is said to it is a proper
/// answer.
pub fn smtp_commands(data: &[u8]) {
    let listen = smtp::Listen::Smtp("127.0.0.1:0".parse().expect("an address"));
    let mut config = smtp::Config::new(vec![listen]);
    let user = smtp::User { password: "kestrel".into(), identity: Identity::default() };
    config.users.insert("node".to_owned(), user);
    let known = Identity::default();
    for (peer, is_tls) in [(None, false), (Some(&known), false), (Some(&known), true)] {
        let mut session = Session::new(&config, peer, is_tls);
        let mut pieces = Pieces::default();
        let mut mail: Option<Mail> = None;
        for piece in data.chunks(7) {
            pieces.push(piece);
            loop {
                if let Some(open) = &mut mail {
                    if !pieces.read_mail(open) {
                        break;
                    }
                    mail = None;
                    assert!(session.identity().is_some(), "a mail is somebody's");
                    answered(&session.ends_mail(Fate::Kept));
                }
                let Some(command) = pieces.next_command() else { break };
                match session.hear(&command) {
                    Step::Say(text) => answered(&text),
                    Step::StartTls(text) => {
                        assert!(!is_tls);
                        answered(&text);
                    }
                    Step::Bye(text) => return answered(&text),
                    Step::Mail(text) => {
                        assert!(peer.is_some(), "a stranger sends no mail");
                        answered(&text);
                        mail = Some(Mail::new(1024));
                    }
                }
            }
            assert!(pieces.held() <= smtp::pieces::MAX_COMMAND);
        }
    }
}

/// A file in which events wait, however it ended.
pub fn spool_file(data: &[u8]) {
    let found = frames::find(data);
    assert!(found.whole <= data.len() && (found.tail == Tail::None) == (found.whole == data.len()));
    for text in &found.texts {
        // What is whole may be another program's.
        let _ = frames::read(&data[text.clone()]);
    }
    // Whatever comes behind an event that is whole, that event is read.
    let source: ComponentId = "fuzz".parse().expect("a name");
    let event = Event::builder(&source, "fuzz", "1", Kind::BackupFailed, Timestamp::UNIX_EPOCH)
        .title("a backup failed")
        .build(Timestamp::UNIX_EPOCH);
    let file = [frames::HEADER, &frames::frame(&event), data].concat();
    let found = frames::find(&file);
    let first = found.texts.first().expect("it is whole").clone();
    assert_eq!(frames::read(&file[first]).expect("it is ours"), event);
    assert!(found.whole <= file.len());
}

fn answered(text: &str) {
    assert!(text.ends_with("\r\n") && text.len() < 512);
    for line in text.lines() {
        let code = &line.as_bytes()[..3];
        assert!(code.iter().all(u8::is_ascii_digit) && line.is_ascii(), "{line}");
    }
}

/// What a terminal is sent: it is the same lines whatever pieces it comes in, none longer than the ceiling and none with
/// what cannot be seen, and no pattern is told twice in its window.
pub fn console_stream(data: &[u8]) {
    let read = |size: usize| {
        let mut screen = Screen::default();
        let mut lines = Vec::new();
        for piece in data.chunks(size) {
            screen.push(piece);
            lines.extend(std::iter::from_fn(|| screen.next_line()));
        }
        screen.flush();
        lines.extend(std::iter::from_fn(|| screen.next_line()));
        lines
    };
    let whole = read(data.len().max(1));
    for size in [1, 2, 7] {
        assert_eq!(read(size), whole, "in pieces of {size}");
    }
    let now = Timestamp::from_second(1_795_348_800).expect("a time");
    let window = SignedDuration::from_secs(300);
    let mut watch = Watch::new(shipped(&[]).into(), window, SignedDuration::ZERO);
    let mut told = BTreeSet::new();
    for line in whole {
        assert!(line.chars().count() <= console::MAX_LINE && !line.is_empty());
        assert!(!line.chars().any(|c| c.is_control() || stdx::untrusted::is_unseen(c)), "{line:?}");
        watch.line(line, now);
        while let Some(found) = watch.due(now) {
            assert!(watch.pattern(&found).regex.is_match(&found.line));
            assert!(found.around.contains(&found.line));
            assert!(told.insert(found.pattern), "it was told in this window");
        }
    }
    assert!(watch.end().is_none(), "with no time to linger nothing is held");
}

/// A message of a feed, with a place, and with and without what it has to say to be told.
pub fn feed_message(data: &[u8]) {
    let pointer = |text: &str| -> Pointer { text.parse().expect("a place") };
    let mut reader = Reader { place: Some(pointer("/seq")), ..Reader::default() };
    let source: ComponentId = "fuzz".parse().expect("a name");
    let identity = Identity { cluster: "lab".parse().ok(), ..Identity::default() };
    let received = Timestamp::from_second(1_795_348_800).expect("a time");
    let origin = Origin::new(&source, "fuzz", &identity, received);
    let Some(all) = reader.read(data, &origin) else { return };
    assert!(!all.events.is_empty(), "without a filter every message is told");
    assert!(all.place.as_ref().is_none_or(|place| !place.chars().any(char::is_control)));
    with_origin(|origin| reader.read(data, origin).map(|it| it.events).unwrap_or_default(), data);
    reader.only = vec![(pointer("/type"), vec!["alarm".to_owned()])];
    let some = reader.read(data, &origin).expect("it is a document still");
    assert_eq!(some.place, all.place, "what is no news moves the place as well");
    assert!(some.events.is_empty() || some.events.len() == all.events.len());
}
