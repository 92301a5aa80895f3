//! Values for a condition, and its evaluation.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, Program, Value as Cel,
    objects::{Key, Map},
};
use serde_json::Value;

use crate::error::EvalError;

/// The most entries of one list or object.
const MAX_ENTRIES: usize = 128;
/// The most values in all.
const MAX_VALUES: usize = 4096;
/// The most bytes of one text.
const MAX_TEXT: usize = 16 * 1024;
/// The deepest nesting.
const MAX_DEPTH: usize = 16;

/// The functions that there are: the standard ones, without optional values.
static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

pub(crate) fn env() -> Arc<Env> {
    Arc::clone(&ENV)
}

/// Values that several conditions look at: brought into their form once, not by each of them.
pub struct Values {
    context: Context<'static, 'static>,
    /// How many values each name holds; `None` where they are too large.
    sizes: Vec<(String, Option<usize>)>,
}

// === impl Values ===

impl Values {
    /// The values of an object by their names.
    pub fn new(values: &Value) -> Self {
        Self::some(values, |_| true)
    }

    /// Those of these names alone.
    pub(crate) fn some(values: &Value, is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut context = Context::with_env(env());
        let mut sizes = Vec::new();
        let fields = values.as_object().into_iter().flatten();
        for (name, value) in fields.filter(|(name, _)| is_wanted(name)) {
            let mut left = MAX_VALUES;
            let size = convert(value, 0, &mut left).map(|value| {
                context.add_variable_from_value(name.as_str(), value);
                MAX_VALUES - left
            });
            sizes.push((name.clone(), size));
        }
        Self { context, sizes }
    }

    /// Whether the program, which looks at these names, holds for them.
    pub(crate) fn hold(&self, program: &Program, names: &[String]) -> Result<bool, EvalError> {
        let mut left = MAX_VALUES;
        for name in names {
            let found = self.sizes.iter().find(|(known, _)| known == name);
            let (_, size) = found.ok_or_else(|| EvalError::Missing(name.clone()))?;
            left = size
                .and_then(|size| left.checked_sub(size))
                .ok_or_else(|| EvalError::TooLarge(name.clone()))?;
        }
        match program.execute(&self.context) {
            Ok(Cel::Bool(holds)) => Ok(holds),
            Ok(other) => {
                Err(EvalError::Failed(format!("it is {} and not true or false", other.type_of())))
            }
            Err(error) => Err(failed(&error)),
        }
    }
}

impl fmt::Debug for Values {
    /// Names only: what stands in them may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sizes.iter().map(|(name, _)| name)).finish()
    }
}

/// `None` where it is too large.
fn convert(value: &Value, depth: usize, left: &mut usize) -> Option<Cel> {
    *left = left.checked_sub(1)?;
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cel::Int(number),
            None => Cel::Float(number.as_f64()?),
        },
        Value::String(text) if text.len() <= MAX_TEXT => Cel::String(Arc::new(text.clone())),
        Value::Array(items) if items.len() <= MAX_ENTRIES => {
            let items: Option<Vec<Cel>> =
                items.iter().map(|item| convert(item, depth + 1, left)).collect();
            Cel::List(Arc::new(items?))
        }
        Value::Object(fields) if fields.len() <= MAX_ENTRIES => {
            let fields: Option<HashMap<Key, Cel>> = fields
                .iter()
                .map(|(name, value)| {
                    Some((Key::from(name.clone()), convert(value, depth + 1, left)?))
                })
                .collect();
            Cel::Map(Map { map: Arc::new(fields?) })
        }
        _ => return None,
    })
}

/// Errors in words that hold no value: what stands in a context may be secret.
fn failed(error: &ExecutionError) -> EvalError {
    let said = match error {
        ExecutionError::NoSuchKey(key) => return EvalError::Missing(clean(key)),
        ExecutionError::NoSuchOverload(error) => {
            format!("`{}` does not take {}", error.function(), error.argument_types().join(" and "))
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "a number is divided by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number is out of range".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "a list has no entry at that place".to_owned(),
        ExecutionError::FunctionError { function, .. } => {
            format!("`{}` does not take what it was given", clean(function))
        }
        _ => "values are of other types than it takes".to_owned(),
    };
    EvalError::Failed(said)
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(60).collect()
}
