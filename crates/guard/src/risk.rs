//! What a call of the API can do, for every endpoint of both products.
//!
//! The method says it nearly always: GET reads, POST and PUT change, DELETE loses. Where that is
//! wrong a table says better, reviewed by hand, each line with its reason. Some endpoints are
//! refused altogether: those that hand out shells, tickets or secrets, that take or give files, or
//! that would carry other calls past this table.
//!
//! ```
//! use estate::{Access, Product};
//! use guard::risk;
//!
//! let rating = risk::rate(Product::Pve, "PUT", "/nodes/{node}/disks/wipedisk");
//! assert_eq!(rating.access, Some(Access::Destroy));
//! assert_eq!(risk::rate(Product::Pve, "POST", "/nodes/pve1/termproxy").access, None);
//! ```
//!
//! *Invariant:* an endpoint that nobody has looked at is judged by its method, and is never below
//! `Operate` unless it is a GET.

mod cuts;
mod pbs;
mod pve;
mod undo;

use estate::{Access, Product};

pub use self::cuts::{Cut, cuts_off, unused};
pub use self::undo::{Below, WayBack, way_back};

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The method; `*` for any.
    pub method: &'static str,
    /// The path with its places; `a|b` is either name, a `**` at the end is whatever follows.
    pub path: &'static str,
    /// The line counts only when one of these is given; `keep-*` is any that begins so. Empty: it
    /// always counts.
    pub with: &'static [&'static str],
    /// What the call can do; `None` refuses it.
    pub access: Option<Access>,
    /// Why, as it is told to the caller.
    pub reason: &'static str,
}

/// What a call can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rating {
    /// The tier; `None` where it is refused altogether.
    pub access: Option<Access>,
    /// Why it is not what its method says; `None` where it is.
    pub reason: Option<&'static str>,
}

/// Places at a path's end whose values hold slashes.
const WITH_SLASHES: [&str; 2] = ["{volume}", "{cidr}"];

const fn read(method: &'static str, path: &'static str, reason: &'static str) -> Rule {
    Rule { method, path, with: &[], access: Some(Access::Read), reason }
}

const fn operate(method: &'static str, path: &'static str, reason: &'static str) -> Rule {
    Rule { method, path, with: &[], access: Some(Access::Operate), reason }
}

const fn destroy(method: &'static str, path: &'static str, reason: &'static str) -> Rule {
    Rule { method, path, with: &[], access: Some(Access::Destroy), reason }
}

const fn refuse(method: &'static str, path: &'static str, reason: &'static str) -> Rule {
    Rule { method, path, with: &[], access: None, reason }
}

const fn when(
    with: &'static [&'static str],
    Rule { method, path, access, reason, .. }: Rule,
) -> Rule {
    Rule { method, path, with, access, reason }
}

// === impl Rule ===

impl Rule {
    /// Whether it speaks of this endpoint. The path may be a template or have values in its places.
    pub fn fits(&self, method: &str, path: &str) -> bool {
        (self.method == "*" || self.method == method) && fits(self.path, path)
    }
}

/// What the method alone says.
pub fn by_method(method: &str) -> Access {
    match method {
        "GET" => Access::Read,
        "DELETE" => Access::Destroy,
        _ => Access::Operate,
    }
}

/// The lines of a product.
pub fn rules(product: Product) -> &'static [Rule] {
    match product {
        Product::Pve => pve::RULES,
        Product::Pbs => pbs::RULES,
    }
}

/// What a call can do, whatever its parameters are. The path may be a template or have values in
/// its places.
pub fn rate(product: Product, method: &str, path: &str) -> Rating {
    rate_call(product, method, path, |_| false)
}

/// What a call with these parameters can do: `given` says whether any parameter that is set has a
/// name for which its argument holds.
pub fn rate_call(
    product: Product,
    method: &str,
    path: &str,
    given: impl Fn(&dyn Fn(&str) -> bool) -> bool,
) -> Rating {
    let default = Rating { access: Some(by_method(method)), reason: None };
    let is_given = |rule: &Rule| {
        rule.with.is_empty()
            || given(&|name| {
                rule.with.iter().any(|with| match with.strip_suffix('*') {
                    Some(stem) => name.starts_with(stem),
                    None => name == *with,
                })
            })
    };
    let found = rules(product).iter().filter(|rule| rule.fits(method, path) && is_given(rule));
    let rated = found.map(|rule| Rating { access: rule.access, reason: Some(rule.reason) });
    // Of several lines the strictest counts; a refusal is stricter than anything.
    rated
        .max_by_key(|rating| rating.access.map_or((1, None), |access| (0, Some(access))))
        .unwrap_or(default)
}

/// The tier of an endpoint; `None` where it is refused altogether.
pub fn tier(product: Product, method: &str, path: &str) -> Option<Access> {
    rate(product, method, path).access
}

/// Whether a path is one that a rule speaks of.
fn fits(rule: &str, path: &str) -> bool {
    let mut wanted = rule.split('/').filter(|part| !part.is_empty()).peekable();
    let mut given = path.split('/').filter(|part| !part.is_empty());
    while let Some(part) = wanted.next() {
        if part == "**" {
            return true;
        }
        let Some(segment) = given.next() else { return false };
        let is_last = wanted.peek().is_none();
        if is_last && WITH_SLASHES.contains(&part) {
            return true;
        }
        if !part.starts_with('{') && !part.split('|').any(|name| name == segment) {
            return false;
        }
    }
    given.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_with_and_without_values() {
        assert!(fits(
            "/nodes/{node}/qemu|lxc/{vmid}/termproxy",
            "/nodes/{node}/lxc/{vmid}/termproxy"
        ));
        assert!(fits("/nodes/{node}/qemu|lxc/{vmid}/termproxy", "/nodes/pve1/qemu/100/termproxy"));
        assert!(!fits("/nodes/{node}/qemu|lxc/{vmid}/termproxy", "/nodes/pve1/qemu/100"));
        assert!(!fits("/nodes/{node}/qemu|lxc/{vmid}", "/nodes/pve1/qemu/100/termproxy"));
        assert!(fits("/backup/**", "/backup/_upgrade_/blob"));
        assert!(fits("/backup/**", "/backup"));
        assert!(fits("/content/{volume}", "/content/local:iso/a/b"));
    }

    #[test]
    fn parameters_can_make_a_call_worse() {
        let rated = |names: &'static [&'static str]| {
            rate_call(Product::Pve, "POST", "/nodes/pve1/qemu", |is| {
                names.iter().any(|name| is(name))
            })
            .access
        };
        assert_eq!(rated(&["vmid", "name"]), Some(Access::Operate));
        assert_eq!(rated(&["vmid", "force"]), Some(Access::Destroy));
    }

    #[test]
    fn what_is_not_known_is_judged_by_its_method() {
        let tier = |method| tier(Product::Pbs, method, "/novel/{thing}");
        assert_eq!(tier("GET"), Some(Access::Read));
        assert_eq!(tier("POST"), Some(Access::Operate));
        assert_eq!(tier("PUT"), Some(Access::Operate));
        assert_eq!(tier("DELETE"), Some(Access::Destroy));
        assert_eq!(tier("PATCH"), Some(Access::Operate));
    }
}
