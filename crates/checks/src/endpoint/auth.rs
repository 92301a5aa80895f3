//! Whether the login works.

use std::time::Duration;

use api_core::{Error, ErrorKind, endpoint::Credential};
use stdx::Chain;

use super::Place;
use crate::{
    finding::Finding,
    product::{Product, words},
};

/// Why the first request with the credential got no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 401, in the server's words.
    Unauthorized(String),
    /// 403, in the server's words.
    Denied(String),
    /// The answer is none of the product's.
    Strange(String),
    /// No answer, or a failing server.
    Failed(String),
    /// It took longer than this.
    Late(Duration),
    /// The credential cannot be sent at all.
    Unusable(String),
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unauthorized => Self::Unauthorized(error.message().to_owned()),
            ErrorKind::PermissionDenied => Self::Denied(error.message().to_owned()),
            ErrorKind::Decode | ErrorKind::NotFound | ErrorKind::NotImplemented => {
                Self::Strange(Chain(error).to_string())
            }
            _ => Self::Failed(Chain(error).to_string()),
        }
    }
}

pub(crate) fn passed(place: &Place<'_>, credential: &Credential) -> Finding {
    Finding::pass(&place.subject, "auth", format!("as {}", credential.id()))
}

/// The finding with what a person can do; `check` is `auth` or `operate`.
pub(crate) fn failed(
    place: &Place<'_>,
    check: &'static str,
    credential: &Credential,
    refusal: &Refusal,
) -> Finding {
    let words = words(place.product);
    let id = credential.id();
    let fail = |detail: String| Finding::fail(&place.subject, check, detail);
    match refusal {
        Refusal::Unauthorized(said) => {
            let finding = fail(format!("{id} was refused: {} (401)", said.trim_end_matches('.')));
            unauthorized(finding, place, credential)
        }
        Refusal::Denied(said) => fail(format!("{id} may not ask for the version: {said} (403)"))
            .hint("every login may; something between this program and the server refuses"),
        Refusal::Strange(why) => fail(format!("not an answer of {}: {why}", words.name)).hint(
            format!("see that {} is {} and no other server or proxy", place.target.url, words.name),
        ),
        Refusal::Failed(why) => fail(why.clone())
            .hint(format!("on the server: `journalctl -u {} -n 50`", words.service)),
        Refusal::Late(deadline) => fail(format!("no answer within {} s", deadline.as_secs()))
            .hint("a refused login takes three seconds; try again with a larger --timeout"),
        Refusal::Unusable(why) => fail(why.clone())
            .hint("write the credential without blanks, quotes or line breaks around it"),
    }
}

fn unauthorized(finding: Finding, place: &Place<'_>, credential: &Credential) -> Finding {
    let words = words(place.product);
    let user = credential.user();
    let Credential::Token { id, .. } = credential else {
        let list = match place.product {
            Product::Pve => "pveum user list",
            Product::Pbs => "proxmox-backup-manager user list",
        };
        return finding
            .hint("username is user@realm (root@pam, not root); password_file holds its password alone")
            .hint("a user with a second factor needs totp_secret_file; a token needs none")
            .hint(format!("it may be disabled, expired or locked: `{list}`"));
    };
    let name = id.split_once('!').map_or("", |(_, name)| name);
    let (list, renew) = match place.product {
        Product::Pve => (
            format!("pveum user token list '{user}'"),
            format!(
                "pveum user token remove '{user}' {name} && pveum user token add '{user}' {name}"
            ),
        ),
        Product::Pbs => (
            format!("proxmox-backup-manager user list-tokens '{user}'"),
            format!("proxmox-backup-manager user generate-token '{user}' {name}"),
        ),
    };
    let finding = finding
        .hint(format!(
            "a token's id is user@realm!name, such as {}; its secret, shown once when it was made, stands alone in the file",
            words.token
        ))
        .hint(format!(
            "token or user may be disabled, expired, removed or made anew since: `{list}`; a new one: `{renew}` (then grant again what the permissions check asks for)"
        ));
    let other = match place.product {
        Product::Pve => Product::Pbs,
        Product::Pbs => Product::Pve,
    };
    let other = crate::product::words(other);
    if place.target.port == other.port {
        return finding.hint(format!(
            "port {} is usually {}: such a server belongs in a [{}.…] table",
            other.port, other.name, other.section
        ));
    }
    finding
}
