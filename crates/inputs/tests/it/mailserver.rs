//! A mail server as far as a reader of one mailbox needs one: login, select, search, fetch, store, noop and idle.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

pub(crate) const PASSWORD: &str = "kestrel-91";

/// A mail, and whether it is marked as seen.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) uid: u32,
    pub(crate) text: Vec<u8>,
    pub(crate) is_seen: bool,
}

#[derive(Debug)]
struct State {
    validity: u32,
    next: u32,
    mails: Vec<Mail>,
}

/// A server on loopback.
pub(crate) struct MailServer {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Counted up with each mail that comes.
    come: watch::Sender<u64>,
    /// Counted up to end all connections.
    epoch: watch::Sender<u64>,
    _task: AbortOnDropHandle<()>,
}

struct Connection {
    stream: BufStream<TcpStream>,
    state: Arc<Mutex<State>>,
    come: watch::Receiver<u64>,
    can_idle: bool,
}

// === impl MailServer ===

impl MailServer {
    pub(crate) async fn start(can_idle: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { validity: 7, next: 1, mails: Vec::new() }));
        let (come, epoch) = (watch::channel(0).0, watch::channel(0).0);
        let (of_task, heard, ends) = (Arc::clone(&state), come.clone(), epoch.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let stream = BufStream::new(stream);
                let (state, come) = (Arc::clone(&of_task), heard.subscribe());
                let mut ends = ends.subscribe();
                ends.mark_unchanged();
                let mut connection = Connection { stream, state, come, can_idle };
                connections.spawn(async move {
                    tokio::select! {
                        _ = connection.serve() => {}
                        _ = ends.changed() => {}
                    }
                });
            }
        });
        Self { address, state, come, epoch, _task: AbortOnDropHandle::new(task) }
    }

    /// A mail comes.
    pub(crate) fn deliver(&self, text: &str) {
        {
            let mut state = self.state.lock().unwrap();
            let uid = state.next;
            state.next += 1;
            let text = text.replace('\n', "\r\n").into_bytes();
            state.mails.push(Mail { uid, text, is_seen: false });
        }
        self.come.send_modify(|count| *count += 1);
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.state.lock().unwrap().mails.clone()
    }

    /// Numbers all mails anew, as after a restore.
    pub(crate) fn renumber(&self) {
        let mut state = self.state.lock().unwrap();
        state.validity += 1;
        let mut uid = 0;
        for mail in &mut state.mails {
            uid += 1;
            mail.uid = uid;
        }
        state.next = uid + 1;
    }

    pub(crate) fn hang_up(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }
}

// === impl Connection ===

impl Connection {
    async fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.write_all(b"\r\n").await?;
        self.stream.flush().await
    }

    async fn hear(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn serve(&mut self) -> std::io::Result<()> {
        self.say("* OK ready").await?;
        loop {
            let line = self.hear().await?;
            let (tag, command) = line.split_once(' ').unwrap();
            let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
            match word {
                "LOGIN" if rest == format!("\"events\" \"{PASSWORD}\"") => {}
                "LOGIN" => {
                    self.say(&format!("{tag} NO [AUTHENTICATIONFAILED] no such login")).await?;
                    continue;
                }
                "CAPABILITY" => {
                    let idle = if self.can_idle { " IDLE" } else { "" };
                    self.say(&format!("* CAPABILITY IMAP4rev1{idle}")).await?;
                }
                "SELECT" if rest == "\"INBOX\"" => self.select().await?,
                "SELECT" => {
                    self.say(&format!("{tag} NO [NONEXISTENT] there is none")).await?;
                    continue;
                }
                "NOOP" => self.exists().await?,
                "UID" => self.by_uid(rest).await?,
                "IDLE" => {
                    self.idle().await?;
                }
                _ => {
                    self.say(&format!("{tag} BAD {word}")).await?;
                    continue;
                }
            }
            self.say(&format!("{tag} OK done")).await?;
        }
    }

    async fn exists(&mut self) -> std::io::Result<()> {
        let count = self.state.lock().unwrap().mails.len();
        self.say(&format!("* {count} EXISTS")).await
    }

    async fn select(&mut self) -> std::io::Result<()> {
        self.exists().await?;
        let (validity, next) = {
            let state = self.state.lock().unwrap();
            (state.validity, state.next)
        };
        self.say("* FLAGS (\\Answered \\Seen)").await?;
        self.say(&format!("* OK [UIDVALIDITY {validity}] numbers")).await?;
        self.say(&format!("* OK [UIDNEXT {next}] next")).await
    }

    async fn by_uid(&mut self, rest: &str) -> std::io::Result<()> {
        let (word, rest) = rest.split_once(' ').unwrap();
        match word {
            "SEARCH" => {
                let range = rest.strip_prefix("UID ").unwrap();
                let (from, behind) = range.split_once(":*").unwrap();
                let from: u32 = from.parse().unwrap();
                let mails = self.state.lock().unwrap().mails.clone();
                let newest = mails.last().map(|mail| mail.uid);
                let found: Vec<String> = mails
                    .iter()
                    // `n:*` has the last one whatever its number is.
                    .filter(|mail| mail.uid >= from || Some(mail.uid) == newest)
                    .filter(|mail| behind != " UNSEEN" || !mail.is_seen)
                    .map(|mail| mail.uid.to_string())
                    .collect();
                self.say(&format!("* SEARCH {}", found.join(" "))).await
            }
            "FETCH" => {
                let (uid, what) = rest.split_once(' ').unwrap();
                let most = what.strip_prefix("(UID BODY.PEEK[]<0.").unwrap();
                let most: usize = most.strip_suffix(">)").unwrap().parse().unwrap();
                let mails = self.state.lock().unwrap().mails.clone();
                let at = mails.iter().position(|mail| mail.uid.to_string() == uid);
                let Some(at) = at else { return Ok(()) };
                let text = &mails[at].text[..mails[at].text.len().min(most)];
                let head =
                    format!("* {} FETCH (UID {uid} BODY[]<0> {{{}}}\r\n", at + 1, text.len());
                self.stream.write_all(head.as_bytes()).await?;
                self.stream.write_all(text).await?;
                self.say(")").await
            }
            "STORE" => {
                let (uid, what) = rest.split_once(' ').unwrap();
                assert_eq!(what, "+FLAGS.SILENT (\\Seen)");
                let mut state = self.state.lock().unwrap();
                for mail in state.mails.iter_mut().filter(|mail| mail.uid.to_string() == uid) {
                    mail.is_seen = true;
                }
                Ok(())
            }
            other => panic!("UID {other}"),
        }
    }

    async fn idle(&mut self) -> std::io::Result<()> {
        self.say("+ idling").await?;
        loop {
            let heard = tokio::select! {
                heard = async {
                    let mut line = String::new();
                    self.stream.read_line(&mut line).await.map(|_| line)
                } => Some(heard?),
                _ = self.come.changed() => None,
            };
            match heard {
                Some(line) => {
                    assert_eq!(line.trim_end(), "DONE");
                    return Ok(());
                }
                None => self.exists().await?,
            }
        }
    }
}
