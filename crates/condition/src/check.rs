//! Checks a parsed condition against a shape: bounds, names, functions and types.

mod infer;
mod ty;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use self::infer::Checker;
use crate::{Shape, error::ConditionError};

/// The longest condition, in bytes.
const MAX_BYTES: usize = 2000;
/// How deep brackets may nest.
const MAX_BRACKETS: usize = 20;
/// The most operators.
const MAX_OPERATORS: usize = 200;
/// The deepest expression once macros are expanded.
const MAX_DEPTH: usize = 40;
/// The most parts of an expression.
const MAX_PARTS: usize = 800;

/// What can be said of a text before it is parsed: that parsing it stays cheap.
pub(crate) fn bounds(source: &str) -> Result<(), ConditionError> {
    let wrong = |offset, reason: &str, hint: &str| {
        Err(ConditionError::at(source, offset, reason.to_owned(), hint.to_owned()))
    };
    if source.trim().is_empty() {
        return wrong(0, "is empty", "leave it out, or write what must be so");
    }
    if source.len() > MAX_BYTES {
        return wrong(
            0,
            "is longer than 2000 bytes",
            "split it over several lines of the settings",
        );
    }
    let (mut depth, mut operators, mut quote) = (0_usize, 0_usize, None);
    let mut escaped = false;
    for (offset, c) in source.chars().enumerate() {
        if let Some(open) = quote {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == open => quote = None,
                _ => {}
            }
            continue;
        }
        match c {
            '\'' | '"' => quote = Some(c),
            '(' | '[' | '{' => {
                depth += 1;
                if depth > MAX_BRACKETS {
                    return wrong(offset, "nests brackets too deep", "20 levels are the most");
                }
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '!' | '-' | '?' | '+' | '*' | '/' | '%' | '<' | '>' | '=' | '&' | '|' | '.' | ','
            | ':' => {
                operators += 1;
                if operators > MAX_OPERATORS {
                    return wrong(offset, "has too many operators", "200 are the most");
                }
            }
            '\n' | '\t' | '\r' => {}
            c if c.is_control() => {
                return wrong(offset, "holds a control character", "take it out");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks the expression, and says which names of the shape it looks at.
pub(crate) fn check(
    source: &str,
    program: &cel::Program,
    shape: Shape,
) -> Result<Vec<String>, ConditionError> {
    let expression = program.expression();
    let mut parts = 0;
    if !is_small(expression, 0, &mut parts) {
        let hint = "write it in fewer steps";
        return Err(ConditionError::at(source, 0, "is too deep or has too many parts", hint));
    }
    Checker::new(source, program, shape).run(expression)
}

fn is_small(expr: &IdedExpr, depth: usize, parts: &mut usize) -> bool {
    *parts += 1;
    if depth > MAX_DEPTH || *parts > MAX_PARTS {
        return false;
    }
    children(expr).into_iter().all(|child| is_small(child, depth + 1, parts))
}

/// The expressions directly below.
pub(crate) fn children(expr: &IdedExpr) -> Vec<&IdedExpr> {
    match &expr.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(it) => {
            vec![&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Map(map) => map.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Struct(it) => it.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}
