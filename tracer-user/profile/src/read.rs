//! From a profile's text to a checked [`Profile`].

mod fields;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tracer_abi::{MAX_OPS, MAX_SPECS, Spec, SpecFlags};

use crate::{
    compile::{Emission, Role, compile},
    document::{Placed, Setting, Source, Table},
    enumeration::Enumeration,
    error::ProfileError,
    expression::{self, Condition, Malformed, unknown},
    gate::{Gate, SymbolPattern, Version, VersionRange},
    profile::{Mode, Options, Probe, Profile},
    recipe::{Recipe, recipes},
    signal::Signal,
};

/// Longest word of an enumeration, in bytes.
const LONGEST_WORD: usize = 64;

/// Reads a profile; `file` is what messages call it.
///
/// # Errors
/// If the text is no TOML, has an unknown key or word, or asks for more than the kernel half
/// can do; the message names the line.
pub fn read(file: &str, text: &str) -> Result<Profile, ProfileError> {
    let source = Source::new(file, text);
    let mut root = Table::parse(source)?;
    let name = root.required("name")?;
    let runtime = root.required("runtime")?.value;
    let recognise = root.some_strings("recognise")?;
    let version_symbols = values(root.strings("version")?);
    let early_paths = values(root.strings("early_paths")?);
    let libraries = values(root.strings("libraries")?);
    let options = match root.table("options")? {
        Some(mut table) => {
            let options = Options {
                model: values(table.strings("model")?),
                template: values(table.strings("template")?),
                template_file: values(table.strings("template_file")?),
            };
            table.finish()?;
            options
        }
        None => Options::default(),
    };
    let environment = values(root.strings("environment")?);
    let recipes = recipes(source, &mut root)?;
    let has_symbol = |name: &str| !recipes.iter().any(|recipe| recipe.name == name);
    if libraries.is_empty()
        && let Some(first) = recognise.first()
        && !recognise.iter().any(|known| has_symbol(&known.value))
    {
        // Code is not searched in every file that is mapped anywhere.
        let problem = "these functions have no symbol: name in `libraries` the files in which they \
                       are looked for";
        return Err(source.wrong(first.at, format!("in `recognise`: {problem}")));
    }
    let recognise = symbols(source, recognise)?;
    let shed = root.strings("shed")?;
    let words = match root.table("enums")? {
        Some(table) => enumerations(source, table)?,
        None => Words::new(),
    };
    let mut probes: Vec<Probe> = Vec::new();
    for table in root.tables("probe")? {
        let at = table.at();
        let variants = probe(source, table, &version_symbols, &words)?;
        if let Some(first) = variants.first()
            && probes.iter().any(|known| known.name == first.name)
        {
            return Err(source.wrong(at, format!("probe `{}` is defined twice", first.name)));
        }
        probes.extend(variants);
        if probes.len() > MAX_SPECS as usize {
            return Err(source.wrong(at, format!("more than {MAX_SPECS} probes")));
        }
    }
    root.finish()?;
    if probes.is_empty() {
        return Err(source.wrong(name.at, "the profile has no [[probe]]"));
    }
    for group in &shed {
        if !probes.iter().any(|probe| probe.group == group.value) {
            let groups = probes.iter().map(|probe| probe.group.as_str());
            let problem = unknown("group", &group.value, groups);
            return Err(source.wrong(group.at, format!("in `shed`: {problem}")));
        }
    }
    Ok(Profile {
        name: name.value,
        runtime,
        recognise,
        version_symbols,
        early_paths,
        libraries,
        options,
        environment,
        recipes,
        shed_order: values(shed),
        probes,
    })
}

/// What a file adds to a profile of another one.
pub(crate) struct Extension {
    /// The profile's name, and the byte where it stands.
    pub(crate) extends: Placed<String>,
    pub(crate) recipes: Vec<Recipe>,
}

/// Reads a document that says `extends`; `None` if it does not.
pub(crate) fn read_extension(file: &str, text: &str) -> Result<Option<Extension>, ProfileError> {
    let source = Source::new(file, text);
    let mut root = Table::parse(source)?;
    let Some(extends) = root.string("extends")? else {
        return Ok(None);
    };
    let recipes = recipes(source, &mut root)?;
    root.finish()?;
    Ok(Some(Extension { extends, recipes }))
}

/// Words for numbers, by the enumeration's name.
type Words = BTreeMap<String, Arc<Enumeration>>;

/// `[enums.NAME]`: a word for each number.
fn enumerations(source: Source<'_>, table: Table<'_>) -> Result<Words, ProfileError> {
    let mut all = Words::new();
    for (name, setting) in table.settings()? {
        let Setting::Table(table) = setting else {
            let problem = format!(
                "`{}` must be a table of numbers and their words",
                name.value
            );
            return Err(source.wrong(name.at, problem));
        };
        let mut enumeration = Enumeration::default();
        for (number, word) in table.settings()? {
            let Ok(parsed) = number.value.parse() else {
                let problem = format!("`{}` is no whole number", number.value);
                return Err(source.wrong(number.at, problem));
            };
            let Setting::Text(word) = word else {
                return Err(source.wrong(number.at, "the word for a number is a string"));
            };
            if word.value.is_empty() || word.value.len() > LONGEST_WORD {
                let problem = format!("a word has between 1 and {LONGEST_WORD} bytes");
                return Err(source.wrong(word.at, problem));
            }
            if enumeration.words.insert(parsed, word.value).is_some() {
                let problem = format!("{parsed} has two words");
                return Err(source.wrong(number.at, problem));
            }
        }
        all.insert(name.value, Arc::new(enumeration));
    }
    Ok(all)
}

/// One `[[probe]]`: a variant for each layout, and the probe without any layout last.
fn probe(
    source: Source<'_>,
    mut table: Table<'_>,
    version_symbols: &[String],
    words: &Words,
) -> Result<Vec<Probe>, ProfileError> {
    let at = table.at();
    let fields_of = |table, signal| fields::read(source, table, signal, words);
    let locals_of = |table| fields::read_locals(source, table);
    let name = table.required("name")?.value;
    let signal = word(
        source,
        table.required("signal")?,
        "signal",
        Signal::ALL,
        |s| s.as_str(),
    )?;
    let group = table.required("group")?.value;
    let enabled = table.boolean("enabled")?.unwrap_or(true);
    let expected_rate = match table.number("rate")? {
        Some(rate) => rate.value,
        None => return Err(source.wrong(at, format!("probe `{name}` declares no `rate`"))),
    };
    let symbols = symbols(source, table.some_strings("symbols")?)?;
    let (mode, emission) = emission(source, &mut table)?;
    let limits = limits(source, &mut table, emission)?;
    let critical = table.boolean("critical")?.unwrap_or(false);
    let applies = match table.table("when")? {
        Some(when) => gate(source, when, version_symbols)?,
        None => Gate::default(),
    };
    let mut items = match table.table("fields")? {
        Some(fields) => fields_of(fields, signal)?,
        None => Vec::new(),
    };
    if let Some(locals) = table.table("locals")? {
        items.extend(locals_of(locals)?);
    }
    let conditions = table
        .strings("keep")?
        .into_iter()
        .map(|text| place(source, text, expression::condition))
        .collect::<Result<Vec<Placed<Condition>>, _>>()?;
    let only_known_layouts = table.boolean("only_known_layouts")?.unwrap_or(false);
    let layouts = table.tables("layout")?;
    table.finish()?;

    let mut variants = Vec::new();
    for mut layout in layouts {
        let at = layout.at();
        let Some(when) = layout.table("when")? else {
            return Err(source.wrong(at, "a layout needs `when`: for which builds does it hold?"));
        };
        let when = gate(source, when, version_symbols)?;
        let mut items = items.clone();
        if let Some(fields) = layout.table("fields")? {
            items.extend(fields_of(fields, signal)?);
        }
        if let Some(locals) = layout.table("locals")? {
            items.extend(locals_of(locals)?);
        }
        layout.finish()?;
        variants.push((at, when, items));
    }
    if !only_known_layouts {
        variants.push((at, Gate::default(), items));
    }
    variants
        .into_iter()
        .map(|(at, gate, items)| {
            if mode == Mode::Histogram && items.iter().any(|item| item.role != Role::Local) {
                return Err(source.wrong(at, "a histogram carries no fields, only locals"));
            }
            let program = compile(source, at, &items, &conditions, emission)?;
            let mut spec = limits;
            spec.flags |= flags(mode, emission, critical);
            spec.op_count = program.ops.len() as u32;
            spec.gate_at = program.gate_at as u32;
            spec.value_count = program.value_count as u32;
            debug_assert!(program.ops.len() <= MAX_OPS);
            spec.ops[..program.ops.len()].copy_from_slice(&program.ops);
            Ok(Probe {
                name: name.clone(),
                signal,
                group: group.clone(),
                enabled,
                expected_rate,
                symbols: symbols.clone(),
                applies: applies.clone(),
                gate,
                exit: program.exit,
                wanted_arguments: program.wanted_arguments,
                fields: program.fields,
                readings: program.readings,
                mode,
                spec,
            })
        })
        .collect()
}

fn emission(source: Source<'_>, table: &mut Table<'_>) -> Result<(Mode, Emission), ProfileError> {
    let mode = match table.string("mode")? {
        Some(mode) => word(
            source,
            mode,
            "mode",
            &[Mode::Event, Mode::Histogram],
            |m| match m {
                Mode::Event => "event",
                Mode::Histogram => "histogram",
            },
        )?,
        None => Mode::Event,
    };
    let emit = table.string("emit")?;
    let emission = |entry, exit| Emission {
        entry,
        exit,
        histogram: false,
    };
    match (mode, emit) {
        (Mode::Histogram, Some(emit)) => Err(source.wrong(
            emit.at,
            "a histogram emits nothing per call: leave `emit` out",
        )),
        (Mode::Histogram, None) => Ok((
            mode,
            Emission {
                entry: false,
                exit: false,
                histogram: true,
            },
        )),
        (Mode::Event, None) => Ok((mode, emission(true, false))),
        (Mode::Event, Some(emit)) => match emit.value.as_str() {
            "entry" => Ok((mode, emission(true, false))),
            "exit" => Ok((mode, emission(false, true))),
            "both" => Ok((mode, emission(true, true))),
            other => {
                let problem = unknown("emission", other, ["entry", "exit", "both"]);
                Err(source.wrong(emit.at, problem))
            }
        },
    }
}

/// The spec's own gates: sampling, rate limit, minimum duration.
fn limits(
    source: Source<'_>,
    table: &mut Table<'_>,
    emission: Emission,
) -> Result<Spec, ProfileError> {
    let mut spec = Spec::default();
    if let Some(every) = table.number("sample_every")? {
        spec.sample_every = every.value;
    }
    if let Some(mut bucket) = table.table("rate_limit")? {
        let at = bucket.at();
        let (per_second, burst) = (bucket.number("per_second")?, bucket.number("burst")?);
        bucket.finish()?;
        let Some(per_second) = per_second.filter(|rate| rate.value > 0) else {
            return Err(source.wrong(at, "`rate_limit` needs `per_second`, 1 or more"));
        };
        spec.rate_per_second = per_second.value;
        spec.rate_burst = burst.map_or(per_second.value, |burst| burst.value).max(1);
    }
    if let Some(text) = table.string("minimum_duration")? {
        let at = text.at;
        if !emission.exit && !emission.histogram {
            let problem = "`minimum_duration` needs a record at the exit: write emit = \"exit\"";
            return Err(source.wrong(at, problem));
        }
        let duration = duration(&text.value).ok_or_else(|| {
            let problem = format!("`{}` is no duration such as 50us, 2ms or 1s", text.value);
            source.wrong(at, problem)
        })?;
        // Fits: `duration` reads at most 32 bits of seconds.
        spec.minimum_duration = duration.as_nanos() as u64;
    }
    Ok(spec)
}

fn flags(mode: Mode, emission: Emission, critical: bool) -> u32 {
    let mut flags = 0;
    if mode == Mode::Histogram {
        flags |= SpecFlags::HISTOGRAM;
    }
    if emission.entry {
        flags |= SpecFlags::EMIT_ENTRY;
    }
    if emission.exit {
        flags |= SpecFlags::EMIT_EXIT;
    }
    if critical {
        flags |= SpecFlags::CRITICAL;
    }
    flags
}

fn gate(
    source: Source<'_>,
    mut table: Table<'_>,
    version_symbols: &[String],
) -> Result<Gate, ProfileError> {
    let present = symbols(source, table.strings("present")?)?;
    let absent = symbols(source, table.strings("absent")?)?;
    let version = match table.string("version")? {
        None => None,
        Some(range) if version_symbols.is_empty() => {
            let problem = "a version gate needs the profile's `version`: functions that tell it";
            return Err(source.wrong(range.at, problem));
        }
        Some(range) => {
            let parsed = version_range(&range.value).ok_or_else(|| {
                let problem = format!(
                    "`{}` is no version range such as \">=0.5, <0.8\"",
                    range.value
                );
                source.wrong(range.at, problem)
            })?;
            Some((version_symbols.to_vec(), parsed))
        }
    };
    let build_ids = table
        .strings("build_id")?
        .into_iter()
        .map(|id| {
            hexadecimal(&id.value).ok_or_else(|| {
                source.wrong(
                    id.at,
                    format!("`{}` is no build-id in hexadecimal", id.value),
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    table.finish()?;
    Ok(Gate {
        present,
        absent,
        version,
        build_ids: (!build_ids.is_empty()).then_some(build_ids),
    })
}

/// Parses a text and keeps its place.
fn place<T>(
    source: Source<'_>,
    text: Placed<String>,
    parse: impl FnOnce(&str) -> Result<T, Malformed>,
) -> Result<Placed<T>, ProfileError> {
    let Placed { value, at } = text;
    match parse(&value) {
        Ok(value) => Ok(Placed { value, at }),
        Err(Malformed {
            problem,
            at: inside,
        }) => {
            let problem = format!("in \"{value}\": {problem}");
            Err(source.wrong(source.inside(at, &value, inside), problem))
        }
    }
}

/// The member of a closed set that a word names.
fn word<T: Copy>(
    source: Source<'_>,
    text: Placed<String>,
    what: &str,
    members: &[T],
    name: impl Fn(&T) -> &'static str + Copy,
) -> Result<T, ProfileError> {
    let found = members.iter().find(|member| name(member) == text.value);
    found.copied().ok_or_else(|| {
        let problem = unknown(what, &text.value, members.iter().map(name));
        source.wrong(text.at, problem)
    })
}

fn values(texts: Vec<Placed<String>>) -> Vec<String> {
    texts.into_iter().map(|text| text.value).collect()
}

/// Names in which each `*` stands for whatever differs between builds.
fn symbols(
    source: Source<'_>,
    texts: Vec<Placed<String>>,
) -> Result<Vec<SymbolPattern>, ProfileError> {
    let pattern = |Placed { value, at }: Placed<String>| match value.split_once('*') {
        None => Ok(SymbolPattern::Exact(value)),
        Some(("", _)) => {
            Err(source.wrong(at, format!("`{value}`: a name must not begin with `*`")))
        }
        Some((beginning, "")) => Ok(SymbolPattern::Prefix(beginning.to_owned())),
        Some(_) => Ok(SymbolPattern::Parts(
            value.split('*').map(str::to_owned).collect(),
        )),
    };
    texts.into_iter().map(pattern).collect()
}

fn version_range(text: &str) -> Option<VersionRange> {
    let mut range = VersionRange::default();
    for bound in text.split(',').map(str::trim) {
        let (end, version) = if let Some(version) = bound.strip_prefix(">=") {
            (&mut range.from, version)
        } else {
            (&mut range.below, bound.strip_prefix('<')?)
        };
        let version = Version::parse(version.trim())?;
        if end.replace(version).is_some() {
            return None;
        }
    }
    Some(range)
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u32 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ns" => Duration::from_nanos(1),
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        _ => return None,
    };
    Some(unit * number)
}

pub(crate) fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests;
