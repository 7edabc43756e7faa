//! How fast texts are searched for what must not leave: with every built-in rule, on one core.

mod made;
mod presidio;

use std::{hint::black_box, path::Path, process::Command};

use anyhow::{Context, Result, anyhow, ensure};
use tracer_redact::detect::{Detectors, Limits};

use self::presidio::Document;
use crate::{
    clock::cpu_seconds,
    peer::LeftOut,
    row::{Bar, Row},
};

/// Group on the command line.
pub const GROUP: &str = "redaction";

/// Prose without anything to find, as a model writes it; repeated to a text's length.
const PROSE: &str = "The engine keeps a window of recent tokens and drops what it no longer needs. \
When a request comes in, it is compared with what is held already, so that only the new part has \
to be computed; the rest is taken from memory. \"How long does that take?\" she asked. It depends \
on the length of the prompt, on the batch and on the machine, but in most cases a few \
milliseconds are enough (see chapter 4). We tried three variants, measured each of them 20 times, \
and took the median. The second was slower by 12 % than the first, the third failed.\n\n";
/// Bytes of the plain text.
const PLAIN_LENGTH: usize = 1 << 20;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Figures of each row.
    pub repetitions: usize,
}

/// Measures plain text, the labelled documents where they are, the start, and what the shared
/// automaton of words is worth; and Presidio, if it can be had. A comparison that cannot be made is
/// added to `left_out`.
///
/// # Errors
/// If a text cannot be scanned, or the documents cannot be read.
pub fn measure(extent: Extent, left_out: &mut Vec<LeftOut>) -> Result<Vec<Row>> {
    let Extent { repetitions } = extent;
    let plain = vec![PROSE.repeat(PLAIN_LENGTH / PROSE.len())];
    let mut rows = vec![
        start(repetitions)?,
        speed(
            "plain ASCII prose, 1 MiB",
            &plain,
            repetitions,
            Bar::AtLeast(100.0),
        )?,
        against_each_rule(&plain, repetitions)?,
        hostile(repetitions)?,
    ];
    let mut beside_presidio = |name: &str, documents: &[Document]| match presidio::measure(
        name,
        documents,
        repetitions.div_ceil(4),
    ) {
        Ok(compared) => rows.extend(compared),
        Err(why) => left_out.push(LeftOut::because(GROUP, "Presidio", &why)),
    };
    let Some(sets) = sets()? else {
        beside_presidio("texts made from a seed", &made::documents());
        let why = anyhow!("../shared/data/redaction is not there");
        let what = "the mixed development set";
        left_out.push(LeftOut::because(GROUP, what, &why));
        return Ok(rows);
    };
    let both_are_made_for = |name: &str| name.starts_with("llm_chat_synth");
    if let Some((_, documents)) = sets.iter().find(|(name, _)| both_are_made_for(name)) {
        beside_presidio("llm_chat_synth", documents);
    }
    let texts = sets.iter().flat_map(|(_, documents)| documents);
    let texts: Vec<_> = texts.map(|document| document.text.clone()).collect();
    let name = "mixed development set, document by document";
    rows.push(speed(name, &texts, repetitions, Bar::AtLeast(40.0))?);
    Ok(rows)
}

/// Prose in which every sentence holds something that must not leave.
const DENSE: &str = "Mail ada@example.org or call +49 30 901820 before noon. The card is 4111 1111 \
1111 1111, the account DE89 3704 0044 0532 0130 00. export AWS_SECRET_ACCESS_KEY=\
wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY and connect to postgres://ada:s3cr3t-w0rd@10.0.0.7:5432/db \
with Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLWJ5dGVz\n\n";

/// A text to search.
#[derive(Clone, Copy, Debug)]
pub enum Text {
    /// Nothing to find.
    Prose,
    /// Something in every sentence.
    Dense,
}

/// Searches about `bytes` bytes of a text and returns how many there were.
///
/// # Errors
/// As [`measure`].
pub fn work(text: Text, bytes: usize) -> Result<usize> {
    let piece = match text {
        Text::Prose => PROSE,
        Text::Dense => DENSE,
    };
    let text = piece.repeat(bytes / piece.len());
    pass(&Detectors::builtin(), std::slice::from_ref(&text))?;
    Ok(text.len())
}

/// Milliseconds from nothing to detectors that have scanned a line.
fn start(repetitions: usize) -> Result<Row> {
    let times = (0..repetitions)
        .map(|_| {
            let before = cpu_seconds();
            black_box(Detectors::builtin());
            (cpu_seconds() - before) * 1e3
        })
        .collect();
    let note = format!("{repetitions} repetitions");
    Row::judge(
        GROUP,
        "start of the engine",
        "ms",
        times,
        Bar::AtMost(50.0),
        note,
    )
}

fn speed(name: &str, texts: &[String], repetitions: usize, bar: Bar) -> Result<Row> {
    let detectors = Detectors::builtin();
    // Patterns are compiled at their first use; that belongs to nobody's text.
    pass(&detectors, texts)?;
    let speeds = (0..repetitions)
        .map(|_| megabytes_a_second(texts, || pass(&detectors, texts)))
        .collect::<Result<_>>()?;
    let note = format!(
        "{repetitions} repetitions over {} texts, every built-in rule",
        texts.len()
    );
    Row::judge(GROUP, name, "MB/s", speeds, bar, note)
}

/// How much dearer a byte is in a hostile text of 1 MiB than in one of 64 KiB: the worst of some.
fn hostile(repetitions: usize) -> Result<Row> {
    const PIECES: [&str; 12] = [
        "1 ",
        "a@a.",
        "ab:",
        "key=",
        "secret=\"",
        "a://b:",
        "\\u0041",
        "%2525",
        "a\u{200b}",
        "abc123def4567\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "address 1 Ab ",
    ];
    let detectors = Detectors::builtin();
    let price = |piece: &str, length: usize| {
        let text = vec![piece.repeat(length / piece.len())];
        pass(&detectors, &text)?;
        let before = cpu_seconds();
        pass(&detectors, &text)?;
        #[expect(clippy::cast_precision_loss, reason = "a text has some megabytes")]
        return anyhow::Ok((cpu_seconds() - before) / length as f64);
    };
    let worst = |_| -> Result<f64> {
        PIECES.iter().try_fold(0.0_f64, |worst, piece| {
            Ok(worst.max(price(piece, 1 << 20)? / price(piece, 64 << 10)?))
        })
    };
    let ratios = (0..repetitions.min(5)).map(worst).collect::<Result<_>>()?;
    let note = format!(
        "the worst of {} texts; quadratic work would be 16 times",
        PIECES.len()
    );
    Row::judge(
        GROUP,
        "hostile texts: a byte of 1 MiB against one of 64 KiB",
        "x",
        ratios,
        Bar::AtMost(4.0),
        note,
    )
}

/// How many times faster than every rule's pattern and words tried on their own.
fn against_each_rule(texts: &[String], repetitions: usize) -> Result<Row> {
    let detectors = Detectors::builtin();
    pass(&detectors, texts)?;
    let short: Vec<_> = texts
        .iter()
        .map(|text| text[..text.len() / 8].to_owned())
        .collect();
    let each = |detectors: &Detectors| -> Result<()> {
        for text in &short {
            black_box(detectors.scan_rule_by_rule(text.as_bytes()));
        }
        Ok(())
    };
    each(&detectors)?;
    let ratios = (0..repetitions)
        .map(|_| {
            let together = megabytes_a_second(texts, || pass(&detectors, texts))?;
            let alone = megabytes_a_second(&short, || each(&detectors))?;
            Ok(together / alone)
        })
        .collect::<Result<_>>()?;
    let note = format!("{repetitions} repetitions over plain prose");
    Row::judge(
        GROUP,
        "all rules together against one by one",
        "x",
        ratios,
        Bar::AtLeast(10.0),
        note,
    )
}

fn pass(detectors: &Detectors, texts: &[String]) -> Result<()> {
    let limits = Limits::default();
    for text in texts {
        black_box(detectors.scan(text.as_bytes(), &limits)?);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a run has some megabytes")]
fn megabytes_a_second(texts: &[String], mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let bytes: usize = texts.iter().map(String::len).sum();
    let before = cpu_seconds();
    let mut passes = 0_u32;
    loop {
        run()?;
        passes += 1;
        let seconds = cpu_seconds() - before;
        if seconds > 0.2 {
            return Ok(bytes as f64 * f64::from(passes) / seconds / 1e6);
        }
    }
}

/// A set's file name, and its texts.
type Set = (String, Vec<Document>);

/// Every set of labelled texts, if they are beside the checkout.
fn sets() -> Result<Option<Vec<Set>>> {
    let folder = Path::new("..")
        .join("shared")
        .join("data")
        .join("redaction");
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut sets = Vec::new();
    for entry in folder
        .read_dir()
        .context("reading ../shared/data/redaction")?
    {
        let entry = entry?;
        let file = entry.path();
        if file.extension().is_none_or(|extension| extension != "gz") {
            continue;
        }
        let output = Command::new("gzip")
            .arg("-dc")
            .arg(&file)
            .output()
            .context("starting gzip")?;
        ensure!(
            output.status.success(),
            "gzip cannot read {}",
            file.display()
        );
        let documents = String::from_utf8(output.stdout)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .with_context(|| format!("a line of {} is no labelled text", file.display()))?;
        sets.push((entry.file_name().to_string_lossy().into_owned(), documents));
    }
    Ok(Some(sets))
}
