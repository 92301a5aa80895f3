//! Notification targets, endpoints and matchers.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, data, index};
use crate::notify::Entity::{self, Matcher, Webhook};
use crate::notify::{Notifying, calls};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/config/notifications/targets", |call| call.vault().notifying.targets()),
    ("POST", "/config/notifications/targets/{name}/test", test),
    ("GET", "/config/notifications/endpoints", |_| {
        index("subdir", &["gotify", "sendmail", "smtp", "webhook"])
    }),
    ("GET", "/config/notifications/endpoints/sendmail", |_| data(json!([calls::mail()]))),
    ("GET", "/config/notifications/endpoints/gotify", |_| data(json!([]))),
    ("GET", "/config/notifications/endpoints/smtp", |_| data(json!([]))),
    ("GET", "/config/notifications/endpoints/webhook", |call| {
        call.vault().notifying.list(Webhook, None)
    }),
    ("POST", "/config/notifications/endpoints/webhook", |call| calls::create(call, told, Webhook)),
    ("GET", "/config/notifications/endpoints/webhook/{name}", |call| read(call, Webhook)),
    ("PUT", "/config/notifications/endpoints/webhook/{name}", |call| {
        calls::update(call, told, Webhook)
    }),
    ("DELETE", "/config/notifications/endpoints/webhook/{name}", |call| {
        calls::delete(call, told, Webhook)
    }),
    ("GET", "/config/notifications/matchers", |call| {
        call.vault().notifying.list(Matcher, Some(default_matcher()))
    }),
    ("POST", "/config/notifications/matchers", |call| calls::create(call, told, Matcher)),
    ("GET", "/config/notifications/matchers/{name}", |call| read(call, Matcher)),
    ("PUT", "/config/notifications/matchers/{name}", |call| calls::update(call, told, Matcher)),
    ("DELETE", "/config/notifications/matchers/{name}", |call| calls::delete(call, told, Matcher)),
];

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

fn told<'a>(call: &'a mut Call<'_>) -> &'a mut Notifying {
    &mut call.vault_mut().notifying
}

fn read(call: &mut Call<'_>, entity: Entity) -> Answer {
    calls::read(call, told, entity, default_matcher)
}
