//! Actions as rows.

use estate::Access;
use guard::PlanDigest;
use guard::ports::{Action, ActionState, Intent, StepEnd, TaskTrace};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stdx::seal::Sealed;

use super::{
    CallDoc, NEVER, Record, Row, Table, micros, read, read_doc, read_time, unreadable, write_doc,
};
use crate::Error;

/// An action with the call that it carries out.
#[derive(Clone, Debug)]
pub(crate) struct KeptAction {
    pub(crate) action: Action,
    pub(crate) call: Sealed,
    pub(crate) ended_at: Option<Timestamp>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Doc {
    digest: String,
    approval: Option<String>,
    access: String,
    steps: u32,
    owner: String,
    call: String,
    intents: Vec<IntentDoc>,
    ended_us: Option<i64>,
    lead: Option<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct IntentDoc {
    step: u32,
    what: String,
    calls: Vec<CallDoc>,
    trace: Option<TraceDoc>,
    at_us: i64,
    upid: Option<String>,
    end: Option<EndDoc>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct TraceDoc {
    member: String,
    node: String,
    kinds: Vec<String>,
    id: String,
    user: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum EndDoc {
    Done,
    Failed(String),
    Unknown(String),
    NotSent(String),
}

impl Record for KeptAction {
    const TABLE: Table = Table::Actions;

    fn to_row(&self) -> Row {
        let action = &self.action;
        let doc = Doc {
            digest: action.digest.to_string(),
            approval: action.approval.map(|id| id.to_string()),
            access: action.access.to_string(),
            steps: action.steps,
            owner: action.owner.clone(),
            call: self.call.to_text(),
            intents: action.intents.iter().map(intent_doc).collect(),
            ended_us: self.ended_at.map(Timestamp::as_microsecond),
            lead: action.lead.clone(),
        };
        Row {
            id: action.id.to_string(),
            principal: action.principal.to_string(),
            kind: action.tool.clone(),
            subject: action.target.clone(),
            state: action.state.as_str().to_owned(),
            unasked: i64::from(action.unasked),
            made_us: action.begun_at.as_microsecond(),
            due_us: NEVER,
            version: 0,
            doc: write_doc(&doc),
        }
    }

    fn from_row(row: Row) -> Result<Self, Error> {
        let what = format!("action {}", row.id);
        let doc: Doc = read_doc(&row.doc, &what)?;
        let intents = doc.intents.into_iter().map(|intent| read_intent(intent, &what));
        let action = Action {
            id: read(&row.id, &what, "id")?,
            principal: read(&row.principal, &what, "principal")?,
            tool: row.kind,
            target: row.subject,
            digest: PlanDigest::from_text(doc.digest),
            approval: doc.approval.map(|id| read(&id, &what, "approval")).transpose()?,
            access: access(&doc.access).ok_or_else(|| unreadable(&what, "tier"))?,
            unasked: row.unasked != 0,
            steps: doc.steps,
            owner: doc.owner,
            begun_at: micros::read(row.made_us, &what)?,
            state: ActionState::from_word(&row.state).ok_or_else(|| unreadable(&what, "state"))?,
            lead: doc.lead,
            intents: intents.collect::<Result<_, _>>()?,
        };
        Ok(Self {
            action,
            call: Sealed::from_text(&doc.call),
            ended_at: read_time(doc.ended_us, &what)?,
        })
    }
}

fn intent_doc(intent: &Intent) -> IntentDoc {
    IntentDoc {
        step: intent.step,
        what: intent.what.clone(),
        calls: intent.calls.iter().map(CallDoc::from).collect(),
        trace: intent.trace.as_ref().map(|trace| TraceDoc {
            member: trace.member.clone(),
            node: trace.node.clone(),
            kinds: trace.kinds.clone(),
            id: trace.id.clone(),
            user: trace.user.clone(),
        }),
        at_us: intent.at.as_microsecond(),
        upid: intent.upid.as_ref().map(ToString::to_string),
        end: intent.end.as_ref().map(|end| match end {
            StepEnd::Done => EndDoc::Done,
            StepEnd::Failed(why) => EndDoc::Failed(why.clone()),
            StepEnd::Unknown(why) => EndDoc::Unknown(why.clone()),
            StepEnd::NotSent(why) => EndDoc::NotSent(why.clone()),
        }),
    }
}

fn read_intent(intent: IntentDoc, what: &str) -> Result<Intent, Error> {
    Ok(Intent {
        step: intent.step,
        what: intent.what,
        calls: intent.calls.into_iter().map(Into::into).collect(),
        trace: intent.trace.map(|trace| TaskTrace {
            member: trace.member,
            node: trace.node,
            kinds: trace.kinds,
            id: trace.id,
            user: trace.user,
        }),
        at: micros::read(intent.at_us, what)?,
        upid: intent.upid.map(|upid| read(&upid, what, "UPID")).transpose()?,
        end: intent.end.map(|end| match end {
            EndDoc::Done => StepEnd::Done,
            EndDoc::Failed(why) => StepEnd::Failed(why),
            EndDoc::Unknown(why) => StepEnd::Unknown(why),
            EndDoc::NotSent(why) => StepEnd::NotSent(why),
        }),
    })
}

/// The tier of this word.
pub(crate) fn access(word: &str) -> Option<Access> {
    [Access::Read, Access::Operate, Access::Destroy]
        .into_iter()
        .find(|access| access.as_str() == word)
}
