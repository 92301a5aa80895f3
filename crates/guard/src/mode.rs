//! How far this server goes for anybody, and the refusal beyond that.

use std::fmt;
use std::str::FromStr;

use estate::Access;

/// The operator's choice at start (`--mode`): what is done for any caller at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Reads only; nothing else is even listed.
    ReadOnly,
    /// Lists what it could do, and refuses what would need a person's consent.
    #[default]
    Guarded,
    /// Operates for whoever may call it; what may lose something waits for a person to agree.
    Trusted,
}

/// Why a call was not let through; reads as an answer to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The mode forbids what another mode would do.
    #[error(
        "this server runs with `--mode {mode}`, which only reads; to let it act, \
         its operator restarts it with `--mode trusted`"
    )]
    Mode {
        /// The mode in force.
        mode: Mode,
    },
    /// The credential's scope does not reach so far.
    #[error(
        "this credential's scope ends at `{scope}` and the call needs `{needed}`; a credential \
         with `{needed}` is made by `proxmox-mcp token new --scope {needed}`"
    )]
    Scope {
        /// The highest tier that the credential allows.
        scope: Access,
        /// The tier of the call.
        needed: Access,
    },
}

/// How a call that is not refused goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At once.
    Run,
    /// After a person has agreed to its plan.
    Ask,
}

/// The text is not a mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mode: use read-only, guarded or trusted")]
pub struct InvalidMode(String);

// === impl Mode ===

impl Mode {
    /// Every mode, from the narrowest to the widest.
    pub const ALL: [Self; 3] = [Self::ReadOnly, Self::Guarded, Self::Trusted];

    /// The word that `--mode` takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Guarded => "guarded",
            Self::Trusted => "trusted",
        }
    }

    /// Whether a call of this tier runs: at once, or after a person has agreed.
    ///
    /// # Errors
    ///
    /// The refusal names the flag that would allow it.
    pub fn permits(self, access: Access) -> Result<Verdict, Refusal> {
        match (access, self) {
            (Access::Read, _) | (Access::Operate, Self::Trusted) => Ok(Verdict::Run),
            (Access::Destroy, Self::Trusted) => Ok(Verdict::Ask),
            (_, Self::ReadOnly | Self::Guarded) => Err(Refusal::Mode { mode: self }),
        }
    }

    /// Whether a tool whose maximum is this tier is listed.
    ///
    /// `guarded` lists what it refuses, so that the caller learns how to get it done.
    pub fn offers(self, maximum: Access) -> bool {
        match maximum {
            Access::Read => true,
            Access::Operate | Access::Destroy => self != Self::ReadOnly,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| InvalidMode(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::fmt::Write as _;

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for mode in Mode::ALL {
            for access in [Access::Read, Access::Operate, Access::Destroy] {
                let listed = if mode.offers(access) { "listed" } else { "hidden" };
                let verdict = match mode.permits(access) {
                    Ok(Verdict::Run) => "runs".to_owned(),
                    Ok(Verdict::Ask) => "runs when a person agrees".to_owned(),
                    Err(refusal) => refusal.to_string(),
                };
                writeln!(table, "{mode} {access}: {listed}, {verdict}").unwrap();
            }
        }
        expect![[r#"
            read-only read: listed, runs
            read-only operate: hidden, this server runs with `--mode read-only`, which only reads; to let it act, its operator restarts it with `--mode trusted`
            read-only destroy: hidden, this server runs with `--mode read-only`, which only reads; to let it act, its operator restarts it with `--mode trusted`
            guarded read: listed, runs
            guarded operate: listed, this server runs with `--mode guarded`, which only reads; to let it act, its operator restarts it with `--mode trusted`
            guarded destroy: listed, this server runs with `--mode guarded`, which only reads; to let it act, its operator restarts it with `--mode trusted`
            trusted read: listed, runs
            trusted operate: listed, runs
            trusted destroy: listed, runs when a person agrees
        "#]]
        .assert_eq(&table);
    }

    #[test]
    fn modes_read_back_and_garbage_names_the_choices() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!(Mode::default(), Mode::Guarded);
        let error = "Trusted".parse::<Mode>().unwrap_err();
        expect!["`Trusted` is not a mode: use read-only, guarded or trusted"]
            .assert_eq(&error.to_string());
    }
}
