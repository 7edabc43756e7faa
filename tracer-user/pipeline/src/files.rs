//! What a file sensor saw, as events.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use tracer_event::{
    Body, Cgroup, ContainerId, Content, Label, Loss, LossReason, Name, Pid, Place, Raw, StartTicks,
    Tid,
    file::{FileAccess, FileAct},
};
use tracer_probe::files::{self, Act, Actor, FileEvent, FileLost, Lost, SeenBy};

use crate::{output::Draft, process::inode, translate::boot};

/// The event of something that a sensor saw on this machine.
pub(crate) fn draft(event: FileEvent, node: &Name) -> Draft {
    match event {
        FileEvent::Access(access) => {
            let actor = access.actor.clone();
            let time = boot(access.time);
            let place = actor.as_ref().map(|actor| place(actor, node));
            let body = Body::FileAccess(Box::new(body(*access)));
            Draft {
                pid: actor.map(|actor| Pid(actor.pid)),
                place,
                ..Draft::of_agent(time, body)
            }
        }
        FileEvent::Lost(lost) => Draft::of_agent(boot(lost.until), Body::Loss(loss(&lost))),
    }
}

fn place(actor: &Actor, node: &Name) -> Place {
    Place {
        pid: Some(Pid(actor.pid)),
        tid: actor.tid.map(Tid),
        start: actor.start_ticks.map(StartTicks),
        cgroup: actor.cgroup.map(Cgroup),
        container: actor
            .cgroup_path
            .as_deref()
            .and_then(ContainerId::in_cgroup_path),
        ..Place::node(node.clone())
    }
}

fn body(access: files::FileAccess) -> FileAccess<Raw<Content>> {
    let files::FileAccess {
        time: _,
        since,
        actor,
        file,
        path: at,
        inside,
        other,
        act: done,
        count,
        extent,
        reason,
        seen_by,
    } = access;
    let actor = actor.unwrap_or_default();
    FileAccess {
        act: act(done),
        count,
        since: boot(since),
        inode: inode(file),
        path: at.as_deref().map(path).into(),
        path_inside: inside.as_deref().map(path),
        other_path: other.as_deref().map(path),
        first_byte: extent.as_ref().map(|extent| extent.start).into(),
        end_byte: extent.map(|extent| extent.end).into(),
        executable: actor.exe.as_deref().map(path).into(),
        executable_inode: actor.exe_file.map(inode).into(),
        uid: actor.uid.into(),
        parent: actor.parent.map(Pid).into(),
        reason: reason.map(Label::new),
        seen_by: match seen_by {
            SeenBy::Programs(tier) => Label::new(tier.name()),
            SeenBy::Fanotify => Label::new("fanotify"),
            SeenBy::Scan => Label::new("scan"),
        },
    }
}

fn path(path: &Path) -> Raw<Content> {
    let text: &OsStr = path.as_os_str();
    Raw::new(Content::text(text.as_bytes()))
}

const fn act(act: Act) -> FileAct {
    match act {
        Act::Opened => FileAct::Opened,
        Act::OpenedForWriting => FileAct::OpenedForWriting,
        Act::OpenedSomehow => FileAct::OpenedSomehow,
        Act::Mapped => FileAct::Mapped,
        Act::MappedForWriting => FileAct::MappedForWriting,
        Act::Received => FileAct::Received,
        Act::Read => FileAct::Read,
        Act::Written => FileAct::Written,
        Act::Touched => FileAct::Touched,
        Act::Truncated => FileAct::Truncated,
        Act::ClosedForWriting => FileAct::ClosedForWriting,
        Act::AttributesChanged => FileAct::AttributesChanged,
        Act::Created => FileAct::Created,
        Act::Linked => FileAct::Linked,
        Act::Renamed => FileAct::Renamed,
        Act::Unlinked => FileAct::Unlinked,
        Act::Deleted => FileAct::Deleted,
        Act::Refused => FileAct::Refused,
        Act::FoundOpen => FileAct::FoundOpen,
        Act::FoundOpenForWriting => FileAct::FoundOpenForWriting,
        Act::FoundMapped => FileAct::FoundMapped,
        Act::FoundMappedForWriting => FileAct::FoundMappedForWriting,
    }
}

fn loss(lost: &FileLost) -> Loss {
    let reason = match lost.what {
        Lost::Accesses => LossReason::FileTableFull,
        Lost::Missed => LossReason::FileMissed,
        Lost::Notices => LossReason::FileNoticesLost,
        Lost::Names => LossReason::FileNamesLost,
        Lost::Depth => LossReason::FileTooDeep,
        Lost::Files => LossReason::FileUnwatched,
    };
    Loss {
        reason,
        count: lost.count,
        cpu: None,
        from: boot(lost.since),
        to: boot(lost.until),
        intended: false,
    }
}
