//! The handshake with servers that are scripts.

use checks::{Status, run};
use expect_test::expect;
use guard::Mode;

use crate::support::{plan, script, told};

/// Answers both greetings, and offers two tools.
const GOOD: &str = r#"
read hello
echo '{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","supportedVersions":["2026-07-28"]}}'
read next
case "$next" in *initialized*) read next;; esac
echo '{"jsonrpc":"2.0","id":2,"result":{"tools":[{},{}]}}'
read end
"#;

#[tokio::test]
async fn both_eras_are_tried_and_failures_bring_the_servers_last_words() {
    let mut all = String::new();
    for (name, text) in [
        ("good", GOOD),
        (
            "settings",
            "echo 'reading' >&2; echo 'error: pve.lab.token_file: is missing' >&2; exit 2",
        ),
        ("chatty", "read hello; echo Welcome; read more"),
        (
            "refusing",
            r#"read hello; echo '{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"not today"}}'; read more"#,
        ),
    ] {
        let mut plan = plan(Mode::Guarded);
        plan.mcp = Some(script(text));
        let findings = run(plan, |_| ()).await;
        assert_eq!(findings.len(), 2);
        all.push_str(name);
        all.push('\n');
        all.push_str(&told(&findings, &[]));
    }
    expect![[r#"
        good
        Pass mcp stdio initialize: 2 tools
        Pass mcp stdio discover: 2 tools
        settings
        Fail mcp stdio initialize: the server ended before it answered; it said: error: pve.lab.token_file: is missing
             - start `proxmox-mcp serve` with the same flags in a terminal: its log says more
        Fail mcp stdio discover: the server ended before it answered; it said: error: pve.lab.token_file: is missing
             - start `proxmox-mcp serve` with the same flags in a terminal: its log says more
        chatty
        Fail mcp stdio initialize: the server wrote something other than MCP to its output: Welcome
             - start `proxmox-mcp serve` with the same flags in a terminal: its log says more
        Fail mcp stdio discover: the server wrote something other than MCP to its output: Welcome
             - start `proxmox-mcp serve` with the same flags in a terminal: its log says more
        refusing
        Fail mcp stdio initialize: refused: not today
             - start `proxmox-mcp serve` with the same flags in a terminal: its log says more
        Fail mcp stdio discover: refused: not today
             - start `proxmox-mcp serve` with the same flags in a terminal: its log says more
    "#]].assert_eq(&all);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_without_end() {
    let mut plan = plan(Mode::Guarded);
    plan.mcp = Some(script("read hello; read never"));
    plan.deadline = std::time::Duration::from_millis(50);
    let findings = run(plan, |_| ()).await;
    assert!(findings.iter().all(|finding| finding.status == Status::Fail));

    let mut plan = crate::support::plan(Mode::Guarded);
    plan.mcp = Some(checks::McpTarget { program: "/nowhere/proxmox-mcp".into(), args: Vec::new() });
    let findings = run(plan, |_| ()).await;
    assert!(
        findings[0].detail.starts_with("cannot start /nowhere/proxmox-mcp"),
        "{}",
        findings[0].detail
    );
}
