//! `config add`: from a server's address and an administrator's password to a token of least
//! privilege and its settings table.
//!
//! *Invariant:* nothing is sent to the server before a person has confirmed its certificate, and
//! from then on only to that certificate.
//! *Invariant:* the password lives in memory until the login and is written nowhere.

mod members;
mod plan;
mod server;
mod shell;
mod table;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use estate::NodeName;
use mcp_tools::needs;
use mcp_tools::permissions::Permissions;
use secrecy::ExposeSecret as _;
use settings::Sources;
use stdx::Chain;
use stdx::tls::{Fingerprint, PresentedCertificate, peer_certificate};

use self::members::{Candidate, Member};
use self::plan::{PATH, Plan, Step};
use self::server::{Credentials, Server, Survey};
use self::table::Trust;
use super::terminal::Terminal;
use super::{files, refused};
use crate::cli::{AddArgs, ProductArg};

pub(super) use self::members::{Address, as_reported};

/// How long a server may take to show its certificate.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Adds a server. `address_of` tells where a member of the cluster is reached.
pub(super) async fn run(
    terminal: &mut dyn Terminal,
    args: AddArgs,
    sources: &Sources,
    address_of: &Address<'_>,
) -> anyhow::Result<()> {
    let plan = Plan::try_new(&args, sources)?;
    if args.print {
        return Ok(terminal.answer(&shell::script(&plan))?);
    }
    table::check_free(&plan)?;
    let certificate = look(&plan).await?;
    confirm(terminal, &plan, &certificate)?;
    files::folder(&plan.secrets_folder(), true)?;
    files::folder(&plan.drop_in_folder(), false)?;

    let server = log_in(terminal, &plan, certificate.fingerprint).await?;
    let survey = server.survey(&plan).await.map_err(|error| survey_failed(&plan, &error))?;
    check_survey(terminal, &plan, &survey)?;

    let mut work = Work { plan: &plan, made: Vec::new() };
    match work.run(terminal, &server, &survey, certificate.fingerprint, address_of).await {
        Ok(summary) => Ok(terminal.answer(&summary)?),
        Err(error) => Err(refused(work.failure(&error))),
    }
}

async fn look(plan: &Plan) -> anyhow::Result<PresentedCertificate> {
    let target = &plan.target;
    peer_certificate(&target.host, target.port, LOOK_TIMEOUT).await.map_err(|error| {
        refused(format!(
            "failed to look at the certificate of {}: {}; check the address and that this machine \
             reaches it",
            target.url,
            Chain(&error),
        ))
    })
}

/// Lets a person compare the fingerprint, unless it was given.
fn confirm(
    terminal: &mut dyn Terminal,
    plan: &Plan,
    certificate: &PresentedCertificate,
) -> anyhow::Result<()> {
    let seen = certificate.fingerprint;
    if let Some(expected) = plan.fingerprint {
        if expected == seen {
            return Ok(());
        }
        return Err(refused(format!(
            "{} shows another certificate than --fingerprint names; nothing was sent\n\
             \x20 given {expected}\n\
             \x20 shown {seen}\n\
             Compare the second one with {}; if they differ, somebody is in between",
            plan.target.url,
            shell::fingerprint_command(plan.product),
        )));
    }
    let one_line = |text: &str| stdx::untrusted::line(text, 300).into_owned();
    let names = certificate.names.iter().map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    terminal.say(&format!(
        "{url} shows this certificate:\n\
         \x20 subject      {subject}\n\
         \x20 issuer       {issuer}\n\
         \x20 names        {names}\n\
         \x20 valid        {since} to {until}\n\
         \x20 fingerprint  {seen}\n\
         Compare the fingerprint with the one in the server's own shell:\n\
         \x20 {command}",
        url = plan.target.url,
        subject = one_line(&certificate.subject),
        issuer = one_line(&certificate.issuer),
        since = certificate.not_before.strftime("%Y-%m-%d"),
        until = certificate.not_after.strftime("%Y-%m-%d"),
        command = shell::fingerprint_command(plan.product),
    ));
    if !terminal.is_interactive() {
        return Err(refused(
            "nobody is at the terminal to compare the fingerprint; nothing was sent: compare it \
             and give it with --fingerprint",
        ));
    }
    let answer = terminal.ask("Is it the same? Type yes to go on: ").context("read the answer")?;
    if answer.eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(refused("not confirmed; nothing was sent and nothing was changed"))
}

/// Asks for the password, and for a code where the server wants a second factor.
async fn log_in(
    terminal: &mut dyn Terminal,
    plan: &Plan,
    fingerprint: Fingerprint,
) -> anyhow::Result<Server> {
    let prompt = format!("Password of {} (used once, stored nowhere): ", plan.admin);
    let password = terminal.ask_secret(&prompt).context("read the password")?;
    if password.expose_secret().is_empty() {
        return Err(refused("no password was given; nothing was changed"));
    }
    let refusal = |error: api_core::Error| {
        let hint = match error.kind() {
            api_core::ErrorKind::Unauthorized => {
                "; check the password, and that the user has its realm (root@pam)"
            }
            _ => "",
        };
        refused(format!("failed to log in as {}: {}{hint}", plan.admin, Chain(&error)))
    };
    let login = server::Login::new(plan, fingerprint)?;
    let credentials = Credentials { password: &password, challenge: None };
    let mut session = login.ask(&credentials).await.map_err(refusal)?;
    if session.needs_second_factor() {
        let code = terminal
            .ask_secret("Code of the second factor (TOTP, six digits): ")
            .context("read the code")?;
        let answer = format!("totp:{}", code.expose_secret().trim()).into();
        let credentials = Credentials { password: &answer, challenge: Some(session.ticket(plan)?) };
        session = login.ask(&credentials).await.map_err(refusal)?;
    }
    login.open(plan, &session)
}

/// Refuses what would end half-way, before anything is made.
fn check_survey(terminal: &mut dyn Terminal, plan: &Plan, survey: &Survey) -> anyhow::Result<()> {
    if survey.has_token {
        return Err(refused(format!(
            "the token {token} exists, and its secret cannot be read again; nothing was changed: \
             choose another name with --token-name, or remove it in the server's shell with: {}",
            shell::undo(plan, &Step::Token),
            token = plan.token_id(),
        )));
    }
    for grant in plan.grants().iter().filter(|grant| !grant.privileges.is_empty()) {
        let Some(held) = survey.roles.get(grant.role) else { continue };
        let lacks: Vec<&str> = grant
            .privileges
            .iter()
            .copied()
            .filter(|privilege| !held.contains(*privilege))
            .collect();
        if !lacks.is_empty() {
            return Err(refused(format!(
                "the role {role} exists without {privileges}; nothing was changed: to add them, run \
                 in the server's shell: pveum role modify {role} --append 1 --privs \"{privileges}\"",
                role = grant.role,
                privileges = lacks.join(" "),
            )));
        }
        let more: Vec<&str> = held
            .iter()
            .map(String::as_str)
            .filter(|privilege| !grant.privileges.contains(privilege))
            .collect();
        if !more.is_empty() {
            terminal.say(&format!(
                "warning: the role {} exists and holds more: {}; the token gets that too",
                grant.role,
                more.join(", "),
            ));
        }
    }
    Ok(())
}

/// What goes into the settings table.
struct Table {
    endpoints: Vec<Candidate>,
    left_out: Vec<Member>,
    trust: Trust,
}

/// What is under way, and what was made so far.
struct Work<'a> {
    plan: &'a Plan,
    made: Vec<Step>,
}

// === impl Work ===

impl Work<'_> {
    /// Makes everything and gives the summary.
    async fn run(
        &mut self,
        terminal: &mut dyn Terminal,
        server: &Server,
        survey: &Survey,
        fingerprint: Fingerprint,
        address_of: &Address<'_>,
    ) -> anyhow::Result<String> {
        let plan = self.plan;
        let mut secret = None;
        for step in plan.steps() {
            let Some(step) = survey.missing(plan, &step) else {
                terminal.say(&format!("kept   {}", step.describe(plan)));
                continue;
            };
            match server.make(plan, &step).await {
                Ok(None) => {}
                Ok(made) => secret = made,
                Err(error) => {
                    let what = step.describe(plan);
                    if error.may_have_run() {
                        self.made.push(step);
                    }
                    return Err(anyhow::Error::new(error).context(format!("make the {what}")));
                }
            }
            terminal.say(&format!("made   {}", step.describe(plan)));
            self.made.push(step);
        }
        let secret = secret.context("read the new token's secret from the answer")?;

        let path = plan.secret_file();
        let line = format!("{}\n", secret.expose_secret());
        files::write_new(&path, line.as_bytes(), files::PRIVATE)?;
        self.made.push(Step::File(path));

        let (given, others) = self.members(terminal, server, fingerprint, address_of).await;
        let members = members::probe(others).await;
        let (verified, left_out): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(Member::is_verified);
        let mut endpoints = vec![given];
        endpoints.extend(verified.into_iter().map(|member| member.candidate));
        let choice = self.choose(server, endpoints, left_out, &secret).await;
        let (table, version) =
            choice.with_context(|| format!("use the new token {}", plan.token_id()))?;
        let Table { endpoints, left_out, trust } = &table;
        match server::held(plan, &endpoints[0], trust, &secret).await {
            Ok(held) => say_missing(terminal, plan, &held),
            Err(error) => {
                terminal.say(&format!("warning: what the token holds is unknown: {error:#}"));
            }
        }

        if let Trust::Root(pem) = trust {
            files::write_new(&plan.ca_file(), pem.as_bytes(), files::PUBLIC)?;
            self.made.push(Step::File(plan.ca_file()));
        }
        if !plan.main_file().exists() {
            files::write_new(&plan.main_file(), settings::starter().as_bytes(), files::PUBLIC)?;
            self.made.push(Step::File(plan.main_file()));
        }
        let text = table::render(plan, endpoints, left_out, trust);
        let is_first = !plan.drop_in().exists();
        files::append(&plan.drop_in(), if is_first { text.trim_start() } else { &text })?;
        self.made.push(Step::File(plan.drop_in()));
        self.check_settings(terminal);
        Ok(self.summary(&version, &table))
    }

    /// How the endpoints are to prove themselves, tried with the new token: by the cluster's own
    /// root or a public authority where that works, since those outlast a certificate, else by
    /// their fingerprints.
    async fn choose(
        &self,
        server: &Server,
        mut endpoints: Vec<Candidate>,
        mut left_out: Vec<Member>,
        secret: &secrecy::SecretString,
    ) -> anyhow::Result<(Table, String)> {
        if let Some(pem) = server.root_certificate(&endpoints[0]).await {
            let trust = Trust::Root(pem);
            if let Ok(version) = self.answers(&endpoints, &trust, secret).await {
                return Ok((Table { endpoints, left_out, trust }, version));
            }
        }
        let trust = Trust::System;
        if let Ok(version) = self.answers(&endpoints[..1], &trust, secret).await {
            // Of the others only addresses are known, which such certificates do not carry.
            let others = endpoints.split_off(1);
            left_out.extend(others.into_iter().map(Member::without_name));
            return Ok((Table { endpoints, left_out, trust }, version));
        }
        let trust = Trust::Pins;
        let version = self.answers(&endpoints, &trust, secret).await?;
        Ok((Table { endpoints, left_out, trust }, version))
    }

    /// The endpoint that was given, under its node's name where that is known, and the others.
    async fn members(
        &self,
        terminal: &mut dyn Terminal,
        server: &Server,
        fingerprint: Fingerprint,
        address_of: &Address<'_>,
    ) -> (Candidate, Vec<Candidate>) {
        let given = Candidate::given(&self.plan.target, fingerprint);
        match server.members().await {
            Ok(rows) => members::split(given, rows, self.plan.target.port, address_of),
            Err(error) => {
                let error = Chain(&error);
                terminal.say(&format!("warning: the cluster's members are unknown: {error}"));
                (given, Vec::new())
            }
        }
    }

    /// The version, as each endpoint tells it to the new token.
    async fn answers(
        &self,
        endpoints: &[Candidate],
        trust: &Trust,
        secret: &secrecy::SecretString,
    ) -> anyhow::Result<String> {
        let mut version = String::new();
        // The one that was given comes last, so that it is the one that is told of.
        for endpoint in endpoints.iter().rev() {
            version = server::version(self.plan, endpoint, trust, secret).await?;
        }
        Ok(version)
    }

    /// Whether the new table can be read; what is wrong in other files is not ours to stop for.
    fn check_settings(&self, terminal: &mut dyn Terminal) {
        let mut sources = Sources::default();
        sources.config = Some(self.plan.main_file());
        if let Err(errors) = settings::load(&sources) {
            for error in errors.errors {
                terminal.say(&format!("warning: the settings have an error: {error}"));
            }
        }
    }

    fn summary(&self, version: &str, table: &Table) -> String {
        let plan = self.plan;
        let mut text = format!(
            "{key}: {product} {version} answers the token {token}.\n\nThe token may:\n",
            key = plan.key,
            product = plan.product_name(),
            token = plan.token_id(),
        );
        for grant in plan.grants() {
            let _ = writeln!(text, "  {}: {}", grant.role, grant.what_for);
        }
        let release = version.split('.').next().and_then(|major| major.parse().ok());
        let left_out = shell::left_out(plan, release);
        if !left_out.is_empty() {
            let _ = writeln!(text, "\nLeft out; in the server's shell:\n{}", left_out.trim_end());
        }
        text.push_str("\nWritten:\n");
        for step in &self.made {
            if let Step::File(path) = step {
                let _ = writeln!(text, "  {}", path.display());
            }
        }
        let count = table.endpoints.len();
        let _ = write!(text, "The table has {}", super::plural(count, "endpoint", "endpoints"));
        if table.left_out.is_empty() {
            text.push_str(".\n");
        } else {
            let names: Vec<&str> = table.left_out.iter().map(Member::name).collect();
            let names = names.join(", ");
            let _ = writeln!(text, "; not among them, for the reason that it tells: {names}.");
        }
        let _ =
            write!(text, "\nNext:\n  proxmox-mcp test --only {}{}\n", plan.key, plan.config_flag());
        if plan.product == ProductArg::Pve && plan.operate {
            let _ = writeln!(
                text,
                "  proxmox-mcp serve --mode trusted{}    to let tools start, stop and snapshot",
                plan.config_flag()
            );
        }
        text
    }

    /// What went wrong, what was made before, and how to take it back.
    fn failure(&self, error: &anyhow::Error) -> String {
        let mut text = format!("failed to {error:#}");
        if self.made.is_empty() {
            text.push_str("\nNothing was made.");
            return text;
        }
        text.push_str("\nMade before that; to take it back:");
        for step in self.made.iter().rev() {
            let place = if matches!(step, Step::File(_)) { "here" } else { "server" };
            let _ = write!(text, "\n  {place:<6}  {}", shell::undo(self.plan, step));
        }
        text
    }
}

/// Tells which grants do not come through: a permission on a deeper path replaces them there.
fn say_missing(terminal: &mut dyn Terminal, plan: &Plan, held: &Permissions) {
    let product = match plan.product {
        ProductArg::Pve => needs::Product::Pve,
        ProductArg::Pbs => needs::Product::Pbs,
    };
    let missing: Vec<String> = needs::unmet(product, held)
        .filter(|need| plan.grants_need(need))
        .map(|need| format!("{} on {}", need.privileges[0], need.path))
        .collect();
    if !missing.is_empty() {
        terminal.say(&format!(
            "warning: the token does not hold everywhere: {}; a permission of {} or of the token on \
             a path below {PATH} replaces what was given there: {}",
            missing.join(", "),
            plan.user(),
            shell::list_command(plan.product),
        ));
    }
}

fn survey_failed(plan: &Plan, error: &api_core::Error) -> anyhow::Error {
    let hint = if error.is_permission_denied() {
        format!(": {} may not do that; name an administrator with --admin", plan.admin)
    } else {
        String::new()
    };
    let error = Chain(error);
    refused(format!("failed to look at users and roles: {error}; nothing was changed{hint}"))
}

/// The host of an address as it stands in a URL.
fn bracketed(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    }
}

/// A node of the cluster as its own API tells it.
struct MemberRow {
    name: NodeName,
    is_local: bool,
    address: Option<IpAddr>,
    fingerprint: Option<Fingerprint>,
}
