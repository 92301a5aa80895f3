//! Which endpoint a path means.

use std::fmt::Write as _;

use super::{
    Endpoint, Schema,
    problem::{Problem, ProblemKind, listed, nearest},
    target::Target,
};

/// Places at a path's end whose values hold slashes; the servers take all that is left of the path
/// for them. A slash in any other place would be read as the start of another segment.
const WITH_SLASHES: [&str; 2] = ["volume", "cidr"];

/// How many segments a message lists.
const NEIGHBOURS: usize = 30;

/// A path that the schema has, with what stands in its places.
#[derive(Clone, Debug)]
pub struct Located<'a> {
    /// The path's methods.
    pub endpoints: Vec<Endpoint<'a>>,
    /// What stands in its places, by name, decoded.
    pub values: Vec<(&'a str, String)>,
    /// The segments as they are sent, decoded.
    pub(super) segments: Vec<String>,
}

// === impl Schema ===

impl Schema {
    /// The path that `target` means; a place that is still empty (`{vmid}`) fits any place.
    /// Names win over places, from left to right, as servers read paths.
    pub fn locate(&self, target: &Target) -> Option<Located<'_>> {
        let mut best: Option<(Vec<bool>, &str)> = None;
        for endpoint in self.endpoints() {
            let path = endpoint.path();
            if best.as_ref().is_some_and(|(_, known)| *known == path) {
                continue;
            }
            let Some(names) = fit(path, target.segments()) else { continue };
            if best.as_ref().is_none_or(|(known, _)| names > *known) {
                best = Some((names, path));
            }
        }
        let (_, path) = best?;
        let endpoints = self.endpoints().filter(|endpoint| endpoint.path() == path).collect();
        let mut values = Vec::new();
        let mut segments = Vec::new();
        let parts: Vec<_> = parts_of(path).collect();
        for (at, part) in parts.iter().enumerate() {
            let is_last = at + 1 == parts.len();
            let value = if is_last {
                target.segments()[at..].join("/")
            } else {
                target.segments()[at].clone()
            };
            if let Some(name) = super::placeholder(part) {
                values.push((name, value.clone()));
            }
            segments.push(value);
        }
        Some(Located { endpoints, values, segments })
    }

    /// What is wrong with a path that is not in the schema: where it leaves it, and what is there.
    pub(super) fn unknown_path(&self, target: &Target) -> Problem {
        let given = target.segments();
        let mut known = 0;
        let mut here = "/";
        let mut next: Vec<&str> = Vec::new();
        for endpoint in self.endpoints() {
            let path = endpoint.path();
            let parts: Vec<_> = parts_of(path).collect();
            let same =
                parts.iter().zip(given).take_while(|(part, segment)| fits(part, segment)).count();
            if same < known || (same == known && parts.len() <= same) {
                continue;
            }
            if same > known {
                known = same;
                next.clear();
            }
            if let Some(part) = parts.get(same) {
                here = prefix(path, same);
                if !next.contains(part) {
                    next.push(part);
                }
            }
        }
        let mut text = "there is no such path".to_owned();
        let missed = given.get(known).map(String::as_str).unwrap_or_default();
        if let Some(close) = nearest(missed, next.iter().copied()) {
            let _ = write!(text, "; did you mean {close}?");
        }
        if !next.is_empty() {
            let count = next.len();
            next.truncate(NEIGHBOURS);
            let more = if count > NEIGHBOURS { ", …" } else { "" };
            let _ = write!(text, "; below {here} there is {}{more}", next.join(", "));
        }
        Problem::new("path", ProblemKind::Path, text)
    }
}

impl<'a> Located<'a> {
    /// The path with its places.
    pub fn path(&self) -> &'a str {
        self.endpoints.first().map(|endpoint| endpoint.path()).unwrap_or_default()
    }

    /// The endpoint of this method.
    ///
    /// # Errors
    /// Says which methods there are.
    pub fn method(&self, method: &str) -> Result<Endpoint<'a>, Problem> {
        let found = self.endpoints.iter().find(|one| one.method().eq_ignore_ascii_case(method));
        found.copied().ok_or_else(|| {
            let methods: Vec<_> = self.endpoints.iter().map(|one| one.method()).collect();
            let text = format!("{} has {}", self.path(), listed(methods.into_iter()));
            Problem::new("method", ProblemKind::Method, text)
        })
    }
}

fn parts_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// The first `count` segments of a path.
fn prefix(path: &str, count: usize) -> &str {
    let end = path.match_indices('/').nth(count).map_or(path.len(), |(at, _)| at);
    if end == 0 { "/" } else { &path[..end] }
}

/// Whether the segments are those of the path; tells which are names rather than places.
fn fit(path: &str, given: &[String]) -> Option<Vec<bool>> {
    let count = parts_of(path).count();
    let mut names = Vec::with_capacity(count);
    for (at, part) in parts_of(path).enumerate() {
        let segment = given.get(at)?;
        let is_last = at + 1 == count;
        if is_last && super::placeholder(part).is_some_and(|name| WITH_SLASHES.contains(&name)) {
            // All that is left belongs to it; an empty place is never followed by more.
            names.push(false);
            return Some(names);
        }
        if !fits(part, segment) {
            return None;
        }
        names.push(super::placeholder(part).is_none());
    }
    (count == given.len()).then_some(names)
}

fn fits(part: &str, segment: &str) -> bool {
    match super::placeholder(part) {
        Some(_) => !segment.contains('/'),
        None => part == segment,
    }
}
