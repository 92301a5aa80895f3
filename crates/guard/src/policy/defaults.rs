//! The built-in lines, behind all others: each with a name, and words that say what to do.

use estate::Access;

use super::{Asked, Decided, Decision, Defaults, Nature, Transport, rule::About};
use crate::{Mode, PrincipalKind};

/// The line that decides when a line's calls for an hour are used up.
pub(super) const BUDGET: &str = "default.budget";

/// Every built-in line in its order, with what it says.
pub const LINES: &[(&str, &str)] = &[
    ("default.mode", "`--mode read-only` refuses everything but reads, before any other line"),
    ("default.read", "reads are allowed"),
    (
        "default.protected",
        "protected targets are refused: guests by tag, by Proxmox's flag, the guest that this server \
         runs in, and the power of its node",
    ),
    ("default.destroy", "what may lose something asks"),
    ("default.stop", "what cuts the power asks, in every mode"),
    ("default.http", "a caller over HTTP is asked for until a line of the policy allows it"),
    ("default.trusted", "`--mode trusted` allows the local user what can be taken back"),
    ("default.additive", "what only adds is allowed to the local user, so many times an hour"),
    ("default.operate", "everything else that can be taken back asks"),
    ("default.budget", "what a line allows a number of times an hour asks beyond that"),
];

/// The decision that no line of the operator's can widen.
pub(super) fn mode(asked: &Asked<'_>) -> Option<Decided> {
    let refused = asked.mode == Mode::ReadOnly && asked.access > Access::Read;
    refused.then(|| {
        decided(
            Decision::Deny,
            "default.mode",
            "this server runs with `--mode read-only`, which only reads; its operator restarts it \
             with `--mode guarded` to let people be asked, or `--mode trusted` to let it operate"
                .to_owned(),
        )
    })
}

pub(super) fn decide(about: &About<'_>, defaults: &Defaults) -> Decided {
    let asked = about.asked;
    if asked.access == Access::Read {
        return decided(Decision::Allow, "default.read", "reads are allowed".to_owned());
    }
    if let Some(target) = about.target
        && let Some(protection) = target.protection_from(asked.access, asked.nature)
    {
        let why = format!(
            "{} {}; a line of the policy with `protected = true` says what may be done to it",
            target.address,
            protection.reason()
        );
        return decided(Decision::Deny, "default.protected", why);
    }
    let ask = || Decision::Ask(defaults.ask(asked.access));
    if asked.access == Access::Destroy {
        let why = format!("{} may lose something", asked.tool);
        return decided(ask(), "default.destroy", why);
    }
    if asked.nature == Nature::Cuts {
        let why = format!(
            "it cuts the power of {}, which can lose what was not written yet; `shutdown` lets it \
             end by itself",
            about.named()
        );
        return decided(ask(), "default.stop", why);
    }
    match asked.transport {
        Transport::Http if defaults.trusts_http && asked.mode == Mode::Trusted => {}
        Transport::Http => {
            let flag = if defaults.trusts_http {
                "; with `--mode trusted` everybody may, as this estate is simulated"
            } else {
                ""
            };
            let why = format!(
                "a caller over HTTP changes nothing unasked until a line of the policy names it as its \
                 `principal`{flag}"
            );
            return decided(ask(), "default.http", why);
        }
        Transport::Local if asked.principal.kind() == PrincipalKind::Local => {}
        Transport::Local | Transport::Channel | Transport::Automation => {
            return decided(ask(), "default.operate", operate(asked));
        }
    }
    if asked.mode == Mode::Trusted {
        let why = "it can be taken back, and this server runs with `--mode trusted`";
        return decided(Decision::Allow, "default.trusted", why.to_owned());
    }
    if asked.nature == Nature::Additive && defaults.unasked_per_hour > 0 {
        let limit = defaults.unasked_per_hour;
        let why = format!("it only adds, which the local user may up to {limit} times an hour");
        let line = decided(Decision::Allow, "default.additive", why);
        return Decided { unasked_per_hour: Some(limit), ..line };
    }
    decided(ask(), "default.operate", operate(asked))
}

fn operate(asked: &Asked<'_>) -> String {
    let flag = match (asked.mode, asked.transport) {
        (Mode::Trusted, _) | (_, Transport::Channel | Transport::Automation) => "",
        _ => "; `--mode trusted` lets the local user do such things unasked",
    };
    format!("{} changes something, and no line of the policy allows it unasked{flag}", asked.tool)
}

fn decided(decision: Decision, line: &str, why: String) -> Decided {
    Decided { decision, line: line.to_owned(), why, unasked_per_hour: None }
}
