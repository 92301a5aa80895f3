//! Calls that can cut the operator off: a mistake in one of them is one that they may not be able to
//! put right any more, since the way to the estate goes through what was changed.

use estate::Product;

use super::fits;

/// Whether the way back from such a call is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It can be read from what was before: it is put back unless somebody confirms it.
    Confirmed,
    /// It is not known, and nothing puts it back by itself; which tool does better, if one does.
    Unconfirmed(Option<&'static str>),
}

/// Method, path, and whether the way back is known.
type Line = (&'static str, &'static str, Cut);

const RULES: Cut = Cut::Unconfirmed(Some("firewall_rule_change"));
const NONE: Cut = Cut::Unconfirmed(None);

/// Reviewed against 9.2.
const PVE: &[Line] = &[
    ("PUT", "/nodes/{node}/network", Cut::Confirmed),
    ("PUT", "/cluster/sdn", NONE),
    ("PUT", "/cluster/firewall/options", Cut::Confirmed),
    ("PUT", "/nodes/{node}/firewall/options", Cut::Confirmed),
    ("PUT", "/cluster/sdn/vnets/{vnet}/firewall/options", NONE),
    ("PUT", "/cluster/firewall/aliases/{name}", Cut::Confirmed),
    ("POST", "/cluster/firewall/rules", RULES),
    ("PUT", "/cluster/firewall/rules/{pos}", RULES),
    ("DELETE", "/cluster/firewall/rules/{pos}", RULES),
    ("POST", "/nodes/{node}/firewall/rules", RULES),
    ("PUT", "/nodes/{node}/firewall/rules/{pos}", RULES),
    ("DELETE", "/nodes/{node}/firewall/rules/{pos}", RULES),
    ("POST", "/cluster/firewall/groups/{group}", RULES),
    ("PUT", "/cluster/firewall/groups/{group}/{pos}", RULES),
    ("DELETE", "/cluster/firewall/groups/{group}/{pos}", RULES),
    ("DELETE", "/cluster/firewall/groups/{group}", NONE),
    ("POST", "/cluster/sdn/vnets/{vnet}/firewall/rules", NONE),
    ("PUT", "/cluster/sdn/vnets/{vnet}/firewall/rules/{pos}", NONE),
    ("DELETE", "/cluster/sdn/vnets/{vnet}/firewall/rules/{pos}", NONE),
    ("DELETE", "/cluster/firewall/aliases/{name}", NONE),
    ("DELETE", "/cluster/firewall/ipset/{name}", NONE),
    ("POST", "/cluster/firewall/ipset/{name}", NONE),
    ("PUT", "/cluster/firewall/ipset/{name}/{cidr}", NONE),
    ("DELETE", "/cluster/firewall/ipset/{name}/{cidr}", NONE),
    ("PUT", "/access/acl", Cut::Confirmed),
    ("PUT", "/access/users/{userid}", Cut::Confirmed),
    ("PUT", "/access/users/{userid}/token/{tokenid}", Cut::Confirmed),
    ("DELETE", "/access/users|groups|roles|domains/{id}", NONE),
    ("DELETE", "/access/users/{userid}/token/{tokenid}", NONE),
    ("PUT", "/access/groups|roles|domains/{id}", NONE),
    ("PUT", "/access/password", NONE),
    ("PUT", "/access/tfa/{userid}/{id}", NONE),
    ("DELETE", "/access/tfa/{userid}/{id}", NONE),
];

/// Reviewed against 4.2.
const PBS: &[Line] = &[
    ("PUT", "/nodes/{node}/network", NONE),
    ("PUT", "/access/acl", Cut::Confirmed),
    ("PUT", "/access/users/{userid}", Cut::Confirmed),
    ("PUT", "/access/users/{userid}/token/{token-name}", Cut::Confirmed),
    ("DELETE", "/access/users/{userid}", NONE),
    ("DELETE", "/access/users/{userid}/token/{token-name}", NONE),
    ("PUT", "/access/password", NONE),
    ("PUT", "/access/tfa/{userid}/{id}", NONE),
    ("DELETE", "/access/tfa/{userid}/{id}", NONE),
    ("PUT", "/config/access/pam|pbs", NONE),
    ("PUT", "/config/access/ad|ldap|openid/{realm}", NONE),
    ("DELETE", "/config/access/ad|ldap|openid/{realm}", NONE),
];

fn lines(product: Product) -> &'static [Line] {
    match product {
        Product::Pve => PVE,
        Product::Pbs => PBS,
    }
}

/// Whether a call can cut the operator off. The path may be a template or have values in its places.
pub fn cuts_off(product: Product, method: &str, path: &str) -> Option<Cut> {
    let mut all = lines(product).iter();
    all.find(|line| line.0 == method && fits(line.1, path)).map(|line| line.2)
}

/// How many lines speak of no endpoint of these, for a test over what is published.
pub fn unused(product: Product, endpoints: &[(&str, &str)]) -> Vec<(&'static str, &'static str)> {
    let is_unused = |line: &&Line| {
        !endpoints.iter().any(|(method, path)| line.0 == *method && fits(line.1, path))
    };
    lines(product).iter().filter(is_unused).map(|line| (line.0, line.1)).collect()
}
