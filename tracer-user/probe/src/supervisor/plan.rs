//! From a file to the sites that a profile's probes get in it.

use std::{fs::File, path::Path};

use tracer_abi::{Register, Site, SiteRole, SpecFlags};
use tracer_profile::{Argument, ExitWanted, Library, Probe, Profile, SymbolPattern};

use super::functions::Functions;
use crate::{
    code::{
        Image, ImageError, Planner, Request, Symbol, SymbolKind,
        instruction::SiteClass,
        site::{self, EntrySite, ExitPreference, ExitSite, ResultLocation, ResultUse, SitePlan},
    },
    govern::Prices,
    observation::SiteCost,
    process::{self, MappedFile},
};

/// Above so many calls a second a single-stepped exit would cost too much.
const STEPPED_EXITS_UP_TO: u32 = 500;
/// A site that is expected to cost more than this share of a core stays off.
const EXPECTED_SHARE: f64 = 0.01;
/// A longer string, in bytes, is no version.
const LONGEST_VERSION: usize = 64;

/// A library that a profile recognises.
pub(crate) struct Recognised {
    /// The profile, by its place.
    pub(crate) profile: usize,
    pub(crate) build_id: Option<Vec<u8>>,
    image: Image<File>,
    notes: Vec<String>,
}

/// What is to be attached to a library, and what cannot.
pub(crate) struct Plan {
    /// What the library says that its version is.
    pub(crate) version: Option<String>,
    pub(crate) probes: Vec<PlannedProbe>,
    /// Probes by their place in the profile, and the reason.
    pub(crate) refused: Vec<(usize, String)>,
    /// What was found and not used, such as debug symbols of another build.
    pub(crate) notes: Vec<String>,
}

/// A probe and its sites.
pub(crate) struct PlannedProbe {
    /// Its place in the profile.
    pub(crate) probe: usize,
    pub(crate) symbol: String,
    /// The first is the entry.
    pub(crate) sites: Vec<PlannedSite>,
    pub(crate) exit_missing: Option<String>,
    /// Whether its calls are only timed, so that cheaper programs can serve it.
    pub(crate) only_times: bool,
}

/// A site as the kernel half needs it; `spec` is still 0.
#[derive(Clone, Copy)]
pub(crate) struct PlannedSite {
    pub(crate) offset: u64,
    pub(crate) cost: SiteCost,
    pub(crate) role: SiteRole,
    pub(crate) entry: Site,
}

/// Whether a file is a library of one of the runtimes: the first profile one of whose functions it
/// defines. `pid` is a process that maps it.
///
/// # Errors
/// If the file is no image that could be, such as a script or a 32-bit program, or is damaged.
pub(crate) fn recognise(
    file: &MappedFile,
    pid: Option<u32>,
    profiles: &[Profile],
) -> Result<Option<Recognised>, ImageError> {
    let duplicate = file.file().try_clone().map_err(|cause| ImageError::Read {
        offset: 0,
        length: 0,
        cause,
    })?;
    let mut image = Image::parse(duplicate)?;
    let build_id = image.build_id().unwrap_or_default();
    let mut by_symbol = by_symbol(&image, profiles)?;
    let named: Vec<usize> = (0..profiles.len())
        .filter(|&place| is_named_like(file.path(), &profiles[place]))
        .collect();
    if by_symbol.is_none() && named.is_empty() {
        return Ok(None);
    }
    let mut notes = Vec::new();
    if image.is_stripped() {
        notes.extend(adopt_debug_symbols(
            &mut image,
            file,
            pid,
            build_id.as_deref(),
        ));
        if by_symbol.is_none() {
            by_symbol = self::by_symbol(&image, profiles)?;
        }
    }
    let by_recipe = || {
        let knows = |&place: &usize| {
            let profile = &profiles[place];
            let names = profile.recognise.iter().filter_map(exact_name);
            let functions = Functions::new(&image, build_id.as_deref(), &profile.recipes, names);
            functions
                .first(&profile.recognise)
                .is_ok_and(|found| found.is_some())
        };
        named.into_iter().find(knows)
    };
    let Some(profile) = by_symbol.or_else(by_recipe) else {
        return Ok(None);
    };
    Ok(Some(Recognised {
        profile,
        build_id,
        image,
        notes,
    }))
}

/// The place of the first profile that knows the image by one of its functions. All names are
/// looked up at once: a file may have a million symbols, and most files are none of ours.
fn by_symbol(image: &Image<File>, profiles: &[Profile]) -> Result<Option<usize>, ImageError> {
    let patterns = profiles.iter().flat_map(|profile| &profile.recognise);
    let names: Vec<&str> = patterns.filter_map(exact_name).collect();
    let found = image.symbols(&names);
    let knows = |profile: &Profile| {
        profile.recognise.iter().any(|pattern| match pattern {
            // A program that calls the runtime may have a variable of the function's name.
            SymbolPattern::Exact(name) => found
                .found
                .get(name)
                .is_some_and(|symbol| symbol.kind == SymbolKind::Function),
            SymbolPattern::Prefix(prefix) => image
                .functions_matching(prefix, |_| true, 1)
                .is_ok_and(|found| !found.is_empty()),
            SymbolPattern::Parts(parts) => image
                .functions_matching(&parts[0], |name| pattern.matches(name), 1)
                .is_ok_and(|found| !found.is_empty()),
        })
    };
    match (profiles.iter().position(knows), found.trouble) {
        (None, Some(error)) => Err(error),
        (place, _) => Ok(place),
    }
}

/// Whether a file bears the name of one of a runtime's libraries. Only then it is worth looking for
/// functions that have no symbol, which takes reading all of it.
fn is_named_like(path: &Path, profile: &Profile) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let fits =
        |pattern: &String| glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name));
    !profile.recipes.is_empty() && profile.libraries.iter().any(fits)
}

/// Takes the symbols that a stripped library keeps elsewhere; why they were not taken, where there
/// are some that do not fit.
fn adopt_debug_symbols(
    image: &mut Image<File>,
    file: &MappedFile,
    pid: Option<u32>,
    build_id: Option<&[u8]>,
) -> Vec<String> {
    let mut refused = Vec::new();
    if let Err(error) = image.adopt_embedded_symbols() {
        refused.push(error.to_string());
    }
    let link = image.debuglink().ok().flatten().map(|link| link.name);
    let build_id = build_id.unwrap_or_default();
    for found in process::debug_files(pid, file.path(), build_id, link.as_deref()) {
        match image.adopt_debug_file(found.file) {
            Ok(()) => return Vec::new(),
            Err(error) => refused.push(format!("/{}: {error}", found.path.display())),
        }
    }
    refused
}

/// Chooses the sites of a profile's probes in a library.
pub(crate) fn plan(
    library: &Recognised,
    profile: &Profile,
    shadow_stack: bool,
    prices: Prices,
) -> Plan {
    let functions = Functions::new(
        &library.image,
        library.build_id.as_deref(),
        &profile.recipes,
        exact_names(profile),
    );
    let mut notes = library.notes.clone();
    notes.extend(functions.trouble());
    let selection = profile.probes_for(&functions);
    let place = |probe: &Probe| {
        let same = |other: &Probe| std::ptr::eq(other, probe);
        profile
            .probes
            .iter()
            .position(same)
            .expect("the profile's own probes were selected")
    };
    let mut refused: Vec<(usize, String)> = selection
        .refused
        .iter()
        .map(|(probe, reason)| (place(probe), reason.to_string()))
        .collect();

    let mut wanted: Vec<(&Probe, Symbol)> = Vec::new();
    for probe in selection.probes.into_iter().filter(|probe| probe.enabled) {
        match functions.first(&probe.symbols) {
            Ok(symbol) => wanted.extend(symbol.map(|symbol| (probe, symbol))),
            Err(reason) => refused.push((place(probe), reason)),
        }
    }
    let requests: Vec<Request> = wanted
        .iter()
        .map(|(probe, symbol)| request(probe, symbol, shadow_stack))
        .collect();
    let plans = Planner::new(&library.image).plan_all(&requests);

    let mut probes = Vec::new();
    for ((probe, symbol), planned) in wanted.into_iter().zip(plans) {
        let place = place(probe);
        let planned = planned.map_err(|error| error.to_string()).and_then(|plan| {
            affordable(probe, &plan.entry, prices)?;
            useful(probe, sites(probe, &plan))
        });
        match planned {
            Err(reason) => refused.push((place, format!("{}: {reason}", symbol.name))),
            Ok((sites, exit_missing)) => {
                probes.push(PlannedProbe {
                    probe: place,
                    symbol: symbol.name,
                    sites,
                    exit_missing,
                    only_times: probe.spec.only_times(),
                });
            }
        }
    }
    Plan {
        version: version(&functions, profile),
        probes,
        refused,
        notes,
    }
}

/// What the first of the profile's functions that can tell it says. What is no version is not told.
fn version(functions: &Functions<'_>, profile: &Profile) -> Option<String> {
    let mut tellers = profile.version_symbols.iter();
    let version = tellers.find_map(|teller| functions.version(teller))?;
    let is_plain = version.bytes().all(|byte| byte.is_ascii_graphic());
    (is_plain && (1..=LONGEST_VERSION).contains(&version.len())).then_some(version)
}

fn request(probe: &Probe, symbol: &Symbol, shadow_stack: bool) -> Request {
    let argument = |argument: &Argument| match *argument {
        Argument::Register(register) => Some(site::Argument::Register(register)),
        Argument::Frame { offset, width } => Some(site::Argument::Stack {
            offset: u32::try_from(offset).ok()?,
            length: u32::from(width),
        }),
    };
    Request {
        vaddr: symbol.vaddr,
        size: symbol.size,
        arguments: probe.wanted_arguments.iter().filter_map(argument).collect(),
        result: match probe.exit {
            ExitWanted::Result => ResultUse::Required,
            ExitWanted::Time | ExitWanted::None => ResultUse::Unused,
        },
        exits: match probe.exit {
            ExitWanted::None => ExitPreference::NoExits,
            ExitWanted::Time | ExitWanted::Result => {
                if probe.expected_rate > STEPPED_EXITS_UP_TO {
                    ExitPreference::Emulated
                } else {
                    ExitPreference::AllowStepped
                }
            }
        },
        shadow_stack,
    }
}

fn affordable(probe: &Probe, entry: &EntrySite, prices: Prices) -> Result<(), String> {
    let price = prices.of(site_cost(entry.class));
    let share = f64::from(probe.expected_rate) * price.as_secs_f64();
    if share <= EXPECTED_SHARE {
        return Ok(());
    }
    Err(format!(
        "{} calls a second are expected, which at {price:?} a hit would cost {:.1} % of a core; more \
         than {:.0} % stays off",
        probe.expected_rate,
        share * 100.0,
        EXPECTED_SHARE * 100.0
    ))
}

/// A probe that tells only the ends of calls, and sees none, would pay for each and tell nothing.
fn useful(
    probe: &Probe,
    planned: (Vec<PlannedSite>, Option<String>),
) -> Result<(Vec<PlannedSite>, Option<String>), String> {
    let (sites, missing) = &planned;
    let has_exit = sites.iter().any(|site| site.role == SiteRole::Exit);
    let tells_entry = probe.spec.flags & SpecFlags::EMIT_ENTRY != 0;
    match missing {
        Some(reason) if !has_exit && !tells_entry => Err(reason.clone()),
        Some(_) | None => Ok(planned),
    }
}

fn sites(probe: &Probe, plan: &SitePlan) -> (Vec<PlannedSite>, Option<String>) {
    let entry = &plan.entry;
    let mut sites = vec![PlannedSite {
        offset: entry.file_offset,
        cost: site_cost(entry.class),
        role: SiteRole::Entry,
        entry: Site {
            spec: 0,
            role: SiteRole::Entry as u8,
            result: Register::Rax as u8,
            frame_offset: entry.frame_offset,
        },
    }];
    if probe.exit == ExitWanted::None {
        return (sites, None);
    }
    let missing = plan.exits.as_ref().err().map(ToString::to_string);
    sites.extend(plan.exits.iter().flatten().map(exit_site));
    let continued = plan.continuations.iter().flat_map(|next| &next.exits);
    sites.extend(continued.map(exit_site));
    // Two paths of tail jumps can lead to one function.
    let mut seen = std::collections::HashSet::new();
    sites.retain(|site| seen.insert(site.offset));
    if let [entry] = &mut sites[..] {
        entry.entry.role = SiteRole::EntryAlone as u8;
    }
    (sites, missing)
}

fn exit_site(exit: &ExitSite) -> PlannedSite {
    let result = match exit.result {
        ResultLocation::Register { register, .. } => register,
        ResultLocation::Unused => Register::Rax,
    };
    PlannedSite {
        offset: exit.file_offset,
        cost: site_cost(exit.class),
        role: SiteRole::Exit,
        entry: Site {
            spec: 0,
            role: SiteRole::Exit as u8,
            result: result as u8,
            frame_offset: exit.frame_offset,
        },
    }
}

fn site_cost(class: SiteClass) -> SiteCost {
    match class {
        SiteClass::Emulated(_) => SiteCost::Emulated,
        // Cheap only where the kernel rewrites it, which it may refuse for each site anew.
        SiteClass::Nop5 | SiteClass::SingleStepped(_) => SiteCost::SingleStepped,
    }
}

/// The names that a profile's patterns spell out.
fn exact_names(profile: &Profile) -> impl Iterator<Item = &str> {
    let patterns = profile.probes.iter().flat_map(|probe| {
        let gates = [&probe.applies, &probe.gate].into_iter();
        let asked = gates.flat_map(|gate| gate.present.iter().chain(&gate.absent));
        probe.symbols.iter().chain(asked)
    });
    let tellers = profile.version_symbols.iter().map(String::as_str);
    patterns
        .chain(&profile.recognise)
        .filter_map(exact_name)
        .chain(tellers)
}

fn exact_name(pattern: &SymbolPattern) -> Option<&str> {
    match pattern {
        SymbolPattern::Exact(name) => Some(name),
        SymbolPattern::Prefix(_) | SymbolPattern::Parts(_) => None,
    }
}
