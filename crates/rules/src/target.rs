//! Where an incident is told: at an output, or at one of the places that it has.
//!
//! A rule writes it as `ops` or `ops:storage`. An output may have places by name (the channels and
//! threads of Discord and Slack), or take any that looks right (topics of ntfy, addresses of mail).
//!
//! *Invariant:* an incident is told at one place of an output, and stays there: what edits a message
//! or says that it is over is told where the message is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use event_core::ComponentId;

use crate::{Config, RuleError};

/// An output, and where within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The output.
    pub output: ComponentId,
    /// One of its places; without one, where it tells everything.
    pub place: Option<String>,
}

/// The places that an output has beside the one where it tells everything.
#[derive(Clone, Debug, Default)]
pub enum Places {
    /// None.
    #[default]
    None,
    /// These, by the names of their tables.
    Named(BTreeSet<String>),
    /// Whatever is one.
    Fitting {
        /// What a place is, for people.
        what: &'static str,
        /// Whether it is one.
        fits: fn(&str) -> bool,
    },
}

/// The text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an output nor an output and a place, such as `ops:storage`")]
pub struct InvalidTarget(String);

// === impl Target ===

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let (output, place) = match text.split_once(':') {
            Some((output, place)) => (output, Some(place)),
            None => (text, None),
        };
        let output = output.parse().ok();
        output
            .filter(|_| place != Some(""))
            .map(|output| Self { output, place: place.map(str::to_owned) })
            .ok_or_else(|| InvalidTarget(text.chars().take(80).collect()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}:{place}", self.output),
            None => f.write_str(self.output.as_str()),
        }
    }
}

// === impl Places ===

impl Places {
    /// # Errors
    /// What is wrong with that place, and what to do.
    fn check(&self, output: &ComponentId, place: &str) -> Result<(), (String, String)> {
        let reason = |what: &str| format!("names `{output}:{place}`, but {what}");
        match self {
            Self::None => Err((
                reason(&format!("`{output}` has no places")),
                format!("name `{output}` alone, or add an output for it"),
            )),
            Self::Named(names) if names.contains(place) => Ok(()),
            Self::Named(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let hint = match names.as_slice() {
                    [] => format!("add [output.{output}.route.{place}]"),
                    names => format!(
                        "add [output.{output}.route.{place}], or take one of {}",
                        names.join(", ")
                    ),
                };
                Err((reason(&format!("`{output}` has no route `{place}`")), hint))
            }
            Self::Fitting { fits, .. } if fits(place) => Ok(()),
            Self::Fitting { what, .. } => Err((
                reason(&format!("`{place}` is not {what}")),
                format!("write one, or name `{output}` alone"),
            )),
        }
    }
}

/// Reads targets of the settings; each output is named once.
pub(crate) fn targets(
    table: &str,
    key: &'static str,
    names: &[String],
    all: &Config,
) -> Result<BTreeMap<ComponentId, Option<String>>, RuleError> {
    let wrong = |reason: String, hint: String| Err(RuleError::new(table, key, reason, hint));
    let mut found = BTreeMap::new();
    for name in names {
        let (output, place) = match name.split_once(':') {
            Some((output, place)) => (output, Some(place)),
            None => (name.as_str(), None),
        };
        let Some((config, id)) = all.outputs.get(output).zip(output.parse::<ComponentId>().ok())
        else {
            let known: Vec<&str> = all.outputs.keys().map(String::as_str).collect();
            let hint = match known.as_slice() {
                [] => format!("add [output.{output}]; there is no output yet"),
                known => format!("add [output.{output}], or take one of {}", known.join(", ")),
            };
            return wrong(format!("names `{output}`, which is no output"), hint);
        };
        if let Some(place) = place
            && let Err((reason, hint)) = config.places.check(&id, place)
        {
            return wrong(reason, hint);
        }
        if found.insert(id, place.map(str::to_owned)).is_some() {
            let hint = "an incident is told at one place of an output: add another output with a \
                        table of its own for the second one";
            return wrong(format!("names `{output}` twice"), hint.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_shown() {
        for text in ["ops", "ops:storage", "mail:ann@example.org", "mail:a:b"] {
            assert_eq!(text.parse::<Target>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        for text in ["", ":", "ops:", ":storage", "Ops", "a b:c"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
