//! Channels that carry questions to people and bring back what they decide.
//!
//! A channel (a chat, a mailbox, a terminal) shows a question with two buttons or links, and hands
//! what comes back to a [`ConsentInbox`] with the identity that the channel itself vouches for. It
//! never decides whether that identity may decide.

use async_trait::async_trait;
use secrecy::SecretString;

use super::{Approval, ApprovalId, PortError};
use crate::Principal;

/// A question to people, ready to be shown.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// What is asked, with its summary.
    pub approval: Approval,
    /// Whom it goes to, by the names in the settings.
    pub to: Vec<Addressee>,
}

/// One person that is asked.
#[derive(Clone, Debug)]
pub struct Addressee {
    /// Their name in the settings.
    pub approver: String,
    /// Their identities on channels, such as `channel:discord:4711`.
    pub identities: Vec<Principal>,
    /// The link by which this person, and nobody else, decides: a secret of theirs. Without it, the
    /// manager has no public address.
    pub link: Option<SecretString>,
}

/// A way to tell people what waits for them.
#[async_trait]
pub trait ConsentChannel: Send + Sync + 'static {
    /// Its name, for the log.
    fn name(&self) -> &str;

    /// Shows the question. Called once for each approval and process; one that could not be shown
    /// is shown again later.
    ///
    /// # Errors
    /// Why it could not be shown, in words.
    async fn announce(&self, announcement: &Announcement) -> Result<(), String>;

    /// Says what became of a question that was shown, so that its buttons can go.
    ///
    /// # Errors
    /// Why it could not be said, in words.
    async fn settled(&self, approval: &Approval) -> Result<(), String>;
}

/// What somebody pressed.
#[derive(Clone, Debug)]
pub struct Pressed {
    /// The approval.
    pub id: ApprovalId,
    /// The digest of the plan that was on the screen.
    pub digest: String,
    /// Yes or no.
    pub agrees: bool,
    /// Who pressed it, by the channel's word: always of kind `channel`.
    pub identity: Principal,
    /// What they wrote with it.
    pub note: Option<String>,
}

/// Takes what channels bring back.
#[async_trait]
pub trait ConsentInbox: Send + Sync + 'static {
    /// Takes a decision, if this identity may make it.
    ///
    /// # Errors
    /// Why it does not count, for the person who pressed.
    async fn pressed(&self, pressed: Pressed) -> Result<Approval, PortError>;
}
