//! The calls of `config add`, to either product.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use api_core::endpoint::{ConfigError, Credential, EndpointConfig, FileContent, OneOrMany};
use api_core::{Error, FailoverOptions};
use mcp_tools::permissions::Permissions;
use secrecy::{ExposeSecret as _, SecretString};
use stdx::SystemClock;
use stdx::tls::Fingerprint;

use super::super::refused;
use super::MemberRow;
use super::members::Candidate;
use super::plan::{PATH, Plan, Step, Who, product_name, section};
use super::table::Trust;
use crate::cli::ProductArg;

/// The file name that PVE gives the cluster's own root in its list of certificates.
const ROOT_FILE: &str = "pve-root-ca.pem";

/// A server, spoken to as its administrator.
pub(super) enum Server {
    Pve(pve_client::Client),
    Pbs(pbs_client::Client),
}

/// A connection that is pinned to the confirmed certificate and has no credential yet.
pub(super) struct Login {
    admin: String,
    options: Options,
    server: Server,
}

enum Options {
    Pve(pve_client::ConnectOptions),
    Pbs(pbs_client::ConnectOptions),
}

/// What a login is asked with.
pub(super) struct Credentials<'a> {
    /// The password, or the answer to the challenge.
    pub(super) password: &'a SecretString,
    pub(super) challenge: Option<SecretString>,
}

/// What a login gave: a ticket, or the challenge of a second factor.
pub(super) struct Session {
    ticket: Option<SecretString>,
    needs_second_factor: bool,
}

/// What the server has of the plan already.
pub(super) struct Survey {
    pub(super) has_user: bool,
    pub(super) has_token: bool,
    /// Privileges by role.
    pub(super) roles: BTreeMap<String, BTreeSet<String>>,
    /// Path, role and user or token of what is granted, to everything below the path.
    acl: BTreeSet<(String, String, String)>,
}

// === impl Login ===

impl Login {
    pub(super) fn new(plan: &Plan, fingerprint: Fingerprint) -> anyhow::Result<Self> {
        let endpoint = Candidate::given(&plan.target, fingerprint);
        let options = Options::try_new(plan, &endpoint, &Trust::Pins)?;
        let clock = SystemClock::shared();
        let server = match &options {
            Options::Pve(options) => {
                let transport = options.transport(FailoverOptions::default(), clock);
                Server::Pve(pve_client::Client::new(Arc::new(transport)))
            }
            Options::Pbs(options) => {
                let transport = options.transport(FailoverOptions::default(), clock);
                Server::Pbs(pbs_client::Client::new(Arc::new(transport)))
            }
        };
        Ok(Self { admin: plan.admin.clone(), options, server })
    }

    /// Asks for a ticket.
    pub(super) async fn ask(&self, credentials: &Credentials<'_>) -> Result<Session, Error> {
        let username = self.admin.clone();
        let password = Some(credentials.password.clone());
        let tfa_challenge = credentials.challenge.clone();
        match &self.server {
            Server::Pve(client) => {
                use pve_client::access::{TicketParams, ticket};
                let options = TicketParams { username, password, tfa_challenge };
                let reply = client.call(ticket(options)).await?;
                Ok(Session::new(reply.ticket, reply.needs_tfa))
            }
            Server::Pbs(client) => {
                use pbs_client::access::{TicketParams, ticket};
                let options = TicketParams { username, password, tfa_challenge };
                let reply = client.call(ticket(options)).await?;
                Ok(Session::new(reply.ticket, false))
            }
        }
    }

    /// The server, spoken to with the ticket: a ticket that holds is taken in the password's place.
    pub(super) fn open(self, plan: &Plan, session: &Session) -> anyhow::Result<Server> {
        let password = session.ticket(plan)?;
        // Both products answer a login; the ticket tells which one did.
        let other = match plan.product {
            ProductArg::Pve => ProductArg::Pbs,
            ProductArg::Pbs => ProductArg::Pve,
        };
        let is_other = match other {
            ProductArg::Pve => password.expose_secret().starts_with("PVE:"),
            ProductArg::Pbs => password.expose_secret().starts_with("PBS:"),
        };
        if is_other {
            return Err(refused(format!(
                "{} is not a {}; nothing was changed: add --product {}",
                plan.target.url,
                product_name(plan.product),
                section(other),
            )));
        }
        self.options.connect(Credential::Password { username: self.admin, password, totp: None })
    }
}

// === impl Session ===

impl Session {
    fn new(ticket: Option<SecretString>, needs_second_factor: bool) -> Self {
        let is_challenge =
            ticket.as_ref().is_some_and(|ticket| ticket.expose_secret().contains(":!tfa!"));
        Self { ticket, needs_second_factor: needs_second_factor || is_challenge }
    }

    pub(super) fn needs_second_factor(&self) -> bool {
        self.needs_second_factor
    }

    pub(super) fn ticket(&self, plan: &Plan) -> anyhow::Result<SecretString> {
        let Some(ticket) = &self.ticket else {
            bail!("{} answered the login without a ticket", plan.target.url);
        };
        Ok(ticket.clone())
    }
}

// === impl Options ===

impl Options {
    fn try_new(plan: &Plan, endpoint: &Candidate, trust: &Trust) -> anyhow::Result<Self> {
        let mut config = EndpointConfig {
            endpoints: vec![endpoint.url.clone()],
            // The rules want a credential; the caller puts the real one in its place.
            username: Some("nobody@pam".to_owned()),
            password: Some("none".into()),
            ..EndpointConfig::default()
        };
        let mut root = String::new();
        match trust {
            Trust::System => {}
            Trust::Root(pem) => {
                config.ca_file = Some("root.pem".into());
                root.clone_from(pem);
            }
            Trust::Pins => {
                let Some(fingerprint) = endpoint.fingerprint else {
                    bail!("no fingerprint of {} is known", endpoint.url);
                };
                config.fingerprint = Some(OneOrMany(vec![fingerprint.to_string()]));
            }
        }
        let files = move |_: &Path| -> io::Result<FileContent> {
            Ok(FileContent { bytes: root.clone().into_bytes(), world_readable: None })
        };
        let key = plan.key.as_str();
        let wrong = |error: ConfigError| anyhow::anyhow!("{}; {}", error.reason, error.hint);
        Ok(match plan.product {
            ProductArg::Pve => {
                let checked = pve_client::Config(config).validate(key, &files).map_err(wrong)?;
                Self::Pve(checked.value)
            }
            ProductArg::Pbs => {
                let checked = pbs_client::Config(config).validate(key, &files).map_err(wrong)?;
                Self::Pbs(checked.value)
            }
        })
    }

    fn connect(&self, credential: Credential) -> anyhow::Result<Server> {
        Ok(match self {
            Self::Pve(options) => Server::Pve(
                pve_client::Client::connect(&options.with_credential(credential))
                    .context("prepare the connection")?,
            ),
            Self::Pbs(options) => Server::Pbs(
                pbs_client::Client::connect(&options.with_credential(credential))
                    .context("prepare the connection")?,
            ),
        })
    }
}

// === impl Server ===

impl Server {
    /// What is there already.
    pub(super) async fn survey(&self, plan: &Plan) -> Result<Survey, Error> {
        let user = plan.user();
        match self {
            Self::Pve(client) => {
                use pve_client::access;
                let users = client.call(access::users(false)).await?;
                let has_user = users.iter().any(|known| known.id == user);
                let mut has_token = false;
                if has_user {
                    let tokens = client.call(access::tokens(&user)).await?;
                    has_token = tokens.iter().any(|token| token.name == plan.token_name);
                }
                let roles = client.call(access::roles()).await?.into_iter();
                let roles = roles.map(|role| (role.id, role.privileges.into_iter().collect()));
                let acl = client.call(access::acl()).await?.into_iter();
                let acl = acl.filter(|entry| entry.propagate && entry.kind != "group");
                let acl = acl.map(|entry| (entry.path, entry.role, entry.id)).collect();
                Ok(Survey { has_user, has_token, roles: roles.collect(), acl })
            }
            Self::Pbs(client) => {
                use pbs_client::access;
                let users = client.call(access::users(false)).await?;
                let has_user = users.iter().any(|known| known.id == user);
                let mut has_token = false;
                if has_user {
                    let tokens = client.call(access::tokens(&user)).await?;
                    has_token = tokens.iter().any(|token| token.id == plan.token_id());
                }
                let acl = client.call(access::acl(None, false)).await?.into_iter();
                let acl = acl.filter(|entry| entry.propagate && entry.kind != "group");
                let acl = acl.map(|entry| (entry.path, entry.role, entry.id)).collect();
                Ok(Survey { has_user, has_token, roles: BTreeMap::new(), acl })
            }
        }
    }

    /// Makes one thing; the token's secret comes back.
    pub(super) async fn make(
        &self,
        plan: &Plan,
        step: &Step,
    ) -> Result<Option<SecretString>, Error> {
        match self {
            Self::Pve(client) => make_on_pve(client, plan, step).await,
            Self::Pbs(client) => make_on_pbs(client, plan, step).await,
        }
    }

    /// The members of the cluster; none on a backup server and on a standalone node.
    pub(super) async fn members(&self) -> Result<Vec<MemberRow>, Error> {
        use pve_client::cluster::{self, MemberKind};

        let Self::Pve(client) = self else { return Ok(Vec::new()) };
        let status = client.call(cluster::status()).await?;
        let nodes = client.call(pve_client::nodes::list()).await?;
        let rows = status.into_iter().filter(|row| row.kind == MemberKind::Node);
        let members = rows.filter_map(|row| {
            let node = nodes.iter().find(|node| node.node.as_str() == row.name)?;
            Some(MemberRow {
                name: node.node.clone(),
                is_local: row.local == Some(true),
                address: row.ip.as_deref().and_then(|ip| ip.parse().ok()),
                fingerprint: node.ssl_fingerprint.as_deref().and_then(|text| text.parse().ok()),
            })
        });
        Ok(members.collect())
    }

    /// The root that signs the nodes' certificates, where the node tells it.
    pub(super) async fn root_certificate(&self, endpoint: &Candidate) -> Option<String> {
        let (Self::Pve(client), Some(node)) = (self, &endpoint.name) else { return None };
        let certificates = client.call(pve_client::nodes::certificates(node)).await.ok()?;
        let root = certificates.into_iter().find(|found| found.filename == ROOT_FILE)?;
        root.pem.filter(|pem| !pem.trim().is_empty())
    }
}

/// The version that the endpoint tells the new token.
pub(super) async fn version(
    plan: &Plan,
    endpoint: &Candidate,
    trust: &Trust,
    secret: &SecretString,
) -> anyhow::Result<String> {
    let options = Options::try_new(plan, endpoint, trust)?;
    let credential = Credential::Token { id: plan.token_id(), secret: secret.clone() };
    Ok(match options.connect(credential)? {
        Server::Pve(client) => client.call(pve_client::version::get()).await?.version,
        Server::Pbs(client) => client.call(pbs_client::version::get()).await?.version,
    })
}

/// What the new token really holds.
pub(super) async fn held(
    plan: &Plan,
    endpoint: &Candidate,
    trust: &Trust,
    secret: &SecretString,
) -> anyhow::Result<Permissions> {
    let options = Options::try_new(plan, endpoint, trust)?;
    let credential = Credential::Token { id: plan.token_id(), secret: secret.clone() };
    Ok(match options.connect(credential)? {
        Server::Pve(client) => {
            let held = client.call(pve_client::access::permissions(None, None)).await?.into_iter();
            let plain = held.map(|(path, privileges)| {
                let privileges = privileges.into_iter().map(|(name, below)| (name, below.0));
                (path, privileges.collect())
            });
            Permissions::from(plain.collect::<BTreeMap<String, BTreeMap<String, bool>>>())
        }
        Server::Pbs(client) => {
            Permissions::from(client.call(pbs_client::access::permissions(None, None)).await?)
        }
    })
}

async fn make_on_pve(
    client: &pve_client::Client,
    plan: &Plan,
    step: &Step,
) -> Result<Option<SecretString>, Error> {
    use pve_client::access::{self, AclParams, TokenParams, UserParams};

    let comment = Some("proxmox-mcp".to_owned());
    match step {
        Step::User => {
            let options = UserParams { comment, ..UserParams::default() };
            client.call(access::create_user(&plan.user(), None, options)).await?;
        }
        Step::Role(grant) => {
            client.call(access::create_role(grant.role, grant.privileges)).await?;
        }
        Step::Token => {
            let options = TokenParams { comment, separate: Some(true), ..TokenParams::default() };
            let request = access::create_token(&plan.user(), &plan.token_name, options);
            return Ok(Some(client.call(request).await?.secret));
        }
        Step::Acl { grant, who } => {
            let users = (*who != Who::Token).then(|| plan.user());
            let tokens = (*who != Who::User).then(|| plan.token_id());
            let options = AclParams {
                path: PATH.to_owned(),
                roles: [grant.role].into_iter().collect(),
                users: users.into_iter().collect(),
                tokens: tokens.into_iter().collect(),
                ..AclParams::default()
            };
            client.call(access::update_acl(options)).await?;
        }
        Step::File(_) => {}
    }
    Ok(None)
}

async fn make_on_pbs(
    client: &pbs_client::Client,
    plan: &Plan,
    step: &Step,
) -> Result<Option<SecretString>, Error> {
    use pbs_client::access::{self, AclParams, TokenParams, UserParams};

    let comment = Some("proxmox-mcp".to_owned());
    match step {
        Step::User => {
            let options = UserParams { comment, ..UserParams::default() };
            client.call(access::create_user(&plan.user(), None, options)).await?;
        }
        Step::Token => {
            let options = TokenParams { comment, ..TokenParams::default() };
            let request = access::create_token(&plan.user(), &plan.token_name, options);
            return Ok(Some(client.call(request).await?.secret));
        }
        Step::Acl { grant, who } => {
            let auth_id = if *who == Who::Token { plan.token_id() } else { plan.user() };
            let options = AclParams {
                path: PATH.to_owned(),
                role: grant.role.to_owned(),
                auth_id: Some(auth_id),
                ..AclParams::default()
            };
            client.call(access::update_acl(options)).await?;
        }
        // The roles of a backup server all come with it.
        Step::Role(_) | Step::File(_) => {}
    }
    Ok(None)
}

// === impl Survey ===

impl Survey {
    /// What of the step is left to make; taking that back leaves what was there.
    pub(super) fn missing(&self, plan: &Plan, step: &Step) -> Option<Step> {
        let has = match step {
            Step::User => self.has_user,
            Step::Role(grant) => self.roles.contains_key(grant.role),
            Step::Token => self.has_token,
            Step::File(_) => false,
            Step::Acl { grant, who } => {
                let has =
                    |id: String| self.acl.contains(&(PATH.to_owned(), grant.role.to_owned(), id));
                let lacks_user = *who != Who::Token && !has(plan.user());
                let lacks_token = *who != Who::User && !has(plan.token_id());
                let who = match (lacks_user, lacks_token) {
                    (true, true) => Who::Both,
                    (true, false) => Who::User,
                    (false, true) => Who::Token,
                    (false, false) => return None,
                };
                return Some(Step::Acl { grant, who });
            }
        };
        (!has).then(|| step.clone())
    }
}
