//! Users, tokens, access control and logins of the backup server.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::auth::{Login, login};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data};
use crate::state::access::{Entry, Principal, Realm, Token, User, bit, names};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/access/users", users),
    ("POST", "/access/users", create_user),
    ("GET", "/access/users/{userid}", user),
    ("DELETE", "/access/users/{userid}", delete_user),
    ("GET", "/access/users/{userid}/token", tokens),
    ("GET", "/access/users/{userid}/token/{token-name}", token),
    ("POST", "/access/users/{userid}/token/{token-name}", create_token),
    ("DELETE", "/access/users/{userid}/token/{token-name}", delete_token),
    ("GET", "/access/acl", acl),
    ("PUT", "/access/acl", set_acl),
    ("GET", "/access/roles", roles),
    ("GET", "/access/domains", |_| {
        Ok(Reply::from(json!([
            {"realm": "pbs", "type": "pbs", "comment": "Proxmox Backup authentication server"},
            {"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication", "default": true},
        ]))
        .with("digest", crate::state::digest64("domains")))
    }),
    ("POST", "/access/ticket", ticket),
    ("GET", "/access/permissions", permissions),
    ("GET", "/access/tfa", |_| data(json!([]))),
];

fn digest(call: &Call<'_>) -> String {
    crate::state::digest64(&call.vault().access.users.keys().cloned().collect::<String>())
}

fn show(name: &str, user: &User) -> Value {
    let mut row = json!({"userid": name});
    if let Some(comment) = &user.comment {
        row["comment"] = json!(comment);
    }
    if let Some(email) = &user.email {
        row["email"] = json!(email);
    }
    if !user.enabled {
        row["enable"] = json!(false);
    }
    if user.expire != 0 {
        row["expire"] = json!(user.expire);
    }
    row
}

fn users(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let all = call.grants.may("/access/users", "Sys.Audit");
    let with_tokens = call.flag("include_tokens") == Some(true);
    let users = call.vault().access.users.iter().filter(|(name, _)| all || **name == call.who.user);
    let rows = users.map(|(name, user)| {
        let mut row = show(name, user);
        if with_tokens {
            row["tokens"] = user
                .tokens
                .keys()
                .map(|token| json!({"tokenid": format!("{name}!{token}"), "token-name": token}))
                .collect();
        }
        row
    });
    Ok(Reply::from(rows.collect::<Value>()).with("digest", digest(call)))
}

fn account<'a>(call: &'a Call<'_>) -> Result<(&'a str, &'a User), Fault> {
    let name = call.arg("userid");
    let found = call.vault().access.users.get(name);
    found.map(|user| (name, user)).ok_or_else(|| Fault::bad(format!("no such user '{name}'")))
}

fn user(call: &mut Call<'_>) -> Answer {
    let (name, user) = account(call)?;
    Ok(Reply::from(show(name, user)).with("digest", digest(call)))
}

fn create_user(call: &mut Call<'_>) -> Answer {
    let name = call.text("userid").unwrap_or_default().to_owned();
    if call.vault().access.users.contains_key(&name) {
        return Err(Fault::bad(format!("user '{name}' already exists.")));
    }
    let user = User {
        password: call.text("password").map(str::to_owned),
        enabled: call.flag("enable") != Some(false),
        expire: call.int("expire").unwrap_or(0),
        comment: call.text("comment").map(str::to_owned),
        email: call.text("email").map(str::to_owned),
        ..User::default()
    };
    call.vault_mut().access.users.insert(name, user);
    data(Value::Null)
}

fn delete_user(call: &mut Call<'_>) -> Answer {
    let name = account(call)?.0.to_owned();
    let prefix = format!("{name}!");
    let access = &mut call.vault_mut().access;
    access.users.remove(&name);
    access.acl.retain(|entry| entry.who != name && !entry.who.starts_with(&prefix));
    data(Value::Null)
}

fn tokens(call: &mut Call<'_>) -> Answer {
    let (name, user) = account(call)?;
    let rows: Value = user
        .tokens
        .iter()
        .map(|(token, found)| {
            let mut row = json!({"tokenid": format!("{name}!{token}"), "token-name": token});
            if let Some(comment) = &found.comment {
                row["comment"] = json!(comment);
            }
            row
        })
        .collect();
    Ok(Reply::from(rows).with("digest", digest(call)))
}

fn token(call: &mut Call<'_>) -> Answer {
    let (name, user) = account(call)?;
    let wanted = call.arg("token-name");
    if !user.tokens.contains_key(wanted) {
        return Err(Fault::bad(format!("no such token '{name}!{wanted}'")));
    }
    Ok(Reply::from(json!({"tokenid": format!("{name}!{wanted}")})).with("digest", digest(call)))
}

fn create_token(call: &mut Call<'_>) -> Answer {
    let (name, user) = account(call)?;
    let wanted = call.arg("token-name").to_owned();
    let full = format!("{name}!{wanted}");
    if user.tokens.contains_key(&wanted) {
        return Err(Fault::bad(format!("token '{wanted}' for user '{name}' already exists.")));
    }
    let name = name.to_owned();
    let token = Token {
        secret: uuid::Uuid::new_v4().to_string(),
        privsep: true,
        expire: call.int("expire").unwrap_or(0),
        enabled: call.flag("enable") != Some(false),
        comment: call.text("comment").map(str::to_owned),
    };
    let reply = json!({"tokenid": full, "value": token.secret});
    if let Some(user) = call.vault_mut().access.users.get_mut(&name) {
        user.tokens.insert(wanted, token);
    }
    data(reply)
}

fn delete_token(call: &mut Call<'_>) -> Answer {
    let name = account(call)?.0.to_owned();
    let wanted = call.arg("token-name").to_owned();
    let full = format!("{name}!{wanted}");
    let access = &mut call.vault_mut().access;
    let gone = access.users.get_mut(&name).and_then(|user| user.tokens.remove(&wanted));
    gone.ok_or_else(|| Fault::bad(format!("token '{wanted}' of user '{name}' does not exist.")))?;
    access.acl.retain(|entry| entry.who != full);
    data(Value::Null)
}

fn acl(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let all = call.grants.may("/access/acl", "Sys.Audit");
    let own = call.who.to_string();
    let entries = call.vault().access.acl.iter().filter(|entry| all || entry.who == own);
    let rows: Value = entries
        .filter(|entry| call.text("path").is_none_or(|path| entry.path == path))
        .map(|entry| json!({"path": entry.path, "propagate": entry.propagate, "roleid": entry.role, "ugid": entry.who, "ugid_type": "user"}))
        .collect();
    Ok(Reply::from(rows)
        .with("digest", crate::state::digest64(&format!("{:?}", call.vault().access.acl))))
}

fn set_acl(call: &mut Call<'_>) -> Answer {
    let path = call.text("path").unwrap_or_default().to_owned();
    let role = call.text("role").unwrap_or_default().to_owned();
    let who = call.text("auth-id").unwrap_or_default().to_owned();
    if !call.grants.may(&path, "Permissions.Modify")
        && !who.starts_with(&format!("{}!", call.who.user))
    {
        return Err(Fault::new(403, "permission check failed"));
    }
    let (user, token) =
        who.split_once('!').map_or((who.as_str(), None), |(user, token)| (user, Some(token)));
    let account = call.vault().access.users.get(user);
    if account.is_none_or(|account| token.is_some_and(|token| !account.tokens.contains_key(token)))
    {
        let word = if token.is_some() { "API token" } else { "user" };
        return Err(Fault::bad(format!("no such {word}.")));
    }
    if !call.vault().access.roles.contains_key(&role) {
        return Err(Fault::bad(format!(
            "parameter verification failed - 'role': value '{role}' is not defined in the enumeration."
        )));
    }
    let propagate = call.flag("propagate") != Some(false);
    let remove = call.flag("delete") == Some(true);
    let acl = &mut call.vault_mut().access.acl;
    acl.retain(|entry| !(entry.path == path && entry.who == who && entry.role == role));
    if !remove {
        acl.push(Entry { path, who, role, propagate });
    }
    data(Value::Null)
}

fn roles(call: &mut Call<'_>) -> Answer {
    let roles = call.vault().access.roles.iter().filter(|(_, (_, special))| *special);
    let rows = roles.map(|(name, (mask, _))| json!({"roleid": name, "privs": names(Realm::Pbs, *mask), "comment": name}));
    data(rows.collect::<Vec<Value>>())
}

fn ticket(call: &mut Call<'_>) -> Answer {
    let asked = Login {
        user: call.text("username").unwrap_or_default(),
        password: call.text("password").unwrap_or_default(),
        otp: None,
        challenge: call.text("tfa-challenge"),
    };
    let found = login(&call.vault().access, &asked, call.estate.seconds());
    let reply =
        found.ok_or_else(|| Fault::new(401, "permission check failed.").after(call.auth_delay))?;
    data(reply)
}

fn permissions(call: &mut Call<'_>) -> Answer {
    let mut grants = call.grants.clone();
    if let Some(who) = call.text("auth-id") {
        let (user, token) =
            who.split_once('!').map_or((who, None), |(user, token)| (user, Some(token.to_owned())));
        if user != call.who.user && !call.grants.may("/access", "Sys.Audit") {
            return Err(Fault::new(403, "not allowed to list permissions of other users"));
        }
        grants = call.vault().access.grants(&Principal { user: user.to_owned(), token });
    }
    let mut paths: BTreeSet<String> = ["/", "/access", "/datastore", "/remote", "/system", "/tape"]
        .iter()
        .map(|path| (*path).to_owned())
        .collect();
    paths.extend(call.vault().datastores.iter().map(|store| format!("/datastore/{}", store.name)));
    paths.extend(grants.paths().into_iter().map(str::to_owned));
    if let Some(path) = call.text("path") {
        paths = BTreeSet::from([path.to_owned()]);
    }
    let mut tree = Map::new();
    for path in paths {
        let rights = grants.rights(&path, &[]);
        let names = names(Realm::Pbs, rights.mask);
        // An asked path is answered even if there is nothing.
        if !names.is_empty() || call.text("path").is_some() {
            let map: Map<String, Value> = names
                .into_iter()
                .map(|name| (name.to_owned(), json!(rights.below & bit(name) != 0)))
                .collect();
            tree.insert(path, Value::Object(map));
        }
    }
    data(Value::Object(tree))
}
