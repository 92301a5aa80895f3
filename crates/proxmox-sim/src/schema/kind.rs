//! Kinds of parameters and how they are written in the tables.

/// One parameter of a method.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    /// The name; `net[n]` stands for `net0`, `net1` and so on.
    pub(crate) name: String,
    pub(crate) optional: bool,
    pub(crate) kind: Kind,
}

/// What a parameter's value must be.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Bool,
    Int {
        min: Option<i64>,
        max: Option<i64>,
    },
    Num {
        min: Option<f64>,
        max: Option<f64>,
    },
    Str {
        min: Option<usize>,
        max: Option<usize>,
        format: Option<String>,
    },
    Enum(Vec<String>),
    List(Box<Kind>),
    /// A property string such as `virtio=AA:BB:…,bridge=vmbr0`.
    Props(Vec<Prop>),
}

/// One key of a property string.
#[derive(Debug, Clone)]
pub(crate) struct Prop {
    pub(crate) name: String,
    /// Whether the key may be left out before its value.
    pub(crate) default: bool,
    pub(crate) kind: Kind,
}

// === impl Param ===

impl Param {
    /// Reads `name[?] kind`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (name, kind) = line.trim().split_once(' ')?;
        let optional = name.ends_with('?');
        let name = name.trim_end_matches('?').to_owned();
        Some(Self { name, optional, kind: Kind::parse(kind)? })
    }

    /// Whether `given` is this parameter, indexed names included.
    pub(crate) fn covers(&self, given: &str) -> bool {
        match self.name.strip_suffix("[n]") {
            None => self.name == given,
            Some(stem) => given
                .strip_prefix(stem)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())),
        }
    }
}

// === impl Kind ===

impl Kind {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        Some(match words.next()? {
            "bool" => Self::Bool,
            "int" => {
                let (min, max) = range(words.next());
                Self::Int {
                    min: min.and_then(|t| t.parse().ok()),
                    max: max.and_then(|t| t.parse().ok()),
                }
            }
            "num" => {
                let (min, max) = range(words.next());
                Self::Num {
                    min: min.and_then(|t| t.parse().ok()),
                    max: max.and_then(|t| t.parse().ok()),
                }
            }
            "str" => {
                let mut bounds = (None, None);
                let mut format = None;
                for word in words {
                    if word.contains("..") {
                        bounds = range(Some(word));
                    } else {
                        format = Some(word.to_owned());
                    }
                }
                Self::Str {
                    min: bounds.0.and_then(|t| t.parse().ok()),
                    max: bounds.1.and_then(|t| t.parse().ok()),
                    format,
                }
            }
            "enum" => Self::Enum(words.map(str::to_owned).collect()),
            "list" => Self::List(Box::new(Self::parse(&words.collect::<Vec<_>>().join(" "))?)),
            "props" => Self::Props(words.map(Prop::parse).collect()),
            _ => return None,
        })
    }

    /// The name of the type in JSON schema.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int { .. } => "integer",
            Self::Num { .. } => "number",
            Self::Str { .. } | Self::Enum(_) | Self::Props(_) => "string",
            Self::List(_) => "array",
        }
    }
}

// === impl Prop ===

impl Prop {
    fn parse(word: &str) -> Self {
        let (name, kind) = word.split_once(':').unwrap_or((word, "str"));
        Self {
            default: name.starts_with('@'),
            name: name.trim_start_matches('@').to_owned(),
            kind: Kind::parse(kind).unwrap_or(Kind::Str { min: None, max: None, format: None }),
        }
    }
}

fn range(word: Option<&str>) -> (Option<&str>, Option<&str>) {
    match word.and_then(|word| word.split_once("..")) {
        None => (None, None),
        Some((min, max)) => ((!min.is_empty()).then_some(min), (!max.is_empty()).then_some(max)),
    }
}
