//! `tracer ps` for people.

use crate::{
    ps::listing::{ExitKind, Library, Listed, Model, Planned},
    text::{Palette, Table, Tone, printable, size},
};

/// Characters of a build-id or container id in a table: enough to tell two apart.
const SHORT_ID: usize = 12;

/// The processes as a table; `verbose` adds what would be attached below it.
pub(crate) fn render(processes: &[Listed], verbose: bool, palette: Palette) -> String {
    if processes.is_empty() {
        return String::new();
    }
    let mut table = Table::with_heading(&[
        "PID",
        "NAME",
        "RUNTIME",
        "LIBRARY",
        "BUILD-ID",
        "CONTAINER",
        "MODEL",
    ]);
    for process in processes {
        // As many rows as the longer of the two lists has.
        let rows = process.libraries.len().max(process.models.len());
        for row in 0..rows {
            let first = |text: String| if row == 0 { text } else { String::new() };
            let library = process.libraries.get(row);
            let build_id = library.map(|library| short(library.build_id.as_deref()));
            table.row([
                (Tone::Strong, first(process.pid.to_string())),
                (Tone::Plain, first(process.name.clone())),
                (Tone::Plain, first(process.runtime.clone())),
                library.map_or((Tone::Plain, String::new()), library_cell),
                (Tone::Faint, build_id.unwrap_or_default()),
                (Tone::Faint, first(short(process.container.as_deref()))),
                process
                    .models
                    .get(row)
                    .map_or((Tone::Plain, String::new()), model_cell),
            ]);
        }
    }
    let mut text = table.render(palette);
    if verbose {
        for process in processes {
            for library in &process.libraries {
                text.push('\n');
                text.push_str(&plan(process, library, palette));
            }
        }
    }
    text
}

fn library_cell(library: &Library) -> (Tone, String) {
    let name = library
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    if library.deleted {
        (Tone::Warning, format!("{name} (replaced or removed since)"))
    } else {
        (Tone::Plain, name.into_owned())
    }
}

fn model_cell(model: &Model) -> (Tone, String) {
    let mut text = format!("{} ({})", model.path.display(), size(model.size));
    if !model.mapped {
        text.push_str(", not mapped");
    }
    if model.deleted {
        text.push_str(", replaced or removed since");
    }
    (
        if model.deleted {
            Tone::Warning
        } else {
            Tone::Plain
        },
        text,
    )
}

fn plan(process: &Listed, library: &Library, palette: Palette) -> String {
    let path = library.path.display().to_string();
    let mut text = palette.paint(
        Tone::Strong,
        &format!("{} {}", process.pid, printable(&path)),
    );
    text.push('\n');
    if !library.probes.is_empty() {
        let mut table = Table::with_heading(&["  PROBE", "ENTRY", "EXIT", "FUNCTION"]);
        for probe in &library.probes {
            table.row([
                (Tone::Plain, format!("  {}", probe.probe)),
                entry_cell(probe),
                exit_cell(probe),
                (Tone::Faint, probe.symbol.clone()),
            ]);
        }
        text.push_str(&table.render(palette));
    }
    for refusal in &library.not_attachable {
        let probe = refusal.probe.as_deref().unwrap_or("the whole library");
        let line = format!("  not attached: {probe}: {}", printable(&refusal.reason));
        text.push_str(&palette.paint(Tone::Warning, &line));
        text.push('\n');
    }
    text
}

/// Where the call's begin is seen.
pub(crate) fn entry_cell(probe: &Planned) -> (Tone, String) {
    match probe.sites.iter().find(|site| site.role == "entry") {
        Some(site) => (Tone::Plain, format!("{:#x} {}", site.offset, site.cost)),
        None => (Tone::Warning, "none".to_owned()),
    }
}

/// How the call's end is seen.
pub(crate) fn exit_cell(probe: &Planned) -> (Tone, String) {
    let exits = probe
        .sites
        .iter()
        .filter(|site| site.role == "exit")
        .count();
    match (probe.exit, &probe.exit_missing) {
        (ExitKind::None, Some(reason)) => (Tone::Warning, format!("none: {reason}")),
        (ExitKind::None, None) => (Tone::Faint, "not needed".to_owned()),
        (ExitKind::Emulated, _) => (Tone::Plain, format!("{exits} × emulated")),
        (ExitKind::SingleStepped, _) => (Tone::Plain, format!("{exits} × single-stepped")),
    }
}

/// The front of an id.
pub(crate) fn short(id: Option<&str>) -> String {
    id.map_or_else(|| "-".to_owned(), |id| id.chars().take(SHORT_ID).collect())
}
