//! Attacks in every field that others control: no answer changes its shape for them.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use proxmox_sim::PlaceKind;
use serde_json::Value;
use testkit::hostile::{ORDER, attacks, check_characters, check_text};

use super::ask::{Reader, Said};

/// The fields that say why something failed.
const CAUSES: &[&str] = &["error", "exitstatus", "fail", "status", "t"];

/// How many fields of a round hold the megabyte: each of them is read many times over.
const MEGABYTES: u32 = 4;

/// Plants the corpus, another attack in each field; `round` turns it on.
fn plant(reader: &Reader, round: usize) {
    let corpus = attacks();
    let at = AtomicUsize::new(round * 7);
    let long = AtomicU32::new(0);
    let short = corpus.len() - 1;
    // Taken apart by what cannot be seen, a sentence is only one when it is shown.
    let causes: Vec<String> = corpus[..short]
        .iter()
        .filter(|attack| attack.name != "letters without width")
        .map(|attack| attack.text.replace(ORDER, "obey"))
        .collect();
    let words: Vec<String> =
        corpus.iter().map(|attack| attack.text.chars().take(200).collect()).collect();
    reader.estate.sim.levers().plant(move |place, was| {
        let next = at.fetch_add(1, Ordering::Relaxed);
        Some(match place.kind {
            // A name is the same wherever it is read.
            PlaceKind::Name => {
                let which = was.bytes().map(usize::from).sum::<usize>() + round;
                format!("{was}{}", words[which % words.len()])
            }
            PlaceKind::Prose
                if next % 97 == 5 && long.fetch_add(1, Ordering::Relaxed) < MEGABYTES =>
            {
                corpus[short].text.clone()
            }
            // Causes end the sentence that tells the failure, and are not in quotes; whatever else
            // they try is tried.
            PlaceKind::Prose if CAUSES.contains(&place.field.as_str()) => {
                format!("{was} {}", causes[next % causes.len()])
            }
            PlaceKind::Prose => format!("{was} {}", corpus[next % short].text),
            _ => return None,
        })
    });
}

/// What is wrong with an answer.
fn wrong(said: &Said, ceiling: usize) -> Option<String> {
    let object = said.object.to_string();
    let size = said.text.len().max(object.len());
    let sound =
        check_text(&said.text).and_then(|()| strings(&said.object)).and_then(|()| rows(said));
    let sound = match sound {
        Ok(()) if size > ceiling => Err(format!("{size} bytes")),
        sound => sound,
    };
    sound.err().map(|why| format!("{}: {why}", said.asked))
}

fn strings(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => check_characters(text),
        Value::Array(items) => items.iter().try_for_each(strings),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            check_characters(name)?;
            strings(value)
        }),
        _ => Ok(()),
    }
}

/// Each table has as many lines as rows, and each line as many words as columns at least.
fn rows(said: &Said) -> Result<(), String> {
    let Value::Object(fields) = &said.object else { return Ok(()) };
    for (name, table) in fields {
        let (Some(columns), Some(rows)) = (table["columns"].as_array(), table["rows"].as_array())
        else {
            continue;
        };
        if rows.is_empty() || said.text.is_empty() {
            continue;
        }
        let header: Vec<&str> = columns.iter().filter_map(Value::as_str).collect();
        let header = header.join(" ");
        let mut lines = said.text.lines().skip_while(|line| *line != header).skip(1);
        for _ in rows {
            let line = lines.next().ok_or_else(|| format!("{name} lacks lines"))?;
            if line.split(' ').count() < columns.len() {
                return Err(format!("{name} has a row of too few words: {line:?}"));
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_changes_its_shape() {
    let reader = Reader::start().await;
    let mut wrongs = Vec::new();
    for round in 0..3 {
        plant(&reader, round);
        let mut all = reader.tools().await;
        all.extend(reader.resources().await);
        if round == 0 {
            all.extend(reader.paths().await.into_iter().map(|(_, said)| said));
        }
        let found = all.iter().filter_map(|said| wrong(said, mcp_tools::DEFAULT_CEILING));
        wrongs.extend(found.map(|why| format!("round {round}: {why}")));
    }
    wrongs.sort();
    let total = wrongs.len();
    wrongs.truncate(60);
    assert!(wrongs.is_empty(), "{total} answers, such as\n{}", wrongs.join("\n"));
    let planted = reader.estate.sim.levers().planted();
    assert!(planted.len() >= 60, "only {} fields were planted", planted.len());
    assert!(planted.iter().map(|it| it.served).sum::<u32>() >= 2000, "too little was read");
}
