//! What is said on Discord's gateway, and what follows from it: no clock, no socket.
//!
//! *Invariant:* whatever a gateway says, nothing panics, and the token is said in the two openings alone.

use std::{borrow::Cow, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// The shortest and the longest pause between heartbeats that is believed.
const PAUSES: (u64, u64) = (50, 300_000);

/// A session as far as it is known: it can be gone on with, on another connection.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Its name, and where it is gone on with.
    name: Option<(String, String)>,
    /// The number of the last thing that was told.
    sequence: Option<u64>,
}

/// What follows from a frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing.
    Nothing,
    /// The gateway greets: it wants an opening, and heartbeats with this pause.
    Greeted(Duration),
    /// It wants a heartbeat now.
    Beat,
    /// It has heard one.
    Heard,
    /// A session has begun, as this user.
    Begun(u64),
    /// The session goes on: nothing was missed.
    GoesOn,
    /// A message.
    Message(Box<Value>),
    /// It wants to be called again.
    Again,
    /// There is no such session: the next one is begun anew.
    Lost,
}

/// Why a gateway does not want to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It does not know the token.
    Token,
    /// The bot may not have what is asked for.
    Intents,
    /// It does not speak as this does.
    Speech,
}

/// A frame is none.
#[derive(Debug, thiserror::Error)]
#[error("read a frame of the gateway")]
pub(crate) struct Malformed(#[source] serde_json::Error);

#[derive(Deserialize)]
struct Frame<'a> {
    op: u64,
    #[serde(default)]
    s: Option<u64>,
    #[serde(default, borrow)]
    t: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    d: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Hello {
    heartbeat_interval: u64,
}

#[derive(Deserialize)]
struct Ready {
    session_id: String,
    resume_gateway_url: String,
    user: User,
}

#[derive(Deserialize)]
struct User {
    id: String,
}

// === impl Session ===

impl Session {
    /// Where it is gone on with, if it can be.
    pub(crate) fn address(&self) -> Option<&str> {
        self.name.as_ref().map(|(_, address)| address.as_str())
    }

    /// Forgets it.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The answer to the greeting: goes on, or begins.
    pub(crate) fn opening(&self, token: &SecretString, intents: u64) -> String {
        let token = token.expose_secret();
        let frame = match &self.name {
            Some((name, _)) => json!({
                "op": 6,
                "d": { "token": token, "session_id": name, "seq": self.sequence },
            }),
            None => json!({
                "op": 2,
                "d": {
                    "token": token,
                    "intents": intents,
                    "properties": {
                        "os": std::env::consts::OS,
                        "browser": "proxmox-mcp",
                        "device": "proxmox-mcp",
                    },
                },
            }),
        };
        frame.to_string()
    }

    /// A heartbeat.
    pub(crate) fn beat(&self) -> String {
        json!({ "op": 1, "d": self.sequence }).to_string()
    }

    /// Takes a frame.
    pub(crate) fn hear(&mut self, frame: &str) -> Result<Step, Malformed> {
        let frame: Frame<'_> = serde_json::from_str(frame).map_err(Malformed)?;
        let data = frame.d.map_or("null", RawValue::get);
        Ok(match frame.op {
            0 => {
                let step = self.told(frame.t.as_deref().unwrap_or_default(), data)?;
                // What could not be read is not taken as told.
                self.sequence = frame.s.or(self.sequence);
                step
            }
            1 => Step::Beat,
            7 => Step::Again,
            9 => {
                let is_resumable = data.trim() == "true";
                if !is_resumable {
                    self.forget();
                }
                Step::Lost
            }
            10 => {
                let Hello { heartbeat_interval } = serde_json::from_str(data).map_err(Malformed)?;
                let pause = heartbeat_interval.clamp(PAUSES.0, PAUSES.1);
                Step::Greeted(Duration::from_millis(pause))
            }
            11 => Step::Heard,
            // What Discord may say one day.
            _ => Step::Nothing,
        })
    }

    fn told(&mut self, what: &str, data: &str) -> Result<Step, Malformed> {
        Ok(match what {
            "READY" => {
                let ready: Ready = serde_json::from_str(data).map_err(Malformed)?;
                let me = ready.user.id.parse().unwrap_or(0);
                *self = Self {
                    name: Some((ready.session_id, ready.resume_gateway_url)),
                    sequence: None,
                };
                Step::Begun(me)
            }
            "RESUMED" => Step::GoesOn,
            "MESSAGE_CREATE" => {
                Step::Message(Box::new(serde_json::from_str(data).map_err(Malformed)?))
            }
            _ => Step::Nothing,
        })
    }

    /// What the code means with which a gateway closes; `None` for one that wants to be called again.
    pub(crate) fn closed(&mut self, code: Option<u16>) -> Option<Refusal> {
        match code {
            Some(4004) => Some(Refusal::Token),
            Some(4013 | 4014) => Some(Refusal::Intents),
            Some(4010..=4012) => Some(Refusal::Speech),
            // A session that was never opened, a number that it does not know, and one that is too old.
            Some(1000 | 1001 | 4003 | 4007 | 4009) => {
                self.forget();
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const READY: &str = r#"{"op":0,"t":"READY","s":1,"d":{"v":10,"user":{"id":"900","username":"x"},"session_id":"abc","resume_gateway_url":"wss://g.example"}}"#;

    fn hear(session: &mut Session, frame: &str) -> Step {
        session.hear(frame).unwrap()
    }

    #[test]
    fn a_session_begins_and_goes_on_where_it_was() {
        let mut session = Session::default();
        let token = "planted".into();
        let greeting = r#"{"op":10,"d":{"heartbeat_interval":41250},"s":null,"t":null}"#;
        assert_eq!(hear(&mut session, greeting), Step::Greeted(Duration::from_millis(41_250)));
        expect![[r#"{"op":2,"d":{"token":"planted","intents":33280,"properties":{"os":"linux","browser":"proxmox-mcp","device":"proxmox-mcp"}}}"#]]
            .assert_eq(&session.opening(&token, 33_280));
        assert_eq!(session.beat(), r#"{"op":1,"d":null}"#);
        assert_eq!(hear(&mut session, READY), Step::Begun(900));
        assert_eq!(session.address(), Some("wss://g.example"));
        let message = r#"{"op":0,"t":"MESSAGE_CREATE","s":2,"d":{"id":"5"}}"#;
        assert_eq!(hear(&mut session, message), Step::Message(Box::new(json!({ "id": "5" }))));
        assert_eq!(
            hear(&mut session, r#"{"op":0,"t":"TYPING_START","s":3,"d":{}}"#),
            Step::Nothing
        );
        assert_eq!(session.beat(), r#"{"op":1,"d":3}"#);
        expect![[r#"{"op":6,"d":{"token":"planted","session_id":"abc","seq":3}}"#]]
            .assert_eq(&session.opening(&token, 33_280));
        assert_eq!(hear(&mut session, r#"{"op":0,"t":"RESUMED","s":4,"d":{}}"#), Step::GoesOn);
        assert!(!format!("{session:?}").contains("planted"));
    }

    #[test]
    fn what_the_gateway_asks_for() {
        let mut session = Session::default();
        for (frame, step) in [
            (r#"{"op":1,"d":null}"#, Step::Beat),
            (r#"{"op":7,"d":null}"#, Step::Again),
            (r#"{"op":11}"#, Step::Heard),
            (r#"{"op":99,"d":{}}"#, Step::Nothing),
            (r#"{"op":0,"t":"FUTURE_THING","s":9,"d":[1]}"#, Step::Nothing),
            (r#"{"op":10,"d":{"heartbeat_interval":0}}"#, Step::Greeted(Duration::from_millis(50))),
        ] {
            assert_eq!(hear(&mut session, frame), step, "{frame}");
        }
        for broken in
            ["", "[]", "{", r#"{"op":"x"}"#, r#"{"op":10}"#, r#"{"op":0,"t":"READY","d":{}}"#]
        {
            assert!(session.hear(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_session_that_is_not_valid_is_forgotten_unless_it_can_be_gone_on_with() {
        let mut session = Session::default();
        hear(&mut session, READY);
        assert_eq!(hear(&mut session, r#"{"op":9,"d":true}"#), Step::Lost);
        assert!(session.address().is_some());
        assert_eq!(hear(&mut session, r#"{"op":9,"d":false}"#), Step::Lost);
        assert_eq!(session.address(), None);
    }

    #[test]
    fn codes_that_close_say_whether_to_come_again() {
        for (code, refusal, is_kept) in [
            (None, None, true),
            (Some(1006), None, true),
            (Some(4000), None, true),
            (Some(4008), None, true),
            (Some(1000), None, false),
            (Some(4007), None, false),
            (Some(4009), None, false),
            (Some(4004), Some(Refusal::Token), true),
            (Some(4014), Some(Refusal::Intents), true),
            (Some(4012), Some(Refusal::Speech), true),
        ] {
            let mut session = Session::default();
            hear(&mut session, READY);
            assert_eq!(session.closed(code), refusal, "{code:?}");
            assert_eq!(session.address().is_some(), is_kept, "{code:?}");
        }
    }
}
