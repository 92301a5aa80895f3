//! Groups of users.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::access::Group;

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/access/groups", list),
    ("POST", "/access/groups", create),
    ("GET", "/access/groups/{groupid}", read),
    ("PUT", "/access/groups/{groupid}", update),
    ("DELETE", "/access/groups/{groupid}", delete),
];

fn list(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let groups = call.cluster().access.groups.iter().filter(|(name, _)| {
        let path = format!("/access/groups/{name}");
        ["User.Modify", "Sys.Audit", "Group.Allocate"].iter().any(|it| call.may(&path, it))
    });
    let rows = groups.map(|(name, group)| {
        let members: Vec<&str> = group.members.iter().map(String::as_str).collect();
        let mut row = json!({"groupid": name, "users": members.join(",")});
        if let Some(comment) = &group.comment {
            row["comment"] = json!(comment);
        }
        row
    });
    data(rows.collect::<Vec<Value>>())
}

fn missing(group: &str) -> Fault {
    Fault::internal(format!("group '{group}' does not exist"))
}

fn create(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let name = call.text("groupid").unwrap_or_default().to_owned();
    if call.cluster().access.groups.contains_key(&name) {
        return Err(Fault::internal(format!("create group failed: group '{name}' already exists")));
    }
    let comment = call.text("comment").map(str::to_owned);
    call.cluster_mut().access.groups.insert(name, Group { comment, ..Group::default() });
    data(Value::Null)
}

fn read(call: &mut Call<'_>) -> Answer {
    let name = call.arg("groupid");
    let group = call.cluster().access.groups.get(name).ok_or_else(|| missing(name))?;
    let members: Vec<&String> = group.members.iter().collect();
    let mut reply = json!({"members": members});
    if let Some(comment) = &group.comment {
        reply["comment"] = json!(comment);
    }
    data(reply)
}

fn update(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let name = call.arg("groupid").to_owned();
    let comment = call.text("comment").map(str::to_owned);
    let group = call.cluster_mut().access.groups.get_mut(&name).ok_or_else(|| missing(&name))?;
    group.comment = comment.or(group.comment.take());
    data(Value::Null)
}

fn delete(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let name = call.arg("groupid").to_owned();
    let access = &mut call.cluster_mut().access;
    if access.groups.remove(&name).is_none() {
        let text = format!("delete group failed: group '{name}' does not exist");
        return Err(Fault::internal(text));
    }
    access.acl.retain(|entry| entry.who != name);
    data(Value::Null)
}
