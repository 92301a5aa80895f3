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
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = subscriber(options, terminal, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(node = "alder", "node is \u{1b}[31mback");
        tracing::debug!("detail");
    });
    String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
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
