//! Policy: which calls run, which ask a person first, and which are refused.
//!
//! Lines stand in an order; for each target of a call the first line that matches decides, then the
//! built-in ones (`default.*`). Of several targets the strictest decision counts. Every decision
//! names its line and says why.
//!
//! ```
//! use estate::Access;
//! use guard::policy::{Asked, Decision, Defaults, Nature, Policy, Transport};
//! use guard::{Mode, Principal};
//!
//! let policy = Policy::try_new(Vec::new(), Defaults::default())?;
//! let asked = Asked {
//!     principal: &Principal::local(1000),
//!     transport: Transport::Local,
//!     tool: "guest_delete",
//!     toolsets: &["guests"],
//!     access: Access::Destroy,
//!     nature: Nature::Ordinary,
//!     targets: &[],
//!     args: &serde_json::Value::Null,
//!     mode: Mode::Guarded,
//!     now: &jiff::Zoned::default(),
//! };
//! let decided = policy.decide(&asked);
//! assert!(matches!(decided.decision, Decision::Ask(_)));
//! assert_eq!(decided.line, "default.destroy");
//! # Ok::<(), guard::policy::PolicyError>(())
//! ```
//!
//! *Invariant:* a line speaks of protected targets only where it says so, and no line lets
//! something be lost without consent unless it names one guest.

mod build;
mod defaults;
mod nature;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

use std::time::Duration;

use estate::Access;
use jiff::Zoned;
use serde_json::Value;

pub use self::build::PolicyError;
pub use self::defaults::LINES;
pub use self::pattern::{InvalidPattern, Pattern, VmIds};
pub use self::rule::{Effect, Matchers, Rule, SHAPE};
use crate::{Mode, Principal};
pub use stdx::{Hours, InvalidHours};

/// All lines, checked, and the built-in ones behind them.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    defaults: Defaults,
}

/// What the built-in lines leave open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// How many additive actions the local user gets unasked in an hour.
    pub unasked_per_hour: u32,
    /// For how long people may answer.
    pub within: Duration,
    /// What an answer that is given in the MCP client counts for.
    pub client: ClientTrust,
    /// Whether `--mode trusted` trusts callers over HTTP, too. No setting says so, since a line of the
    /// policy names who may do what; it is for an estate that is nobody's, such as a simulated one.
    pub trusts_http: bool,
}

/// What an answer that is given in the MCP client counts for.
///
/// A client belongs to whoever runs it: what answers there is a person only if the asking account
/// runs no client of a model's making.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientTrust {
    /// For nothing.
    Nothing,
    /// For what can be taken back.
    #[default]
    Operate,
    /// For what may lose something, too.
    Everything,
}

/// The way by which a call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Standard input, the control socket, the command line.
    Local,
    /// HTTP, with a token.
    Http,
    /// A messaging channel.
    Channel,
    /// A playbook.
    Automation,
}

/// What kind of change a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nature {
    /// Neither of the others.
    #[default]
    Ordinary,
    /// Only adds: a guest started, a snapshot made, a backup run or verified.
    Additive,
    /// Takes the power from under what runs: stop and reset of a guest, power of a node.
    Cuts,
}

/// What a call touches, as far as policy looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As people write it: `lab/104`, `lab/alder`, `vault/main`.
    pub address: String,
    /// What it is.
    pub kind: TargetKind,
    /// The settings key of its cluster or backup server.
    pub cluster: String,
    /// The node that it is or is on.
    pub node: Option<String>,
    /// The guest's id.
    pub vmid: Option<u32>,
    /// Its name, for people.
    pub name: Option<String>,
    /// The pool that it is in.
    pub pool: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Why nothing may be done to it, if so.
    pub protection: Option<Protection>,
}

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// A virtual machine or a container.
    Guest,
    /// A node.
    Node,
    /// A storage of a cluster.
    Storage,
    /// A datastore of a backup server.
    Datastore,
    /// A cluster or backup server as a whole.
    Cluster,
}

/// Why nothing is done to a target unless a line says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protection {
    /// Its tags say so.
    Tag,
    /// Proxmox's own flag is set.
    Flag,
    /// This server runs in it.
    ThisServer,
    /// The guest that this server runs in is on it; only its power is protected.
    ThisServersNode,
}

/// A call as policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// By which way.
    pub transport: Transport,
    /// The tool.
    pub tool: &'a str,
    /// The toolsets that it is in.
    pub toolsets: &'a [&'a str],
    /// What the call can do, by its arguments.
    pub access: Access,
    /// What kind of change it is.
    pub nature: Nature,
    /// What it touches; of a read, the cluster or backup server that is read.
    pub targets: &'a [Target],
    /// Its arguments.
    pub args: &'a Value,
    /// How far the server goes for anybody.
    pub mode: Mode,
    /// When.
    pub now: &'a Zoned,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It runs.
    Allow,
    /// It runs when people have agreed to its plan.
    Ask(Ask),
    /// It does not run.
    Deny,
}

/// Whose consent it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Names of approvers or of their teams; empty: any approver.
    pub of: Vec<String>,
    /// How many of them.
    pub count: u32,
    /// Within which time.
    pub within: Duration,
    /// Whether the person at the asking client counts as well.
    pub client: bool,
}

/// A decision, the line that made it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What becomes of the call.
    pub decision: Decision,
    /// The name of the line's table (`night`), or `default.` and a word.
    pub line: String,
    /// A sentence for the caller: what matched, and what to do about it.
    pub why: String,
    /// How many calls an hour this line allows unasked, if that is limited; beyond it see
    /// [`Policy::beyond_budget`].
    pub unasked_per_hour: Option<u32>,
}

// === impl Policy ===

impl Policy {
    /// What becomes of the call: the strictest decision over all its targets.
    pub fn decide(&self, asked: &Asked<'_>) -> Decided {
        if let Some(decided) = defaults::mode(asked) {
            return decided;
        }
        let mut targets = asked.targets.iter();
        let Some(first) = targets.next() else { return self.decide_one(asked, None) };
        let first = self.decide_one(asked, Some(first));
        targets
            .fold(first, |strictest, target| strictest.joined(self.decide_one(asked, Some(target))))
    }

    /// What becomes of a call that a line would allow, but more often than it allows: it asks.
    pub fn beyond_budget(&self, asked: &Asked<'_>, decided: &Decided) -> Decided {
        let limit = decided.unasked_per_hour.unwrap_or_default();
        Decided {
            decision: Decision::Ask(self.defaults.ask(asked.access)),
            why: format!(
                "`{}` allows {limit} such calls an hour unasked, and these are used up",
                decided.line
            ),
            line: defaults::BUDGET.to_owned(),
            unasked_per_hour: None,
        }
    }

    /// Whether any line refuses reads: where none does, nothing has to be asked about them.
    pub fn refuses_reads(&self) -> bool {
        let denies = |rule: &&Rule| matches!(rule.effect, Effect::Deny { .. });
        self.rules.iter().filter(denies).any(|rule| rule.speaks_of(Access::Read))
    }

    /// The lines that were asked about one target and did not decide, each with the matcher that
    /// did not fit, in their order.
    pub fn passed_over(
        &self,
        asked: &Asked<'_>,
        target: Option<&Target>,
    ) -> Vec<(&str, &'static str)> {
        let about = rule::About::new(asked, target);
        let asked = self.rules.iter().map(|rule| (rule.name.as_str(), rule.why_not(&about)));
        asked.map_while(|(name, matcher)| Some((name, matcher?))).collect()
    }

    /// The lines in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What the built-in lines use.
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    fn decide_one(&self, asked: &Asked<'_>, target: Option<&Target>) -> Decided {
        let about = rule::About::new(asked, target);
        self.rules
            .iter()
            .find_map(|rule| rule.decide(&about, &self.defaults))
            .unwrap_or_else(|| defaults::decide(&about, &self.defaults))
    }
}

// === impl Defaults ===

impl Defaults {
    /// The consent that the built-in lines ask for.
    pub fn ask(&self, access: Access) -> Ask {
        Ask { of: Vec::new(), count: 1, within: self.within, client: self.client.covers(access) }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            unasked_per_hour: 5,
            within: Duration::from_hours(1),
            client: ClientTrust::default(),
            trusts_http: false,
        }
    }
}

// === impl ClientTrust ===

impl ClientTrust {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Operate, Self::Everything];

    /// The word that the settings use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Operate => "operate",
            Self::Everything => "everything",
        }
    }

    /// Whether an answer in the client counts for a call of this tier.
    pub fn covers(self, access: Access) -> bool {
        match self {
            Self::Nothing => false,
            Self::Operate => access <= Access::Operate,
            Self::Everything => true,
        }
    }
}

// === impl Transport ===

impl Transport {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Local, Self::Http, Self::Channel, Self::Automation];

    /// The word that the settings use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Http => "http",
            Self::Channel => "channel",
            Self::Automation => "automation",
        }
    }
}

// === impl Nature ===

impl Nature {
    /// The word that conditions use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Additive => "additive",
            Self::Cuts => "cuts",
        }
    }
}

// === impl Target ===

impl Target {
    /// A target of which no more is known than where it is.
    pub fn new(kind: TargetKind, cluster: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            kind,
            cluster: cluster.into(),
            node: None,
            vmid: None,
            name: None,
            pool: None,
            tags: Vec::new(),
            protection: None,
        }
    }

    /// The protection that counts for a call of this nature.
    pub fn protection_from(&self, access: Access, nature: Nature) -> Option<Protection> {
        let counts = |protection: &Protection| {
            access > Access::Read
                && (*protection != Protection::ThisServersNode || nature == Nature::Cuts)
        };
        self.protection.filter(counts)
    }
}

// === impl TargetKind ===

impl TargetKind {
    /// The word that conditions use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Node => "node",
            Self::Storage => "storage",
            Self::Datastore => "datastore",
            Self::Cluster => "cluster",
        }
    }
}

// === impl Protection ===

impl Protection {
    /// Why, in words that follow the target's name.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Tag => "is tagged as protected",
            Self::Flag => "has Proxmox's protection flag",
            Self::ThisServer => "is the guest that this server runs in",
            Self::ThisServersNode => "is the node that this server's guest runs on",
        }
    }
}

// === impl Decision ===

impl Decision {
    /// `allow`, `ask` or `deny`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask(_) => "ask",
            Self::Deny => "deny",
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Ask(_) => 1,
            Self::Deny => 2,
        }
    }
}

// === impl Ask ===

impl Ask {
    /// What satisfies both; `None` where nobody could.
    pub fn joined(&self, other: &Self) -> Option<Self> {
        let of = match (self.of.is_empty(), other.of.is_empty()) {
            (true, _) => other.of.clone(),
            (_, true) => self.of.clone(),
            (false, false) => {
                let both = self.of.iter().filter(|name| other.of.contains(name));
                let both: Vec<String> = both.cloned().collect();
                if both.is_empty() {
                    return None;
                }
                both
            }
        };
        Some(Self {
            of,
            count: self.count.max(other.count),
            within: self.within.min(other.within),
            client: self.client && other.client,
        })
    }
}

// === impl Decided ===

impl Decided {
    /// Whether the call does not run.
    pub fn is_denied(&self) -> bool {
        self.decision == Decision::Deny
    }

    /// The stricter of two decisions about one call; questions become one that satisfies both.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        use std::cmp::Ordering::{Equal, Greater, Less};

        match self.decision.rank().cmp(&other.decision.rank()) {
            Greater => self,
            Less => other,
            Equal => match (&self.decision, &other.decision) {
                (Decision::Ask(one), Decision::Ask(two)) if one != two => match one.joined(two) {
                    Some(ask) => Self {
                        why: format!(
                            "`{}` and `{}` both ask: together {}",
                            self.line,
                            other.line,
                            ask.whom()
                        ),
                        decision: Decision::Ask(ask),
                        ..self
                    },
                    None => Self {
                        decision: Decision::Deny,
                        why: format!(
                            "`{}` and `{}` ask different people about its targets, and nobody is \
                             in both: call it for each target by itself",
                            self.line, other.line
                        ),
                        ..self
                    },
                },
                (Decision::Allow, Decision::Allow) => {
                    // The tighter budget; none is the widest.
                    let tighter = match (self.unasked_per_hour, other.unasked_per_hour) {
                        (Some(one), Some(two)) => two < one,
                        (None, Some(_)) => true,
                        (_, None) => false,
                    };
                    if tighter { other } else { self }
                }
                _ => self,
            },
        }
    }
}
