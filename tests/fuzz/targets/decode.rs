//! Call records as the pipeline reads them: whatever bytes a record holds, they are a call of the
//! built-in profile's first probes or an error, and every value of the call can be asked for.
#![cfg_attr(fuzzing, no_main)]

use std::sync::LazyLock;

use tracer_pipeline::{Decoder, ProbeSource};
use tracer_probe::observation::ProbeId;
use tracer_profile::{Catalogue, FieldName, Probe, Profile};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

struct BuiltIn(Profile);

impl ProbeSource for BuiltIn {
    fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)> {
        Some((&self.0, self.0.probes.get(usize::from(id.0))?))
    }
}

static BUILT_IN: LazyLock<BuiltIn> = LazyLock::new(|| {
    let mut profiles = Catalogue::built_in().into_profiles();
    BuiltIn(profiles.swap_remove(0))
});

fn run(bytes: &[u8]) {
    let mut decoder = Decoder::new();
    let Ok(call) = decoder.decode(bytes, &*BUILT_IN) else {
        return;
    };
    for name in FieldName::ALL {
        let _ = (call.number(*name), call.address(*name));
        let _ = (call.float(*name), call.membership(*name));
        if let Some(text) = call.text(*name) {
            assert!(text.expose().len() <= bytes.len());
        }
        if let Some(numbers) = call.numbers(*name) {
            assert_eq!(numbers.iter().count(), numbers.len());
        }
    }
}
