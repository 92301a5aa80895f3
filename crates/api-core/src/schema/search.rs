//! Finds endpoints by words.
//!
//! Every endpoint is a small document: its path, its own name, its description, the names of its
//! parameters. A question's words are looked for in them, by stem, as another word for the same, as
//! the beginning of a word, and with a letter or two wrong; rare words count more than common ones,
//! and an endpoint that has all words counts more than one that has some.

use std::collections::BTreeMap;

use super::{
    Endpoint, Schema, Table, placeholder,
    words::{self, Asked},
};

/// An endpoint that answers a question.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// Which of the given schemas it is in.
    pub schema: usize,
    /// The endpoint.
    pub endpoint: Endpoint<'a>,
    /// How well it fits; of no meaning but for the order.
    pub score: f32,
}

/// The words of a schema.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Sorted, one after the other.
    text: Box<str>,
    /// Where each word ends in `text`.
    ends: Box<[u32]>,
    /// In how many endpoints each word is.
    counts: Box<[u16]>,
    /// Of every endpoint, its words.
    postings: Box<[Posting]>,
    /// Where each endpoint's words end in `postings`.
    documents: Box<[u32]>,
}

#[derive(Clone, Copy, Debug)]
struct Posting {
    word: u16,
    weight: u8,
    /// Where it stands: bits of [`place`].
    places: u8,
}

/// How much a word counts by where it stands.
mod weight {
    pub(super) const LAST_SEGMENT: u8 = 6;
    pub(super) const SEGMENT: u8 = 4;
    pub(super) const NAME: u8 = 3;
    pub(super) const SENTENCE: u8 = 5;
    pub(super) const PROSE: u8 = 1;
    pub(super) const PLACE: u8 = 2;
    pub(super) const PARAM: u8 = 1;
    /// What a call sets is what it is for.
    pub(super) const SETTING: u8 = 3;
}

/// Where a word stands, as far as the order asks for it.
mod place {
    /// In the first sentence of the description.
    pub(super) const SENTENCE: u8 = 1;
    /// In a name of the path.
    pub(super) const PATH: u8 = 2;
    /// In the last name of the path: what the endpoint is about.
    pub(super) const LAST: u8 = 4;
}

/// A word of an endpoint in the making: its weight and its places.
type Weights = BTreeMap<String, (u8, u8)>;

/// How well a word of an endpoint answers one of a question.
#[derive(Clone, Copy)]
struct Match {
    word: u16,
    quality: f32,
}

/// One word of a question, with the words of one schema that answer it.
struct Term {
    matches: Vec<Match>,
    method: Option<&'static str>,
}

/// The best endpoints of `schemas` for a question, best first.
pub fn search<'a>(schemas: &[&'a Schema], question: &str, limit: usize) -> Vec<Hit<'a>> {
    let asked = words::question(question);
    if asked.is_empty() {
        return Vec::new();
    }
    let kinds: Vec<_> = asked.iter().filter_map(|word| words::kind(&word.stem)).collect();
    let methods: Vec<_> = asked.iter().filter_map(|word| word.method).collect();
    let terms: Vec<Vec<Term>> = schemas.iter().map(|schema| schema.index.terms(&asked)).collect();
    let rarities = rarities(schemas, &terms, asked.len());
    let all: f32 = rarities.iter().sum();
    let mut hits = Vec::new();
    for (at, (schema, terms)) in schemas.iter().zip(&terms).enumerate() {
        for endpoint in schema.endpoints() {
            let mut score = schema.index.score(endpoint, terms, &rarities, all);
            if score <= 0.0 {
                continue;
            }
            if methods.is_empty() && endpoint.method() == "GET" {
                score *= 1.06;
            } else if !methods.is_empty() && !methods.contains(&endpoint.method()) {
                score *= 0.8;
            }
            if is_other_kind(endpoint, &kinds) {
                score *= 0.6;
            }
            hits.push(Hit { schema: at, endpoint, score });
        }
    }
    hits.sort_by(|a, b| {
        let (first, second) = (a.endpoint.path(), b.endpoint.path());
        b.score
            .total_cmp(&a.score)
            .then_with(|| first.len().cmp(&second.len()))
            .then_with(|| (first, a.endpoint.method()).cmp(&(second, b.endpoint.method())))
    });
    hits.truncate(limit);
    hits
}

/// How much each word of the question tells: what is rare in all of the schemas tells more.
fn rarities(schemas: &[&Schema], terms: &[Vec<Term>], count: usize) -> Vec<f32> {
    let all: usize = schemas.iter().map(|schema| schema.index.documents.len()).sum();
    let rarity = |at: usize| {
        let best: Vec<Option<Match>> = terms.iter().map(|terms| terms[at].best()).collect();
        let quality = best.iter().flatten().map(|found| found.quality).fold(0.0, f32::max);
        let counted = schemas.iter().zip(best).filter_map(|(schema, found)| {
            let found = found.filter(|found| found.quality >= quality)?;
            Some(u32::from(schema.index.counts[usize::from(found.word)]))
        });
        match counted.sum::<u32>() {
            // A word that is nowhere tells nothing apart.
            0 => 0.5,
            counted => 1.0 + (1.0 + all as f32 / counted as f32).ln(),
        }
    };
    (0..count).map(rarity).collect()
}

// === impl Term ===

impl Term {
    fn best(&self) -> Option<Match> {
        self.matches.iter().copied().max_by(|a, b| a.quality.total_cmp(&b.quality))
    }
}

// === impl Index ===

impl Index {
    pub(super) fn new(table: &Table) -> Self {
        let mut documents: Vec<Weights> = Vec::new();
        for row in &table.endpoints {
            let mut document = Weights::new();
            let path = table.text(row.path);
            let mut add = |text: &str, weight: u8, places: u8| {
                for word in words::words(text) {
                    let entry = document.entry(word).or_default();
                    // The best place counts, a second place adds a little.
                    entry.0 =
                        if entry.0 == 0 { weight } else { entry.0.max(weight).saturating_add(1) };
                    entry.1 |= places;
                }
            };
            let names: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
            let last = names.iter().rposition(|part| placeholder(part).is_none());
            for (at, part) in names.iter().enumerate() {
                match placeholder(part) {
                    Some(name) => add(name, weight::PLACE, 0),
                    None if Some(at) == last => {
                        add(part, weight::LAST_SEGMENT, place::PATH | place::LAST);
                    }
                    None => add(part, weight::SEGMENT, place::PATH),
                }
            }
            add(table.text(row.name), weight::NAME, 0);
            let (sentence, rest) = first_sentence(table.text(row.about));
            add(sentence, weight::SENTENCE, place::SENTENCE);
            add(rest, weight::PROSE, 0);
            let sets = matches!(row.method, "POST" | "PUT");
            let param_weight = if sets { weight::SETTING } else { weight::PARAM };
            for param in table.rows(row.params) {
                add(table.text(param.name), param_weight, 0);
            }
            documents.push(document);
        }
        Self::of(&documents)
    }

    fn of(documents: &[Weights]) -> Self {
        let mut counts: BTreeMap<&str, u16> = BTreeMap::new();
        for word in documents.iter().flat_map(BTreeMap::keys) {
            // More words than an index holds are no schema of an API; what is left out is not found.
            if counts.len() < usize::from(u16::MAX) || counts.contains_key(word.as_str()) {
                let count = counts.entry(word).or_default();
                *count = count.saturating_add(1);
            }
        }
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(counts.len()));
        for word in counts.keys() {
            text.push_str(word);
            ends.push(text.len() as u32);
        }
        let numbers: BTreeMap<&str, u16> =
            counts.keys().enumerate().map(|(at, word)| (*word, at as u16)).collect();
        let (mut postings, mut document_ends) = (Vec::new(), Vec::with_capacity(documents.len()));
        for document in documents {
            for (word, (weight, places)) in document {
                if let Some(word) = numbers.get(word.as_str()) {
                    postings.push(Posting { word: *word, weight: *weight, places: *places });
                }
            }
            document_ends.push(postings.len() as u32);
        }
        Self {
            text: text.into(),
            ends: ends.into(),
            counts: counts.into_values().collect(),
            postings: postings.into(),
            documents: document_ends.into(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
            + std::mem::size_of_val(&*self.ends)
            + std::mem::size_of_val(&*self.counts)
            + std::mem::size_of_val(&*self.postings)
            + std::mem::size_of_val(&*self.documents)
    }

    fn word(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }

    fn place_of(&self, word: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.word(middle).cmp(word) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn document(&self, at: usize) -> &[Posting] {
        let start = if at == 0 { 0 } else { self.documents[at - 1] as usize };
        &self.postings[start..self.documents[at] as usize]
    }

    /// The question's words, each with what answers it here.
    fn terms(&self, asked: &[Asked]) -> Vec<Term> {
        let mut terms: Vec<Term> = asked.iter().map(|word| self.term(word)).collect();
        // `roll back` and `next id` are one word to the API.
        for at in 1..asked.len() {
            let joined = words::stem(&format!("{}{}", asked[at - 1].stem, asked[at].stem));
            if let Some(word) = self.place_of(&joined) {
                let found = Match { word: word as u16, quality: 1.0 };
                terms[at - 1].matches.insert(0, found);
                terms[at].matches.insert(0, found);
            }
        }
        terms
    }

    fn term(&self, Asked { stem: asked, method }: &Asked) -> Term {
        let mut matches = Vec::new();
        let mut add = |at: usize, quality: f32| matches.push(Match { word: at as u16, quality });
        let exact = self.place_of(asked);
        let kind = words::kind(asked);
        if let Some(at) = exact {
            add(at, if kind.is_some() { 0.4 } else { 1.0 });
        }
        if let Some(at) = kind.and_then(|kind| self.place_of(kind)) {
            add(at, 1.0);
        }
        let known = words::same(asked);
        for (rank, word) in known.iter().enumerate() {
            if let Some(at) = self.place_of(&words::stem(word)) {
                add(at, 0.85 - 0.1 * rank as f32);
            }
        }
        let allowed = match asked.len() {
            0..=3 => 0,
            4..=7 => 1,
            _ => 2,
        };
        let letters = signature(asked);
        for at in 0..self.ends.len() {
            let word = self.word(at);
            if word == asked || kind.is_some() {
                continue;
            }
            if asked.len() >= 3 && word.starts_with(&**asked) {
                add(at, if exact.is_some() { 0.5 } else { 0.75 });
            } else if asked.len() >= 4 && word.contains(&**asked) {
                add(at, 0.45);
            } else if exact.is_none()
                && known.is_empty()
                && allowed > 0
                && word.len().abs_diff(asked.len()) <= allowed
                && (signature(word) ^ letters).count_ones() as usize <= 2 * allowed
            {
                match strsim::osa_distance(word, asked) {
                    1 => add(at, 0.8),
                    2 if allowed > 1 => add(at, 0.55),
                    _ => {}
                }
            }
        }
        Term { matches, method: *method }
    }

    fn score(&self, endpoint: Endpoint<'_>, terms: &[Term], rarities: &[f32], all: f32) -> f32 {
        let document = self.document(endpoint.at);
        let (mut sum, mut covered) = (0.0, 0.0);
        let (mut told, mut named, mut last) = (0, 0, 0);
        for (term, rarity) in terms.iter().zip(rarities) {
            let mut best = 0.0_f32;
            let mut places = 0;
            for found in &term.matches {
                if let Ok(at) = document.binary_search_by_key(&found.word, |posting| posting.word) {
                    let posting = document[at];
                    let weight = f32::from(posting.weight);
                    let score = found.quality * weight / (weight + 2.0);
                    if score > best {
                        best = score;
                        places = posting.places;
                    }
                }
            }
            if term.method == Some(endpoint.method()) {
                best = best.max(0.35) + 0.1;
            }
            sum += best * rarity;
            covered += rarity * best.min(1.0);
            told += i32::from(places & place::SENTENCE != 0);
            named += i32::from(places & place::PATH != 0);
            last += i32::from(places & place::LAST != 0);
        }
        if sum <= 0.0 {
            return 0.0;
        }
        let coverage = covered / all.max(f32::EPSILON);
        let told = share(told, document, place::SENTENCE);
        let named = share(named, document, place::PATH);
        let last = share(last, document, place::LAST);
        sum * (0.4 + 0.6 * coverage) * (1.0 + 0.35 * told + 0.25 * named + 0.25 * last)
    }
}

/// Which part of an endpoint's words in a place the question has.
fn share(found: i32, document: &[Posting], place: u8) -> f32 {
    let there = document.iter().filter(|posting| posting.places & place != 0).count().max(1);
    (found as f32 / there as f32).min(1.0)
}

/// Whether the endpoint is about the other kind of guest than the question.
fn is_other_kind(endpoint: Endpoint<'_>, asked: &[&str]) -> bool {
    let mut kinds = endpoint.path().split('/').filter(|part| words::is_kind(part));
    !asked.is_empty() && kinds.any(|kind| !asked.contains(&kind))
}

/// Which letters are in a word.
fn signature(word: &str) -> u32 {
    word.bytes().fold(0, |letters, byte| letters | 1 << (byte % 32))
}

/// The first sentence, and the rest.
fn first_sentence(text: &str) -> (&str, &str) {
    text.find(". ").map_or((text, ""), |at| text.split_at(at))
}
