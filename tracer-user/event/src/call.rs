//! `op.call`: a call of a function that only its profile knows the meaning of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracer_redact::Field;

use crate::{
    identity::{ModelId, Name},
    known::Known,
    time::Nanos,
};

/// A call as its probe captured it; the event's `probe` names the function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Called<C> {
    /// Which part of the call this tells.
    pub at: CallPart,
    /// Names the call: the same at its entry and its return, unique within a run.
    pub call: u64,
    /// The model that it concerns, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// How long it took; unknown at its entry.
    pub duration: Known<Nanos>,
    /// What was captured, by the profile's names. Addresses are left out.
    pub values: BTreeMap<Name, CallValue<C>>,
    /// Values of which only the beginning is here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Name>,
}

/// A part of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CallPart {
    /// It began.
    Entry,
    /// It returned.
    Return,
    /// It was left without returning.
    Unwound,
}

/// A captured value, under a key that says what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CallValue<C> {
    /// A whole number.
    Number(i64),
    /// A whole number without a sign that is above the largest with one.
    Large(u64),
    /// A floating-point number; unknown if it is none or infinite.
    Float(Known<f64>),
    /// The profile's word for a number.
    Word(Name),
    /// Whether something holds; unknown if nobody told the kernel.
    Flag(Known<bool>),
    /// Sizes, extents or positions.
    Numbers(Vec<i64>),
    /// Numbers that could be content.
    Ids(C),
    /// A path of a model file.
    Path(C),
    /// A constant of the runtime's own.
    Symbol(C),
    /// What a runtime says went wrong.
    Error(C),
    /// Names that a model file gives.
    Names(Vec<C>),
    /// Text.
    Text(C),
    /// Several texts.
    Texts(Vec<C>),
    /// It is not here, and why.
    Unread(Unread),
}

/// Why a value is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Unread {
    /// The capture level does not include it.
    Level,
    /// Its memory could not be read.
    Fault,
}

impl<C> Called<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> Called<D> {
        let Self {
            at,
            call,
            model,
            duration,
            values,
            cut,
        } = self;
        Called {
            at,
            call,
            model,
            duration,
            values: values
                .into_iter()
                .map(|(name, value)| (name, value.map(change)))
                .collect(),
            cut,
        }
    }
}

impl<C> CallValue<C> {
    fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> CallValue<D> {
        let mut each = |field, contents: Vec<C>| {
            let contents = contents.into_iter();
            contents.map(|content| change(field, content)).collect()
        };
        match self {
            Self::Number(number) => CallValue::Number(number),
            Self::Large(number) => CallValue::Large(number),
            Self::Float(number) => CallValue::Float(number),
            Self::Word(word) => CallValue::Word(word),
            Self::Flag(holds) => CallValue::Flag(holds),
            Self::Numbers(numbers) => CallValue::Numbers(numbers),
            Self::Names(names) => CallValue::Names(each(Field::ModelName, names)),
            Self::Texts(texts) => CallValue::Texts(each(Field::Text, texts)),
            Self::Ids(ids) => CallValue::Ids(change(Field::TokenIds, ids)),
            Self::Path(path) => CallValue::Path(change(Field::Path, path)),
            Self::Symbol(symbol) => CallValue::Symbol(change(Field::Symbol, symbol)),
            Self::Error(error) => CallValue::Error(change(Field::ErrorText, error)),
            Self::Text(text) => CallValue::Text(change(Field::Text, text)),
            Self::Unread(why) => CallValue::Unread(why),
        }
    }
}
