//! Who decides, and what proves it.
//!
//! | way | what is checked when it is made | what is checked again before the work runs |
//! |---|---|---|
//! | passphrase | the signature by the approver's key, and that it is fresh | the signature |
//! | peer's account | what the system says of the socket's other end | the manager's MAC |
//! | one-time code | the code, once | the manager's MAC |
//! | link | its MAC, its end, its plan | the manager's MAC |
//! | channel | what the channel says of the person | the manager's MAC |
//!
//! *Invariant:* a row in the store decides nothing without its proof.

mod book;
mod code;
mod key;
mod link;
mod statement;

pub use self::book::{Book, Entry};
pub(crate) use self::code::tried;
pub use self::code::{CodeSecret, InvalidCodeSecret, new_code_secret};
pub use self::key::{KeyError, PublicKey, SealedKey, SigningKey};
pub use self::link::{Claim, Links};
pub use self::statement::{Attestor, Signature, Statement};
