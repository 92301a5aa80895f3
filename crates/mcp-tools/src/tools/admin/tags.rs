//! `tags_list`: which tags there are, their colors, and how many guests have them.

use std::{collections::BTreeMap, sync::Arc};

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ask::{away, few},
    page::Page,
};
use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pve},
    permissions::Permissions,
    report::{Cell, Report, Table},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
    view::View,
};

const NAME: &str = "tags_list";

/// Lists tags.
pub struct TagsList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What one cluster says.
struct Facts {
    view: View,
    style: Style,
    held: Option<Arc<Permissions>>,
}

/// What the datacenter's options say of tags.
#[derive(Debug, Default, PartialEq, Eq)]
struct Style {
    /// Background and text by tag, hexadecimal.
    colors: BTreeMap<String, String>,
    /// Tags that only some may set.
    registered: Vec<String>,
    /// Who may set tags: `free`, `existing`, `list` or `none`.
    access: Option<String>,
}

/// One tag of all clusters.
#[derive(Default)]
struct Tag {
    guests: usize,
    running: usize,
    clusters: Vec<String>,
    color: Option<String>,
    registered: bool,
}

#[async_trait]
impl EstateTool for TagsList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List tags",
            description: "Guest tags: how many guests have each, where, colors; guests without any.",
            input: Input::new().cluster().paged(),
            output: Output::new()
                .fact("tag_count", "integer")
                .fact("untagged", "integer")
                .table("tags"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let query = args.clone();
        let args: Args = cx.args(args)?;
        let page = Page::of(NAME, &query, args.cursor.as_deref(), args.limit)?;
        let members = cx.fleet.pve(args.cluster.as_deref())?;
        let now = cx.now();
        let load = |member: Arc<Pve>| async move {
            let (view, options, held) = futures::join!(
                View::load(Arc::clone(&member)),
                member.client.call(pve_client::cluster::options()),
                sight::of_pve(&member, now),
            );
            let style = options.map(|options| Style::of(&options.rest)).unwrap_or_default();
            Ok::<_, Error>(Facts { view: view?, style, held })
        };
        let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
        let mut tags: BTreeMap<&str, Tag> = BTreeMap::new();
        let (mut bare, mut report) = (Vec::new(), Report::default());
        for (member, facts) in &gathered.answers {
            let key = member.key.as_str();
            report = report.unreachable(away(key, &facts.view));
            for name in facts.style.colors.keys().chain(&facts.style.registered) {
                tags.entry(name).or_default();
            }
            for guest in &facts.view.guests {
                if guest.tags.is_empty() && !guest.is_template() {
                    bare.push(guest.at.to_string());
                }
                for name in &guest.tags {
                    let tag = tags.entry(name).or_default();
                    tag.guests += 1;
                    tag.running += usize::from(guest.status.is_on());
                    if tag.clusters.last().map(String::as_str) != Some(key) {
                        tag.clusters.push(key.to_owned());
                    }
                }
            }
            for (name, tag) in &mut tags {
                tag.registered |= facts.style.registered.iter().any(|it| it == name);
                tag.color = tag.color.take().or_else(|| facts.style.colors.get(*name).cloned());
            }
            if let Some(access) = facts.style.access.as_deref().filter(|it| *it != "free") {
                report.notes.push(format!("{key}: users may set tags of their own: {access}"));
            }
            report = sight::tell(report, key, facts.held.as_deref(), &["guests"]);
        }
        let count = tags.len();
        let lead =
            format!("{}, {} without any", counted(count, "tag"), counted(bare.len(), "guest"));
        report.lead = sight::lead_of(&gathered, lead);
        if !bare.is_empty() {
            report.notes.push(format!("without any tag: {}", few(&bare)));
        }
        let columns = ["tag", "guests", "running", "clusters", "color", "registered"];
        let mut table = Table::new("tags", &columns);
        let first = tags.iter().max_by_key(|(_, tag)| tag.guests).map(|(name, _)| *name);
        let next = first.map(|name| json!({"tag": name}));
        page.fill(&mut table, tags.into_iter().map(row).collect());
        report = report
            .fact("tag_count", sight::known(&gathered, count))
            .fact("untagged", sight::known(&gathered, bare.len()))
            .table(table);
        if let Some(next) = next {
            report = report.next("guests_list", next);
        }
        Ok(gathered.tell(report))
    }
}

fn row((name, tag): (&str, Tag)) -> Vec<Cell> {
    vec![
        Cell::text(name),
        Cell::number(tag.guests),
        Cell::number(tag.running),
        Cell::words(&tag.clusters),
        Cell::opt(tag.color),
        Cell::with(tag.registered, if tag.registered { "yes" } else { "-" }),
    ]
}

// === impl Style ===

impl Style {
    /// Reads the options: parsed as newer servers send them, or as property strings.
    fn of(options: &BTreeMap<String, Value>) -> Self {
        let part = |option: &str, key: &str| match options.get(option) {
            Some(Value::Object(parts)) => parts.get(key)?.as_str().map(str::to_owned),
            Some(Value::String(text)) => text.split(',').find_map(|it| {
                let (name, value) = it.split_once('=')?;
                (name == key).then(|| value.to_owned())
            }),
            _ => None,
        };
        let map = part("tag-style", "color-map").unwrap_or_default();
        let colors = map.split(';').filter_map(|it| {
            let (tag, color) = it.split_once(':')?;
            Some((tag.to_owned(), color.to_owned()))
        });
        let registered = match options.get("registered-tags") {
            Some(Value::Array(all)) => {
                all.iter().filter_map(|it| Some(it.as_str()?.to_owned())).collect()
            }
            Some(Value::String(text)) => {
                text.split([';', ',']).filter(|it| !it.is_empty()).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        Self { colors: colors.collect(), registered, access: part("user-tag-access", "user-allow") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_options_are_read() {
        let parsed = json!({
            "tag-style": {"color-map": "prod:c0392b:ffffff;dev:27ae60"},
            "registered-tags": ["protected"], "user-tag-access": {"user-allow": "existing"},
        });
        let text = json!({
            "tag-style": "color-map=prod:c0392b:ffffff;dev:27ae60,shape=full",
            "registered-tags": "protected", "user-tag-access": "user-allow=existing",
        });
        let read = |value: Value| {
            let Value::Object(map) = value else { panic!("an object") };
            Style::of(&map.into_iter().collect())
        };
        let (parsed, text) = (read(parsed), read(text));
        assert_eq!(parsed, text);
        assert_eq!(parsed.colors["prod"], "c0392b:ffffff");
        assert_eq!(parsed.registered, ["protected"]);
        assert_eq!(parsed.access.as_deref(), Some("existing"));
    }
}
