//! The words of a message: templates with a default for each channel, which the operator can replace.
//!
//! Whatever a template prints is escaped for the channel; only what stands in the template itself is
//! taken as it is. A template that fails on some message is replaced by the default for that message,
//! and the log says so: a slip in a template costs its wording, never the message.
//!
//! What a template can use is what [`context`] gives, which `docs/dev/outputs.md` lists.

use event_core::{ComponentId, Message, Severity, Stand, Subject};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, value::Serde};
use serde_json::{Map, json};

use crate::{InvalidConfig, escape::Escape};

/// How much a template may do before it is stopped, in steps of the engine.
const FUEL: u64 = 100_000;

/// Templates that the operator gives in place of the defaults (minijinja).
#[derive(Clone, Debug, Default)]
pub struct Wording {
    /// One line.
    pub title: Option<String>,
    /// The text.
    pub body: Option<String>,
    /// For mail: the text as HTML.
    pub html: Option<String>,
}

/// One text of a channel.
pub(crate) struct Slot<'a> {
    pub(crate) name: &'static str,
    pub(crate) own: Option<&'a String>,
    pub(crate) default: &'static str,
    pub(crate) escape: Escape,
}

/// The texts of a channel.
pub(crate) struct Templates {
    output: ComponentId,
    engine: Environment<'static>,
}

/// A title as it is, behind what the stand has to say.
pub(crate) const TITLE: &str = "{{ lead }}{{ title }}";

/// The text alone, for channels that show the facts and the link in ways of their own.
pub(crate) const BODY: &str = "{{ text }}";

/// The text, the facts and the link, for channels that show nothing but text.
pub(crate) const PLAIN_BODY: &str = "{{ text }}

{% for fact in facts %}{{ fact.name }}: {{ fact.value }}
{% endfor %}{% if link %}{{ link }}{% endif %}";

/// The text and the facts, for channels that read Markdown and have the link elsewhere.
pub(crate) const MARKDOWN_BODY: &str = "{{ text }}

{% for fact in facts %}- **{{ fact.name }}:** {{ fact.value }}
{% endfor %}";

// === impl Templates ===

impl Templates {
    /// Reads them, and tries the operator's own on a message that has everything.
    pub(crate) fn try_new(output: &ComponentId, slots: &[Slot<'_>]) -> Result<Self, InvalidConfig> {
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        engine.set_fuel(Some(FUEL));
        engine.set_recursion_limit(50);
        let escapes: Vec<(&'static str, Escape)> =
            slots.iter().map(|slot| (slot.name, slot.escape)).collect();
        engine.set_auto_escape_callback(move |name| {
            let name = name.strip_prefix("default/").unwrap_or(name);
            let escape = escapes.iter().find(|(slot, _)| *slot == name).map(|(_, escape)| *escape);
            AutoEscape::Custom(escape.unwrap_or(Escape::None).name().into())
        });
        engine.set_formatter(|out, state, value| {
            let text = if value.is_none() || value.is_undefined() {
                String::new()
            } else {
                value.to_string()
            };
            let escape = match state.auto_escape() {
                AutoEscape::Custom(name) if !value.is_safe() => Escape::of(name),
                _ => None,
            };
            let written = escape.map_or_else(|| text.as_str().into(), |escape| escape.apply(&text));
            out.write_str(&written).map_err(minijinja::Error::from)
        });
        let mut templates = Self { output: output.clone(), engine };
        for slot in slots {
            templates.take(slot)?;
        }
        Ok(templates)
    }

    fn take(&mut self, slot: &Slot<'_>) -> Result<(), InvalidConfig> {
        let wrong = |error| {
            let message = format!("the template `{}` cannot be used", slot.name);
            InvalidConfig::new(&self.output, message).because(error)
        };
        let own = slot.own.map_or(slot.default, String::as_str).to_owned();
        let default = format!("default/{}", slot.name);
        let read = self.engine.add_template_owned(default, slot.default);
        read.and_then(|()| self.engine.add_template_owned(slot.name, own)).map_err(wrong)?;
        self.try_render(slot.name, &sample()).map_err(wrong)?;
        Ok(())
    }

    /// The text of that name for a message, by the operator's template, or by the default if that
    /// one fails.
    pub(crate) fn render(&self, name: &'static str, context: &serde_json::Value) -> String {
        let failed = match self.try_render(name, context) {
            Ok(text) => return text,
            Err(error) => error,
        };
        tracing::warn!(
            sink = %self.output, template = name, error = %stdx::Chain(&failed),
            "a template failed on a message, which is told in the default words"
        );
        // The defaults use what every message has; if one fails all the same, the title is told.
        self.try_render(&format!("default/{name}"), context)
            .unwrap_or_else(|_| context["title"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether there is a text of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.engine.get_template(name).is_ok()
    }

    fn try_render(
        &self,
        name: &str,
        context: &serde_json::Value,
    ) -> Result<String, minijinja::Error> {
        let text = self.engine.get_template(name)?.render(Serde(context))?;
        Ok(text.trim().to_owned())
    }
}

/// A message that has everything, for trying templates.
fn sample() -> serde_json::Value {
    let kind = event_core::Kind::BackupFailed;
    let time = jiff::Timestamp::UNIX_EPOCH;
    let mut message =
        Message::new(Stand::New, "i1", kind, Severity::Error, "backup of 104 failed", time);
    message.text.push_str("no space left on device");
    message.fields.push(("where".to_owned(), "lab/104".to_owned()));
    message.link = Some("https://example.org/i1".to_owned());
    message.route = Some("ops".to_owned());
    let source = "test".parse().expect("a name of letters");
    let event =
        event_core::Event::builder(&source, "test", "1", event_core::Kind::BackupFailed, time);
    message.events.push(event.title("backup of 104 failed").build(time));
    context(&message, "manager")
}

/// What a template can use.
pub(crate) fn context(message: &Message, instance: &str) -> serde_json::Value {
    let pair =
        |(name, value): &(String, String)| json!({ "name": line(name), "value": line(value) });
    let events: Vec<_> = message
        .events
        .iter()
        .map(|event| {
            json!({
                "id": event.id.to_string(),
                "kind": event.kind.as_str(),
                "severity": event.severity.as_str(),
                "title": line(&event.title),
                "message": text(&event.message),
                "time": event.time.to_string(),
                "source": event.source.id.as_str(),
                "where": line(&event.subject.label()),
            })
        })
        .collect();
    json!({
        "stand": message.stand.as_str(),
        "lead": lead(message.stand),
        "mark": mark(message.stand, message.severity),
        "incident": line(&message.incident),
        "severity": message.severity.as_str(),
        "kind": message.kind.as_str(),
        "where": line(&message.subject.label()),
        "subject": subject(&message.subject),
        "title": line(&message.title),
        "text": text(&message.text),
        "fields": message.fields.iter().map(pair).collect::<Vec<_>>(),
        "facts": facts(message).iter().map(pair).collect::<Vec<_>>(),
        "began": message.began.to_string(),
        "written": message.written.to_string(),
        "link": message.link,
        "silent": message.silent,
        "route": message.route,
        "instance": instance,
        "events": events,
    })
}

fn line(given: &str) -> std::borrow::Cow<'_, str> {
    stdx::untrusted::line(given, usize::MAX)
}

fn text(given: &str) -> std::borrow::Cow<'_, str> {
    stdx::untrusted::text(given, usize::MAX)
}

/// What stands before the title.
pub(crate) fn lead(stand: Stand) -> &'static str {
    match stand {
        Stand::New | Stand::Digest => "",
        Stand::Update => "Update: ",
        Stand::Worse => "Worse: ",
        Stand::Escalated => "Nobody has looked yet: ",
        Stand::Again => "Again: ",
        Stand::Acknowledged => "Acknowledged: ",
        Stand::Resolved => "Resolved: ",
        Stand::Test => "Test: ",
    }
}

/// A sign that can be told apart at a glance.
pub(crate) fn mark(stand: Stand, severity: Severity) -> &'static str {
    match (stand, severity) {
        (Stand::Resolved, _) => "✅",
        (Stand::Acknowledged, _) => "👀",
        (Stand::Digest, _) => "📋",
        (Stand::Test, _) => "🧪",
        (_, Severity::Critical) => "🔥",
        (_, Severity::Error) => "❌",
        (_, Severity::Warning) => "⚠️",
        (_, Severity::Notice | Severity::Info | Severity::Debug) => "ℹ️",
    }
}

/// How much a message asks of whoever reads it. That something is over, or in somebody's hands, is worth
/// knowing and nothing to be woken for, however bad it was.
pub(crate) fn urgency(message: &Message) -> Severity {
    match message.stand {
        Stand::Resolved | Stand::Acknowledged => message.severity.min(Severity::Notice),
        _ => message.severity,
    }
}

/// What is known of the subject, by the names that templates and receivers use.
fn parts(subject: &Subject) -> Vec<(&'static str, String)> {
    let mut parts = Vec::new();
    let mut put = |name, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            parts.push((name, line(&value).into_owned()));
        }
    };
    put("cluster", subject.cluster.as_ref().map(ToString::to_string));
    put("node", subject.node.as_ref().map(ToString::to_string));
    put("guest_kind", subject.guest_kind.map(|kind| kind.as_str().to_owned()));
    put("vmid", subject.vmid.map(|vmid| vmid.to_string()));
    put("guest_name", subject.guest_name.clone());
    put("storage", subject.storage.as_ref().map(ToString::to_string));
    put("datastore", subject.datastore.as_ref().map(ToString::to_string));
    put("namespace", subject.namespace.clone());
    put("upid", subject.upid.as_ref().map(ToString::to_string));
    put("job", subject.job.clone());
    put("user", subject.user.clone());
    parts
}

/// The subject as an object; what is not known is left out.
pub(crate) fn subject(subject: &Subject) -> serde_json::Value {
    let parts = parts(subject).into_iter();
    parts.map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>().into()
}

/// The fields of a message, and what its subject says beyond them.
pub(crate) fn facts(message: &Message) -> Vec<(String, String)> {
    let mut facts = message.fields.clone();
    let label = message.subject.label();
    let mut put = |name: &str, value: String| {
        if !facts.iter().any(|(known, _)| known == name) {
            facts.push((name.to_owned(), value));
        }
    };
    if !label.is_empty() {
        put("where", label.clone());
    }
    for (name, value) in parts(&message.subject) {
        let told = label.split(['/', ' ']).any(|word| word == value);
        if matches!(name, "node" | "storage" | "datastore" | "namespace" | "job" | "user") && !told
        {
            put(name, value);
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use event_core::Kind;

    use super::*;

    fn templates(title: Option<&str>) -> Result<Templates, InvalidConfig> {
        let own = title.map(str::to_owned);
        let slot =
            Slot { name: "title", own: own.as_ref(), default: TITLE, escape: Escape::Markdown };
        Templates::try_new(&"ops".parse().unwrap(), &[slot])
    }

    #[test]
    fn good_news_is_not_urgent() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let of = |stand, severity| {
            urgency(&Message::new(stand, "i", Kind::BackupFailed, severity, "a backup", now))
        };
        for stand in Stand::ALL {
            let is_good = matches!(stand, Stand::Resolved | Stand::Acknowledged);
            let wanted = if is_good { Severity::Notice } else { Severity::Critical };
            assert_eq!(of(stand, Severity::Critical), wanted, "{stand}");
            assert_eq!(of(stand, Severity::Info), Severity::Info, "{stand}");
        }
    }

    #[test]
    fn what_a_message_holds_is_escaped_and_what_the_template_says_is_not() {
        let templates = templates(Some("**{{ severity }}** {{ title }} {{ missing.x }}"));
        let said = templates.err().map(|error| stdx::Chain(&error).to_string()).unwrap();
        assert!(said.contains("the template `title` cannot be used"), "{said}");

        let templates = self::templates(Some("**{{ severity }}** {{ title }}")).unwrap();
        let mut context = sample();
        context["title"] = "*@here* {{ 7 * 7 }}".into();
        let text = templates.render("title", &context);
        assert_eq!(text, r"**error** \*\@here\* {{ 7 \* 7 }}");
    }

    #[test]
    fn a_template_that_fails_on_one_message_costs_its_wording_only() {
        let templates = templates(Some("{{ events[0].title }}")).unwrap();
        let mut context = sample();
        assert_eq!(templates.render("title", &context), "backup of 104 failed");
        context["events"] = json!([]);
        context["lead"] = "Again: ".into();
        assert_eq!(templates.render("title", &context), "Again: backup of 104 failed");
    }

    #[test]
    fn a_template_that_does_not_end_is_stopped() {
        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(templates(Some(endless)).is_err());
    }

    #[test]
    fn facts_say_each_thing_once() {
        let mut message = Message::new(
            Stand::New,
            "i1",
            event_core::Kind::BackupFailed,
            Severity::Error,
            "t",
            jiff::Timestamp::UNIX_EPOCH,
        );
        message.fields.push(("job".to_owned(), "nightly".to_owned()));
        message.subject = Subject {
            cluster: "lab".parse().ok(),
            node: "alder".parse().ok(),
            vmid: "104".parse().ok(),
            job: Some("backup-1".to_owned()),
            ..Subject::default()
        };
        let facts = facts(&message);
        let facts: Vec<String> =
            facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(facts, ["job=nightly", "where=lab/104", "node=alder"]);
    }
}
