//! The result of a verification, for people and for programs.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};
use tracer_integrity::{
    report,
    verify::{FileResult, Finding, Outcome},
};

use super::verify::Compared;
use crate::text::{Palette, Table, Tone, counted, printable, size};

/// Files that are named, at most; a model can have a hundred thousand.
const MAX_SHOWN: usize = 50;

/// For people: the verdict, who vouches, and every file that is not as it must be.
pub(super) fn pretty(result: &Compared, palette: Palette) -> String {
    let Compared {
        model,
        source,
        signed_ignored,
        refusal,
        verification,
    } = result;
    let (tone, word) = match verification.outcome() {
        _ if refusal.is_some() => (Tone::Bad, "not verified"),
        Outcome::Verified => (Tone::Good, "verified"),
        Outcome::NotVerified => (Tone::Bad, "not verified"),
        Outcome::Undetermined => (Tone::Warning, "undetermined"),
    };
    let mut text = format!("{}  {}", palette.paint(tone, word), printable(model));
    if let Some(guarantee) = verification.guarantee() {
        let matching = verification.files.iter();
        let matching = matching.filter(|file| matches!(file.finding, Finding::Match { .. }));
        let _ = write!(
            text,
            ": {} as it must be, {}, guarantee {guarantee}",
            counted(matching.count() as u64, "file"),
            size(verification.bytes()),
        );
    }
    text.push('\n');
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14} {}", printable(value));
    };
    line(
        "compared with",
        &format!("{}, {}", source.kind, source.name),
    );
    if let Some(signer) = &source.signer {
        line("signed by", signer);
    }
    if let Some(reason) = refusal {
        line("refused", reason);
    }
    if !signed_ignored.is_empty() {
        line("signer ignored", &signed_ignored.join(", "));
    }
    if verification.unsigned_ignored {
        line("not looked at", "files that nobody vouches for");
    }
    let mut wrong = verification
        .files
        .iter()
        .filter(|file| file.outcome() != Outcome::Verified)
        .peekable();
    if wrong.peek().is_none() {
        return text;
    }
    let mut table = Table::with_heading(&["FILE", "FINDING"]);
    for file in wrong.by_ref().take(MAX_SHOWN) {
        let tone = match file.outcome() {
            Outcome::NotVerified => Tone::Bad,
            Outcome::Verified | Outcome::Undetermined => Tone::Warning,
        };
        table.row([(Tone::Plain, file.name.clone()), (tone, sentence(file))]);
    }
    text.push('\n');
    text.push_str(&table.render(palette));
    let more = wrong.count() as u64;
    if more > 0 {
        let _ = writeln!(text, "… and {}", counted(more, "other"));
    }
    text
}

/// For programs: an in-toto statement.
pub(super) fn json(result: &Compared, now: Duration) -> Value {
    let Compared {
        model,
        source,
        refusal,
        verification,
        ..
    } = result;
    let mut statement = report::statement(model, source, verification, now);
    if let Some(reason) = refusal {
        statement["predicate"]["tracer_outcome"] = json!(report::outcome(Outcome::NotVerified));
        statement["predicate"]["tracer_refusal"] = json!(reason);
    }
    statement
}

fn sentence(file: &FileResult) -> String {
    match &file.finding {
        Finding::Match { assurance, .. } => {
            format!("guarantee {}: {}", assurance.guarantee, assurance.reason)
        }
        Finding::Mismatch {
            expected,
            found: Some(found),
            at,
        } => {
            let shard = at.map_or_else(String::new, |at| format!("shard at byte {at}: "));
            format!("{shard}is {found}, must be {expected}")
        }
        Finding::Mismatch { found: None, .. } => "ends too early".to_owned(),
        Finding::TooLong { expected, found } => {
            format!(
                "has {}, and only {} are signed",
                size(*found),
                size(*expected)
            )
        }
        Finding::DiskDiffers => {
            "the page cache holds other bytes than the disk: it was changed in memory".to_owned()
        }
        Finding::Missing => "is missing".to_owned(),
        Finding::Unexpected(kind) => format!("{kind} that nobody vouches for"),
        Finding::Failed(reason) => reason.clone(),
    }
}
