//! What was done to watched files: a line each.

use tracer_event::{
    Event, Known,
    file::{FileAccess, FileAct, FilesWatched},
};

use super::{Shown, time_of_day};
use crate::text::{Palette, Tone, count, counted, size};

/// The line above the accesses.
pub(super) fn heading(palette: Palette) -> String {
    let text = format!(
        "{:<12}  {:>7}  {:>6}  {:<22}  {:<18}  FILE",
        "TIME", "PID", "UID", "PROGRAM", "WHAT"
    );
    palette.paint(Tone::Faint, &text) + "\n"
}

/// An access.
pub(super) fn line<C: Shown>(access: &FileAccess<C>, event: &Event<C>, palette: Palette) -> String {
    let time = palette.paint(Tone::Faint, &time_of_day(event.time.wall));
    let pid = event
        .place
        .pid
        .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    let uid = match access.uid {
        Known::Known(uid) => uid.to_string(),
        Known::Unknown => "-".to_owned(),
    };
    let program = access
        .executable
        .value()
        .map_or_else(|| "-".to_owned(), |path| short(&path.shown()));
    let (tone, word) = describe(access.act);
    let what = match access.count {
        1 => word.to_owned(),
        times => format!("{word} ×{}", count(times)),
    };
    let mut file = match access.path.value() {
        Some(path) => path.shown(),
        None => format!("inode {} on {}", access.inode.inode, access.inode.device),
    };
    if let Some(other) = &access.other_path {
        let word = if access.act == FileAct::Renamed {
            "from"
        } else {
            "at"
        };
        file.push_str(&format!(" {word} {}", other.shown()));
    }
    if let (Known::Known(first), Known::Known(end)) = (access.first_byte, access.end_byte) {
        file.push_str(&format!(
            " (up to {} from {})",
            size(end - first.min(end)),
            size(first)
        ));
    }
    if let Some(reason) = &access.reason {
        file.push_str(&format!(": {reason}"));
    }
    file.push_str(&inside(access, event));
    format!(
        "{time}  {pid:>7}  {uid:>6}  {program:<22}  {}  {file} ({})\n",
        palette.paint(tone, &format!("{what:<18}")),
        access.seen_by,
    )
}

/// In which container, and where the file is there, if that is elsewhere than out here.
fn inside<C: Shown>(access: &FileAccess<C>, event: &Event<C>) -> String {
    let outside = access.path.value().map(Shown::shown);
    let path = access.path_inside.as_ref().map(Shown::shown);
    let path = path.filter(|path| Some(path) != outside.as_ref());
    let container = event.place.container.as_ref().map(|id| {
        let id = id.to_string();
        format!("container {}", id.get(..12).unwrap_or(&id))
    });
    match (container, path) {
        (Some(container), Some(path)) => format!(" [{container}: {path}]"),
        (Some(container), None) => format!(" [{container}]"),
        (None, Some(path)) => format!(" [inside: {path}]"),
        (None, None) => String::new(),
    }
}

/// What is watched.
pub(super) fn watched<C: Shown>(watched: &FilesWatched<C>, palette: Palette) -> String {
    let roots: Vec<String> = watched.roots.iter().map(Shown::shown).collect();
    let mut text = format!(
        "{} and {} in {}, seen by {} and fanotify; tracer doctor says what that cannot see\n",
        counted(watched.files, "file"),
        counted(watched.folders, "folder"),
        roots.join(", "),
        watched.tier,
    );
    match watched.gate.as_ref().map(|gate| gate.as_str()) {
        Some("wait") => text.push_str("who opens one waits until it is verified, or is refused\n"),
        Some(_) => text.push_str("who opens or maps one that is not verified is refused\n"),
        None => {}
    }
    for passed in &watched.passed_over {
        text.push_str(&format!(
            "  not {}: {}\n",
            passed.tier,
            passed.reason.shown()
        ));
    }
    palette.paint(Tone::Faint, &text)
}

/// The program's own name, with the end of its path if there is room.
fn short(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.chars().take(22).collect()
}

const fn describe(act: FileAct) -> (Tone, &'static str) {
    match act {
        FileAct::Opened => (Tone::Plain, "open"),
        FileAct::OpenedForWriting => (Tone::Warning, "open to write"),
        FileAct::OpenedSomehow => (Tone::Plain, "open"),
        FileAct::Mapped => (Tone::Plain, "map"),
        FileAct::MappedForWriting => (Tone::Warning, "map to write"),
        FileAct::Received => (Tone::Plain, "receive"),
        FileAct::Read => (Tone::Plain, "read"),
        FileAct::Written => (Tone::Bad, "write"),
        FileAct::Touched => (Tone::Plain, "touch"),
        FileAct::Truncated => (Tone::Bad, "truncate"),
        FileAct::ClosedForWriting => (Tone::Warning, "close after write"),
        FileAct::AttributesChanged => (Tone::Warning, "attributes"),
        FileAct::Created => (Tone::Warning, "create"),
        FileAct::Linked => (Tone::Warning, "link"),
        FileAct::Renamed => (Tone::Warning, "rename"),
        FileAct::Unlinked => (Tone::Warning, "unlink"),
        FileAct::Deleted => (Tone::Bad, "delete"),
        FileAct::Refused => (Tone::Bad, "refused"),
        FileAct::FoundOpen => (Tone::Faint, "is open"),
        FileAct::FoundOpenForWriting => (Tone::Warning, "is open to write"),
        FileAct::FoundMapped => (Tone::Faint, "is mapped"),
        FileAct::FoundMappedForWriting => (Tone::Warning, "is mapped to write"),
    }
}
