//! Approvals as rows.

use std::collections::BTreeMap;

use guard::ports::{Approval, ApprovalState, DecisionRecord, Way};
use guard::{PlanDigest, PlanForm};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::seal::Sealed;

use super::{CallDoc, Record, Row, Table, micros, read, read_doc, unreadable, write_doc};
use crate::Error;

/// An approval with the call that it is for.
#[derive(Clone, Debug)]
pub(crate) struct KeptApproval {
    pub(crate) approval: Approval,
    pub(crate) call: Sealed,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Doc {
    needed: u32,
    of: Vec<String>,
    client_counts: bool,
    summary: String,
    form: FormDoc,
    call: String,
    decisions: Vec<DecisionDoc>,
    result: Option<Value>,
    void_reason: Option<String>,
    replaced_by: Option<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct FormDoc {
    principal: String,
    tool: String,
    calls: Vec<CallDoc>,
    targets: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize, Serialize)]
struct DecisionDoc {
    approver: String,
    principal: String,
    way: String,
    agrees: bool,
    at_us: i64,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    signature: Option<String>,
}

impl Record for KeptApproval {
    const TABLE: Table = Table::Approvals;

    fn to_row(&self) -> Row {
        let approval = &self.approval;
        let doc = Doc {
            needed: approval.needed,
            of: approval.of.clone(),
            client_counts: approval.client_counts,
            summary: approval.summary.clone(),
            form: FormDoc {
                principal: approval.form.principal.clone(),
                tool: approval.form.tool.clone(),
                calls: approval.form.calls.iter().map(CallDoc::from).collect(),
                targets: approval.form.targets.clone(),
            },
            call: self.call.to_text(),
            decisions: approval.decisions.iter().map(decision_doc).collect(),
            result: approval.result.clone(),
            void_reason: approval.void_reason.clone(),
            replaced_by: approval.replaced_by.map(|id| id.to_string()),
        };
        Row {
            id: approval.id.to_string(),
            principal: approval.requested_by.to_string(),
            kind: approval.rule.clone(),
            subject: approval.digest.to_string(),
            state: approval.state.as_str().to_owned(),
            made_us: approval.asked_at.as_microsecond(),
            due_us: approval.expires_at.as_microsecond(),
            doc: write_doc(&doc),
            ..Row::default()
        }
    }

    fn from_row(row: Row) -> Result<Self, Error> {
        let what = format!("approval {}", row.id);
        let doc: Doc = read_doc(&row.doc, &what)?;
        let decisions = doc.decisions.into_iter().map(|made| read_decision(made, &what));
        let approval = Approval {
            id: read(&row.id, &what, "id")?,
            digest: PlanDigest::from_text(row.subject),
            form: PlanForm {
                principal: doc.form.principal,
                tool: doc.form.tool,
                calls: doc.form.calls.into_iter().map(Into::into).collect(),
                targets: doc.form.targets,
            },
            requested_by: read(&row.principal, &what, "asker")?,
            asked_at: micros::read(row.made_us, &what)?,
            expires_at: micros::read(row.due_us, &what)?,
            rule: row.kind,
            needed: doc.needed,
            of: doc.of,
            client_counts: doc.client_counts,
            summary: doc.summary,
            state: ApprovalState::from_word(&row.state)
                .ok_or_else(|| unreadable(&what, "state"))?,
            decisions: decisions.collect::<Result<_, _>>()?,
            result: doc.result,
            void_reason: doc.void_reason,
            replaced_by: doc.replaced_by.map(|id| read(&id, &what, "successor")).transpose()?,
        };
        Ok(Self { approval, call: Sealed::from_text(&doc.call) })
    }
}

fn decision_doc(made: &DecisionRecord) -> DecisionDoc {
    DecisionDoc {
        approver: made.approver.clone(),
        principal: made.principal.to_string(),
        way: made.way.as_str().to_owned(),
        agrees: made.agrees,
        at_us: made.at.as_microsecond(),
        note: made.note.clone(),
        signature: made.signature.clone(),
    }
}

fn read_decision(made: DecisionDoc, what: &str) -> Result<DecisionRecord, Error> {
    Ok(DecisionRecord {
        approver: made.approver,
        principal: read(&made.principal, what, "decider")?,
        way: Way::from_word(&made.way).ok_or_else(|| unreadable(what, "way"))?,
        agrees: made.agrees,
        at: micros::read(made.at_us, what)?,
        note: made.note,
        signature: made.signature,
    })
}
