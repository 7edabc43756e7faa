//! Exceptions and long jumps leave the target as it would be alone, and their calls show as unwound.
//! Needs root and BPF.

#[expect(dead_code, reason = "this file needs a part of it")]
mod workload;

use std::collections::BTreeMap;

use tracer_abi::Phase;
use tracer_probe::Observation;

use workload::{BOTH, Running, alone, beside, compile};

const ROUNDS: &str = "200";

#[test]
fn calls_left_by_exceptions_and_long_jumps_show_as_unwound() {
    let _alone = alone();
    let program = compile("unwind.cpp", "unwind");
    let checksum = {
        let mut running = Running::start(&program, &[ROUNDS]);
        running.go();
        let counts = running.until("counts");
        running.finish();
        counts["checksum"].clone()
    };
    for means in BOTH {
        let mut running = Running::start(&program, &[ROUNDS]);
        let pid = running.pid();
        let Some((supervisor, mut seen)) = beside(pid, "unwind.toml", means) else {
            return running.kill();
        };
        running.go();
        let counts = running.until("counts");
        running.finish();
        let probes: BTreeMap<String, u16> = (0..)
            .map_while(|id| {
                let id = tracer_probe::observation::ProbeId(id);
                supervisor
                    .probe(id)
                    .map(|(_, probe)| (probe.name.clone(), id.0))
            })
            .collect();
        seen.take(supervisor.stop().expect("rings are readable"));

        assert_eq!(
            counts["checksum"], checksum,
            "the target computes what it computes alone"
        );
        assert_eq!(seen.lost(), 0);
        let refused: Vec<&Observation> = seen
            .everything
            .iter()
            .filter(|observation| matches!(observation, Observation::NotAttachable(_)))
            .collect();
        assert!(refused.is_empty(), "{refused:#?}");
        for (name, expected) in counts["functions"]
            .as_object()
            .expect("it counts functions")
        {
            let of = |phase: Phase| {
                seen.calls
                    .get(&(pid, probes[name], phase as u8))
                    .copied()
                    .unwrap_or_default()
            };
            assert_eq!(
                Some(of(Phase::Exit)),
                expected["returned"].as_u64(),
                "{name} {means:?}"
            );
            // A call is known to be gone when its thread enters the function again; nobody comes
            // by after the last one.
            let unwound = expected["unwound"].as_u64().expect("it counts");
            assert!(
                (unwound.saturating_sub(1)..=unwound).contains(&of(Phase::Unwound)),
                "{name} {means:?}: {} of {unwound}",
                of(Phase::Unwound)
            );
        }
    }
}
