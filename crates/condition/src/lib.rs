//! Conditions in CEL: compiled and checked once, evaluated over a typed context.
//!
//! What stands in a context is said by a [`Shape`]. A condition that names something else, compares
//! what cannot be compared, or is too large or too deep is refused when it is compiled, with the
//! place and a hint; so what is read from settings either works or is an error at start.
//!
//! ```
//! use condition::{Condition, Shape, Type};
//! use serde_json::json;
//!
//! const SHAPE: Shape = &[("tool", Type::Text), ("vmid", Type::Int), ("args", Type::Open)];
//!
//! let condition = Condition::compile("tool.startsWith('guest_') && vmid >= 200", SHAPE)?;
//! assert!(condition.holds(&json!({"tool": "guest_power", "vmid": 204, "args": {}}))?);
//!
//! let wrong = Condition::compile("tol == 'guest_power'", SHAPE).unwrap_err();
//! assert!(wrong.to_string().contains("did you mean `tool`?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Invariant:* total: an evaluation ends, within bounds that do not depend on who wrote the condition.
//! *Invariant:* no I/O, no clock, and nothing of what conditions are about.

mod check;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod value;

use std::{fmt, sync::Arc};

use cel::Program;
use serde_json::Value;

pub use self::error::{ConditionError, EvalError};
pub use self::value::Values;

/// What a context holds: names and types.
pub type Shape = &'static [(&'static str, Type)];

/// The type of a value in a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Type {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction.
    Float,
    /// Text.
    Text,
    /// A list of one type.
    List(&'static Type),
    /// Known names and their types, all present.
    Record(Shape),
    /// Names that are not known before, with values of any type; each is asked for with `has()`.
    Open,
    /// Anything.
    Any,
}

/// A condition that was compiled against a shape.
#[derive(Clone)]
pub struct Condition {
    source: String,
    program: Arc<Program>,
    names: Arc<[String]>,
}

// === impl Condition ===

impl Condition {
    /// Compiles and checks it.
    ///
    /// # Errors
    /// It is no CEL, names what the shape has not, mixes types, or is too large or too deep.
    pub fn compile(source: &str, shape: Shape) -> Result<Self, ConditionError> {
        check::bounds(source)?;
        let program = value::env()
            .compile(source)
            .map_err(|errors| ConditionError::parse(source, &errors))?;
        let names = check::check(source, &program, shape)?;
        Ok(Self { source: source.to_owned(), program: Arc::new(program), names: names.into() })
    }

    /// Whether it holds for these values, which have the shape that it was compiled for.
    ///
    /// # Errors
    /// It cannot be told: a value is missing, has another type, or is too large.
    pub fn holds(&self, values: &Value) -> Result<bool, EvalError> {
        Values::some(values, |name| self.names(name)).hold(&self.program, &self.names)
    }

    /// The same for values that other conditions are asked about as well.
    ///
    /// # Errors
    /// As [`holds`](Self::holds).
    pub fn holds_for(&self, values: &Values) -> Result<bool, EvalError> {
        values.hold(&self.program, &self.names)
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it looks at this name of the shape.
    pub fn names(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Condition {}
