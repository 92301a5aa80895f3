//! What lands on the stream for which options.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(options: &Options, terminal: bool) -> String {
    logged_by(options, terminal, || {
        tracing::info!(node = "alder", "node is \u{1b}[31mback");
        tracing::debug!("detail");
    })
}

fn logged_by(options: &Options, terminal: bool, work: impl FnOnce()) -> String {
    let sink = Sink::default();
    let writer = sink.clone();
    let (subscriber, _) = subscriber(options, terminal, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
}

/// Every way in which a value can reach a line, with a secret of its own in each.
fn leak() {
    let span = tracing::info_span!("call", api_token = "in-a-span-1", via = "password=in-a-span-2");
    let _inside = span.enter();
    let error = std::io::Error::other("GET https://u:in-an-error@h/ failed");
    tracing::warn!(
        password = "by-its-name",
        cookie = ?["in-a-list"],
        url = %"https://h/?token=in-a-url",
        error = %error,
        known = "a known-value-of-settings b",
        "login with secret=in-the-message and Bearer {}", "in4the5arguments6"
    );
    tracing::info!(target: "library", "{{\"password\": \"in-json\", \"user\": \"bob\"}}");
    tracing::info!(
        name = "two\nlines \u{202e}and \u{1b}[2Jescapes\u{e0041}",
        "web\n2026 INFO forged"
    );
}

#[test]
fn no_secret_and_no_escape_reaches_the_log_in_any_form() {
    let redactor = Redactor::new([""; 0]).with_values(["known-value-of-settings".into()]);
    for (format, color) in [
        (Format::Pretty, Color::Never),
        (Format::Pretty, Color::Always),
        (Format::Json, Color::Never),
    ] {
        let options = Options::new("info").with_format(format).with_color(color);
        let text = logged_by(&options.with_redactor(redactor.clone()), false, leak);
        for secret in [
            "in-a-span-1",
            "in-a-span-2",
            "by-its-name",
            "in-a-list",
            "in-a-url",
            "in-an-error",
            "known-value",
            "in-the-message",
            "in4the5arguments6",
            "in-json",
        ] {
            assert!(!text.contains(secret), "{format:?} {color:?} tells {secret}: {text}");
        }
        assert_eq!(text.lines().count(), 3, "{format:?}: {text}");
        assert!(text.matches("[redacted]").count() >= 9, "{format:?}: {text}");
        assert!(text.contains("bob") && text.contains("login with"), "{text}");
        for unseen in ["\u{202e}", "\u{1b}[2J", "\u{e0041}"] {
            assert!(!text.contains(unseen), "{format:?}: {text:?}");
        }
    }
}

#[test]
fn colors_only_on_a_terminal_unless_asked() {
    let check = |color, terminal, colored| {
        let text = logged(&Options::new("info").with_color(color), terminal);
        assert_eq!(text.contains("\u{1b}["), colored, "{color:?} {terminal}: {text:?}");
        assert!(!text.contains("\u{1b}[31mback"), "a message cannot color: {text:?}");
    };
    check(Color::Auto, true, true);
    check(Color::Auto, false, false);
    check(Color::Always, false, true);
    check(Color::Never, true, false);
}

#[test]
fn json_is_one_flat_object_a_line_and_the_filter_filters() {
    let text = logged(&Options::new("info").with_format(Format::Json), true);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["node"], &lines[0]["level"]), (&"alder".into(), &"INFO".into()));
    assert_eq!(logged(&Options::new("debug"), false).lines().count(), 2);
}

#[test]
fn a_bad_filter_is_named_and_a_second_start_is_harmless() {
    let error = init(&Options::new("info,=loud=")).unwrap_err();
    assert!(error.to_string().starts_with("`info,=loud=` is no log filter"), "{error}");
    init(&Options::new("off")).unwrap();
    init(&Options::new("off")).unwrap();
}
