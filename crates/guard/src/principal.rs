//! Who asks, and the written form that audit, approvals and policy keep.

use std::fmt;
use std::str::FromStr;

/// The longest part of a principal, in bytes: an OpenID `sub` has at most 255.
const MAX_PART: usize = 512;
const ON_BEHALF_OF: &str = " for ";

/// Where a principal's identity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PrincipalKind {
    /// An account of this system, by its uid: stdio and the control socket.
    Local,
    /// The holder of a named bearer token.
    Token,
    /// A subject of an OAuth issuer.
    OAuth,
    /// A person on a messaging channel.
    Channel,
    /// A playbook that acts by itself.
    Automation,
}

/// Who asks for something.
///
/// | written form | kind | issuer | subject |
/// |---|---|---|---|
/// | `local:1000` | local | – | the uid |
/// | `token:n8n` | token | – | the token's name |
/// | `oauth:https://idp.example#a1b2` | oauth | the issuer's URL | the issuer's name for the person |
/// | `channel:discord:4711` | channel | the channel | the channel's id of the person |
/// | `automation:restart_web` | automation | – | the playbook |
///
/// A principal that acts for another is written `automation:restart_web for channel:discord:4711`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    kind: PrincipalKind,
    issuer: Option<String>,
    subject: String,
    on_behalf_of: Option<Box<Principal>>,
}

/// The text names no principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a principal: {reason}")]
pub struct InvalidPrincipal {
    text: String,
    reason: &'static str,
}

// === impl Principal ===

impl Principal {
    /// The account of this system with this uid.
    pub fn local(uid: u32) -> Self {
        Self::bare(PrincipalKind::Local, None, &uid.to_string())
    }

    /// The holder of the bearer token with this name.
    ///
    /// # Errors
    ///
    /// When the name is empty, longer than 512 bytes, or has spaces or control characters.
    pub fn token(name: &str) -> Result<Self, InvalidPrincipal> {
        Self::checked(PrincipalKind::Token, None, name)
    }

    /// The subject of an OAuth issuer.
    ///
    /// # Errors
    ///
    /// As [`Principal::token`] for either part, and when the issuer holds a `#`, which no issuer
    /// URL may.
    pub fn oauth(issuer: &str, subject: &str) -> Result<Self, InvalidPrincipal> {
        Self::checked(PrincipalKind::OAuth, Some(issuer), subject)
    }

    /// A person on a messaging channel.
    ///
    /// # Errors
    ///
    /// As [`Principal::token`] for the id; the channel is made of lowercase letters, digits, `_`
    /// and `-`.
    pub fn channel(channel: &str, id: &str) -> Result<Self, InvalidPrincipal> {
        Self::checked(PrincipalKind::Channel, Some(channel), id)
    }

    /// A playbook.
    ///
    /// # Errors
    ///
    /// As [`Principal::token`].
    pub fn automation(playbook: &str) -> Result<Self, InvalidPrincipal> {
        Self::checked(PrincipalKind::Automation, None, playbook)
    }

    /// This principal, acting for another.
    ///
    /// # Errors
    ///
    /// When the other acts for a third one itself: only the first asker counts, so name that one.
    pub fn acting_for(self, other: Principal) -> Result<Self, InvalidPrincipal> {
        if other.on_behalf_of.is_some() {
            return Err(invalid(&other.to_string(), "it acts for somebody else itself"));
        }
        Ok(Self { on_behalf_of: Some(Box::new(other)), ..self })
    }

    /// Where the identity comes from.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// Who vouches for the subject: an OAuth issuer or a channel.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The issuer's name for the asker.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The one it acts for, if it does not act for itself.
    pub fn on_behalf_of(&self) -> Option<&Principal> {
        self.on_behalf_of.as_deref()
    }

    /// Whose credential is used: this principal without the one it acts for.
    #[must_use]
    pub fn actor(&self) -> Self {
        Self { on_behalf_of: None, ..self.clone() }
    }

    fn bare(kind: PrincipalKind, issuer: Option<&str>, subject: &str) -> Self {
        let issuer = issuer.map(str::to_owned);
        Self { kind, issuer, subject: subject.to_owned(), on_behalf_of: None }
    }

    fn checked(
        kind: PrincipalKind,
        issuer: Option<&str>,
        subject: &str,
    ) -> Result<Self, InvalidPrincipal> {
        let principal = Self::bare(kind, issuer, subject);
        let fail = |reason| Err(invalid(&principal.to_string(), reason));
        for part in issuer.into_iter().chain([subject]) {
            if part.is_empty() {
                return fail("a part is empty");
            }
            if part.len() > MAX_PART {
                return fail("a part is longer than 512 bytes");
            }
            // A space would make the ` for ` form ambiguous; the rest would forge log lines.
            if part.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return fail("it holds a space or a control character");
            }
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        match (kind, issuer) {
            (PrincipalKind::OAuth, Some(issuer)) if issuer.contains('#') => {
                fail("an issuer's URL has no `#`")
            }
            (PrincipalKind::Channel, Some(channel)) if !channel.chars().all(plain) => {
                fail("a channel is made of a-z, 0-9, _ and -")
            }
            _ => Ok(principal),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (issuer, subject) = (self.issuer.as_deref().unwrap_or_default(), &self.subject);
        match self.kind {
            PrincipalKind::Local => write!(f, "local:{subject}"),
            PrincipalKind::Token => write!(f, "token:{subject}"),
            PrincipalKind::OAuth => write!(f, "oauth:{issuer}#{subject}"),
            PrincipalKind::Channel => write!(f, "channel:{issuer}:{subject}"),
            PrincipalKind::Automation => write!(f, "automation:{subject}"),
        }?;
        match &self.on_behalf_of {
            Some(other) => write!(f, "{ON_BEHALF_OF}{other}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Principal {
    type Err = InvalidPrincipal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(ON_BEHALF_OF) {
            Some((actor, other)) => parse_one(actor)?.acting_for(parse_one(other)?),
            None => parse_one(text),
        }
    }
}

fn parse_one(text: &str) -> Result<Principal, InvalidPrincipal> {
    let fail = |reason| Err(invalid(text, reason));
    let Some((scheme, rest)) = text.split_once(':') else {
        return fail("it has no `kind:` in front");
    };
    match scheme {
        // Only the canonical number, so that one uid has one written form.
        "local" => match rest.parse::<u32>() {
            Ok(uid) if uid.to_string() == rest => Ok(Principal::local(uid)),
            _ => fail("a uid is a decimal number"),
        },
        "token" => Principal::token(rest),
        "oauth" => match rest.split_once('#') {
            Some((issuer, subject)) => Principal::oauth(issuer, subject),
            None => fail("it has no `#` between issuer and subject"),
        },
        "channel" => match rest.split_once(':') {
            Some((channel, id)) => Principal::channel(channel, id),
            None => fail("it has no `:` between channel and id"),
        },
        "automation" => Principal::automation(rest),
        _ => fail("its kind is none of local, token, oauth, channel, automation"),
    }
}

fn invalid(text: &str, reason: &'static str) -> InvalidPrincipal {
    let safe = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(80).collect();
    InvalidPrincipal { text: safe, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_single() -> impl Strategy<Value = Principal> {
        let part = "[^\\s\\p{C}]{1,40}";
        prop_oneof![
            any::<u32>().prop_map(Principal::local),
            part.prop_filter_map("valid", |name| Principal::token(&name).ok()),
            ("https://[a-z.]{1,20}(:[0-9]{1,4})?(/[a-z:]{0,9})?", part)
                .prop_filter_map("valid", |(issuer, sub)| Principal::oauth(&issuer, &sub).ok()),
            ("[a-z0-9_-]{1,12}", part)
                .prop_filter_map("valid", |(channel, id)| Principal::channel(&channel, &id).ok()),
            part.prop_filter_map("valid", |name| Principal::automation(&name).ok()),
        ]
    }

    fn any_principal() -> impl Strategy<Value = Principal> {
        (any_single(), proptest::option::of(any_single())).prop_map(|(actor, other)| match other {
            Some(other) => actor.acting_for(other).unwrap(),
            None => actor,
        })
    }

    proptest! {
        #[test]
        fn written_form_reads_back(principal in any_principal()) {
            let text = principal.to_string();
            prop_assert_eq!(text.parse::<Principal>(), Ok(principal));
        }

        #[test]
        fn what_parses_is_written_the_same(text in "(local|token|oauth|channel|automation):[ -~]{0,30}") {
            if let Ok(principal) = text.parse::<Principal>() {
                prop_assert_eq!(principal.to_string(), text);
            }
        }
    }

    #[test]
    fn the_designed_forms() {
        let oauth: Principal = "oauth:https://idp.example:8443/realm#a#b".parse().unwrap();
        assert_eq!(oauth.kind(), PrincipalKind::OAuth);
        assert_eq!(oauth.issuer(), Some("https://idp.example:8443/realm"));
        assert_eq!(oauth.subject(), "a#b");

        let person: Principal = "channel:discord:4711".parse().unwrap();
        assert_eq!((person.issuer(), person.subject()), (Some("discord"), "4711"));

        let playbook: Principal = "automation:web for channel:discord:4711".parse().unwrap();
        assert_eq!(playbook.on_behalf_of(), Some(&person));
    }

    #[test]
    fn garbage_is_named() {
        let check = |text: &str, reason: &str| {
            let error = text.parse::<Principal>().unwrap_err().to_string();
            assert!(error.ends_with(reason), "{text}: {error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        };
        check("", "it has no `kind:` in front");
        check("root:0", "its kind is none of local, token, oauth, channel, automation");
        check("local:007", "a uid is a decimal number");
        check("local:-1", "a uid is a decimal number");
        check("token:", "a part is empty");
        check("token:a b", "it holds a space or a control character");
        check("token:a\u{1b}[31mb", "it holds a space or a control character");
        check("oauth:https://idp.example", "it has no `#` between issuer and subject");
        check("channel:Disc ord:1", "it holds a space or a control character");
        check("channel:Discord:1", "a channel is made of a-z, 0-9, _ and -");
        check("token:a for token:b for token:c", "it holds a space or a control character");
        check(&format!("token:{}", "x".repeat(513)), "a part is longer than 512 bytes");
    }
}
