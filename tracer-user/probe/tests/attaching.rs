//! Calls of real processes are counted exactly, however and whenever they are attached to. Needs root
//! and BPF.

mod workload;

use std::{fs, io::Read, time::Duration};

use tracer_abi::Phase;
use tracer_probe::{Config, Observation, Selection, observation::AttachReport};

use workload::{BOTH, Running, Seen, alone, beside, compile, config, start};

const CALLS: u64 = 20_000;
const THREADS: u64 = 2;

fn flood(program: &std::path::Path) -> Running {
    Running::start(program, &[&CALLS.to_string(), &THREADS.to_string()])
}

#[test]
fn a_process_that_runs_already_is_counted_exactly() {
    let _alone = alone();
    let program = compile("flood.c", "flood-running");
    for means in BOTH {
        let mut running = flood(&program);
        let pid = running.pid();
        let Some((mut supervisor, mut seen)) = beside(pid, "flood.toml", means) else {
            return running.kill();
        };
        assert_eq!(supervisor.means(), means);
        running.go();
        running.until("counts");
        seen.until(&mut supervisor, |seen| {
            seen.count(pid, Phase::Entry) >= CALLS * THREADS
        });
        running.finish();
        seen.take(supervisor.stop().expect("rings are readable"));
        assert_eq!(seen.count(pid, Phase::Entry), CALLS * THREADS);
        assert_eq!(seen.lost(), 0);
    }
}

#[test]
fn a_process_that_starts_later_is_counted_exactly() {
    let _alone = alone();
    let program = compile("flood.c", "flood-later");
    let Some(mut supervisor) = start(config("flood.toml", Selection::Everything)) else {
        return;
    };
    let mut seen = Seen::default();
    // The first brings an inode that nobody has seen, the second finds its probes in place.
    for _ in 0..2 {
        let mut running = flood(&program);
        let pid = running.pid();
        seen.until(&mut supervisor, |seen| seen.found(pid));
        running.go();
        running.until("counts");
        seen.until(&mut supervisor, |seen| {
            seen.count(pid, Phase::Entry) >= CALLS * THREADS
        });
        running.finish();
        let is_gone = |seen: &Seen| {
            seen.everything.iter().any(|observation| {
                matches!(observation, Observation::RuntimeGone { process, .. } if process.pid == pid)
            })
        };
        seen.until(&mut supervisor, is_gone);
        assert_eq!(seen.count(pid, Phase::Entry), CALLS * THREADS);
    }
    seen.take(supervisor.stop().expect("rings are readable"));
    assert_eq!(seen.lost(), 0);
    let missed = seen
        .everything
        .iter()
        .filter_map(|observation| match observation {
            Observation::RuntimeFound(found) => Some(found.load_may_be_missed),
            _ => None,
        });
    assert_eq!(missed.collect::<Vec<_>>(), [true, false]);
    let attached = |observation: &&Observation| matches!(observation, Observation::Attached(_));
    assert_eq!(
        seen.everything.iter().filter(attached).count(),
        1,
        "one set of probes an inode"
    );
}

#[test]
fn only_the_chosen_process_is_counted() {
    let _alone = alone();
    let program = compile("flood.c", "flood-chosen");
    for means in BOTH {
        let (mut chosen, mut other) = (flood(&program), flood(&program));
        let (pid, other_pid) = (chosen.pid(), other.pid());
        let selection = Selection::Pids(vec![pid]);
        let config = Config {
            means: Some(means),
            ..config("flood.toml", selection)
        };
        let Some(mut supervisor) = start(config) else {
            other.kill();
            return chosen.kill();
        };
        let mut seen = Seen::default();
        seen.until(&mut supervisor, |seen| seen.found(pid));
        for running in [&mut chosen, &mut other] {
            running.go();
            running.until("counts");
        }
        seen.until(&mut supervisor, |seen| {
            seen.count(pid, Phase::Entry) >= CALLS * THREADS
        });
        chosen.finish();
        other.finish();
        seen.take(supervisor.stop().expect("rings are readable"));
        assert_eq!(seen.count(pid, Phase::Entry), CALLS * THREADS);
        assert_eq!(seen.count(other_pid, Phase::Entry), 0);
    }
}

#[test]
fn a_full_ring_loses_exactly_what_it_counts() {
    let _alone = alone();
    let program = compile("flood.c", "flood-full");
    let mut running = Running::start(&program, &["300000", "2"]);
    let pid = running.pid();
    let cpus = std::thread::available_parallelism()
        .expect("Linux tells")
        .get();
    let selection = Selection::Pids(vec![pid]);
    let config = Config {
        ring_bytes: cpus * (64 << 10),
        ..config("flood.toml", selection)
    };
    let Some(mut supervisor) = start(config) else {
        return running.kill();
    };
    let mut seen = Seen::default();
    seen.until(&mut supervisor, |seen| seen.found(pid));
    running.go();
    // Nobody reads meanwhile.
    let counts = running.until("counts");
    running.finish();
    seen.take(supervisor.stop().expect("rings are readable"));
    let calls = counts["functions"]["flood_target"]["entered"]
        .as_u64()
        .expect("it counts calls");
    assert!(
        seen.lost() > 0,
        "600,000 records do not fit into two rings of 64 KiB"
    );
    assert_eq!(
        seen.count(pid, Phase::Entry) + seen.lost(),
        calls,
        "{:?}",
        seen.losses
    );
}

#[test]
fn detaching_puts_the_instruction_back_and_the_target_runs_on() {
    let _alone = alone();
    let program = compile("flood.c", "flood-detached");
    for means in BOTH {
        let mut running = flood(&program);
        let pid = running.pid();
        let Some((supervisor, seen)) = beside(pid, "flood.toml", means) else {
            return running.kill();
        };
        let report = attached(&seen);
        let sites: Vec<u64> = report
            .probes
            .iter()
            .flat_map(|probe| &probe.sites)
            .map(|site| site.offset)
            .collect();
        assert!(!sites.is_empty());
        for &site in &sites {
            assert_eq!(byte_in_memory(pid, site), 0xcc, "a breakpoint is in place");
        }
        supervisor.stop().expect("rings are readable");
        let file = fs::read(&program).expect("the program is readable");
        for &site in &sites {
            assert_eq!(byte_in_memory(pid, site), file[site as usize]);
        }
        running.go();
        running.until("counts");
        running.finish();
    }
}

#[test]
fn a_process_that_is_not_there_is_named() {
    let _alone = alone();
    if start(config("flood.toml", Selection::Everything)).is_none() {
        return;
    }
    let error = match tracer_probe::Supervisor::start(config(
        "flood.toml",
        Selection::Pids(vec![0x7fff_fff0]),
    )) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("there is no such process"),
    };
    assert!(error.contains("no process 2147483632"), "{error}");
}

#[test]
fn what_was_killed_is_told_as_gone() {
    let _alone = alone();
    let program = compile("flood.c", "flood-killed");
    let running = flood(&program);
    let pid = running.pid();
    let Some(mut supervisor) = start(config("flood.toml", Selection::Pids(vec![pid]))) else {
        return running.kill();
    };
    let mut seen = Seen::default();
    seen.until(&mut supervisor, |seen| seen.found(pid));
    running.kill();
    seen.until(&mut supervisor, |seen| {
        seen.everything.iter().any(|observation| {
            matches!(observation, Observation::ProcessExit { pid: gone, status: 9, .. } if *gone == pid)
        })
    });
    assert!(supervisor.is_finished());
}

#[test]
fn repeated_attaching_leaves_the_target_unharmed() {
    let _alone = alone();
    let program = compile("flood.c", "flood-repeated");
    let mut running = Running::start(&program, &["3000000", "2"]);
    let pid = running.pid();
    running.go();
    for _ in 0..5 {
        let Some(mut supervisor) = start(config("flood.toml", Selection::Pids(vec![pid]))) else {
            return running.kill();
        };
        supervisor
            .next(Duration::from_millis(20))
            .expect("rings are readable");
        supervisor.stop().expect("rings are readable");
    }
    running.until("counts");
    running.finish();
}

fn attached(seen: &Seen) -> &AttachReport {
    let report = seen
        .everything
        .iter()
        .find_map(|observation| match observation {
            Observation::Attached(report) => Some(report),
            _ => None,
        });
    report.expect("what was found was attached to")
}

/// The byte that a process has in memory at a place of its executable's code.
fn byte_in_memory(pid: u32, offset: u64) -> u8 {
    let mappings = tracer_probe::process::executable_mappings(pid).expect("it runs");
    let mapping = mappings.first().expect("it maps its own code first");
    assert!(offset >= mapping.offset);
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).expect("root may read it");
    std::io::Seek::seek(
        &mut memory,
        std::io::SeekFrom::Start(mapping.start + offset - mapping.offset),
    )
    .expect("memory can be sought in");
    let mut byte = [0];
    memory.read_exact(&mut byte).expect("the code is mapped");
    byte[0]
}
