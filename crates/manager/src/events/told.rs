//! What the rules are told beside events, and the form in which the journal keeps it.
//!
//! *Invariant:* what is read back from the journal is what was told: the log read again with it gives
//! the same messages.

use std::str::FromStr;

use event_core::{Subject, wire};
use jiff::{SignedDuration, Timestamp};
use rules::{Estate, IncidentId, Input, Job, Measured, MuteConfig, MuteTime, Room, Work};
use serde_json::{Value, json};

/// Something that the rules are told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Acknowledge {
        incident: IncidentId,
        by: String,
    },
    Close {
        incident: IncidentId,
        by: String,
    },
    Mute {
        name: String,
        silence: Silencing,
    },
    Unmute {
        name: String,
    },
    ExistingEnd,
    /// What came between the last step and now nobody has heard.
    Started,
    Estate(Estate),
    Measured(Measured),
}

/// A silence as people make it: once, until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silencing {
    /// The events that it is about, in CEL over `event`; all of them where nothing is said.
    pub when: Option<String>,
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Who wants it.
    pub author: String,
    /// Why.
    pub reason: String,
}

// === impl Silencing ===

impl Silencing {
    /// As the rules take it.
    pub(crate) fn config(&self) -> MuteConfig {
        MuteConfig {
            when: self.when.clone(),
            time: MuteTime::Once { from: self.from, until: self.until },
            author: self.author.clone(),
            reason: self.reason.clone(),
        }
    }

    pub(crate) fn doc(&self) -> Value {
        json!({
            "when": self.when, "from": self.from.to_string(), "until": self.until.to_string(),
            "author": self.author, "reason": self.reason,
        })
    }

    pub(crate) fn read(doc: &Value) -> Option<Self> {
        Some(Self {
            when: doc["when"].as_str().map(str::to_owned),
            from: parse(&doc["from"])?,
            until: parse(&doc["until"])?,
            author: text(&doc["author"])?,
            reason: text(&doc["reason"])?,
        })
    }
}

// === impl Told ===

impl Told {
    /// As the rules take it.
    pub(crate) fn input(&self) -> Input {
        match self.clone() {
            Self::Acknowledge { incident, by } => Input::Acknowledge { incident, by },
            Self::Close { incident, by } => Input::Close { incident, by },
            Self::Mute { name, silence } => Input::Mute { name, mute: silence.config() },
            Self::Unmute { name } => Input::Unmute { name },
            Self::ExistingEnd => Input::ExistingEnd,
            Self::Started => Input::Started,
            Self::Estate(estate) => Input::Estate(estate),
            Self::Measured(measured) => Input::Measured(measured),
        }
    }

    /// As the journal keeps it.
    pub(crate) fn doc(&self) -> Value {
        match self {
            Self::Acknowledge { incident, by } => {
                json!({"told": "acknowledge", "incident": incident.to_string(), "by": by})
            }
            Self::Close { incident, by } => {
                json!({"told": "close", "incident": incident.to_string(), "by": by})
            }
            Self::Mute { name, silence } => {
                json!({"told": "mute", "name": name, "silence": silence.doc()})
            }
            Self::Unmute { name } => json!({"told": "unmute", "name": name}),
            Self::ExistingEnd => json!({"told": "existing_end"}),
            Self::Started => json!({"told": "started"}),
            Self::Estate(estate) => json!({"told": "estate", "estate": estate_doc(estate)}),
            Self::Measured(it) => json!({
                "told": "measured", "what": it.what.as_str(),
                "subject": wire::subject_to_json(&it.subject),
                "percent": it.percent, "at": it.at.to_string(),
            }),
        }
    }

    /// What the journal has; nothing where a later program wrote it.
    pub(crate) fn read(doc: &Value) -> Option<Self> {
        Some(match doc["told"].as_str()? {
            "acknowledge" => {
                Self::Acknowledge { incident: parse(&doc["incident"])?, by: text(&doc["by"])? }
            }
            "close" => Self::Close { incident: parse(&doc["incident"])?, by: text(&doc["by"])? },
            "mute" => {
                Self::Mute { name: text(&doc["name"])?, silence: Silencing::read(&doc["silence"])? }
            }
            "unmute" => Self::Unmute { name: text(&doc["name"])? },
            "existing_end" => Self::ExistingEnd,
            "started" => Self::Started,
            "estate" => Self::Estate(read_estate(&doc["estate"])?),
            "measured" => Self::Measured(Measured {
                what: Room::parse(doc["what"].as_str()?)?,
                subject: subject(&doc["subject"])?,
                percent: doc["percent"].as_f64()?,
                at: parse(&doc["at"])?,
            }),
            _ => return None,
        })
    }
}

fn estate_doc(estate: &Estate) -> Value {
    let subjects = |all: &[Subject]| all.iter().map(wire::subject_to_json).collect::<Vec<_>>();
    let jobs = estate.jobs.iter().map(|job| {
        json!({
            "work": job.work.as_str(), "subject": wire::subject_to_json(&job.subject),
            "guests": subjects(&job.guests), "next": job.next.to_string(),
            "usual_secs": job.usual.as_secs(),
        })
    });
    json!({
        "clusters": estate.clusters.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "jobs": jobs.collect::<Vec<_>>(),
        "uncovered": subjects(&estate.uncovered),
    })
}

fn read_estate(doc: &Value) -> Option<Estate> {
    let subjects = |all: &Value| all.as_array()?.iter().map(subject).collect::<Option<Vec<_>>>();
    let job = |job: &Value| {
        Some(Job {
            work: Work::parse(job["work"].as_str()?)?,
            subject: subject(&job["subject"])?,
            guests: subjects(&job["guests"])?,
            next: parse(&job["next"])?,
            usual: SignedDuration::from_secs(job["usual_secs"].as_i64()?),
        })
    };
    Some(Estate {
        clusters: doc["clusters"].as_array()?.iter().map(parse).collect::<Option<_>>()?,
        jobs: doc["jobs"].as_array()?.iter().map(job).collect::<Option<_>>()?,
        uncovered: subjects(&doc["uncovered"])?,
    })
}

fn subject(doc: &Value) -> Option<Subject> {
    wire::subject_from_json(doc.clone()).ok()
}

fn parse<T: FromStr>(doc: &Value) -> Option<T> {
    doc.as_str()?.parse().ok()
}

fn text(doc: &Value) -> Option<String> {
    doc.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> Subject {
        Subject {
            cluster: Some("lab".parse().unwrap()),
            vmid: Some("104".parse().unwrap()),
            ..Subject::default()
        }
    }

    #[test]
    fn what_was_told_is_read_back() {
        let at: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        let incident: IncidentId = "0f".repeat(16).parse().unwrap();
        let estate = Estate {
            clusters: ["lab".parse().unwrap()].into(),
            jobs: vec![Job {
                work: Work::Gc,
                subject: guest(),
                guests: vec![guest()],
                next: at,
                usual: SignedDuration::from_secs(90),
            }],
            uncovered: vec![guest()],
        };
        let silence = Silencing {
            when: Some("event.vmid == 104".to_owned()),
            from: at,
            until: at + SignedDuration::from_hours(1),
            author: "ann".to_owned(),
            reason: "a new disk".to_owned(),
        };
        let measured = Measured { what: Room::Storage, subject: guest(), percent: 85.5, at };
        let by = || "ann".to_owned();
        for told in [
            Told::Acknowledge { incident, by: by() },
            Told::Close { incident, by: by() },
            Told::Mute { name: "disk".to_owned(), silence },
            Told::Unmute { name: "disk".to_owned() },
            Told::ExistingEnd,
            Told::Started,
            Told::Estate(estate),
            Told::Measured(measured),
        ] {
            let text = told.doc().to_string();
            let read = Told::read(&serde_json::from_str(&text).unwrap());
            assert_eq!(format!("{read:?}"), format!("{:?}", Some(told)), "{text}");
        }
        assert!(Told::read(&json!({"told": "something newer"})).is_none());
        assert!(Told::read(&json!({"told": "close", "incident": "no id", "by": "ann"})).is_none());
    }
}
