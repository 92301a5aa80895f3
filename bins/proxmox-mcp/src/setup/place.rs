//! One cluster or backup server: what was found, what is planned, what was done, and how it is told.

use estate::Product;
use serde_json::{Value, json};

use super::apply::Done;
use super::hook::{Hook, NewHook};
use super::plan::Plan;
use super::show;
use super::survey::Survey;
use super::trial::Outcome;

/// One cluster or backup server on its way through.
pub(super) struct Place {
    pub(super) key: String,
    pub(super) product: Product,
    /// Whether all its addresses are this machine's own.
    pub(super) is_here: bool,
    pub(super) hook: Option<Hook>,
    /// The hook that the settings lack.
    pub(super) new: Option<NewHook>,
    pub(super) survey: Survey,
    /// Whether it could be asked.
    pub(super) is_known: bool,
    pub(super) plan: Option<Plan>,
    pub(super) url: Option<String>,
    /// What has to be done by a person first.
    pub(super) obstacles: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) done: Vec<(String, Done)>,
    pub(super) test: Option<Outcome>,
}

// === impl Place ===

impl Place {
    pub(super) fn new(key: String, product: Product, is_here: bool) -> Self {
        Self {
            key,
            product,
            is_here,
            hook: None,
            new: None,
            survey: Survey::default(),
            is_known: true,
            plan: None,
            url: None,
            obstacles: Vec::new(),
            notes: Vec::new(),
            done: Vec::new(),
            test: None,
        }
    }

    pub(super) fn is_well(&self) -> bool {
        self.obstacles.is_empty()
            && self.done.iter().all(|(_, done)| done.is_made())
            && !self.test.as_ref().is_some_and(Outcome::is_bad)
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{} ({})\n", self.key, self.product.name());
        let line = show::line;
        if let Some(hook) = &self.hook {
            line(&mut text, "hook", &format!("[input.{}.hook.{}]", hook.input, hook.name));
        }
        if let Some(url) = &self.url {
            line(&mut text, "posts to", url);
        }
        if let Some(plan) = &self.plan {
            show::plan(&mut text, &self.key, plan);
        }
        for note in &self.notes {
            line(&mut text, "note", note);
        }
        for obstacle in &self.obstacles {
            line(&mut text, "in the way", obstacle);
        }
        if let Some(new) = &self.new {
            line(&mut text, "to add", &format!("into {}", new.drop_in.display()));
            for row in new.table(&self.key).lines() {
                line(&mut text, "", &format!("  {row}"));
            }
            line(
                &mut text,
                "",
                &format!(
                    "and a secret of its own into {}, for its owner alone: openssl rand -hex 24",
                    new.secret_file.display()
                ),
            );
        }
        text
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let hook = self.hook.as_ref().map(|it| json!({"input": it.input, "name": it.name}));
        let new = self.new.as_ref().map(|it| {
            json!({"file": it.drop_in, "table": it.table(&self.key), "secret_file": it.secret_file})
        });
        let done = self.done.iter().map(|(call, done)| {
            let mut row = json!({"call": call});
            if let (Some(row), Value::Object(more)) = (row.as_object_mut(), done.json()) {
                row.extend(more);
            }
            row
        });
        json!({
            "cluster": self.key,
            "product": self.product.as_str(),
            "hook": hook,
            "missing_hook": new,
            "url": self.url,
            "plan": self.plan.as_ref().map(show::plan_json),
            "notes": self.notes,
            "in_the_way": self.obstacles,
            "done": done.collect::<Vec<_>>(),
            "test": self.test.as_ref().map(Outcome::json),
        })
    }
}
