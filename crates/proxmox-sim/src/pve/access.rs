//! Users, tokens, roles, access control, logins.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::auth::{Login, login};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data, index};
use crate::state::access::{Entry, Principal, Realm, Token, User, bit, known, names};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/access", |_| {
        index(
            "subdir",
            &[
                "users",
                "groups",
                "roles",
                "acl",
                "domains",
                "openid",
                "tfa",
                "ticket",
                "permissions",
            ],
        )
    }),
    ("GET", "/access/users", users),
    ("POST", "/access/users", create_user),
    ("GET", "/access/users/{userid}", user),
    ("PUT", "/access/users/{userid}", update_user),
    ("DELETE", "/access/users/{userid}", delete_user),
    ("GET", "/access/users/{userid}/token", tokens),
    ("GET", "/access/users/{userid}/token/{tokenid}", token),
    ("POST", "/access/users/{userid}/token/{tokenid}", create_token),
    ("PUT", "/access/users/{userid}/token/{tokenid}", update_token),
    ("DELETE", "/access/users/{userid}/token/{tokenid}", delete_token),
    ("GET", "/access/roles", roles),
    ("POST", "/access/roles", |call| set_role(call, true)),
    ("GET", "/access/roles/{roleid}", role),
    ("PUT", "/access/roles/{roleid}", |call| set_role(call, false)),
    ("DELETE", "/access/roles/{roleid}", delete_role),
    ("GET", "/access/acl", acl),
    ("PUT", "/access/acl", set_acl),
    ("GET", "/access/domains", |_| {
        data(json!([
            {"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"},
            {"realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server"},
        ]))
    }),
    ("GET", "/access/ticket", |_| data(Value::Null)),
    ("POST", "/access/ticket", ticket),
    ("GET", "/access/permissions", permissions),
    ("GET", "/access/tfa", tfa),
];

fn may_modify(call: &Call<'_>) -> bool {
    call.may("/access/groups", "User.Modify")
}

/// A user may look at and change itself.
fn own_or(call: &Call<'_>, allowed: bool) -> Result<String, Fault> {
    let user = call.arg("userid").to_owned();
    if allowed || user == call.who.user {
        return Ok(user);
    }
    Err(Fault::new(403, "Permission check failed"))
}

fn needs_modify(call: &Call<'_>) -> Result<(), Fault> {
    if may_modify(call) {
        return Ok(());
    }
    Err(Fault::new(403, "Permission check failed (/access/groups, User.Modify)"))
}

fn account<'a>(call: &'a Call<'_>, user: &str) -> Result<&'a User, Fault> {
    let found = call.cluster().access.users.get(user);
    found.ok_or_else(|| Fault::internal(format!("no such user ('{user}')")))
}

fn show_user(name: &str, user: &User) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("enable".to_owned(), json!(i32::from(user.enabled)));
    row.insert("expire".to_owned(), json!(user.expire));
    if let Some(comment) = &user.comment {
        row.insert("comment".to_owned(), json!(comment));
    }
    if let Some(email) = &user.email {
        row.insert("email".to_owned(), json!(email));
    }
    if user.totp.is_some() {
        row.insert("keys".to_owned(), json!("x"));
    }
    let _ = name;
    row
}

fn users(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let all = may_modify(call) || call.may("/access/groups", "Sys.Audit");
    let full = call.flag("full") == Some(true);
    let shown =
        call.cluster().access.users.iter().filter(|(name, _)| all || **name == call.who.user);
    let rows = shown
        .filter(|(_, user)| call.flag("enabled").is_none_or(|enabled| user.enabled == enabled))
        .map(|(name, user)| {
            let mut row = show_user(name, user);
            row.insert("userid".to_owned(), json!(name));
            row.insert("realm-type".to_owned(), json!(name.split('@').nth(1)));
            if user.totp_locked {
                row.insert("totp-locked".to_owned(), json!(1));
            }
            if full {
                row.insert("groups".to_owned(), json!(groups_of(call, name).join(",")));
            }
            if full && !user.tokens.is_empty() {
                let tokens = user.tokens.iter().map(|(name, token)| {
                    json!({"tokenid": name, "privsep": i32::from(token.privsep), "expire": token.expire})
                });
                row.insert("tokens".to_owned(), tokens.collect());
            }
            Value::Object(row)
        });
    data(rows.collect::<Vec<Value>>())
}

fn groups_of(call: &Call<'_>, user: &str) -> Vec<String> {
    let groups = call.cluster().access.groups.iter();
    groups.filter(|(_, it)| it.members.contains(user)).map(|(name, _)| name.clone()).collect()
}

/// Puts a user into the groups of the parameter `groups`, out of others unless `append`.
fn join_groups(call: &mut Call<'_>, user: &str, append: bool) {
    let Some(list) = call.text("groups").map(str::to_owned) else { return };
    let wanted: BTreeSet<&str> = list.split([',', ';', ' ']).collect();
    for (name, group) in &mut call.cluster_mut().access.groups {
        if wanted.contains(name.as_str()) {
            group.members.insert(user.to_owned());
        } else if !append {
            group.members.remove(user);
        }
    }
}

fn create_user(call: &mut Call<'_>) -> Answer {
    needs_modify(call)?;
    super::cluster::quorum(call)?;
    let name = call.text("userid").unwrap_or_default().to_owned();
    if !matches!(name.split('@').nth(1), Some("pam" | "pve")) {
        let realm = name.split('@').nth(1).unwrap_or_default();
        return Err(Fault::internal(format!(
            "create user failed: domain '{realm}' does not exist"
        )));
    }
    if call.cluster().access.users.contains_key(&name) {
        return Err(Fault::internal(format!("create user failed: user '{name}' already exists")));
    }
    let user = User {
        password: call.text("password").map(str::to_owned),
        enabled: call.flag("enable") != Some(false),
        expire: call.int("expire").unwrap_or(0),
        comment: call.text("comment").map(str::to_owned),
        email: call.text("email").map(str::to_owned),
        ..User::default()
    };
    call.cluster_mut().access.users.insert(name.clone(), user);
    join_groups(call, &name, true);
    data(Value::Null)
}

fn user(call: &mut Call<'_>) -> Answer {
    let name = own_or(call, may_modify(call) || call.may("/access/groups", "Sys.Audit"))?;
    let user = account(call, &name)?;
    let mut row = show_user(&name, user);
    let tokens: Map<String, Value> = user
        .tokens
        .iter()
        .map(|(name, token)| {
            (name.clone(), json!({"privsep": i32::from(token.privsep), "expire": token.expire}))
        })
        .collect();
    row.insert("groups".to_owned(), json!(groups_of(call, &name)));
    row.insert("tokens".to_owned(), Value::Object(tokens));
    data(Value::Object(row))
}

fn update_user(call: &mut Call<'_>) -> Answer {
    needs_modify(call)?;
    let name = call.arg("userid").to_owned();
    account(call, &name)?;
    let (enable, expire) = (call.flag("enable"), call.int("expire"));
    let (comment, email) =
        (call.text("comment").map(str::to_owned), call.text("email").map(str::to_owned));
    if let Some(user) = call.cluster_mut().access.users.get_mut(&name) {
        user.enabled = enable.unwrap_or(user.enabled);
        user.expire = expire.unwrap_or(user.expire);
        user.comment = comment.or(user.comment.take());
        user.email = email.or(user.email.take());
    }
    let append = call.flag("append") == Some(true);
    join_groups(call, &name, append);
    data(Value::Null)
}

fn delete_user(call: &mut Call<'_>) -> Answer {
    needs_modify(call)?;
    let name = call.arg("userid").to_owned();
    account(call, &name)?;
    let prefix = format!("{name}!");
    let access = &mut call.cluster_mut().access;
    access.users.remove(&name);
    for group in access.groups.values_mut() {
        group.members.remove(&name);
    }
    access.acl.retain(|entry| entry.who != name && !entry.who.starts_with(&prefix));
    data(Value::Null)
}

fn show_token(token: &Token) -> Value {
    let mut row = json!({"privsep": i32::from(token.privsep), "expire": token.expire});
    if let Some(comment) = &token.comment {
        row["comment"] = json!(comment);
    }
    row
}

fn tokens(call: &mut Call<'_>) -> Answer {
    let name = own_or(call, may_modify(call))?;
    let tokens = account(call, &name)?.tokens.iter();
    let rows = tokens.map(|(name, token)| {
        let mut row = show_token(token);
        row["tokenid"] = json!(name);
        row
    });
    data(rows.collect::<Vec<Value>>())
}

fn no_token(user: &str, token: &str) -> Fault {
    Fault::internal(format!("no such token '{token}' for user '{user}'"))
}

fn token(call: &mut Call<'_>) -> Answer {
    let name = own_or(call, may_modify(call))?;
    let wanted = call.arg("tokenid");
    let token = account(call, &name)?.tokens.get(wanted).ok_or_else(|| no_token(&name, wanted))?;
    data(show_token(token))
}

fn create_token(call: &mut Call<'_>) -> Answer {
    let user = own_or(call, may_modify(call))?;
    super::cluster::quorum(call)?;
    let name = call.arg("tokenid").to_owned();
    if name.len() < 2 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(Fault::param("tokenid", "value does not match the regex pattern"));
    }
    if account(call, &user)?.tokens.contains_key(&name) {
        return Err(Fault::param("tokenid", "Token already exists."));
    }
    let token = Token {
        secret: uuid::Uuid::new_v4().to_string(),
        privsep: call.flag("privsep") != Some(false),
        expire: call.int("expire").unwrap_or(0),
        enabled: true,
        comment: call.text("comment").map(str::to_owned),
    };
    let mut info = show_token(&token);
    for key in ["privsep", "expire"] {
        // This reply alone writes them as text.
        info[key] = json!(info[key].to_string());
    }
    let reply =
        json!({"full-tokenid": format!("{user}!{name}"), "value": token.secret, "info": info});
    if let Some(user) = call.cluster_mut().access.users.get_mut(&user) {
        user.tokens.insert(name, token);
    }
    data(reply)
}

fn update_token(call: &mut Call<'_>) -> Answer {
    let user = own_or(call, may_modify(call))?;
    let name = call.arg("tokenid").to_owned();
    let (privsep, expire) = (call.flag("privsep"), call.int("expire"));
    let comment = call.text("comment").map(str::to_owned);
    let regenerate = call.flag("regenerate") == Some(true);
    let account = call.cluster_mut().access.users.get_mut(&user);
    let token = account
        .and_then(|account| account.tokens.get_mut(&name))
        .ok_or_else(|| no_token(&user, &name))?;
    token.privsep = privsep.unwrap_or(token.privsep);
    token.expire = expire.unwrap_or(token.expire);
    token.comment = comment.or(token.comment.take());
    let mut reply = show_token(token);
    if regenerate {
        token.secret = uuid::Uuid::new_v4().to_string();
        reply["value"] = json!(token.secret);
        reply["full-tokenid"] = json!(format!("{user}!{name}"));
    }
    data(reply)
}

fn delete_token(call: &mut Call<'_>) -> Answer {
    let user = own_or(call, may_modify(call))?;
    let name = call.arg("tokenid").to_owned();
    let access = &mut call.cluster_mut().access;
    let account = access.users.get_mut(&user);
    account
        .and_then(|account| account.tokens.remove(&name))
        .ok_or_else(|| no_token(&user, &name))?;
    let full = format!("{user}!{name}");
    access.acl.retain(|entry| entry.who != full);
    data(Value::Null)
}

fn shown_names(call: &Call<'_>, mask: u128) -> Vec<&'static str> {
    let nine = call.estate.release.is_9();
    let names = names(Realm::Pve, mask).into_iter();
    names
        .filter(|name| {
            if nine {
                *name != "VM.Monitor"
            } else {
                !name.starts_with("VM.GuestAgent") && *name != "VM.Replicate"
            }
        })
        .collect()
}

fn roles(call: &mut Call<'_>) -> Answer {
    let rows = call.cluster().access.roles.iter().map(|(name, (mask, special))| {
        json!({"roleid": name, "privs": shown_names(call, *mask).join(","), "special": i32::from(*special)})
    });
    data(rows.collect::<Vec<Value>>())
}

fn role(call: &mut Call<'_>) -> Answer {
    let name = call.arg("roleid");
    let found = call.cluster().access.roles.get(name);
    let (mask, _) =
        found.ok_or_else(|| Fault::internal(format!("role '{name}' does not exist")))?;
    let map: Map<String, Value> =
        shown_names(call, *mask).into_iter().map(|name| (name.to_owned(), json!(1))).collect();
    data(Value::Object(map))
}

fn set_role(call: &mut Call<'_>, create: bool) -> Answer {
    super::cluster::quorum(call)?;
    let given = if create { call.text("roleid").unwrap_or_default() } else { call.arg("roleid") };
    let name = given.to_owned();
    let nine = call.estate.release.is_9();
    let text = call.text("privs").unwrap_or_default().to_owned();
    let mut mask = 0;
    for privilege in text.split([',', ';', ' ']).filter(|privilege| !privilege.is_empty()) {
        let fits = if nine {
            privilege != "VM.Monitor"
        } else {
            !privilege.starts_with("VM.GuestAgent") && privilege != "VM.Replicate"
        };
        if !known(Realm::Pve, privilege) || !fits {
            return Err(Fault::param(
                "privs",
                format!("invalid format - invalid privilege '{privilege}'\n"),
            ));
        }
        mask |= bit(privilege);
    }
    let append = call.flag("append") == Some(true);
    let roles = &mut call.cluster_mut().access.roles;
    match roles.get(&name) {
        Some(_) if create => {
            return Err(Fault::internal(format!(
                "create role failed: role '{name}' already exists"
            )));
        }
        None if !create => {
            return Err(Fault::internal(format!(
                "update role failed: role '{name}' does not exist"
            )));
        }
        Some((_, true)) => {
            return Err(Fault::internal(format!(
                "update role failed: auto-generated role '{name}' cannot be modified"
            )));
        }
        Some((old, false)) if append => mask |= old,
        _ => {}
    }
    roles.insert(name, (mask, false));
    data(Value::Null)
}

fn delete_role(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let name = call.arg("roleid").to_owned();
    let access = &mut call.cluster_mut().access;
    match access.roles.get(&name) {
        None => Err(Fault::internal(format!("delete role failed: role '{name}' does not exist"))),
        Some((_, true)) => Err(Fault::internal(format!(
            "delete role failed: auto-generated role '{name}' cannot be deleted"
        ))),
        Some(_) => {
            access.roles.remove(&name);
            access.acl.retain(|entry| entry.role != name);
            data(Value::Null)
        }
    }
}

fn acl(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let entries = call.cluster().access.acl.iter();
    let shown =
        entries.filter(|entry| call.may("/access", "Sys.Audit") || may_hand_out(call, &entry.path));
    let rows = shown.map(|entry| {
        let kind = if entry.who.contains('!') {
            "token"
        } else if entry.who.contains('@') {
            "user"
        } else {
            "group"
        };
        json!({
            "path": entry.path, "type": kind, "ugid": entry.who, "roleid": entry.role,
            "propagate": i32::from(entry.propagate),
        })
    });
    data(rows.collect::<Vec<Value>>())
}

/// Whether the caller may change who may do what on a path; where that is not said outright, who may
/// make things there may share what it has itself.
fn may_hand_out(call: &Call<'_>, path: &str) -> bool {
    let also = match path.split('/').nth(1) {
        Some("storage") => "Datastore.Allocate",
        Some("vms") => "VM.Allocate",
        Some("pool") => "Pool.Allocate",
        _ => "Permissions.Modify",
    };
    let is_below = path.matches('/').count() > 1;
    call.may(path, "Permissions.Modify") || is_below && call.may(path, also)
}

/// The paths that access control knows.
fn is_acl_path(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if path == "/" {
        return true;
    }
    if parts.iter().any(|part| part.is_empty()) || !path.starts_with('/') {
        return false;
    }
    let (first, below) = (parts[0], &parts[1..]);
    let known = |names: &[&str]| below.first().is_none_or(|second| names.contains(second));
    match first {
        "access" => below.len() <= 2 && known(&["groups", "realm"]),
        "mapping" => below.len() <= 2 && known(&["dir", "notifications", "pci", "usb"]),
        "nodes" | "storage" => below.len() <= 1,
        "pool" => below.len() <= 3,
        "sdn" => below.len() <= 4 && known(&["controllers", "dns", "fabrics", "ipams", "zones"]),
        "vms" => match below {
            [] => true,
            [vmid] => vmid.parse::<u32>().is_ok_and(|vmid| vmid >= 100),
            _ => false,
        },
        _ => false,
    }
}

fn set_acl(call: &mut Call<'_>) -> Answer {
    let path = call.text("path").unwrap_or_default().to_owned();
    let path = if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
    if !may_hand_out(call, &path) {
        return Err(Fault::new(
            403,
            format!("Permission check failed ({path}, Permissions.Modify)"),
        ));
    }
    if call.flag("delete") != Some(true) && !is_acl_path(&path) {
        return Err(Fault::param("path", format!("invalid ACL path '{path}'")));
    }
    super::cluster::quorum(call)?;
    let propagate = call.flag("propagate") != Some(false);
    let remove = call.flag("delete") == Some(true);
    let list = |key: &str| -> Vec<String> {
        let text = call.text(key).unwrap_or_default();
        text.split([',', ';', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (roles, users, tokens, groups) =
        (list("roles"), list("users"), list("tokens"), list("groups"));
    let access = &call.cluster().access;
    for role in &roles {
        if !access.roles.contains_key(role) {
            return Err(Fault::internal(format!(
                "ACL update failed: role '{role}' does not exist"
            )));
        }
        // Who may not hand out everything may hand out what it has.
        let mask = access.roles.get(role).map_or(0, |role| role.0);
        if !call.may(&path, "Permissions.Modify") && mask & !call.rights(&path).mask != 0 {
            return Err(Fault::new(
                403,
                format!("Permission check failed ({path}, Permissions.Modify)"),
            ));
        }
    }
    for user in &users {
        if !access.users.contains_key(user) {
            return Err(Fault::internal(format!(
                "ACL update failed: user '{user}' does not exist"
            )));
        }
    }
    for token in &tokens {
        let (user, name) = token.split_once('!').unwrap_or((token, ""));
        if access.users.get(user).is_none_or(|user| !user.tokens.contains_key(name)) {
            return Err(Fault::internal(format!(
                "ACL update failed: no such token '{name}' for user '{user}'"
            )));
        }
    }
    if let Some(group) = groups.iter().find(|group| !access.groups.contains_key(*group)) {
        return Err(Fault::internal(format!("ACL update failed: group '{group}' does not exist")));
    }
    let acl = &mut call.cluster_mut().access.acl;
    for who in users.iter().chain(&tokens).chain(&groups) {
        for role in &roles {
            acl.retain(|entry| !(entry.path == path && entry.who == *who && entry.role == *role));
            if !remove {
                acl.push(Entry {
                    path: path.clone(),
                    who: who.clone(),
                    role: role.clone(),
                    propagate,
                });
            }
        }
    }
    data(Value::Null)
}

fn ticket(call: &mut Call<'_>) -> Answer {
    let mut user = call.text("username").unwrap_or_default().to_owned();
    if let Some(realm) = call.text("realm") {
        user = format!("{user}@{realm}");
    }
    let asked = Login {
        user: &user,
        password: call.text("password").unwrap_or_default(),
        otp: call.text("otp"),
        challenge: call.text("tfa-challenge"),
    };
    let now = call.estate.seconds();
    let cluster = call.cluster();
    let found = login(&cluster.access, &asked, now);
    let Some(mut reply) = found else {
        let delay = call.auth_delay;
        let (name, address) = (cluster.nodes[call.local].name.clone(), "::ffff:127.0.0.1");
        let text = format!(
            "authentication failure; rhost={address} user={user} msg=no such user ('{user}')"
        );
        call.cluster_mut().note(now, &name, "root@pam", "pvedaemon", 3, &text);
        return Err(Fault::bare(401, "authentication failure").after(delay));
    };
    if let Some(name) = &cluster.name {
        reply["clustername"] = json!(name);
    }
    if reply.get("NeedTFA").is_none() {
        let grants = cluster.access.grants(&Principal { user: user.clone(), token: None });
        let caps = |path: &str| -> Map<String, Value> {
            shown_names(call, grants.on(path))
                .into_iter()
                .map(|name| (name.to_owned(), json!(1)))
                .collect()
        };
        reply["cap"] = json!({
            "access": caps("/access"), "dc": caps("/"), "nodes": caps("/nodes"), "storage": caps("/storage"),
            "vms": caps("/vms"), "sdn": caps("/sdn"), "mapping": caps("/mapping"),
        });
    }
    data(reply)
}

fn permissions(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let mut grants = call.grants.clone();
    if let Some(who) = call.text("userid") {
        let (user, token) =
            who.split_once('!').map_or((who, None), |(user, token)| (user, Some(token.to_owned())));
        let principal = Principal { user: user.to_owned(), token };
        if principal != call.who && principal.user != call.who.user {
            call.need("/access", "Sys.Audit")?;
        }
        grants = call.cluster().access.grants(&principal);
    }
    let mut paths: BTreeSet<String> =
        ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"]
            .iter()
            .map(|path| (*path).to_owned())
            .collect();
    let cluster = call.cluster();
    paths.extend(cluster.access.acl.iter().map(|entry| entry.path.clone()));
    let pooled = cluster.guests.values().filter(|guest| guest.pool.is_some());
    paths.extend(pooled.map(|guest| format!("/vms/{}", guest.vmid)));
    let storages = cluster.common.pool_storages.values().flatten();
    paths.extend(storages.map(|storage| format!("/storage/{storage}")));
    if let Some(path) = call.text("path") {
        paths = BTreeSet::from([path.to_owned()]);
    }
    let mut tree = Map::new();
    for path in paths {
        let rights = grants.rights(&path, &cluster.pools_of(&path));
        let names = shown_names(call, rights.mask).into_iter();
        let map: Map<String, Value> = names
            .map(|name| (name.to_owned(), json!(i32::from(rights.below & bit(name) != 0))))
            .collect();
        if !map.is_empty() {
            tree.insert(path, Value::Object(map));
        }
    }
    data(Value::Object(tree))
}

fn tfa(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let all = call.may("/access/groups", "Sys.Audit") || may_modify(call);
    let users = call.cluster().access.users.iter();
    let rows = users.filter(|(name, user)| user.totp.is_some() && (all || **name == call.who.user)).map(|(name, user)| {
        let mut row = json!({"userid": name, "entries": [{"id": "totp-1", "type": "totp", "enable": 1, "created": call.estate.seconds() - 900_000, "description": "phone"}]});
        if user.totp_locked {
            row["totp-locked"] = json!(1);
        }
        row
    });
    data(rows.collect::<Vec<Value>>())
}
