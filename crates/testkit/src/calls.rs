//! Holds a client's table of calls against the published schema and against the replies that
//! servers gave: one table for each client, in its own tests, every builder with a sample.
//!
//! [`case`] and [`checked`] make the rows; [`assert_complete`] finds builders that are in no row,
//! [`assert_schema`] calls that are not as the schema has them, [`read_recorded`] replies that
//! cannot be read and fields that no type names.

mod recorded;
mod schema;

use std::{
    any::type_name,
    collections::{BTreeMap, BTreeSet},
};

use api_core::{Request, RequestMeta};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::recorded::general;

pub use self::{
    recorded::{Coverage, Written, read_recorded, written},
    schema::{assert_complete, assert_schema},
};

/// Reads a reply, looks at it if it is told to, and gives the fields that have no name.
type Read = dyn Fn(&Value, bool) -> Result<Vec<String>, String>;

/// One call with a sample's parameters, its type erased.
pub struct Case {
    /// Where the path stands in the schema.
    pub template: &'static str,
    method: String,
    path: String,
    meta: RequestMeta,
    /// The parameters that the sample sends.
    sent: BTreeMap<String, String>,
    /// The parameters that it could send.
    names: BTreeSet<&'static str>,
    /// The reply's type.
    pub reply: String,
    /// Whether a parameter makes the reply another one than the recorded.
    other_reply: bool,
    /// Whether the reply is a plain table, whose keys are data and no fields.
    table: bool,
    /// Whether a value of the reply is looked at.
    looks: bool,
    read: Box<Read>,
}

/// Makes a [`Case`] of a sample request.
pub fn case<T: DeserializeOwned + 'static>(template: &'static str, request: Request<T>) -> Case {
    Case { looks: false, ..checked(template, request, |_| {}) }
}

/// Makes a [`Case`] whose reply is looked at, too.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the table reads better without an ampersand each"
)]
pub fn checked<T: DeserializeOwned + 'static>(
    template: &'static str,
    request: Request<T>,
    check: impl Fn(&T) + 'static,
) -> Case {
    Case {
        template,
        method: request.method().to_string(),
        path: request.path().to_string(),
        meta: request.meta().clone(),
        sent: request.parameters().iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        names: BTreeSet::new(),
        reply: short(type_name::<T>()),
        other_reply: false,
        table: false,
        looks: true,
        read: Box::new(move |value, look| {
            let mut ignored = Vec::new();
            let reply: T = serde_ignored::deserialize(value, |path| ignored.push(path.to_string()))
                .map_err(|error| error.to_string())?;
            if look {
                check(&reply);
            }
            Ok(ignored)
        }),
    }
}

impl Case {
    /// Adds the names of a struct of options.
    #[must_use]
    pub fn takes(mut self, names: &[&'static str]) -> Self {
        self.names.extend(names.iter().filter(|name| !name.is_empty()));
        self
    }

    /// Says that a parameter of the sample makes the reply another one than the recorded.
    #[must_use]
    pub fn another_reply(mut self) -> Self {
        self.other_reply = true;
        self
    }

    /// Says that the reply's keys are data.
    #[must_use]
    pub fn table(mut self) -> Self {
        self.table = true;
        self
    }

    /// The read with the template's names filled in; `None` for what is no read, or names what
    /// `names` does not hold.
    pub fn filled(&self, names: &[(&str, &str)]) -> Option<Request<Value>> {
        if self.method != "GET" || self.other_reply {
            return None;
        }
        let mut path = api_core::Path::new();
        for part in self.template.split('/').skip(1) {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            path = match name {
                None => path.push(part),
                Some(name) => path.push(names.iter().find(|(known, _)| *known == name)?.1),
            };
        }
        let request = Request::get(path);
        Some(self.sent.iter().fold(request, |request, (key, value)| request.param(key, value)))
    }

    /// Reads a reply, and gives the fields that have no name.
    ///
    /// # Errors
    ///
    /// When the type cannot read it.
    pub fn fields_without_name(&self, reply: &Value) -> Result<BTreeSet<String>, String> {
        let ignored = (self.read)(reply, false)?;
        Ok(ignored.iter().map(|path| general(path)).collect())
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        let path: Vec<_> = path.split('/').collect();
        let template: Vec<_> = self.template.split('/').collect();
        let same = |(given, known): (&&str, &&str)| known.starts_with('{') || given == known;
        self.method == method
            && path.len() == template.len()
            && path.iter().zip(&template).all(same)
    }
}

/// `alloc::vec::Vec<pve_client::nodes::Node>` as `Vec<nodes::Node>`.
fn short(name: &str) -> String {
    let mut out = String::new();
    for part in name.split_inclusive(['<', '>', ',', ' ']) {
        let words: Vec<_> = part.split("::").collect();
        let keep = if part.contains("_client::") { 2 } else { 1 };
        out.push_str(&words[words.len().saturating_sub(keep)..].join("::"));
    }
    out
}

/// The innermost type: what `Vec` and `Option` hold.
fn inner(reply: &str) -> &str {
    let start = reply.rfind('<').map_or(0, |at| at + 1);
    reply[start..].trim_end_matches('>')
}
