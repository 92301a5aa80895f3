//! Whether people find what they mean: twenty questions in plain words, and two hundred misspelt.

use std::fmt::Write as _;

use api_core::schema::search;

use super::{generated, published};

const QUESTIONS: &str = include_str!("questions.txt");

/// Where the first of `right` stands among the answers to a question, beginning with 1.
fn rank(question: &str, right: &[&str]) -> Option<usize> {
    let published = published()?;
    let hits = search(&[&published.pve, &published.pbs], question, 50);
    let found = hits.iter().position(|hit| right.contains(&format!("{:?}", hit.endpoint).as_str()));
    found.map(|at| at + 1)
}

#[test]
fn plain_questions_find_their_endpoint() {
    if published().is_none() {
        return;
    }
    let mut ranks = String::new();
    let mut worst = Some(0);
    for line in QUESTIONS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut parts = line.split('|').map(str::trim);
        let question = parts.next().unwrap();
        let rank = rank(question, &parts.collect::<Vec<_>>());
        let said = rank.map_or("none".to_owned(), |rank| rank.to_string());
        writeln!(ranks, "{said:>4} {question}").unwrap();
        worst = worst.zip(rank).map(|(worst, rank)| worst.max(rank));
    }
    println!("{ranks}");
    assert!(worst.is_some_and(|worst| worst <= 3), "not all in the first three:\n{ranks}");
}

#[test]
fn misspelt_questions_find_their_endpoint() {
    let schemas = ["api/pve-9.2.json", "api/pbs-4.2.json"].map(testkit::fixtures::json);
    let [Some(pve), Some(pbs)] = schemas else { return };
    let questions = generated::questions(&[pve, pbs]);
    assert_eq!(questions.len(), 200);
    let mut counts = [0_usize; 5];
    let mut missed = String::new();
    for one in &questions {
        let rank = rank(&one.question, &[&one.endpoint]);
        let slot = match rank {
            Some(rank @ 1..=3) => rank - 1,
            Some(_) => 3,
            None => 4,
        };
        counts[slot] += 1;
        if slot > 2 {
            writeln!(missed, "{rank:?} {:?} ({:?}): {}", one.question, one.original, one.endpoint)
                .unwrap();
        }
    }
    println!(
        "first {}, second {}, third {}, later {}, not found {}\n{missed}",
        counts[0], counts[1], counts[2], counts[3], counts[4]
    );
    let within = counts[..3].iter().sum::<usize>();
    assert!(within >= 190, "{within} of 200 in the first three; missed:\n{missed}");
}
