//! The calls about webhooks and matchers that both products answer alike; their paths, and what they look at before,
//! are their own.

use serde_json::{Value, json};

use super::{DEFAULT_MATCHER, Entity, Notifying};
use crate::call::Call;
use crate::http::{Answer, data};

/// What the server that is asked was told.
pub(crate) type Told = for<'a> fn(&'a mut Call<'_>) -> &'a mut Notifying;

/// The target that every server has by itself.
pub(crate) fn mail() -> Value {
    json!({
        "name": super::BUILTIN, "mailto-user": ["root@pam"], "origin": "builtin",
        "comment": "Send mails to root@pam's email address",
    })
}

pub(crate) fn create(call: &mut Call<'_>, told: Told, entity: Entity) -> Answer {
    let entry = std::mem::take(&mut call.params);
    told(call).create(entity, entry)
}

/// One of them; `own` is the matcher that the product has by itself.
pub(crate) fn read(call: &mut Call<'_>, told: Told, entity: Entity, own: fn() -> Value) -> Answer {
    let name = call.arg("name").to_owned();
    if entity == Entity::Matcher && name == DEFAULT_MATCHER {
        return data(own());
    }
    told(call).read(entity, &name)
}

pub(crate) fn update(call: &mut Call<'_>, told: Told, entity: Entity) -> Answer {
    let name = call.arg("name").to_owned();
    let changes = std::mem::take(&mut call.params);
    told(call).update(entity, &name, changes)
}

pub(crate) fn delete(call: &mut Call<'_>, told: Told, entity: Entity) -> Answer {
    let name = call.arg("name").to_owned();
    told(call).delete(entity, &name)
}
