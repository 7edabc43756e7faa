//! `cargo xtask words`: makes the list of common words that the lexical mode keeps.
//!
//! The source is SCOWL as Debian packages it (`scowl` 2020.12.07, lists of size 10 and 20 of
//! `english` and `american`): the folder `usr/share/dict/scowl` of the package. Names are taken out
//! by SCOWL's own lists of proper names and capitalised words.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::workspace::Workspace;

/// Where the lists are.
#[derive(Args)]
pub(crate) struct Options {
    /// The package's folder usr/share/dict/scowl
    scowl: PathBuf,
}

/// Sizes up to which a capitalised word is common enough to take its small twin out.
const NAME_SIZES: [&str; 5] = ["35", "40", "50", "60", "70"];
const UPPER_SIZES: [&str; 4] = ["10", "35", "40", "50"];
/// Given names that are common words as well and in none of SCOWL's lists of names.
#[rustfmt::skip]
const NAMES: [&str; 44] = [
    "mark", "frank", "jack", "nick", "pat", "ray", "dean", "drew", "sterling", "jerry", "josh", "dick", "harry", "jimmy", "kitty", "penny", "heather", "violet", "iris", "jasmine", "grace", "faith",
    "joy", "rob", "sue", "ted", "tony", "victor", "warren", "glen", "earl", "duke", "guy", "jean", "eve", "ivy", "olive", "ruby", "pearl", "daisy", "lily", "robin", "norm", "gene",
];

/// Writes the list into the redaction crate.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let folder = &options.scowl;
    let small = |size: &str| {
        lists(
            folder,
            &["words", "contractions"],
            &[size],
            &["english", "american"],
        )
    };
    let most_common = small("10")?;
    let common: HashSet<String> = most_common.union(&small("20")?).cloned().collect();
    ensure!(
        !most_common.is_empty(),
        "{} has no list english-words.10",
        folder.display()
    );
    let mut names = lists(folder, &["proper-names"], &NAME_SIZES, &[])?;
    names.extend(NAMES.map(str::to_owned));
    let uppers = lists(folder, &["upper"], &UPPER_SIZES, &[])?;
    let list: BTreeMap<&String, bool> = common
        .iter()
        .filter(|word| word.len() > 1 && word.is_ascii() && !word.ends_with("'s"))
        .filter(|word| !names.contains(*word))
        .filter(|word| most_common.contains(*word) || is_inflected(word))
        .map(|word| (word, most_common.contains(word) && !uppers.contains(word)))
        .collect();
    let lines: String = list
        .iter()
        .map(|(word, begins)| format!("{}{word}\n", if *begins { "+" } else { "" }))
        .collect();
    let file = workspace
        .root
        .join("tracer-user/redact/src/detect/lexical/words.txt");
    fs::write(&file, lines).with_context(|| format!("writing {}", file.display()))?;
    println!("{} words in {}", list.len(), file.display());
    Ok(ExitCode::SUCCESS)
}

/// Whether a word has an ending of grammar. Nicknames are taken from plain words: of the less common
/// ones, only those with an ending are kept.
fn is_inflected(word: &str) -> bool {
    #[rustfmt::skip]
    const ENDINGS: [&str; 29] = [
        "ed", "ing", "ly", "tion", "ment", "ness", "able", "ible", "ity", "ive", "ful", "less", "ate", "ise", "ize", "est", "ally", "ence", "ance", "al", "ous", "ic", "s",
        "n't", "'t", "'d", "'ll", "'re", "'ve",
    ];
    ENDINGS.iter().any(|ending| word.ends_with(ending))
}

/// The words of every list of these kinds and sizes, in small letters; of all spellings if none is
/// named.
fn lists(
    folder: &Path,
    kinds: &[&str],
    sizes: &[&str],
    spellings: &[&str],
) -> Result<HashSet<String>> {
    let mut words = HashSet::new();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let file = entry?.path();
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let Some((list, size)) = name.split_once('.') else {
            continue;
        };
        let Some((spelling, kind)) = list.split_once('-') else {
            continue;
        };
        let is_wanted = kinds.contains(&kind)
            && sizes.contains(&size)
            && (spellings.is_empty() || spellings.contains(&spelling));
        if is_wanted {
            // The lists are Latin-1, of which only the ASCII words are used.
            let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            let lines = bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| line.is_ascii());
            words.extend(
                lines.map(|line| String::from_utf8_lossy(line).trim().to_ascii_lowercase()),
            );
        }
    }
    words.remove("");
    Ok(words)
}
