//! Findings as a table, each with what to do below it, or as a document for machines.

use std::fmt::Write as _;

use comfy_table::{Table, presets::NOTHING};
use serde_json::{Value, json};

use crate::{Finding, Status, Summary};

/// What machines get.
pub fn document(findings: &[Finding]) -> Value {
    json!({"summary": Summary::of(findings), "findings": findings})
}

/// Renders the findings; with colors only if asked.
///
/// No line is broken: hints hold commands and settings to copy.
pub fn table(findings: &[Finding], colors: bool) -> String {
    let paint = Paint(colors);
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["RESULT", "WHAT", "CHECK", "FOUND"]);
    let mut before = "";
    for finding in findings {
        // A subject stands once, where it begins.
        let subject = if finding.subject == before { "" } else { finding.subject.as_str() };
        before = &finding.subject;
        let detail = finding.detail.replace(['\n', '\r', '\t'], " ");
        table.add_row([finding.status.as_str(), subject, finding.check, &detail]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut lines = table.lines();
    let mut out = String::new();
    let header = lines.next().unwrap_or_default();
    let _ = writeln!(out, "{}", paint.dim(header.trim_end()));
    for (finding, line) in findings.iter().zip(lines) {
        let word = finding.status.as_str();
        let rest = line.strip_prefix(word).unwrap_or(&line).trim_end();
        let _ = writeln!(out, "{}{rest}", paint.status(finding.status));
        for hint in &finding.hints {
            let _ = writeln!(out, "         - {hint}");
        }
    }
    let _ = writeln!(out, "\n{}", paint.summary(Summary::of(findings)));
    out
}

fn summary(summary: Summary) -> String {
    let Summary { pass, warn, fail, skip, .. } = summary;
    let all = pass + warn + fail + skip;
    let mut parts = Vec::new();
    match fail {
        0 => parts.push(format!("{pass} of {all} checks are well")),
        fail => parts.push(format!("{fail} of {all} checks FAILED")),
    }
    if warn > 0 {
        parts.push(if warn == 1 { "1 warning".to_owned() } else { format!("{warn} warnings") });
    }
    if skip > 0 {
        parts.push(format!("{skip} skipped"));
    }
    parts.join(", ")
}

/// Colors, or none.
struct Paint(bool);

// === impl Paint ===

impl Paint {
    fn wrap(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn dim(&self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn status(&self, status: Status) -> String {
        self.wrap(code(status), status.as_str())
    }

    fn summary(&self, found: Summary) -> String {
        let worst = match found {
            Summary { fail: 1.., .. } => Status::Fail,
            Summary { warn: 1.., .. } => Status::Warn,
            _ => Status::Pass,
        };
        self.wrap(code(worst), &summary(found))
    }
}

fn code(status: Status) -> &'static str {
    match status {
        Status::Pass => "32",
        Status::Warn => "33",
        Status::Fail => "1;31",
        Status::Skip => "2",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::*;

    fn findings() -> Vec<Finding> {
        let pve1 = "home https://pve1:8006";
        let pve2 = "home https://pve2:8006";
        let ends = "the pinned certificate; it ends in 3 days, on 2026-03-04";
        vec![
            Finding::new(pve1, "reach", Status::Pass, "connected"),
            Finding::new(pve1, "tls", Status::Warn, ends).hint("a node renews its own certificate"),
            Finding::new(pve2, "reach", Status::Fail, "nothing listens on port 8006 of pve2")
                .hint("on the server: `systemctl status pveproxy`")
                .hint("is it the right port?")
                .took(Duration::from_millis(3)),
            Finding::new(pve2, "tls", Status::Skip, "not reached"),
            Finding::new("mcp stdio", "initialize", Status::Pass, "one\nline"),
        ]
    }

    #[test]
    fn a_table_for_people() {
        expect![[r#"
            RESULT   WHAT                    CHECK       FOUND
            ok       home https://pve1:8006  reach       connected
            warning                          tls         the pinned certificate; it ends in 3 days, on 2026-03-04
                     - a node renews its own certificate
            FAILED   home https://pve2:8006  reach       nothing listens on port 8006 of pve2
                     - on the server: `systemctl status pveproxy`
                     - is it the right port?
            skipped                          tls         not reached
            ok       mcp stdio               initialize  one line

            1 of 5 checks FAILED, 1 warning, 1 skipped
        "#]].assert_eq(&table(&findings(), false));
        expect![[r#"
            RESULT  WHAT                    CHECK  FOUND
            ok      home https://pve1:8006  reach  connected

            1 of 1 checks are well
        "#]]
        .assert_eq(&table(&findings()[..1], false));
    }

    #[test]
    fn colors_change_nothing_but_colors() {
        let colored = table(&findings(), true);
        assert!(colored.contains("\u{1b}[1;31mFAILED\u{1b}[0m"), "{colored}");
        let plain: String = stdx::untrusted::text(&colored, usize::MAX).into_owned();
        assert_eq!(plain, table(&findings(), false));
    }

    #[test]
    fn a_document_for_machines() {
        let findings = findings();
        let document = document(&findings[2..3]);
        expect![[r#"
            {
              "summary": {
                "pass": 0,
                "warn": 0,
                "fail": 1,
                "skip": 0
              },
              "findings": [
                {
                  "subject": "home https://pve2:8006",
                  "check": "reach",
                  "status": "fail",
                  "detail": "nothing listens on port 8006 of pve2",
                  "hints": [
                    "on the server: `systemctl status pveproxy`",
                    "is it the right port?"
                  ],
                  "elapsed_ms": 3
                }
              ]
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&document).unwrap());
    }
}
