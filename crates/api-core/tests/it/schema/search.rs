//! Whether people find what they mean: twenty questions in plain words, and two hundred misspelt.

use std::{collections::BTreeMap, fmt::Write as _};

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
    println!("rank of the right endpoint for twenty questions in plain words:\n{ranks}");
    assert!(worst.is_some_and(|worst| worst <= 3), "not all in the first three:\n{ranks}");
}

#[test]
fn misspelt_questions_find_their_endpoint() {
    let schemas = ["api/pve-9.2.json", "api/pbs-4.2.json"].map(testkit::fixtures::json);
    let [Some(pve), Some(pbs)] = schemas else { return };
    let questions = generated::questions(&[pve, pbs]);
    assert_eq!(questions.len(), 200);
    // How many have which rank; what is not found comes last.
    let mut histogram: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut all, mut missed) = (String::new(), String::new());
    for one in &questions {
        let rank = rank(&one.question, &[&one.endpoint]);
        *histogram.entry(rank.unwrap_or(usize::MAX)).or_default() += 1;
        let said = rank.map_or("none".to_owned(), |rank| rank.to_string());
        writeln!(all, "{said:>4} {} = {}", one.question, one.endpoint).unwrap();
        if rank.is_none_or(|rank| rank > 3) {
            writeln!(missed, "{said:>4} {:?} ({:?}): {}", one.question, one.original, one.endpoint)
                .unwrap();
        }
    }
    println!("{all}\nrank and how many of {} have it:", questions.len());
    for (rank, count) in &histogram {
        let rank = if *rank == usize::MAX { "none".to_owned() } else { rank.to_string() };
        println!("{rank:>4} {count}");
    }
    let within: usize = histogram.range(..=3).map(|(_, count)| count).sum();
    println!("in the first three: {within} of {}", questions.len());
    assert!(within >= 190, "{within} of 200 in the first three; missed:\n{missed}");
}
