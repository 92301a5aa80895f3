//! The types that are told apart, and which of them go together.

use cel::common::ast::LiteralValue;

use crate::{Shape, Type};

/// The type of a part of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ty {
    Bool,
    Int,
    Float,
    Text,
    Null,
    List(Box<Ty>),
    Record(Shape),
    /// Names that are not known before.
    Open,
    /// Known only when it is evaluated.
    Any,
}

impl From<Type> for Ty {
    fn from(ty: Type) -> Self {
        match ty {
            Type::Bool => Self::Bool,
            Type::Int => Self::Int,
            Type::Float => Self::Float,
            Type::Text => Self::Text,
            Type::List(of) => Self::List(Box::new((*of).into())),
            Type::Record(shape) => Self::Record(shape),
            Type::Open => Self::Open,
            Type::Any => Self::Any,
        }
    }
}

// === impl Ty ===

impl Ty {
    /// `None` for a kind of literal that conditions have no use for.
    pub(super) fn of_literal(literal: &LiteralValue) -> Option<Self> {
        match literal {
            LiteralValue::Boolean(_) => Some(Self::Bool),
            LiteralValue::Int(_) => Some(Self::Int),
            LiteralValue::Double(_) => Some(Self::Float),
            LiteralValue::String(_) => Some(Self::Text),
            LiteralValue::Null => Some(Self::Null),
            LiteralValue::Bytes(_) | LiteralValue::UInt(_) => None,
        }
    }

    /// For messages.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Text => "text",
            Self::Null => "null",
            Self::List(_) => "a list",
            Self::Record(_) | Self::Open => "an object",
            Self::Any => "anything",
        }
    }

    pub(super) fn is_any(&self) -> bool {
        *self == Self::Any
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Any)
    }

    /// Whether values of the two can be equal at all.
    pub(super) fn compares(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _)
            | (_, Self::Any)
            | (Self::Int | Self::Float, Self::Int | Self::Float)
            | (Self::Record(_) | Self::Open, Self::Record(_) | Self::Open) => true,
            (Self::List(one), Self::List(other)) => one.compares(other),
            _ => self == other,
        }
    }

    /// Whether one can come before the other.
    pub(super) fn orders(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, other) | (other, Self::Any) => {
                matches!(other, Self::Any | Self::Int | Self::Float | Self::Text)
            }
            (Self::Text, Self::Text) => true,
            _ => self.is_number() && other.is_number(),
        }
    }

    /// What is one or the other.
    pub(super) fn joined(self, other: &Self) -> Self {
        if self == *other { self } else { Self::Any }
    }
}
