//! Notification targets, endpoints and matchers.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, data, index};
use crate::notify::Entity::{self, Matcher, Webhook};
use crate::notify::{Notifying, calls};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/cluster/notifications", |_| {
        index(
            "name",
            &["endpoints", "matchers", "targets", "matcher-fields", "matcher-field-values"],
        )
    }),
    ("GET", "/cluster/notifications/targets", |call| call.cluster().notifying.targets()),
    ("POST", "/cluster/notifications/targets/{name}/test", test),
    ("GET", "/cluster/notifications/endpoints", |_| {
        index("name", &["gotify", "sendmail", "smtp", "webhook"])
    }),
    ("GET", "/cluster/notifications/endpoints/sendmail", |_| data(json!([calls::mail()]))),
    ("GET", "/cluster/notifications/endpoints/gotify", |_| data(json!([]))),
    ("GET", "/cluster/notifications/endpoints/smtp", |_| data(json!([]))),
    ("GET", "/cluster/notifications/endpoints/webhook", |call| {
        call.cluster().notifying.list(Webhook, None)
    }),
    ("POST", "/cluster/notifications/endpoints/webhook", |call| create(call, Webhook)),
    ("GET", "/cluster/notifications/endpoints/webhook/{name}", |call| read(call, Webhook)),
    ("PUT", "/cluster/notifications/endpoints/webhook/{name}", |call| update(call, Webhook)),
    ("DELETE", "/cluster/notifications/endpoints/webhook/{name}", |call| delete(call, Webhook)),
    ("GET", "/cluster/notifications/matchers", |call| {
        call.cluster().notifying.list(Matcher, Some(default_matcher()))
    }),
    ("POST", "/cluster/notifications/matchers", |call| create(call, Matcher)),
    ("GET", "/cluster/notifications/matchers/{name}", |call| read(call, Matcher)),
    ("PUT", "/cluster/notifications/matchers/{name}", |call| update(call, Matcher)),
    ("DELETE", "/cluster/notifications/matchers/{name}", |call| delete(call, Matcher)),
];

fn default_matcher() -> Value {
    json!({
        "name": "default-matcher", "mode": "all", "target": ["mail-to-root"], "origin": "builtin",
        "comment": "Route all notifications to mail-to-root",
    })
}

fn test(call: &mut Call<'_>) -> Answer {
    let cluster = call.cluster();
    let proxy = cluster.options.get("http_proxy").and_then(Value::as_str);
    cluster.notifying.test(call.arg("name"), call.estate.seconds(), proxy)
}

fn told<'a>(call: &'a mut Call<'_>) -> &'a mut Notifying {
    &mut call.cluster_mut().notifying
}

fn create(call: &mut Call<'_>, entity: Entity) -> Answer {
    super::cluster::quorum(call)?;
    calls::create(call, told, entity)
}

fn read(call: &mut Call<'_>, entity: Entity) -> Answer {
    calls::read(call, told, entity, default_matcher)
}

fn update(call: &mut Call<'_>, entity: Entity) -> Answer {
    super::cluster::quorum(call)?;
    calls::update(call, told, entity)
}

fn delete(call: &mut Call<'_>, entity: Entity) -> Answer {
    super::cluster::quorum(call)?;
    calls::delete(call, told, entity)
}
