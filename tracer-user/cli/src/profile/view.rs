//! `tracer profile` for people.

use super::{
    Summary,
    checked::{Checked, CheckedProbe, Status},
};
use crate::{
    ps::view::{entry_cell, exit_cell, short},
    text::{Palette, Table, Tone, counted, printable},
};

/// The profiles of a run.
pub(super) fn list(profiles: &[Summary], palette: Palette) -> String {
    let mut table = Table::with_heading(&["PROFILE", "RUNTIME", "PROBES", "KNOWN BY"]);
    for profile in profiles {
        table.row([
            (Tone::Strong, profile.name.clone()),
            (Tone::Plain, profile.runtime.clone()),
            (Tone::Plain, profile.probes.to_string()),
            (Tone::Faint, profile.recognise.join(", ")),
        ]);
    }
    table.render(palette)
}

/// A profile and what it finds.
pub(super) fn checked(checked: &Checked, palette: Palette) -> String {
    let heading = format!("profile {} for {}", checked.profile, checked.runtime);
    let mut text = palette.paint(Tone::Strong, &heading) + "\n";
    for probe in &checked.probes {
        text.push_str(&one(probe, palette));
    }
    for library in &checked.libraries {
        let path = library.path.display().to_string();
        let build_id = short(library.build_id.as_deref());
        let line = format!("\n{}  build-id {build_id}", printable(&path));
        text.push_str(&palette.paint(Tone::Strong, &line));
        text.push('\n');
        for note in &library.notes {
            let line = format!("  note: {}", printable(note));
            text.push_str(&palette.paint(Tone::Warning, &line));
            text.push('\n');
        }
        for probe in &library.probes {
            text.push_str(&one(probe, palette));
        }
        text.push_str(&totals(&library.probes));
    }
    text
}

fn totals(probes: &[CheckedProbe]) -> String {
    let number =
        |is: fn(&Status) -> bool| probes.iter().filter(|probe| is(&probe.status)).count() as u64;
    format!(
        "\n{}: {} attached, {} refused, {} off by default, {} not in this library\n",
        counted(probes.len() as u64, "probe"),
        number(|status| matches!(status, Status::Resolved(_))),
        number(|status| matches!(status, Status::Refused { .. })),
        number(|status| matches!(status, Status::Off)),
        number(|status| matches!(status, Status::Absent { .. })),
    )
}

fn one(probe: &CheckedProbe, palette: Palette) -> String {
    let (number, layouts) = probe.layout;
    let layout = match layouts {
        1 => String::new(),
        _ => format!(", layout {number} of {layouts}"),
    };
    let what = format!(
        "  {}: signal {}, {}, group {}, up to {} calls/s{layout}",
        probe.probe, probe.signal, probe.mode, probe.group, probe.expected_rate
    );
    let mut text = format!("\n{}\n", palette.paint(Tone::Plain, &what));
    let mut line = |tone, label: &str, content: &str| {
        let line = format!("    {label:<9} {content}");
        text.push_str(&palette.paint(tone, &line));
        text.push('\n');
    };
    match &probe.status {
        Status::Unchecked { symbols } => line(Tone::Faint, "function", &symbols.join(", or ")),
        Status::Resolved(planned) => {
            let (entry, exit) = (entry_cell(planned), exit_cell(planned));
            line(Tone::Faint, "function", &planned.symbol);
            line(entry.0, "entry", &entry.1);
            line(exit.0, "exit", &exit.1);
        }
        Status::Off => line(Tone::Warning, "off", "the profile says `enabled = false`"),
        Status::Refused { reason } => line(Tone::Bad, "refused", &printable(reason)),
        Status::Absent { symbols } => {
            let tried = format!(
                "not in this library, or not meant for it: {}",
                symbols.join(", ")
            );
            line(Tone::Faint, "absent", &tried);
            return text;
        }
    }
    for read in &probe.reads {
        let kind = if read.field { "field" } else { "local" };
        let content = format!(
            "{} (at {}, from level {}): {}",
            read.name, read.at, read.level, read.reads
        );
        line(Tone::Plain, kind, &content);
    }
    if let Some(called) = &probe.call {
        line(Tone::Strong, "one call", &called.shown);
    }
    if let Some(latencies) = &probe.latencies {
        line(Tone::Strong, "calls", &latencies.shown);
    }
    text
}
