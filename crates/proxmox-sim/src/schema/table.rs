//! Reads the embedded tables and finds the method of a request.

use std::collections::BTreeMap;

use super::kind::Param;
use crate::error::SimError;

/// All methods of one product.
pub(crate) struct Table {
    pub(crate) methods: Vec<Method>,
    root: Branch,
}

/// One method of one path.
pub(crate) struct Method {
    pub(crate) verb: String,
    pub(crate) path: String,
    pub(crate) summary: String,
    /// A root worker runs it: the reply's connection header differs.
    pub(crate) protected: bool,
    /// The node named in the path answers it.
    pub(crate) node: bool,
    /// API tokens are refused.
    pub(crate) ticket: bool,
    /// Absent before release 9.
    pub(crate) since_9: bool,
    pub(crate) permission: Permission,
    pub(crate) returns: String,
    pub(crate) params: Vec<Param>,
}

/// Who may call a method.
#[derive(Debug, Clone)]
pub(crate) enum Permission {
    /// Nobody needs to log in.
    World,
    /// Everybody who is logged in; the handler looks closer.
    All,
    /// `root@pam` itself.
    Superuser,
    /// All of these must hold, each through one of its alternatives.
    Clauses(Vec<Vec<Clause>>),
}

/// Privileges on one path.
#[derive(Debug, Clone)]
pub(crate) struct Clause {
    /// May hold parameters in braces.
    pub(crate) path: String,
    pub(crate) privileges: Vec<String>,
    /// Whether one of the privileges is enough.
    pub(crate) any: bool,
}

#[derive(Default)]
struct Branch {
    fixed: BTreeMap<String, Branch>,
    variable: Option<(String, Box<Branch>)>,
    /// Indexes into the methods, by verb.
    methods: BTreeMap<String, usize>,
}

// === impl Table ===

impl Table {
    /// Reads a table from its text.
    pub(crate) fn parse(text: &str) -> Result<Self, SimError> {
        let mut methods: Vec<Method> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let broken = || SimError::Table(format!("line {}: {line:?}", number + 1));
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            if !line.starts_with(' ') {
                methods.push(Method::parse(line).ok_or_else(broken)?);
                continue;
            }
            let method = methods.last_mut().ok_or_else(broken)?;
            let line = line.trim();
            if let Some(permission) = line.strip_prefix("@ ") {
                method.permission = Permission::parse(permission).ok_or_else(broken)?;
            } else if let Some(returns) = line.strip_prefix("-> ") {
                returns.clone_into(&mut method.returns);
            } else {
                method.params.push(Param::parse(line).ok_or_else(broken)?);
            }
        }
        let mut root = Branch::default();
        for (index, method) in methods.iter().enumerate() {
            root.insert(segments(&method.path), &method.verb, index);
        }
        Ok(Self { methods, root })
    }

    /// The index of the method that answers `verb path`, and the parameters in the path.
    pub(crate) fn find(
        &self,
        verb: &str,
        path: &[String],
    ) -> Option<(usize, Vec<(String, String)>)> {
        let mut named = Vec::new();
        let mut branch = &self.root;
        let mut rest = path;
        while let Some((first, tail)) = rest.split_first() {
            if let Some(next) = branch.fixed.get(first) {
                branch = next;
                rest = tail;
            } else {
                let (name, next) = branch.variable.as_ref()?;
                branch = next;
                if name == "volume" {
                    // A volume's own path may hold slashes.
                    named.push((name.clone(), rest.join("/")));
                    rest = &[];
                } else {
                    named.push((name.clone(), first.clone()));
                    rest = tail;
                }
            }
        }
        branch.methods.get(verb).map(|index| (*index, named))
    }
}

// === impl Method ===

impl Method {
    fn parse(line: &str) -> Option<Self> {
        let (head, summary) = line.split_once(" = ")?;
        let mut words = head.split_whitespace();
        let verb = words.next()?.to_owned();
        let path = words.next()?.to_owned();
        let flags: Vec<&str> = words.collect();
        Some(Self {
            verb,
            path,
            summary: summary.trim().to_owned(),
            protected: flags.contains(&"protected"),
            node: flags.contains(&"node"),
            ticket: flags.contains(&"ticket"),
            since_9: flags.contains(&"since9"),
            permission: Permission::Superuser,
            returns: "any".to_owned(),
            params: Vec::new(),
        })
    }
}

// === impl Permission ===

impl Permission {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.trim() {
            "world" => Self::World,
            "all" => Self::All,
            "superuser" => Self::Superuser,
            clauses => Self::Clauses(
                clauses
                    .split(" & ")
                    .map(|group| group.split(" ; ").map(Clause::parse).collect())
                    .collect::<Option<_>>()?,
            ),
        })
    }
}

// === impl Clause ===

impl Clause {
    fn parse(text: &str) -> Option<Self> {
        let (path, privileges) = text.trim().split_once(' ')?;
        let any = privileges.contains('|');
        let privileges = privileges.split(['|', ',']).map(str::to_owned).collect();
        Some(Self { path: path.to_owned(), privileges, any })
    }
}

// === impl Branch ===

impl Branch {
    fn insert<'a>(&mut self, mut path: impl Iterator<Item = &'a str>, verb: &str, index: usize) {
        let Some(segment) = path.next() else {
            self.methods.insert(verb.to_owned(), index);
            return;
        };
        let next = match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => {
                &mut *self.variable.get_or_insert_with(|| (name.to_owned(), Box::default())).1
            }
            None => self.fixed.entry(segment.to_owned()).or_default(),
        };
        next.insert(path, verb, index);
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}
