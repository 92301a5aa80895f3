//! The simulated estate, in which something happens.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::{LONG, Manager, can_run_mcp, mcp_program};

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_shows_what_people_would_be_told_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-manager"));
    command.arg("--demo").env_clear().env("HOME", home.path()).env("TMPDIR", home.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let manager = Manager::of(child);
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        for line in &mut lines {
            let line = line.unwrap();
            let is_it = line.contains("NEW") && line.contains("vzdump of 104 failed");
            all.push(line);
            if is_it {
                return (all.join("\n"), lines);
            }
        }
        panic!("it ended before: {all:?}");
    });
    let (text, lines) =
        tokio::time::timeout(LONG, reading).await.expect("a backup fails soon").unwrap();
    assert!(!text.contains('\u{1b}'), "nobody looks, so there are no colors: {text}");

    // The command that it says is one.
    let said = text.lines().find_map(|line| line.trim().strip_prefix("proxmox-mcp "));
    let args: Vec<&str> = said.expect("a command").split(' ').collect();
    assert_eq!(&args[..2], ["incidents", "list"]);
    if can_run_mcp() {
        let mut command = Command::new(mcp_program());
        command.args(&args).env_clear().env("HOME", home.path());
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(listed.contains("vzdump of 104 failed"), "{output:?}");
    }
    manager.signal("INT");
    let output = manager.ended().await;
    drop(lines);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
