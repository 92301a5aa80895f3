//! Reads what decides who may do what: from a cluster, or from a backup server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api_core::Error;
use futures::future::join_all;

use super::rights::{Account, Book, Line, TokenFacts};
use crate::{
    error::ToolError,
    fleet::{Pbs, Pve},
    needs::need,
    permissions::Permissions,
    sight,
    tool::Cx,
};

/// A cluster or a backup server: both keep access control lists.
#[derive(Clone)]
pub(super) enum Keeper {
    Pve(Arc<Pve>),
    Pbs(Arc<Pbs>),
}

/// What was read, and what may be missing of it.
pub(super) struct Read {
    pub(super) book: Book,
    /// Why it is not complete, if it is not.
    pub(super) gaps: Vec<String>,
}

impl Keeper {
    /// The one that is meant; with one server in the settings, none needs to be named.
    pub(super) fn find(cx: &Cx, cluster: Option<&str>) -> Result<Self, ToolError> {
        let (pve, pbs) = cx.fleet.members_for(cluster.filter(|it| !it.trim().is_empty()))?;
        let mut all: Vec<Self> = pve.into_iter().map(Self::Pve).collect();
        all.extend(pbs.into_iter().map(Self::Pbs));
        match all.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(ToolError::new("the settings have no cluster and no backup server")),
            several => {
                let keys: Vec<&str> = several.iter().map(Self::key).collect();
                Err(ToolError::new("say which cluster or backup server is meant")
                    .of_kind(crate::error::Kind::Ambiguous)
                    .hint(format!("give cluster: {}", keys.join(", "))))
            }
        }
    }

    pub(super) fn key(&self) -> &str {
        match self {
            Self::Pve(member) => member.key.as_str(),
            Self::Pbs(member) => member.key.as_str(),
        }
    }

    /// The accounts by which this server works there, and the users of its tokens.
    pub(super) fn accounts(&self) -> BTreeSet<String> {
        let own = match self {
            Self::Pve(member) => &member.traits.accounts,
            Self::Pbs(member) => &member.traits.accounts,
        };
        let users = own.iter().filter_map(|own| Some(own.split_once('!')?.0.to_owned()));
        users.chain(own.iter().cloned()).collect()
    }

    /// What the token may do there.
    async fn held(&self, cx: &Cx) -> Option<Arc<Permissions>> {
        match self {
            Self::Pve(member) => sight::of_pve(member, cx.now()).await,
            Self::Pbs(member) => sight::of_pbs(member, cx.now()).await,
        }
    }

    /// Everything that decides.
    pub(super) async fn read(&self, cx: &Cx) -> Result<Read, ToolError> {
        let failed = |error: &Error| {
            ToolError::api(format!("read the access control of {}", self.key()), error)
        };
        let (book, held) = match self {
            Self::Pve(member) => futures::join!(of_cluster(member), self.held(cx)),
            Self::Pbs(member) => futures::join!(of_server(member), self.held(cx)),
        };
        let book = book.map_err(|error| failed(&error))?;
        let id = match self {
            Self::Pve(_) => "access",
            Self::Pbs(_) => "pbs_access",
        };
        // Lists leave out what the token may not see, without a word.
        let gaps = match (need(id), held) {
            (Some(need), Some(held)) if !need.is_met(&held) => vec![need.note(self.key(), &held)],
            _ => Vec::new(),
        };
        Ok(Read { book, gaps })
    }

    /// What the server itself says that `who` may do: the effective privileges by path.
    pub(super) async fn told(
        &self,
        who: &str,
        path: Option<&str>,
    ) -> Result<BTreeMap<String, BTreeMap<String, bool>>, Error> {
        match self {
            Self::Pve(member) => {
                use pve_client::access::permissions;
                let told = member.client.call(permissions(Some(who), path)).await?;
                let told = told.into_iter().map(|(path, held)| {
                    (path, held.into_iter().map(|(name, below)| (name, below.0)).collect())
                });
                Ok(told.collect())
            }
            Self::Pbs(member) => {
                member.client.call(pbs_client::access::permissions(Some(who), path)).await
            }
        }
    }
}

async fn of_cluster(member: &Arc<Pve>) -> Result<Book, Error> {
    use pve_client::access;

    let client = &member.client;
    let (lines, roles, groups, users, pools) = futures::join!(
        client.call(access::acl()),
        client.call(access::roles()),
        client.call(access::groups()),
        client.call(access::users(true)),
        pools(member),
    );
    let lines = lines?.into_iter().map(|line| Line {
        path: line.path,
        who: line.id,
        is_group: line.kind == "group",
        role: line.role,
        propagate: line.propagate,
    });
    let users = users?;
    let mut members: BTreeMap<String, BTreeSet<String>> =
        groups?.into_iter().map(|group| (group.id, group.users.into_iter().collect())).collect();
    let mut accounts = BTreeMap::new();
    for user in users {
        // Both sides name who is in a group; either may be cut by what the token sees.
        for group in user.groups {
            members.entry(group).or_default().insert(user.id.clone());
        }
        let tokens = user.tokens.into_iter().map(|token| {
            let facts =
                TokenFacts { separate: token.separate, expires: token.expires, disabled: false };
            (token.name, facts)
        });
        let account = Account {
            enabled: user.enabled.unwrap_or(true),
            expires: user.expires,
            tokens: tokens.collect(),
        };
        accounts.insert(user.id, account);
    }
    Ok(Book {
        lines: lines.collect(),
        roles: roles?
            .into_iter()
            .map(|role| (role.id, role.privileges.into_iter().collect()))
            .collect(),
        groups: members,
        users: accounts,
        pools,
    })
}

/// The pools by the paths that they lend to. What cannot be read lends nothing.
async fn pools(member: &Arc<Pve>) -> BTreeMap<String, BTreeSet<String>> {
    use pve_client::pools;

    let all = member.client.call(pools::list()).await.unwrap_or_default();
    let asked = all.iter().map(|pool| async move {
        let found = member.client.call(pools::get_nested(&pool.id)).await;
        let found = match found {
            Ok(mut found) => found.pop(),
            // Before 8.1 the list takes no name.
            Err(_) => member.client.call(pools::get(&pool.id)).await.ok(),
        };
        (pool.id.clone(), found.map(|pool| pool.members).unwrap_or_default())
    });
    let mut paths: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (pool, members) in join_all(asked).await {
        for member in members {
            let guest = member.vmid.map(|vmid| format!("/vms/{vmid}"));
            let storage = member.storage.map(|storage| format!("/storage/{storage}"));
            for path in guest.into_iter().chain(storage) {
                paths.entry(path).or_default().insert(pool.clone());
            }
        }
    }
    paths
}

async fn of_server(member: &Arc<Pbs>) -> Result<Book, Error> {
    use pbs_client::access;

    let client = &member.client;
    let (lines, roles, users) = futures::join!(
        client.call(access::acl(None, false)),
        client.call(access::roles()),
        client.call(access::users(true)),
    );
    let lines = lines?.into_iter().map(|line| Line {
        path: line.path,
        who: line.id,
        is_group: line.kind == "group",
        role: line.role,
        propagate: line.propagate,
    });
    let users = users?.into_iter().map(|user| {
        let tokens = user.tokens.into_iter().filter_map(|token| {
            let name =
                token.name.or_else(|| token.id.split_once('!').map(|(_, it)| it.to_owned()))?;
            let facts = TokenFacts {
                // Tokens of a backup server always have lines of their own.
                separate: true,
                expires: token.expires,
                disabled: token.enabled == Some(false),
            };
            Some((name, facts))
        });
        let account = Account {
            enabled: user.enabled.unwrap_or(true),
            expires: user.expires,
            tokens: tokens.collect(),
        };
        (user.id, account)
    });
    Ok(Book {
        lines: lines.collect(),
        roles: roles?
            .into_iter()
            .map(|role| (role.id, role.privileges.into_iter().collect()))
            .collect(),
        users: users.collect(),
        ..Book::default()
    })
}
