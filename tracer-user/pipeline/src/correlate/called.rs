//! A call that only its profile knows the meaning of becomes an event as it is.

use tracer_abi::{CaptureLevel, Phase};
use tracer_event::{
    Content, Known, ModelId, Name, Raw,
    call::{CallPart, CallValue, Called, Unread},
};
use tracer_profile::{Field, FieldName};

use crate::call::{Call, CapturedText, CapturedValue, Texts};

type Value = CallValue<Raw<Content>>;

pub(super) fn called(call: &Call<'_>, model: Option<ModelId>) -> Called<Raw<Content>> {
    let mut event = Called {
        at: match call.phase {
            Phase::Entry => CallPart::Entry,
            Phase::Exit => CallPart::Return,
            Phase::Unwound => CallPart::Unwound,
        },
        call: call.id(),
        model,
        duration: match call.phase {
            // Of a call that an exception left it is only known that it is over.
            Phase::Entry | Phase::Unwound => Known::Unknown,
            Phase::Exit => Known::Known(call.duration()),
        },
        values: Default::default(),
        cut: Vec::new(),
    };
    for field in call.probe.fields().iter().filter(|field| call.tells(field)) {
        let captured = call.value(field);
        let name = Name::new(&field.name);
        if !is_whole(&captured) {
            event.cut.push(name.clone());
        }
        if let Some(value) = value(field, captured) {
            event.values.insert(name, value);
        }
    }
    event
}

fn is_whole(captured: &CapturedValue<'_>) -> bool {
    match captured {
        CapturedValue::Text(text) => text.is_whole(),
        CapturedValue::Numbers(numbers) => numbers.is_whole(),
        CapturedValue::Floats(floats) => floats.is_whole(),
        CapturedValue::Texts(texts) => {
            texts.is_whole() && texts.iter().flatten().all(|text| text.is_whole())
        }
        CapturedValue::Number { .. }
        | CapturedValue::Float(_)
        | CapturedValue::Address(_)
        | CapturedValue::Membership(_)
        | CapturedValue::Skipped
        | CapturedValue::Faulted => true,
    }
}

/// `None` for an address: it identifies, and never leaves.
fn value(field: &Field, captured: CapturedValue<'_>) -> Option<Value> {
    let is_content = field.level >= CaptureLevel::Tokens;
    Some(match captured {
        CapturedValue::Number { value, .. } if is_content => ids(&[value]),
        CapturedValue::Number { value, signed } => match field.words.as_ref() {
            Some(words) if words.word(value).is_some() => {
                CallValue::Word(Name::new(words.word(value).unwrap_or_default()))
            }
            Some(_) | None if !signed && value < 0 => CallValue::Large(value.cast_unsigned()),
            Some(_) | None => CallValue::Number(value),
        },
        CapturedValue::Float(number) if is_content => floats(&[number]),
        CapturedValue::Float(number) => {
            CallValue::Float(Some(number).filter(|number| number.is_finite()).into())
        }
        CapturedValue::Address(_) => return None,
        CapturedValue::Membership(holds) => CallValue::Flag(holds.into()),
        CapturedValue::Text(text) => one_text(field, text),
        CapturedValue::Texts(texts) => many_texts(field, &texts),
        CapturedValue::Numbers(numbers) => {
            let numbers: Vec<i64> = numbers.iter().collect();
            match is_content {
                true => ids(&numbers),
                false => CallValue::Numbers(numbers),
            }
        }
        CapturedValue::Floats(numbers) => floats(&numbers.iter().collect::<Vec<_>>()),
        CapturedValue::Skipped => CallValue::Unread(Unread::Level),
        CapturedValue::Faulted => CallValue::Unread(Unread::Fault),
    })
}

/// Numbers that could be tokens; written out where they are wider.
fn ids(numbers: &[i64]) -> Value {
    let narrow: Result<Vec<i32>, _> = numbers.iter().map(|id| i32::try_from(*id)).collect();
    CallValue::Ids(Raw::new(match narrow {
        Ok(ids) => Content::tokens(ids),
        Err(_) => Content::text(format!("{numbers:?}")),
    }))
}

fn floats(numbers: &[f64]) -> Value {
    CallValue::Ids(Raw::new(Content::text(format!("{numbers:?}"))))
}

fn one_text(field: &Field, text: CapturedText<'_>) -> Value {
    match field.role {
        Some(FieldName::Path) => CallValue::Path(text.to_raw()),
        Some(FieldName::SourceFile) => CallValue::Symbol(text.to_raw()),
        Some(FieldName::Message) => CallValue::Error(text.to_raw()),
        _ => CallValue::Text(text.to_raw()),
    }
}

fn many_texts(field: &Field, texts: &Texts<'_>) -> Value {
    let unreadable = || Raw::new(Content::text("?"));
    let all = texts.iter();
    let all = all.map(|text| text.map_or_else(unreadable, |text| text.to_raw()));
    match field.role {
        Some(FieldName::InputNames | FieldName::OutputNames) => CallValue::Names(all.collect()),
        _ => CallValue::Texts(all.collect()),
    }
}
