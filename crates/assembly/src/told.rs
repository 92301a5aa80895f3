//! What a program says at its start of what it may do, and whom it asks.

use tracing::warn;

use crate::Estate;

/// What consent is worth here, for whoever started it: that nobody can be asked, or that the account
/// that asks could go round those who are.
pub fn tell_of_consent(estate: &Estate) {
    if estate.demo_folder().is_some() || estate.options.mode == guard::Mode::ReadOnly {
        return;
    }
    if !estate.options.guard.can_ask() {
        warn!(
            "no approver is set up: what needs consent is refused, unless your client can ask you; \
             `proxmox-mcp approver add NAME` on a terminal sets somebody up, once"
        );
        return;
    }
    let account = &estate.options.principal;
    warn!(
        %account,
        "this account holds the credentials of the estate: a program that works as it can go round whoever \
         approves; run proxmox-manager as an account of its own (docs/guide/manager.md)"
    );
    let own = estate.memory.as_ref().is_some_and(|memory| {
        memory.book.all().iter().any(|entry| entry.approver.is_known_as(account))
    });
    if own {
        warn!(%account, "this account is an approver's: what it asks for, another account or a passphrase approves");
    }
}

/// What a manager says of it, which is an account of its own.
pub fn tell_of_manager(estate: &Estate) {
    warn_of_trust(estate.options.mode);
    let asks = estate.options.mode != guard::Mode::ReadOnly && estate.demo_folder().is_none();
    if asks && !estate.options.guard.can_ask() {
        warn!(
            "no approver is set up: what needs consent is refused; `proxmox-mcp approver add NAME` \
             on a terminal sets somebody up, once"
        );
    }
}

/// Says so when the server acts without asking.
pub fn warn_of_trust(mode: guard::Mode) {
    if mode == guard::Mode::Trusted {
        warn!("trusted mode: reversible actions run without asking anybody");
    }
}
