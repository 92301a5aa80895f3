//! Walks an expression and infers the type of each part.

use std::collections::BTreeSet;

use cel::{
    Program,
    common::ast::{
        CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
    },
};

use super::{children, ty::Ty};
use crate::{Shape, error::ConditionError};

/// How deep loops (`exists`, `all`, `map`, …) may nest.
const MAX_LOOPS: usize = 2;

/// The functions that there are, for hints.
const FUNCTIONS: &[&str] = &[
    "all",
    "contains",
    "double",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "has",
    "int",
    "map",
    "matches",
    "size",
    "startsWith",
    "string",
];

pub(super) struct Checker<'a> {
    source: &'a str,
    program: &'a Program,
    shape: Shape,
    /// Names that loops have brought, the innermost last.
    scopes: Vec<(String, Ty)>,
    loops: usize,
    /// The names of the shape that were looked at.
    seen: BTreeSet<String>,
    /// The paths whose presence is asked for somewhere (`args.force`).
    asked: BTreeSet<String>,
}

type Checked = Result<Ty, ConditionError>;

// === impl Checker ===

impl<'a> Checker<'a> {
    pub(super) fn new(source: &'a str, program: &'a Program, shape: Shape) -> Self {
        Self {
            source,
            program,
            shape,
            scopes: Vec::new(),
            loops: 0,
            seen: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The names of the shape that the condition looks at.
    pub(super) fn run(mut self, expr: &IdedExpr) -> Result<Vec<String>, ConditionError> {
        self.find_asked(expr);
        let ty = self.infer(expr)?;
        if !matches!(ty, Ty::Bool) {
            let reason = format!("is {} and not true or false", ty.word());
            return Err(self.error(expr, reason, "compare it with something"));
        }
        Ok(self.seen.into_iter().collect())
    }

    fn error(
        &self,
        at: &IdedExpr,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> ConditionError {
        let offset = self.program.source_info().offset_for(at.id).map_or(0, |(start, _)| start);
        ConditionError::at(self.source, offset as usize, reason, hint)
    }

    /// Collects every path that a `has()` or an `in` asks for.
    fn find_asked(&mut self, expr: &IdedExpr) {
        match &expr.expr {
            Expr::Select(select) if select.test => {
                if let Some(path) = path(&select.operand) {
                    self.asked.insert(format!("{path}.{}", select.field));
                }
            }
            Expr::Call(call) if call.func_name == operators::IN => {
                if let [key, place] = call.args.as_slice()
                    && let (Some(key), Some(place)) = (text(key), path(place))
                {
                    self.asked.insert(format!("{place}.{key}"));
                }
            }
            _ => {}
        }
        for child in children(expr) {
            self.find_asked(child);
        }
    }

    fn infer(&mut self, expr: &IdedExpr) -> Checked {
        match &expr.expr {
            Expr::Ident(name) => self.ident(expr, name),
            Expr::Literal(literal) => Ty::of_literal(literal).ok_or_else(|| {
                self.error(
                    expr,
                    "is a kind of value that conditions have no use for",
                    "write a plain number or text",
                )
            }),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => {
                let mut of = None;
                for element in &list.elements {
                    let ty = self.infer(element)?;
                    of = Some(match of {
                        None => ty,
                        Some(before) => Ty::joined(before, &ty),
                    });
                }
                Ok(Ty::List(Box::new(of.unwrap_or(Ty::Any))))
            }
            Expr::Comprehension(it) => self.comprehension(it),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.error(expr, "makes an object", "compare its fields one by one"))
            }
        }
    }

    fn ident(&mut self, expr: &IdedExpr, name: &str) -> Checked {
        if let Some((_, ty)) = self.scopes.iter().rev().find(|(known, _)| known == name) {
            return Ok(ty.clone());
        }
        match self.shape.iter().find(|(known, _)| *known == name) {
            Some((_, ty)) => {
                self.seen.insert(name.to_owned());
                Ok((*ty).into())
            }
            None => {
                let known = self.shape.iter().map(|(name, _)| *name);
                let hint = did_you_mean(name, known, "known names");
                Err(self.error(expr, format!("names `{}`, which is not known", shown(name)), hint))
            }
        }
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Checked {
        let of = self.infer(&select.operand)?;
        let ty = match &of {
            Ty::Record(shape) => {
                let found = shape.iter().find(|(name, _)| *name == select.field);
                let Some((_, ty)) = found else {
                    let known = shape.iter().map(|(name, _)| *name);
                    let hint = did_you_mean(&select.field, known, "known fields");
                    let reason =
                        format!("names the field `{}`, which is not known", shown(&select.field));
                    return Err(self.error(expr, reason, hint));
                };
                (*ty).into()
            }
            Ty::Open | Ty::Any => {
                self.asked_for(expr, &select.operand, &select.field, select.test)?;
                Ty::Any
            }
            _ => {
                let reason = format!("takes the field `{}` of {}", shown(&select.field), of.word());
                return Err(self.error(expr, reason, "only objects have fields"));
            }
        };
        Ok(if select.test { Ty::Bool } else { ty })
    }

    /// What may be absent must be asked for, so that its absence is no surprise at night.
    fn asked_for(
        &self,
        expr: &IdedExpr,
        place: &IdedExpr,
        field: &str,
        test: bool,
    ) -> Result<(), ConditionError> {
        let Some(place) = path(place) else { return Ok(()) };
        let whole = format!("{place}.{field}");
        if test || self.asked.contains(&whole) {
            return Ok(());
        }
        let whole = shown(&whole);
        let reason = format!("takes `{whole}`, which may not be there");
        Err(self.error(expr, reason, format!("ask first: `has({whole}) && …`")))
    }

    fn comprehension(&mut self, it: &ComprehensionExpr) -> Checked {
        let range = self.infer(&it.iter_range)?;
        let element = match &range {
            Ty::List(of) => (**of).clone(),
            // The names of an object.
            Ty::Open => Ty::Text,
            Ty::Any => Ty::Any,
            _ => {
                let reason = format!("goes through {}", range.word());
                return Err(self.error(&it.iter_range, reason, "only lists are gone through"));
            }
        };
        if self.loops >= MAX_LOOPS {
            let hint = "two loops in each other are the most";
            return Err(self.error(&it.iter_range, "nests loops too deep", hint));
        }
        let depth = self.scopes.len();
        let accu = self.infer(&it.accu_init)?;
        self.loops += 1;
        self.scopes.push((it.iter_var.clone(), element));
        if let Some(second) = &it.iter_var2 {
            self.scopes.push((second.clone(), Ty::Any));
        }
        self.scopes.push((it.accu_var.clone(), accu));
        let step = self.infer(&it.loop_cond).and_then(|_| self.infer(&it.loop_step));
        self.scopes.truncate(depth);
        self.loops -= 1;
        let step = step?;
        self.scopes.push((it.accu_var.clone(), step));
        let result = self.infer(&it.result);
        self.scopes.truncate(depth);
        result
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Checked {
        let mut types = Vec::new();
        for part in call.target.as_deref().into_iter().chain(&call.args) {
            types.push(self.infer(part)?);
        }
        let name = call.func_name.as_str();
        let method = call.target.is_some();
        match (name, types.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, parts) => {
                for (part, ty) in call.args.iter().zip(parts) {
                    self.truth(part, ty)?;
                }
                Ok(Ty::Bool)
            }
            (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [ty]) => {
                self.truth(&call.args[0], ty)?;
                Ok(Ty::Bool)
            }
            (operators::CONDITIONAL, [if_, then, else_]) => {
                self.truth(&call.args[0], if_)?;
                Ok(then.clone().joined(else_))
            }
            (operators::EQUALS | operators::NOT_EQUALS, [one, other]) => {
                if one.compares(other) {
                    return Ok(Ty::Bool);
                }
                Err(self.mixed(expr, "compares", one, other))
            }
            (
                operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                [one, other],
            ) => {
                if one.orders(other) {
                    return Ok(Ty::Bool);
                }
                Err(self.mixed(expr, "orders", one, other))
            }
            (operators::ADD, [one, other]) => self.add(expr, call, one, other),
            (
                operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
                [one, other],
            ) => {
                if one.is_number() && other.is_number() {
                    return Ok(one.clone().joined(other));
                }
                Err(self.mixed(expr, "calculates with", one, other))
            }
            (operators::NEGATE, [ty]) if ty.is_number() => Ok(ty.clone()),
            (operators::NEGATE, [ty]) => {
                Err(self.error(expr, format!("negates {}", ty.word()), "only numbers have a sign"))
            }
            (operators::IN, [one, other]) => self.within(expr, one, other),
            (operators::INDEX, [of, at]) => self.index(expr, call, of, at),
            ("size", [of]) => match of {
                Ty::Text | Ty::List(_) | Ty::Open | Ty::Record(_) | Ty::Any => Ok(Ty::Int),
                _ => Err(self.error(
                    expr,
                    format!("takes the size of {}", of.word()),
                    "texts and lists have a size",
                )),
            },
            ("contains" | "startsWith" | "endsWith", [of, part]) if method => {
                self.texts(expr, name, of, part)?;
                Ok(Ty::Bool)
            }
            ("matches", [of, pattern]) => {
                self.texts(expr, name, of, pattern)?;
                let pattern = call.args.last().unwrap_or(expr);
                self.pattern(pattern)?;
                Ok(Ty::Bool)
            }
            ("int" | "double" | "string", [of]) if !method => {
                let fits = matches!(of, Ty::Int | Ty::Float | Ty::Text | Ty::Any)
                    || (name == "string" && *of == Ty::Bool);
                if !fits {
                    let reason = format!("makes {} of {}", name, of.word());
                    return Err(self.error(expr, reason, "it takes a number or text"));
                }
                Ok(match name {
                    "int" => Ty::Int,
                    "double" => Ty::Float,
                    _ => Ty::Text,
                })
            }
            (name, _) if FUNCTIONS.contains(&name) => {
                let reason = format!("calls `{name}` with {} values", types.len());
                Err(self.error(expr, reason, "that function takes others"))
            }
            (name, _) => {
                let hint = did_you_mean(name, FUNCTIONS.iter().copied(), "known functions");
                Err(self.error(expr, format!("calls `{}`, which is not known", shown(name)), hint))
            }
        }
    }

    fn add(&self, expr: &IdedExpr, call: &CallExpr, one: &Ty, other: &Ty) -> Checked {
        // The lists that `map` and `filter` make grow by one entry a round.
        let grows = matches!(call.args.first().map(|it| &it.expr), Some(Expr::Ident(name)) if name.starts_with('@'));
        match (one, other) {
            (Ty::List(_) | Ty::Any, Ty::List(of)) if grows => Ok(Ty::List(of.clone())),
            (Ty::Int, Ty::Int) => Ok(Ty::Int),
            (Ty::Text, Ty::Text) => Ok(Ty::Text),
            (Ty::Int | Ty::Float, Ty::Int | Ty::Float) => Ok(Ty::Float),
            (Ty::Any, _) | (_, Ty::Any) => {
                let hint = "say what it is: `int(…)`, `double(…)` or `string(…)`";
                Err(self.error(expr, "adds what can be anything", hint))
            }
            (Ty::List(_), Ty::List(_)) => {
                Err(self.error(expr, "joins lists", "ask each list by itself"))
            }
            _ => Err(self.mixed(expr, "adds", one, other)),
        }
    }

    fn within(&self, expr: &IdedExpr, one: &Ty, other: &Ty) -> Checked {
        match other {
            Ty::List(of) if one.compares(of) => Ok(Ty::Bool),
            Ty::List(of) => Err(self.mixed(expr, "looks up", one, of)),
            Ty::Open if *one == Ty::Text || one.is_any() => Ok(Ty::Bool),
            Ty::Any => Ok(Ty::Bool),
            _ => {
                let reason = format!("looks something up in {}", other.word());
                Err(self.error(expr, reason, "`in` takes a list; for texts there is `contains`"))
            }
        }
    }

    fn index(&self, expr: &IdedExpr, call: &CallExpr, of: &Ty, at: &Ty) -> Checked {
        match of {
            Ty::List(of) if *at == Ty::Int || at.is_any() => Ok((**of).clone()),
            Ty::Open | Ty::Any => {
                if let [place, key] = call.args.as_slice()
                    && let Some(key) = text(key)
                {
                    self.asked_for(expr, place, key, false)?;
                }
                Ok(Ty::Any)
            }
            _ => {
                let reason = format!("takes an entry of {}", of.word());
                Err(self.error(expr, reason, "lists have entries by number, objects by name"))
            }
        }
    }

    fn truth(&self, expr: &IdedExpr, ty: &Ty) -> Result<(), ConditionError> {
        match ty {
            Ty::Bool => Ok(()),
            Ty::Any => {
                Err(self.error(expr, "is not known to be true or false", "write `… == true`"))
            }
            _ => {
                let reason = format!("is {} and not true or false", ty.word());
                Err(self.error(expr, reason, "compare it with something"))
            }
        }
    }

    fn texts(&self, expr: &IdedExpr, name: &str, of: &Ty, part: &Ty) -> Result<(), ConditionError> {
        for ty in [of, part] {
            if !matches!(ty, Ty::Text | Ty::Any) {
                let reason = format!("calls `{name}` with {}", ty.word());
                let hint = match ty {
                    Ty::List(_) => "for lists there is `in`, or `exists(it, …)`",
                    _ => "it takes texts",
                };
                return Err(self.error(expr, reason, hint));
            }
        }
        Ok(())
    }

    /// A pattern is compiled now, so that it is known to be one and of a bounded size.
    fn pattern(&self, expr: &IdedExpr) -> Result<(), ConditionError> {
        let Some(pattern) = text(expr) else {
            let hint = "a pattern stands in quotes, so that it can be checked now";
            return Err(self.error(expr, "makes its pattern when it runs", hint));
        };
        let built = regex::RegexBuilder::new(pattern).size_limit(1 << 17).build();
        built.map(|_| ()).map_err(|_| {
            self.error(
                expr,
                "has a pattern that is none, or too large",
                "see the syntax of Rust's regex crate",
            )
        })
    }

    fn mixed(&self, expr: &IdedExpr, verb: &str, one: &Ty, other: &Ty) -> ConditionError {
        let reason = format!("{verb} {} and {}", one.word(), other.word());
        let hint = match (one, other) {
            (Ty::Text, Ty::Int | Ty::Float) | (Ty::Int | Ty::Float, Ty::Text) => {
                "numbers stand without quotes, texts in quotes"
            }
            (Ty::List(_), _) | (_, Ty::List(_)) => "for lists there is `in`",
            _ => "both sides are of one kind",
        };
        self.error(expr, reason, hint)
    }
}

/// `args.force` as it is written, if it is names with dots.
fn path(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", path(&select.operand)?, select.field))
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [place, key] => Some(format!("{}.{}", path(place)?, text(key)?)),
            _ => None,
        },
        _ => None,
    }
}

fn text(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn did_you_mean<'a>(
    given: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    otherwise: &str,
) -> String {
    let distance = |name: &str| strsim::damerau_levenshtein(given, name);
    let nearest = (given.len() <= 60)
        .then(|| known.clone().map(|name| (distance(name), name)).min())
        .flatten();
    match nearest {
        Some((distance, name)) if distance <= (given.len().max(name.len()) / 3).max(1) => {
            format!("did you mean `{name}`?")
        }
        _ => format!("{otherwise}: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(60).collect()
}
