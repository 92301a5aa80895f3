//! A message as lines of text, for outputs that have nothing but lines.

use event_core::Message;

use crate::{
    Wording,
    escape::Escape,
    split::{bytes, split},
    template::{PLAIN_BODY, Slot, TITLE, Templates, context, urgency},
};

pub(crate) fn slots(wording: &Wording) -> [Slot<'_>; 2] {
    let slot = |name, own, default| Slot { name, own, default, escape: Escape::None };
    [slot("title", wording.title.as_ref(), TITLE), slot("body", wording.body.as_ref(), PLAIN_BODY)]
}

/// The message in lines of at most `most` bytes, each of which says what it belongs to. Breaks in the text become bars.
pub(crate) fn lines(
    message: &Message,
    templates: &Templates,
    instance: &str,
    most: usize,
) -> Vec<String> {
    let context = context(message, instance);
    let text =
        format!("{}\n{}", templates.render("title", &context), templates.render("body", &context));
    let text = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let text = text.collect::<Vec<_>>().join(" | ");
    let incident = stdx::untrusted::word(&message.incident, 60);
    let head = format!(
        "instance={instance} incident={incident} stand={} severity={}",
        message.stand,
        urgency(message)
    );
    // Room for the number of a part.
    let room = most.saturating_sub(head.len() + 24).max(64);
    let mut parts = split(&text, room, bytes);
    if parts.is_empty() {
        parts.push(message.kind.to_string());
    }
    let count = parts.len();
    let numbered = parts.into_iter().enumerate().map(|(at, part)| match count {
        1 => format!("{head} {part}"),
        _ => format!("{head} part={}/{count} {part}", at + 1),
    });
    numbered.collect()
}

#[cfg(test)]
mod tests {
    use event_core::{Kind, Severity, Stand};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_message_is_within_the_limits_and_whole(
            title in r"(\PC|[a-z ]){0,40}",
            words in r"([a-z \n]|é|😀){1,60}",
            times in 0_usize..100,
            most in 300_usize..3000,
        ) {
            let now = jiff::Timestamp::UNIX_EPOCH;
            let mut message =
                Message::new(Stand::New, "i", Kind::BackupFailed, Severity::Error, title, now);
            message.text = words.repeat(times);
            let wording = Wording::default();
            let templates = Templates::try_new(&"ops".parse().unwrap(), &slots(&wording)).unwrap();
            let lines = lines(&message, &templates, "home", most);
            let mut whole = String::new();
            for line in &lines {
                prop_assert!(line.len() <= most && !line.contains('\n'), "{} of {most}", line.len());
                let (_, text) = line.split_once("severity=error ").unwrap();
                let numbered = text.strip_prefix("part=").and_then(|text| text.split_once(' '));
                whole.push_str(numbered.map_or(text, |(_, text)| text));
            }
            let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace() && *c != '|').collect::<String>();
            let context = context(&message, "home");
            let body = bare(context["text"].as_str().unwrap());
            prop_assert!(bare(&whole).contains(&body));
        }
    }
}
