//! A small profile and records of its probes, for tests.

use tracer_abi::{ChunkStatus, Phase, RecordHeader, RecordKind};
use tracer_probe::observation::ProbeId;
use tracer_profile::{FieldName, Place, Probe, Profile};

use crate::decode::ProbeSource;

const PROFILE: &str = r#"
name = "fixture"
runtime = "fixture"
recognise = ["step"]
environment = ["PATH"]

[options]
model = ["--model"]

[[probe]]
name = "step"
signal = "step"
group = "steps"
rate = 1
symbols = ["step"]

[probe.fields]
context = "address rdi"
token_count = "i32 rsi"
token_ids = "i32 array rdx count token_count"
path = "cstring rcx limit 64"

[[probe]]
name = "load"
signal = "model-load"
group = "loads"
rate = 1
emit = "exit"
symbols = ["load"]

[probe.fields]
result = "i32 ret"

[[probe]]
name = "create"
signal = "context-create"
group = "loads"
rate = 1
emit = "exit"
symbols = ["create"]

[probe.fields]
context = "address ret"
model = "address rdi"
"#;

/// The profile, as a run that loaded its probes in order.
pub(crate) struct Fixture(Profile);

impl Fixture {
    pub(crate) fn new() -> Self {
        let profile = tracer_profile::read("fixture", PROFILE);
        Self(profile.unwrap_or_else(|error| panic!("{error}")))
    }

    pub(crate) fn profiles(self) -> Vec<Profile> {
        vec![self.0]
    }
}

impl ProbeSource for Fixture {
    fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)> {
        Some((&self.0, self.0.probes.get(usize::from(id.0))?))
    }
}

/// A call record that is being put together.
pub(crate) struct Record {
    pub(crate) header: RecordHeader,
    places: Vec<(FieldName, Place)>,
    slots: Vec<u64>,
    tail: Vec<u8>,
}

impl Record {
    /// The end of a step: thread 8 of process 7, on CPU 1, from 600 to 1000 ns.
    pub(crate) fn exit() -> Self {
        Self::exit_of(0)
    }

    /// The same of a load.
    pub(crate) fn load() -> Self {
        Self::exit_of(1)
    }

    /// The same of a context's making.
    pub(crate) fn create() -> Self {
        Self::exit_of(2)
    }

    fn exit_of(probe: u16) -> Self {
        let Fixture(profile) = Fixture::new();
        let fields = profile.probes[usize::from(probe)].fields.iter();
        Self {
            header: RecordHeader {
                spec: probe,
                kind: RecordKind::Call as u8,
                phase: Phase::Exit as u8,
                cpu: 1,
                pid: 7,
                tid: 8,
                time: 1000,
                duration: 400,
                call: 1,
                ..RecordHeader::default()
            },
            places: fields
                .filter_map(|field| Some((field.role?, field.place)))
                .collect(),
            slots: Vec::new(),
            tail: Vec::new(),
        }
    }

    pub(crate) fn slot(&self, name: FieldName) -> usize {
        match self.place(name) {
            Place::Slot(slot) => usize::from(slot),
            Place::Chunk(_) => panic!("{name} is in a chunk"),
        }
    }

    pub(crate) fn value(mut self, name: FieldName, value: u64) -> Self {
        let slot = self.slot(name);
        self.slots.resize(self.slots.len().max(slot + 1), 0);
        self.slots[slot] = value;
        self
    }

    pub(crate) fn ids(self, name: FieldName, ids: &[i32]) -> Self {
        let bytes: Vec<_> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        self.text(name, &bytes)
    }

    pub(crate) fn text(mut self, name: FieldName, bytes: &[u8]) -> Self {
        let Place::Chunk(field) = self.place(name) else {
            panic!("{name} is in a slot");
        };
        let length = u16::try_from(bytes.len()).unwrap();
        self.tail.extend([field, ChunkStatus::Whole as u8]);
        self.tail.extend(length.to_le_bytes());
        self.tail.extend(u32::from(length).to_le_bytes());
        self.tail.extend(bytes);
        self.tail.resize(self.tail.len().next_multiple_of(8), 0);
        self.header.chunk_count += 1;
        self
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.header.value_count = self.slots.len().try_into().unwrap();
        let mut bytes = Vec::new();
        bytes.extend(
            self.header
                .to_words()
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
        bytes.extend(self.slots.iter().flat_map(|slot| slot.to_le_bytes()));
        bytes.extend(self.tail);
        bytes
    }

    fn place(&self, name: FieldName) -> Place {
        let found = self.places.iter().find(|(known, _)| *known == name);
        found
            .unwrap_or_else(|| panic!("the fixture has no {name}"))
            .1
    }
}
