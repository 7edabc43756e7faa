//! The values of a probe: `[probe.fields]` and `[probe.locals]`.

use std::sync::Arc;

use tracer_abi::CaptureLevel;

use super::{Words, place, word};
use crate::{
    compile::{Item, Moment, Role, level_name},
    document::{Placed, Setting, Source, Table},
    error::ProfileError,
    expression::{self, unknown},
    signal::{FieldName, Signal},
};

/// Longest name of a value, in bytes.
const LONGEST_NAME: usize = 40;

const LEVELS: [CaptureLevel; 4] = [
    CaptureLevel::Timing,
    CaptureLevel::Shape,
    CaptureLevel::Tokens,
    CaptureLevel::Text,
];

/// Fields: those with a role, and in a call that becomes an event as it is, any others.
pub(super) fn read(
    source: Source<'_>,
    table: Table<'_>,
    signal: Signal,
    words: &Words,
) -> Result<Vec<Item>, ProfileError> {
    table
        .settings()?
        .into_iter()
        .map(|(name, setting)| {
            let role = match FieldName::parse(&name.value) {
                Some(role) => Role::Known(role),
                None if signal == Signal::Call => {
                    check_name(source, &name)?;
                    Role::Own
                }
                None => {
                    let roles = FieldName::ALL.iter().map(|role| role.as_str());
                    let problem = unknown("field", &name.value, roles);
                    return Err(source.wrong(
                        name.at,
                        format!("{problem} (a probe of signal \"call\" may name its own)"),
                    ));
                }
            };
            item(source, name, role, signal, words, setting)
        })
        .collect()
}

/// Locals: what other values use.
pub(super) fn read_locals(source: Source<'_>, table: Table<'_>) -> Result<Vec<Item>, ProfileError> {
    table
        .settings()?
        .into_iter()
        .map(|(name, setting)| {
            if FieldName::parse(&name.value).is_some() {
                let problem = format!(
                    "`{}` is a field's name: call the local differently",
                    name.value
                );
                return Err(source.wrong(name.at, problem));
            }
            check_name(source, &name)?;
            let signal = Signal::Operation;
            item(source, name, Role::Local, signal, &Words::new(), setting)
        })
        .collect()
}

fn check_name(source: Source<'_>, name: &Placed<String>) -> Result<(), ProfileError> {
    let Placed { value, at } = name;
    let is_word = value.starts_with(|c: char| c.is_ascii_lowercase())
        && value
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_word || value.len() > LONGEST_NAME {
        let problem = format!(
            "`{value}` is no name: write up to {LONGEST_NAME} lower-case letters, digits and \
             underscores, a letter first"
        );
        return Err(source.wrong(*at, problem));
    }
    if expression::is_reserved(value) {
        let problem = format!("`{value}` means something else in expressions");
        return Err(source.wrong(*at, problem));
    }
    Ok(())
}

fn item(
    source: Source<'_>,
    name: Placed<String>,
    role: Role,
    signal: Signal,
    words: &Words,
    setting: Setting<'_>,
) -> Result<Item, ProfileError> {
    let (text, level, moment, words) = match setting {
        Setting::Text(text) => (text, None, None, None),
        Setting::Table(mut table) => {
            let text = table.required("read")?;
            let level = match table.string("level")? {
                Some(level) => Some(word(source, level, "level", &LEVELS, |l| level_name(*l))?),
                None => None,
            };
            let moment = match table.string("at")? {
                Some(at) => {
                    let moments = [Moment::Entry, Moment::Exit];
                    Some(word(source, at, "moment", &moments, moment_name)?)
                }
                None => None,
            };
            let words = match table.string("enum")? {
                Some(named) => Some(enumeration(source, signal, words, &named)?),
                None => None,
            };
            table.finish()?;
            (text, level, moment, words)
        }
    };
    Ok(Item {
        name,
        role,
        written: text.value.as_str().into(),
        capture: place(source, text, expression::capture)?,
        level,
        moment,
        words,
    })
}

const fn moment_name(moment: &Moment) -> &'static str {
    match moment {
        Moment::Entry => "entry",
        Moment::Exit => "exit",
    }
}

fn enumeration(
    source: Source<'_>,
    signal: Signal,
    words: &Words,
    named: &Placed<String>,
) -> Result<Arc<crate::Enumeration>, ProfileError> {
    if signal != Signal::Call {
        let problem = "words for numbers are shown in events of signal \"call\" only";
        return Err(source.wrong(named.at, problem));
    }
    let found = words.get(&named.value).map(Arc::clone);
    found.ok_or_else(|| {
        let problem = unknown("enum", &named.value, words.keys().map(String::as_str));
        source.wrong(named.at, problem)
    })
}
