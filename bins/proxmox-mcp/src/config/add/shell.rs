//! The same work as commands for the server's shell: to run by hand, and to take back.

use std::fmt::Write as _;

use super::members::Candidate;
use super::plan::{Grant, PATH, PVE_8_MONITOR, PVE_BACKUP_LIST, PVE_OPERATE, Plan, Step, Who};
use super::table::{self, Trust};
use crate::cli::ProductArg;

/// The command that prints the fingerprints of a server's certificates in its own shell.
pub(super) fn fingerprint_command(product: ProductArg) -> &'static str {
    match product {
        ProductArg::Pve => "pvenode cert info",
        ProductArg::Pbs => "proxmox-backup-manager cert info",
    }
}

/// The command that lists who holds what.
pub(super) fn list_command(product: ProductArg) -> &'static str {
    match product {
        ProductArg::Pve => "pveum acl list",
        ProductArg::Pbs => "proxmox-backup-manager acl list",
    }
}

/// Everything that `config add` would do, to be done by hand.
pub(super) fn script(plan: &Plan) -> String {
    let mut text = format!(
        "# For a root shell on {host}. Nothing was contacted and nothing was changed.\n",
        host = plan.target.host,
    );
    for step in plan.steps() {
        if step == Step::Token {
            text.push_str("# The next line prints the token's secret, once.\n");
        }
        let _ = writeln!(text, "{}", make(plan, &step));
    }
    let _ = writeln!(text, "# The certificate's fingerprint, for the table below:");
    let _ = writeln!(text, "{}", fingerprint_command(plan.product));
    let left_out = left_out(plan, None);
    if !left_out.is_empty() {
        text.push_str("\n# Left out:\n");
        for line in left_out.lines() {
            let _ = writeln!(text, "# {line}");
        }
    }
    let _ = write!(
        text,
        "\n# On the machine of proxmox-mcp: the secret alone into a file that only you can read.\n\
         mkdir -p {drop_ins}\n\
         install -d -m 700 {secrets}\n\
         (umask 077; cat > {secret})    # paste the secret, Enter, Ctrl-D\n\
         \n# And this into {drop_in}:\n",
        drop_ins = quoted(&plan.drop_in_folder().display().to_string()),
        secrets = quoted(&plan.secrets_folder().display().to_string()),
        secret = quoted(&plan.secret_file().display().to_string()),
        drop_in = plan.drop_in().display(),
    );
    let endpoint = Candidate {
        name: None,
        host: plan.target.host.clone(),
        port: plan.target.port,
        url: plan.target.url.clone(),
        fingerprint: plan.fingerprint,
    };
    text.push_str(table::render(plan, &[endpoint], &[], &Trust::Pins).trim_start());
    text
}

/// The command that makes it.
fn make(plan: &Plan, step: &Step) -> String {
    let (user, token) = (plan.user(), &plan.token_name);
    match (plan.product, step) {
        (ProductArg::Pve, Step::User) => format!("pveum user add {user} --comment \"proxmox-mcp\""),
        (ProductArg::Pve, Step::Token) => {
            format!("pveum user token add {user} {token} --privsep 1 --output-format json")
        }
        (ProductArg::Pbs, Step::User) => {
            format!("proxmox-backup-manager user create {user} --comment \"proxmox-mcp\"")
        }
        (ProductArg::Pbs, Step::Token) => {
            format!("proxmox-backup-manager user generate-token {user} {token}")
        }
        (_, Step::Role(grant)) => add_role(grant),
        (product, Step::Acl { grant, who }) => acl(product, plan, grant, *who, true),
        (_, Step::File(path)) => format!("touch {}", quoted(&path.display().to_string())),
    }
}

/// The command that takes it back.
pub(super) fn undo(plan: &Plan, step: &Step) -> String {
    let (user, token) = (plan.user(), &plan.token_name);
    match (plan.product, step) {
        (ProductArg::Pve, Step::User) => format!("pveum user delete {user}"),
        (ProductArg::Pve, Step::Token) => format!("pveum user token remove {user} {token}"),
        (ProductArg::Pbs, Step::User) => format!("proxmox-backup-manager user remove {user}"),
        (ProductArg::Pbs, Step::Token) => {
            format!("proxmox-backup-manager user delete-token {user} {token}")
        }
        (_, Step::Role(grant)) => format!("pveum role delete {}", grant.role),
        (product, Step::Acl { grant, who }) => acl(product, plan, grant, *who, false),
        (_, Step::File(path)) => format!("rm {}", quoted(&path.display().to_string())),
    }
}

/// What answers will lack, each with the lines that grant it; `release` is PVE's major number, where
/// it is known.
pub(super) fn left_out(plan: &Plan, release: Option<u32>) -> String {
    let mut text = String::new();
    if plan.product == ProductArg::Pbs {
        return text;
    }
    let mut lines = |about: &str, grant: &Grant| {
        let _ = writeln!(text, "{about}:");
        let _ = writeln!(text, "  {}", add_role(grant));
        let _ = writeln!(text, "  {}", acl(ProductArg::Pve, plan, grant, Who::Both, true));
    };
    if !plan.operate {
        lines("starting, stopping and snapshotting guests", &PVE_OPERATE);
    }
    if !plan.backup_lists {
        lines(
            "listing backup files on PVE storages, whose privileges can make and delete backups, too",
            &PVE_BACKUP_LIST,
        );
    }
    if release.is_some_and(|release| release < 9) {
        lines(
            "addresses of virtual machines, whose privilege on PVE 8 can run commands in them, too",
            &PVE_8_MONITOR,
        );
    }
    text
}

fn add_role(grant: &Grant) -> String {
    format!("pveum role add {} --privs \"{}\"", grant.role, grant.privileges.join(" "))
}

fn acl(product: ProductArg, plan: &Plan, grant: &Grant, who: Who, is_added: bool) -> String {
    let (user, token, role) = (plan.user(), plan.token_id(), grant.role);
    match product {
        ProductArg::Pve => {
            let verb = if is_added { "modify" } else { "delete" };
            let who = match who {
                Who::Both => format!("--users {user} --tokens '{token}'"),
                Who::User => format!("--users {user}"),
                Who::Token => format!("--tokens '{token}'"),
            };
            format!("pveum acl {verb} {PATH} {who} --roles {role}")
        }
        ProductArg::Pbs => {
            let who = if who == Who::Token { token } else { user };
            let delete = if is_added { "" } else { " --delete true" };
            format!("proxmox-backup-manager acl update {PATH} {role} --auth-id '{who}'{delete}")
        }
    }
}

/// A path as a word of the shell.
fn quoted(path: &str) -> String {
    let is_plain =
        path.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
    if is_plain { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}
