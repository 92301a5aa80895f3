//! Notification targets, endpoints and matchers.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, data, index};
use crate::notify::Entity::{self, Matcher, Webhook};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/config/notifications/targets", |call| call.vault().notifying.targets()),
    ("POST", "/config/notifications/targets/{name}/test", test),
    ("GET", "/config/notifications/endpoints", |_| {
        index("subdir", &["gotify", "sendmail", "smtp", "webhook"])
    }),
    ("GET", "/config/notifications/endpoints/sendmail", |_| data(json!([mail()]))),
    ("GET", "/config/notifications/endpoints/gotify", |_| data(json!([]))),
    ("GET", "/config/notifications/endpoints/smtp", |_| data(json!([]))),
    ("GET", "/config/notifications/endpoints/webhook", |call| {
        call.vault().notifying.list(Webhook, None)
    }),
    ("POST", "/config/notifications/endpoints/webhook", |call| create(call, Webhook)),
    ("GET", "/config/notifications/endpoints/webhook/{name}", |call| read(call, Webhook)),
    ("PUT", "/config/notifications/endpoints/webhook/{name}", |call| update(call, Webhook)),
    ("DELETE", "/config/notifications/endpoints/webhook/{name}", |call| delete(call, Webhook)),
    ("GET", "/config/notifications/matchers", |call| {
        call.vault().notifying.list(Matcher, Some(default_matcher()))
    }),
    ("POST", "/config/notifications/matchers", |call| create(call, Matcher)),
    ("GET", "/config/notifications/matchers/{name}", |call| read(call, Matcher)),
    ("PUT", "/config/notifications/matchers/{name}", |call| update(call, Matcher)),
    ("DELETE", "/config/notifications/matchers/{name}", |call| delete(call, Matcher)),
];

fn mail() -> Value {
    json!({
        "name": "mail-to-root", "mailto-user": ["root@pam"], "origin": "builtin",
        "comment": "Send mails to root@pam's email address",
    })
}

fn default_matcher() -> Value {
    json!({
        "name": "default-matcher", "mode": "all", "target": ["mail-to-root"], "origin": "builtin",
        "invert-match": true, "match-field": ["exact:type=prune"], "match-severity": ["info"],
        "comment": "Route everything but successful prune job notifications to mail-to-root",
    })
}

fn test(call: &mut Call<'_>) -> Answer {
    call.vault().notifying.test(call.arg("name"), call.estate.seconds(), None)
}

fn create(call: &mut Call<'_>, entity: Entity) -> Answer {
    let entry = std::mem::take(&mut call.params);
    call.vault_mut().notifying.create(entity, entry)
}

fn read(call: &mut Call<'_>, entity: Entity) -> Answer {
    let name = call.arg("name");
    if entity == Matcher && name == "default-matcher" {
        return data(default_matcher());
    }
    call.vault().notifying.read(entity, name)
}

fn update(call: &mut Call<'_>, entity: Entity) -> Answer {
    let name = call.arg("name").to_owned();
    let changes = std::mem::take(&mut call.params);
    call.vault_mut().notifying.update(entity, &name, changes)
}

fn delete(call: &mut Call<'_>, entity: Entity) -> Answer {
    let name = call.arg("name").to_owned();
    call.vault_mut().notifying.delete(entity, &name)
}
