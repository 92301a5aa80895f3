//! The way back from a call that can cut the operator off, where what was before can be read.

use api_core::{Request, path};
use estate::Product;
use guard::risk::{self, Cut};
use serde_json::{Map, Value, json};

use super::{NAME_OF_CALL, is_set, mask::is_hidden, place::Place, plain_path};
use crate::{
    plan::Calls,
    tools::{net, power::object},
};

/// The calls that take it back, or why there are none; nothing for a call that cuts nobody off.
pub(super) async fn way_back(
    place: &Place,
    method: &str,
    path: &str,
    params: &Map<String, Value>,
    before: &Map<String, Value>,
) -> Option<Result<Calls, String>> {
    let plain = plain_path(path);
    match risk::cuts_off(place.product(), method, &plain)? {
        Cut::Unconfirmed(Some(tool)) => {
            Some(Err(format!("from here the way back is not known; {tool} knows its own")))
        }
        Cut::Unconfirmed(None) => Some(Err("the way back is not known".to_owned())),
        Cut::Confirmed => {
            if let Some(own) = own_account(place, &plain) {
                return Some(Err(format!("{own} is the account by which this server works")));
            }
            Some(match plain.rsplit('/').next() {
                Some("network") => of_network(place, &plain).await,
                Some("acl") => of_acl(place, path, params).await,
                _ => of_values(place, path, params, before),
            })
        }
    }
}

/// This server's own account or token, where the path is about that.
fn own_account(place: &Place, path: &str) -> Option<String> {
    let about = path.strip_prefix("/access/users/")?;
    let (user, token) = about.split_once("/token/").map_or((about, None), |(u, t)| (u, Some(t)));
    let who = token.map_or(user.to_owned(), |token| format!("{user}!{token}"));
    place.traits().is_own_account(&who).then_some(who)
}

/// The interfaces as they run.
async fn of_network(place: &Place, path: &str) -> Result<Calls, String> {
    let node = path.split('/').nth(2).and_then(|node| node.parse().ok());
    match (place, node) {
        (Place::Pve(member), Some(node)) => net::way_back(member, &node).await,
        _ => Err("what runs cannot be read".to_owned()),
    }
}

/// The values that are set, as they were.
fn of_values(
    place: &Place,
    path: &str,
    params: &Map<String, Value>,
    before: &Map<String, Value>,
) -> Result<Calls, String> {
    let (mut set, mut unset) = (Map::new(), Vec::new());
    // Only the firewall's options can be taken away by their names.
    let deletes = path.ends_with("/firewall/options");
    let old = |name: &str| before.get(name).filter(|old| !old.is_null()).cloned();
    for (name, value) in params.iter().filter(|(name, _)| *name != "digest") {
        if is_hidden(path, name) {
            return Err(format!("{name} is a secret, and its earlier value is not told"));
        }
        match (name.as_str(), old(name)) {
            ("delete", _) => {
                let names = value.as_str().unwrap_or_default().split(',').map(str::trim);
                set.extend(names.filter_map(|name| Some((name.to_owned(), old(name)?))));
            }
            ("rename", _) => return Err("it gives it another name".to_owned()),
            // A list is told as one, and set as a text.
            (_, Some(Value::Array(old))) if place.product() == Product::Pve => {
                let old: Vec<&str> = old.iter().filter_map(Value::as_str).collect();
                set.insert(name.clone(), old.join(",").into());
            }
            (_, Some(old)) => {
                set.insert(name.clone(), old);
            }
            (_, None) if deletes => unset.push(name.as_str()),
            (_, None) => return Err(format!("what {name} was is not told")),
        }
    }
    if !unset.is_empty() {
        set.insert("delete".to_owned(), unset.join(",").into());
    }
    if set.is_empty() {
        return Err("what was before is not told".to_owned());
    }
    Ok(call(place, path, &set))
}

/// The same line the other way round, where all of it is new, or all of it was there.
async fn of_acl(place: &Place, path: &str, params: &Map<String, Value>) -> Result<Calls, String> {
    let list = |names: &[&str]| -> Vec<String> {
        let texts = names.iter().filter_map(|name| params.get(*name)?.as_str());
        let all = texts.flat_map(|text| text.split([',', ';', ' ']));
        all.filter(|it| !it.is_empty()).map(str::to_owned).collect()
    };
    if !list(&["groups", "group"]).is_empty() {
        return Err("who is in the group is not looked at here; acl_change does".to_owned());
    }
    let who = list(&["users", "tokens", "auth-id"]);
    if let Some(own) = who.iter().find(|who| place.traits().is_own_account(who)) {
        return Err(format!("{own} is the account by which this server works"));
    }
    let roles = list(&["roles", "role"]);
    let request: Request<Value> = Request::get(path!["access", "acl"]);
    let page = place.read(request).await;
    let page =
        page.map_err(|error| format!("the lines cannot be read: {}", stdx::Chain(&error)))?;
    let rows = page.data.as_array().cloned().unwrap_or_default();
    let at = params.get("path").and_then(Value::as_str).unwrap_or_default();
    let wanted = who.iter().flat_map(|who| roles.iter().map(move |role| (who, role)));
    let lines: Vec<Option<bool>> = wanted
        .map(|(who, role)| {
            let row = rows.iter().find(|row| {
                row["path"] == at && row["ugid"] == who.as_str() && row["roleid"] == role.as_str()
            })?;
            // Without the word a line counts below its path, too.
            Some(row.get("propagate").is_none_or(is_set))
        })
        .collect();
    let mut back = params.clone();
    back.remove("digest");
    if params.get("delete").is_some_and(is_set) {
        let [first, rest @ ..] = lines.as_slice() else {
            return Err("it names nobody".to_owned());
        };
        let Some(propagate) = first.filter(|_| rest.iter().all(|line| line == first)) else {
            return Err("not all of it is there, or not alike".to_owned());
        };
        back.remove("delete");
        back.insert("propagate".to_owned(), propagate.into());
    } else {
        if lines.is_empty() || lines.iter().any(Option::is_some) {
            return Err("some of it is there already".to_owned());
        }
        back.remove("propagate");
        back.insert("delete".to_owned(), true.into());
    }
    Ok(call(place, path, &back))
}

fn call(place: &Place, path: &str, params: &Map<String, Value>) -> Calls {
    let args = json!({"cluster": place.key(), "method": "PUT", "path": path, "params": params});
    vec![(NAME_OF_CALL, object(args))]
}
