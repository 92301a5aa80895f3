//! Guests in paths: a path names the node as well, and a guest may have moved.

use api_core::schema::Checked;
use estate::GuestKind;
use mcp_protocol::JsonObject;
use serde_json::{Map, Value};

use super::{mask::is_hidden, place::Place};
use crate::{address::Purpose, error::ToolError, tool::Cx, view::Guest};

/// What a path says of a guest.
struct Named<'a> {
    kind: GuestKind,
    node: &'a str,
    vmid: &'a str,
}

/// The guest of a path as its cluster knows it; `None` where the path has none, or it is not known.
///
/// # Errors
/// The guest is on another node or of the other kind. A server would take the call all the same and
/// let its task fail.
pub(super) async fn at_home(
    cx: &Cx,
    place: &Place,
    checked: &Checked<'_>,
    tool: &'static str,
    args: &JsonObject,
) -> Result<Option<Guest>, ToolError> {
    let (Place::Pve(_), Some(named)) = (place, named(checked)) else { return Ok(None) };
    let address = format!("{}/{}", place.key(), named.vmid);
    // One that cannot be found is for the server to refuse: it may see more than lists show.
    let Ok(found) = cx.fleet.find_guest(&address, Purpose::Read).await else { return Ok(None) };
    let guest = found.guest;
    if guest.node == *named.node && guest.kind == named.kind {
        return Ok(Some(guest));
    }
    let path = checked.request.path().as_str();
    let rest = path.splitn(6, '/').nth(5).map(|rest| format!("/{rest}")).unwrap_or_default();
    let right = format!("/nodes/{}/{}/{}{rest}", guest.node, guest.kind, guest.at.vmid);
    let mut args = args.clone();
    let names = args.get("params").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let has_secret = names.into_iter().any(|name| is_hidden(&right, name));
    let said = format!(
        "{address} is a {} on {}, which this path does not say",
        word(guest.kind),
        guest.node
    );
    let error = ToolError::not_found(said);
    if has_secret {
        return Err(error.hint(format!(
            "the path is {right}; the call has a secret in it and is not repeated"
        )));
    }
    args.insert("path".to_owned(), right.into());
    Err(error.next(tool, args))
}

fn named<'a>(checked: &'a Checked<'_>) -> Option<Named<'a>> {
    let kind = match checked.path.split('/').nth(3)? {
        "qemu" => GuestKind::Qemu,
        "lxc" => GuestKind::Lxc,
        _ => return None,
    };
    let value = |wanted: &str| {
        let found = checked.values.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    Some(Named { kind, node: value("node")?, vmid: value("vmid")? })
}

fn word(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "virtual machine",
        GuestKind::Lxc => "container",
    }
}
