//! What `config add` is going to do, as data: names, grants, and the steps in their order.

use std::path::PathBuf;

use anyhow::{Context, bail};
use api_core::endpoint::{Disk, EndpointConfig, Target};
use estate::ClusterKey;
use mcp_tools::needs::Need;
use settings::Sources;
use stdx::tls::Fingerprint;

use crate::cli::{AddArgs, ProductArg};
use crate::config::files;

/// Everything that is known before the server is asked.
pub(super) struct Plan {
    pub(super) product: ProductArg,
    pub(super) key: ClusterKey,
    pub(super) target: Target,
    /// Who makes user, role and token.
    pub(super) admin: String,
    pub(super) token_name: String,
    /// What the certificate must be; unset, a person is asked.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) operate: bool,
    pub(super) backup_lists: bool,
    /// The folder of the settings.
    pub(super) out: PathBuf,
    /// Whether the settings in that folder are found without a flag.
    is_usual_place: bool,
}

/// Where every role is given. A role on a deeper path would replace the ones that are inherited:
/// with `McpOperate` on `/vms`, nothing of `PVEAuditor` on `/` would hold there.
pub(super) const PATH: &str = "/";

/// A role on [`PATH`], for the user and its token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) role: &'static str,
    /// What the role holds; empty for one that comes with the product.
    pub(super) privileges: &'static [&'static str],
    pub(super) what_for: &'static str,
}

/// One thing to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    User,
    Role(&'static Grant),
    Token,
    Acl {
        grant: &'static Grant,
        who: Who,
    },
    /// A file on this machine.
    File(PathBuf),
}

/// Who gets a grant: PVE takes both in one call, PBS one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Both,
    User,
    Token,
}

pub(super) const PVE_AUDIT: Grant = Grant {
    role: "PVEAuditor",
    privileges: &[],
    what_for: "look at nodes, guests, storages, tasks and backup jobs",
};
pub(super) const PVE_READ: Grant = Grant {
    role: "McpRead",
    privileges: &["Sys.Syslog"],
    what_for: "read the nodes' logs and the whole cluster log",
};
pub(super) const PVE_BACKUP_LIST: Grant = Grant {
    role: "McpBackupList",
    privileges: &["Datastore.AllocateSpace", "VM.Backup"],
    what_for: "list backup files on PVE storages (these privileges can make and delete backups, too)",
};
pub(super) const PVE_OPERATE: Grant = Grant {
    role: "McpOperate",
    privileges: &["VM.PowerMgmt", "VM.Snapshot"],
    what_for: "start, stop and snapshot guests",
};
/// On PVE 8; what PVE 9 has in its place comes with `PVEAuditor`.
pub(super) const PVE_8_MONITOR: Grant = Grant {
    role: "McpMonitor",
    privileges: &["VM.Monitor"],
    what_for: "read addresses of virtual machines (this privilege can run commands in them, too)",
};
const PBS_AUDIT: Grant = Grant {
    role: "Audit",
    privileges: &[],
    what_for: "look at datastores, backups, jobs, tasks and the server's status",
};

// === impl Plan ===

impl Plan {
    /// Checks what was asked for; contacts nothing.
    pub(super) fn try_new(args: &AddArgs, sources: &Sources) -> anyhow::Result<Self> {
        let (target, product) = target(args)?;
        let key = key(args, &target)?;
        let is_login = args.admin.split_once('@').is_some_and(|(name, realm)| {
            !name.is_empty() && !realm.is_empty() && !args.admin.contains(['!', ' '])
        });
        if !is_login {
            bail!("--admin {:?} is not a user with its realm; write root@pam", args.admin);
        }
        let mut letters = args.token_name.chars();
        let is_name = args.token_name.len() >= 2
            && letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
        if !is_name {
            bail!(
                "--token-name {:?} is not a token's name: a letter, then letters, digits, dots, - or _",
                args.token_name
            );
        }
        let fingerprint = args.fingerprint.as_deref().map(str::parse).transpose();
        let fingerprint = fingerprint.context("read --fingerprint")?;
        let (out, is_usual_place) = folder(args, sources);
        Ok(Self {
            product,
            key,
            target,
            admin: args.admin.clone(),
            token_name: args.token_name.clone(),
            fingerprint,
            operate: args.operate,
            backup_lists: args.backup_lists,
            out,
            is_usual_place,
        })
    }

    /// The section of the settings: `pve` or `pbs`, which is the realm of the user as well.
    pub(super) fn section(&self) -> &'static str {
        section(self.product)
    }

    pub(super) fn product_name(&self) -> &'static str {
        product_name(self.product)
    }

    pub(super) fn user(&self) -> String {
        format!("mcp@{}", self.section())
    }

    pub(super) fn token_id(&self) -> String {
        format!("{}!{}", self.user(), self.token_name)
    }

    pub(super) fn main_file(&self) -> PathBuf {
        self.out.join("config.toml")
    }

    pub(super) fn drop_in_folder(&self) -> PathBuf {
        self.out.join("conf.d")
    }

    pub(super) fn drop_in(&self) -> PathBuf {
        self.drop_in_folder().join(format!("{}.toml", self.key))
    }

    pub(super) fn secrets_folder(&self) -> PathBuf {
        self.out.join("secrets")
    }

    pub(super) fn secret_file(&self) -> PathBuf {
        self.secrets_folder().join(format!("{}.token", self.key))
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.out.join(format!("{}-ca.pem", self.key))
    }

    /// The flag that the next commands need to find the settings, with a blank before it.
    pub(super) fn config_flag(&self) -> String {
        if self.is_usual_place {
            return String::new();
        }
        format!(" --config {}", self.main_file().display())
    }

    /// The roles that the user and the token get.
    pub(super) fn grants(&self) -> Vec<&'static Grant> {
        match self.product {
            ProductArg::Pbs => vec![&PBS_AUDIT],
            ProductArg::Pve => {
                let mut grants = vec![&PVE_AUDIT, &PVE_READ];
                if self.backup_lists {
                    grants.push(&PVE_BACKUP_LIST);
                }
                if self.operate {
                    grants.push(&PVE_OPERATE);
                }
                grants
            }
        }
    }

    /// Whether one of the grants is there for it.
    pub(super) fn grants_need(&self, need: &Need) -> bool {
        self.grants().iter().any(|grant| match grant.privileges {
            // What a role of the product holds, the table of needs says.
            [] => need.role.is_some() && !need.operate,
            own => need.privileges.iter().any(|privilege| own.contains(privilege)),
        })
    }

    /// What is made on the server, in this order.
    pub(super) fn steps(&self) -> Vec<Step> {
        let grants = self.grants();
        let own = grants.iter().filter(|grant| !grant.privileges.is_empty());
        let mut steps = vec![Step::User];
        steps.extend(own.map(|grant| Step::Role(grant)));
        steps.push(Step::Token);
        let who: &[Who] = match self.product {
            ProductArg::Pve => &[Who::Both],
            ProductArg::Pbs => &[Who::User, Who::Token],
        };
        for grant in grants {
            steps.extend(who.iter().map(|&who| Step::Acl { grant, who }));
        }
        steps
    }
}

// === impl Step ===

impl Step {
    /// What it makes, in a few words.
    pub(super) fn describe(&self, plan: &Plan) -> String {
        match self {
            Self::User => format!("user {}", plan.user()),
            Self::Role(grant) => format!("role {} ({})", grant.role, grant.privileges.join(", ")),
            Self::Token => format!("token {}", plan.token_id()),
            Self::Acl { grant, who } => {
                let who = match who {
                    Who::Both => format!("{} and {}", plan.user(), plan.token_id()),
                    Who::User => plan.user(),
                    Who::Token => plan.token_id(),
                };
                format!("permission {} on {PATH} for {who}", grant.role)
            }
            Self::File(path) => format!("file {}", path.display()),
        }
    }
}

pub(super) fn product_name(product: ProductArg) -> &'static str {
    match product {
        ProductArg::Pve => "PVE",
        ProductArg::Pbs => "PBS",
    }
}

pub(super) fn section(product: ProductArg) -> &'static str {
    match product {
        ProductArg::Pve => "pve",
        ProductArg::Pbs => "pbs",
    }
}

/// The address, and the product that answers there.
fn target(args: &AddArgs) -> anyhow::Result<(Target, ProductArg)> {
    let ports = [pve_client::config::DEFAULT_PORT, pbs_client::config::DEFAULT_PORT];
    let [as_pve, as_pbs] = ports.map(|port| parse(&args.url, port));
    let (as_pve, as_pbs) = (as_pve?, as_pbs?);
    let product = match args.product {
        Some(product) => product,
        // A port that is written is the same whichever is the default.
        None if as_pve.port == as_pbs.port && as_pve.port == ports[0] => ProductArg::Pve,
        None if as_pve.port == as_pbs.port && as_pve.port == ports[1] => ProductArg::Pbs,
        None => bail!(
            "{} does not tell which product answers there; add --product pve or --product pbs",
            args.url
        ),
    };
    let target = match product {
        ProductArg::Pve => as_pve,
        ProductArg::Pbs => as_pbs,
    };
    Ok((target, product))
}

/// Reads the address by the rules of the settings.
fn parse(url: &str, port: u16) -> anyhow::Result<Target> {
    let config = EndpointConfig {
        endpoints: vec![url.to_owned()],
        // The rules want a credential, which there is none of yet.
        username: Some("nobody@pam".to_owned()),
        password: Some("none".into()),
        ..EndpointConfig::default()
    };
    match config.check("pve", port, "new", &Disk) {
        Ok(checked) => {
            let target = checked.value.targets.into_iter().next();
            target.context("read the address")
        }
        Err(error) => bail!("the address: {}; {}", error.reason, error.hint),
    }
}

fn key(args: &AddArgs, target: &Target) -> anyhow::Result<ClusterKey> {
    if let Some(given) = &args.key {
        return ClusterKey::try_new(given).context("use --key");
    }
    if target.host.parse::<std::net::IpAddr>().is_ok() {
        bail!("an address is no name for the settings table; add --key NAME, such as --key home");
    }
    let label = target.host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let name = label.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    ClusterKey::try_new(&name).context("name the settings table after the host; add --key NAME")
}

/// The folder of the settings, and whether it is where they are looked for.
fn folder(args: &AddArgs, sources: &Sources) -> (PathBuf, bool) {
    let usual = files::usual_folders(sources);
    if let Some(given) = &args.out {
        return (given.clone(), usual.contains(given));
    }
    (files::settings_folder(&usual), true)
}
