//! Each feature in words: what it is for, what its lack costs, and how to get it.

use serde::Serialize;
use tracer_probe::features::{Features, Host, Obstacle, Support};

use crate::text::size;

/// Memory that a run needs besides what the process itself uses: rings of 8 MiB, the maps and the
/// programs, which the kernel accounts to the cgroup, with room to spare.
const MEMORY_NEEDED: u64 = 64 << 20;

/// One thing that was tried.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) what: &'static str,
    /// Whether nothing works without it.
    pub(crate) needed: bool,
    /// Whether it works.
    pub(crate) state: State,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What its lack costs.
    pub(crate) cost: &'static str,
    /// How to get it.
    pub(crate) remedy: &'static str,
}

/// Whether a feature works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It was tried and works.
    Works,
    /// It was tried and does not.
    Missing,
    /// It could not be tried without more rights.
    Untried,
}

/// All findings, the needed ones first.
pub(crate) fn findings(features: &Features) -> Vec<Finding> {
    let Features {
        ring_buffer,
        cookie,
        sleepable,
        uprobe_multi,
        process_filter,
        // Never used where an exception could cross the frame; its lack costs nothing by default.
        uprobe_session: _,
        types,
        current_task,
        bpf_loop,
        raw_tracepoint,
        perf_sideband,
        host,
    } = features;
    let tried = |support: &Support| state(support, host);
    vec![
        rights(host),
        namespace(host),
        Finding {
            name: "ring buffers",
            what: "carry records to this process",
            needed: true,
            cost: "nothing can be traced",
            remedy: "use Linux 5.15 or later",
            ..tried(ring_buffer)
        },
        Finding {
            name: "BPF cookies",
            what: "tell the programs which function was hit",
            needed: true,
            cost: "nothing can be traced",
            remedy: "use Linux 5.15 or later; tested from 6.1 on",
            ..tried(cookie)
        },
        Finding {
            name: "raw tracepoints",
            what: "tell when processes start and end",
            needed: true,
            cost: "nothing can be traced",
            remedy: "use a kernel with CONFIG_BPF_EVENTS",
            ..tried(raw_tracepoint)
        },
        Finding {
            name: "kernel types (BTF)",
            what: "say where the kernel keeps what the programs read",
            needed: true,
            cost: "nothing can be traced",
            remedy: "use a kernel with CONFIG_DEBUG_INFO_BTF, so that /sys/kernel/btf/vmlinux exists",
            ..tried(types)
        },
        Finding {
            name: "current task",
            what: "names the running process to the programs",
            needed: false,
            cost: "no call's end is told, so no duration, no result and no histogram; start times of \
                   processes are not checked",
            remedy: "use Linux 5.11 or later",
            ..tried(current_task)
        },
        Finding {
            name: "sleepable programs",
            what: "read memory that the process has not touched yet",
            needed: false,
            cost: "a path or token list in an untouched page is missing, and counted as a read fault",
            remedy: "use Linux 6.12 or later",
            ..tried(sleepable)
        },
        Finding {
            name: "many sites in one link",
            what: "attaches and detaches all functions at once",
            needed: false,
            cost: "ending a run takes about 0.1 s for each probed instruction",
            remedy: "use Linux 6.6 or later",
            ..tried(uprobe_multi)
        },
        Finding {
            name: "process filter of a link",
            what: "keeps other processes free of probes with --pid",
            needed: false,
            cost: "with --pid, other processes that map the same library pay a trap for each hit",
            remedy: "use Linux 6.10 or later",
            ..tried(process_filter)
        },
        Finding {
            name: "loops in the kernel",
            what: "collect lists of pointers",
            needed: false,
            cost: "sequence numbers of batched requests are not read on builds that need it",
            remedy: "use Linux 5.17 or later",
            ..tried(bpf_loop)
        },
        Finding {
            name: "mapping events",
            what: "announce a library at the moment it is mapped",
            needed: false,
            cost: "a new process is found up to a second late, and its model load may be missed",
            remedy: "allow perf events: the host may restrict them (kernel.perf_event_paranoid, seccomp)",
            ..tried(perf_sideband)
        },
        memory(host),
    ]
}

/// The parts of a finding that come from trying.
fn state(support: &Support, host: &Host) -> Finding {
    let lacks_rights = matches!(host.obstacle(), Some(Obstacle::Rights(_)));
    let (state, reason) = match support {
        Support::Works => (State::Works, None),
        Support::Missing(_) if lacks_rights => (State::Untried, None),
        Support::Missing(reason) => (State::Missing, Some(reason.clone())),
    };
    Finding {
        name: "",
        what: "",
        needed: false,
        state,
        reason,
        cost: "",
        remedy: "",
    }
}

fn rights(host: &Host) -> Finding {
    let lacking = match host.obstacle() {
        Some(Obstacle::Rights(lacking)) => Some(lacking),
        Some(Obstacle::PidNamespace | Obstacle::Lockdown | Obstacle::TooOld { .. }) | None => None,
    };
    Finding {
        name: "rights",
        what: "to load programs and to look into processes",
        needed: true,
        state: if lacking.is_some() {
            State::Missing
        } else {
            State::Works
        },
        reason: lacking.map(|lacking| format!("lacks {lacking}")),
        cost: "nothing can be traced",
        remedy: "run it as root: sudo tracer doctor",
    }
}

fn namespace(host: &Host) -> Finding {
    Finding {
        name: "the host's process ids",
        what: "are those that the kernel reports",
        needed: true,
        state: if host.initial_pid_namespace {
            State::Works
        } else {
            State::Missing
        },
        reason: None,
        cost: "nothing can be traced from inside another pid namespace",
        remedy: "run tracer on the host, or start its container with --pid=host",
    }
}

fn memory(host: &Host) -> Finding {
    let room = host
        .memory_limit
        .map(|limit| limit.saturating_sub(host.memory_used.unwrap_or(0)));
    let short = room.filter(|&room| room < MEMORY_NEEDED);
    Finding {
        name: "memory",
        what: "for rings and programs, counted against this cgroup's limit",
        needed: false,
        state: if short.is_some() {
            State::Missing
        } else {
            State::Works
        },
        reason: short.map(|room| format!("{} left", size(room))),
        cost: "loading the programs may fail, or the kernel may end a process of this cgroup",
        remedy: "raise the cgroup's memory limit, or run tracer outside of it",
    }
}
