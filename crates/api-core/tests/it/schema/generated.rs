//! Two hundred questions made mechanically from the published descriptions, one typo in each.
//!
//! Of every endpoint whose description's first eight words are its alone in both products, those
//! words are a candidate. Two hundred are drawn, and in each one letter of one word of five letters
//! or more is left out, doubled, swapped with the next or replaced. The seed is fixed, and nothing
//! here looks at how the search works.

use std::collections::BTreeMap;

use serde_json::Value;

/// A question, the endpoint whose description it was made of, and what stood there before the typo.
pub(super) struct Generated {
    pub(super) question: String,
    pub(super) endpoint: String,
    pub(super) original: String,
}

const QUESTIONS: usize = 200;
const WORDS: usize = 8;
const LETTERS: usize = 5;

/// A generator of numbers that is the same everywhere (xorshift64*).
struct Dice(u64);

/// The questions from both products' schemas.
pub(super) fn questions(schemas: &[Value]) -> Vec<Generated> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in schemas.iter().flat_map(|schema| schema.as_array().unwrap()) {
        collect(node, &mut told);
    }
    let unique = told.into_iter().filter(|(words, endpoints)| {
        let long = words.split(' ').any(|word| word.len() >= LETTERS);
        endpoints.len() == 1 && words.split(' ').count() > 1 && long
    });
    let mut candidates: Vec<_> = unique.collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut questions = Vec::new();
    while questions.len() < QUESTIONS && !candidates.is_empty() {
        let (words, mut endpoints) = candidates.swap_remove(dice.roll(candidates.len()));
        let question = misspell(&words, &mut dice);
        let endpoint = endpoints.remove(0);
        questions.push(Generated { question, endpoint, original: words });
    }
    questions
}

fn collect(node: &Value, told: &mut BTreeMap<String, Vec<String>>) {
    for (method, info) in node["info"].as_object().into_iter().flatten() {
        let words: String = info["description"].as_str().unwrap_or_default().to_lowercase();
        let words: Vec<_> = words
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .take(WORDS)
            .collect();
        let endpoint = format!("{method} {}", node["path"].as_str().unwrap());
        told.entry(words.join(" ")).or_default().push(endpoint);
    }
    for child in node["children"].as_array().into_iter().flatten() {
        collect(child, told);
    }
}

fn misspell(words: &str, dice: &mut Dice) -> String {
    let mut words: Vec<Vec<u8>> = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    let long: Vec<usize> = (0..words.len()).filter(|at| words[*at].len() >= LETTERS).collect();
    let word = &mut words[long[dice.roll(long.len())]];
    let at = dice.roll(word.len());
    match dice.roll(4) {
        0 => {
            word.remove(at);
        }
        1 => word.insert(at, word[at]),
        2 => {
            let at = at.min(word.len() - 2);
            word.swap(at, at + 1);
        }
        _ => word[at] = b'a' + u8::try_from(dice.roll(26)).unwrap(),
    }
    let words: Vec<_> = words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect();
    words.join(" ")
}

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % sides
    }
}
