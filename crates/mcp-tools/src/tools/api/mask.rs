//! Secrets in what servers answer, by the names of fields: rows lose their names on the way out.

use std::sync::LazyLock;

use serde_json::Value;
use stdx::redact::{Redactor, blank};

use crate::redaction::{SECRET_FIELDS, is_secret_field};

/// `value` is a secret where a token was made, and beside a name that is one; nowhere else.
const VALUE: &str = "value";
/// The fields that say what the value beside them is.
const NAMES: [&str; 3] = ["key", "name", "property"];

/// Parameters that hold secrets although their names are used for other things as well: keys of
/// certificates, tapes and DNS providers, second factors of users, credentials of ACME plugins.
const HIDDEN: [&str; 4] = ["key", "keys", "data", "value"];

/// Fields that are secrets at some paths although their names are used for other things elsewhere:
/// what the path contains, and the field.
const AT_PATHS: &[(&str, &str)] = &[
    // Credentials of DNS providers, in base64.
    ("/acme/plugins", "data"),
    // Legacy second factors: the seeds of one-time codes.
    ("/access/users", "keys"),
    // API keys of DNS servers, and private keys of tunnels.
    ("/sdn/dns", "key"),
    ("/sdn/ipams", "token"),
    ("/sdn/fabrics", "private_key"),
    // Headers log in, and bodies may: name and value are one text, the value in base64.
    ("/notifications/endpoints/webhook", "header"),
    ("/notifications/endpoints/webhook", "body"),
    // What a licence is known by.
    ("/subscription", "key"),
    // What helps to guess the password of a tape's key.
    ("/tape-encryption-keys", "hint"),
    ("/encryption-keys", "hint"),
];

/// What stands in files of guests is theirs.
const CONTENT: &str = "content";

/// Whether a parameter of a call to this path is secret. Names that say it are known elsewhere too.
pub(super) fn is_hidden(path: &str, name: &str) -> bool {
    is_secret_field(name)
        || HIDDEN.contains(&name)
        || is_at(path, name)
        || (name == CONTENT && path.contains("/agent/"))
}

fn is_at(path: &str, name: &str) -> bool {
    AT_PATHS.iter().any(|(part, field)| *field == name && path.contains(part))
}

/// Takes secrets out of the answer to a call to this path.
pub(super) fn mask(path: &str, value: &mut Value) {
    static REDACTOR: LazyLock<Redactor> =
        LazyLock::new(|| Redactor::new([""; 0]).with_fields(SECRET_FIELDS));
    walk(&REDACTOR, path, value);
}

fn walk(redactor: &Redactor, path: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_secret = |name: &str| redactor.is_secret_name(name) || is_at(path, name);
            let named = NAMES.iter().filter_map(|name| fields.get(*name)?.as_str());
            let named_secret = named.clone().any(is_secret);
            // A value without a name beside it is what a token or a webhook was given.
            let is_named =
                named.count() > 0 || fields.get(VALUE).is_some_and(|value| !value.is_string());
            for (name, value) in fields.iter_mut() {
                let is_secret = is_secret(name)
                    || (named_secret && matches!(name.as_str(), "value" | "pending" | "default"))
                    || (name == VALUE && !is_named);
                if is_secret { blank(value) } else { walk(redactor, path, value) }
            }
        }
        Value::Array(items) => {
            // `["lxc.environment", "A=1"]`: a setting that this server has no name for.
            if let [Value::String(name), value] = items.as_mut_slice()
                && redactor.is_secret_name(name)
            {
                blank(value);
            }
            for item in items.iter_mut() {
                walk(redactor, path, item);
            }
        }
        _ => redactor.json(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stdx::redact::REDACTED;

    use super::*;

    #[test]
    fn what_is_under_a_secret_name_is_taken_out_wherever_it_stands() {
        let mut given = json!([
            {"key": "cores", "value": 2, "pending": 4},
            {"key": "cipassword", "value": "x", "pending": "y"},
            {"name": "net0", "value": "virtio"},
            {"tokenid": "a", "value": "0f5a3c1e"},
            {"metric": "cpu", "value": 0.5},
            {"password": "p", "nested": {"secret": [1], "comment": "password=abc"}, "has-token": true},
            "Authorization: Bearer abc",
        ]);
        mask("/nodes/alder/qemu/104/pending", &mut given);
        let said = given.to_string();
        assert_eq!(
            given,
            json!([
                {"key": "cores", "value": 2, "pending": 4},
                {"key": "cipassword", "value": REDACTED, "pending": REDACTED},
                {"name": "net0", "value": "virtio"},
                {"tokenid": "a", "value": REDACTED},
                {"metric": "cpu", "value": 0.5},
                {"password": REDACTED, "nested": {"secret": REDACTED, "comment": "password=[redacted]"}, "has-token": true},
                "Authorization: [redacted]",
            ]),
            "{said}"
        );
    }

    #[test]
    fn what_is_secret_at_some_paths_stays_at_others() {
        let given = json!({
            "data": "d", "keys": "k", "key": "licence", "header": ["name=A,value=b"], "hint": "h",
            "lxc": [["lxc.environment", "A=1"], ["lxc.cap.drop", "mknod"]],
        });
        let left = |path: &str| {
            let mut value = given.clone();
            mask(path, &mut value);
            let fields = value.as_object().unwrap().iter();
            let left = fields.filter(|(_, value)| **value != REDACTED);
            left.map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left("/cluster/acme/plugins/dns"), "keys key header hint lxc");
        assert_eq!(left("/access/users/root@pam"), "data key header hint lxc");
        assert_eq!(left("/nodes/alder/subscription"), "data keys header hint lxc");
        assert_eq!(left("/config/notifications/endpoints/webhook/a"), "data keys key hint lxc");
        assert_eq!(left("/nodes/alder/hosts"), "data keys key header hint lxc");
        let mut value = given;
        mask("/nodes/alder/lxc/121/config", &mut value);
        assert_eq!(value["lxc"], json!([["lxc.environment", REDACTED], ["lxc.cap.drop", "mknod"]]));
    }
}
