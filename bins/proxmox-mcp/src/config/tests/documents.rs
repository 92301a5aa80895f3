//! `config init`, `check` and `show`.

use std::path::Path;

use expect_test::expect;

use super::{Scripted, mode, read, run};

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn init_writes_a_first_file_and_keeps_one_that_exists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lab.toml");
    let file = path.to_str().unwrap();
    let mut terminal = Scripted::default();
    assert_eq!(run(&mut terminal, &["init", file]).await, 0, "{}", terminal.err);
    assert_eq!(read(&path), settings::starter());
    #[cfg(unix)]
    assert_eq!(mode(&path) & 0o444, 0o444);
    assert_eq!(run(&mut terminal, &["check", "--config", file]).await, 0, "{}", terminal.err);

    std::fs::write(&path, "# mine\n").unwrap();
    let mut terminal = Scripted::default();
    assert_eq!(run(&mut terminal, &["init", file]).await, 1);
    assert!(terminal.err.contains("--force overwrites it"), "{}", terminal.err);
    assert_eq!(read(&path), "# mine\n");
    assert_eq!(run(&mut terminal, &["init", file, "--force"]).await, 0);
    assert_eq!(read(&path), settings::starter());

    let mut terminal = Scripted::default();
    assert_eq!(run(&mut terminal, &["init"]).await, 0);
    assert_eq!(terminal.out, settings::starter());
}

#[tokio::test]
async fn check_says_everything_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "config.toml",
        "[pve.home]\nendpoint = [\"https://192.0.2.1\"]\ntoken_id = \"mcp@pve!agent\"\n\
         token_file = \"home.token\"\ninsecure = true\n\n[server]\nmode = \"trustd\"\n",
    );
    let mut terminal = Scripted::default();
    assert_eq!(run(&mut terminal, &["check", "--config", &file]).await, 2);
    assert_eq!(terminal.out, "");
    let base = format!("{}/", folder.path().display());
    expect![[r#"
        error: config.toml:1: pve.home.endpoints: is missing; for example endpoints = ["https://pve1:8006"]
        error: config.toml:2: pve.home.endpoint: is not a known key; did you mean `endpoints`?
        error: config.toml:4: pve.home.token_file: names home.token, which does not exist
        error: config.toml:8: server.mode: is "trustd"; did you mean `trusted`?
        4 errors
    "#]].assert_eq(&terminal.err.replace(&base, ""));

    let file = write(folder.path(), "config.toml", "[server]\ntoolsets = [\"defualt\"]\n");
    let mut terminal = Scripted::default();
    assert_eq!(run(&mut terminal, &["check", "--config", &file]).await, 2);
    expect![[r#"
        warning: no endpoint is configured; add a table [pve.<name>] or [pbs.<name>]; `proxmox-mcp config init` writes a first file
        error: config.toml:2: server.toolsets: no toolset is called "defualt"; choose from default, guests, backup, storage, network, cluster, events, api, compact, guard, classic, all
        1 error, 1 warning
    "#]].assert_eq(&terminal.err.replace(&base, ""));

    let mut terminal = Scripted::default();
    assert_eq!(run(&mut terminal, &["check", "--config", "/nonexistent.toml"]).await, 2);
}

#[tokio::test]
async fn show_hides_secrets_and_gives_settings_that_load() {
    let folder = tempfile::tempdir().unwrap();
    let main = write(
        folder.path(),
        "config.toml",
        "[pve.home]\nendpoints = [\"https://192.0.2.1\", \"https://192.0.2.2\"]\n\
         token_id = \"mcp@pve!agent\"\ntoken = \"hunter2\"\nlabels = { site = \"attic\" }\n\
         proxy = \"http://me:hunter2@192.0.2.9:3128\"\n",
    );
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    let drop_in =
        "[pve.home.fingerprints]\n\"192.0.2.1:8006\" = \"KEY\"\n\"192.0.2.2\" = [\"KEY\"]\n"
            .replace("KEY", &"AB".repeat(32));
    write(folder.path(), "conf.d/pins.toml", &drop_in);
    let base = format!("{}/", folder.path().display());

    let mut terminal = Scripted::default();
    assert_eq!(run(&mut terminal, &["show", "--config", &main]).await, 0, "{}", terminal.err);
    assert!(!terminal.everything().contains("hunter2"), "{}", terminal.everything());
    let again = write(folder.path(), "again.toml", &terminal.out);
    let mut checked = Scripted::default();
    assert_eq!(run(&mut checked, &["check", "--config", &again]).await, 0, "{}", checked.err);
    let shown = terminal.out.split("\n[server]").next().unwrap_or_default().to_owned();
    expect![[r#"
        [pve.home]
        concurrency = 8
        connect_timeout_secs = 5
        deadline_secs = 60
        endpoints = ["https://192.0.2.1", "https://192.0.2.2"]
        fingerprints."192.0.2.1:8006" = "ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"
        fingerprints."192.0.2.2" = ["ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"]
        insecure = false
        labels.site = "attic"
        proxy = "http://***@192.0.2.9:3128"
        request_timeout_secs = 35
        token = "***"
        token_id = "mcp@pve!agent"
    "#]].assert_eq(&shown.replace(&base, ""));

    let mut terminal = Scripted::default();
    assert_eq!(run(&mut terminal, &["show", "--origins", "--config", &main]).await, 0);
    assert!(!terminal.everything().contains("hunter2"), "{}", terminal.everything());
    let pve: String = terminal
        .out
        .lines()
        .filter(|line| line.starts_with("pve."))
        .flat_map(|line| [line, "\n"])
        .collect();
    expect![[r#"
        pve.home.concurrency                   = 8                                           <- default
        pve.home.connect_timeout_secs          = 5                                           <- default
        pve.home.deadline_secs                 = 60                                          <- default
        pve.home.endpoints                     = ["https://192.0.2.1", "https://192.0.2.2"]  <- config.toml:2
        pve.home.fingerprints."192.0.2.1:8006" = "ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"  <- conf.d/pins.toml:2
        pve.home.fingerprints."192.0.2.2"      = ["ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"]  <- conf.d/pins.toml:3
        pve.home.insecure                      = false                                       <- default
        pve.home.labels.site                   = "attic"                                     <- config.toml:5
        pve.home.proxy                         = "http://***@192.0.2.9:3128"                 <- config.toml:6
        pve.home.request_timeout_secs          = 35                                          <- default
        pve.home.token                         = ***                                         <- config.toml:4
        pve.home.token_id                      = "mcp@pve!agent"                             <- config.toml:3
    "#]].assert_eq(&pve.replace(&base, ""));
}
