//! How the calls of both APIs can be taken back, by the shape of their endpoints: what the generated
//! page says, and what the tool that makes any call goes by.

use estate::{Access, Product};

use super::{Cut, cuts_off, rate};

/// How a call can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayBack {
    /// Nothing is changed, or the call is never made.
    Nothing,
    /// The values from before are kept where the endpoint tells them, and `undo` writes them again.
    Kept,
    /// The same, and it happens by itself unless somebody confirms the change.
    Confirmed,
    /// By a deletion of what was made.
    Delete,
    /// By hand, if at all: it depends on what the call is about.
    Hand,
    /// Not at all; why.
    Never(&'static str),
}

/// How this call can be taken back. `has` says whether the API has an endpoint of this method and
/// path, or one place below it.
pub fn way_back(
    product: Product,
    method: &str,
    path: &str,
    has: impl Fn(&str, Below) -> bool,
) -> WayBack {
    let rating = rate(product, method, path);
    match (rating.access, cuts_off(product, method, path)) {
        (None | Some(Access::Read), _) => WayBack::Nothing,
        (_, Some(Cut::Confirmed)) => WayBack::Confirmed,
        (Some(Access::Destroy), _) => {
            WayBack::Never(rating.reason.unwrap_or("removes what nothing brings back"))
        }
        _ if method == "PUT" && has("GET", Below::Here) => WayBack::Kept,
        _ if method == "POST" && has("DELETE", Below::Place) => WayBack::Delete,
        _ => WayBack::Hand,
    }
}

/// Where an endpoint is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// At the same path.
    Here,
    /// At the path with one place more.
    Place,
}
