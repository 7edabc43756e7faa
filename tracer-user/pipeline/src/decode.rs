//! Records' bytes become calls. The bytes come from the kernel half, but what is in them was in
//! the target's hands: any bytes must be survived.

use std::sync::Arc;

use tracer_abi::{Chunk, MAX_OPS, MAX_VALUES, RecordError, RecordHeader, RecordKind};
use tracer_event::Name;
use tracer_probe::observation::ProbeId;
use tracer_profile::{Field, FieldName, Probe, Profile, Signal};

use crate::call::Call;

/// Says what records of a probe mean: the supervisor.
pub trait ProbeSource {
    /// The profile's place among the run's profiles, the profile, and the probe.
    fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)>;
}

impl ProbeSource for tracer_probe::Supervisor {
    fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)> {
        Self::probe(self, id)
    }
}

/// What the pipeline keeps of a probe.
#[derive(Debug, PartialEq, Eq)]
pub struct LoadedProbe {
    /// Its name with its profile's, such as `llama.cpp/decode`.
    pub name: Name,
    /// Its profile's name.
    pub profile: Name,
    /// Its runtime.
    pub runtime: Name,
    /// What a call means.
    pub signal: Signal,
    /// Whether the profile asks for the call's end.
    pub has_exit: bool,
    fields: Box<[Field]>,
}

impl LoadedProbe {
    /// Takes from a profile's probe what decoding needs.
    #[must_use]
    pub fn new(profile: &Profile, probe: &Probe) -> Self {
        Self {
            name: Name::new(&format!("{}/{}", profile.name, probe.name)),
            profile: Name::new(&profile.name),
            runtime: Name::new(&profile.runtime),
            signal: probe.signal,
            has_exit: probe.exit != tracer_profile::ExitWanted::None,
            fields: probe.fields.clone().into(),
        }
    }

    /// Whether the probe captures a role at all, at some level.
    #[must_use]
    pub fn has(&self, name: FieldName) -> bool {
        self.field(name).is_some()
    }

    /// What a record of it carries.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(crate) fn field(&self, name: FieldName) -> Option<&Field> {
        self.fields.iter().find(|field| field.role == Some(name))
    }
}

/// Why a record is not a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not a record.
    #[error(transparent)]
    Malformed(#[from] RecordError),
    /// It says that it has more slots or chunks than a spec can fill.
    #[error("record claims {slots} slots and {chunks} chunks, more than any spec fills")]
    TooMany {
        /// Slots.
        slots: u8,
        /// Chunks.
        chunks: u8,
    },
    /// It is one of the lifecycle records, which the probe crate consumes.
    #[error("record of kind {kind:?} is not a call")]
    NotACall {
        /// The kind.
        kind: RecordKind,
    },
    /// It names a probe that is not loaded.
    #[error("record names probe {spec}, which is not loaded")]
    UnknownProbe {
        /// The spec's index.
        spec: u16,
    },
}

/// Decodes records, remembering the probes that they name.
#[derive(Debug, Default)]
pub struct Decoder {
    probes: Vec<Option<Arc<LoadedProbe>>>,
}

impl Decoder {
    /// A decoder that knows no probe yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a record apart. `probes` is asked the first time that a probe is named.
    ///
    /// # Errors
    /// If the bytes are not a call record of a known probe. No bytes make it panic, and it reads
    /// each at most twice.
    pub fn decode<'a>(
        &'a mut self,
        record: &'a [u8],
        probes: &impl ProbeSource,
    ) -> Result<Call<'a>, DecodeError> {
        let (header, body) = RecordHeader::parse(record)?;
        let kind = header.record_kind()?;
        if kind != RecordKind::Call {
            return Err(DecodeError::NotACall { kind });
        }
        let phase = header.call_phase()?;
        let (slots, chunks) = (header.value_count, header.chunk_count);
        if usize::from(slots) > MAX_VALUES || usize::from(chunks) > MAX_OPS {
            return Err(DecodeError::TooMany { slots, chunks });
        }
        let (words, _) = body.as_chunks::<8>();
        let Some(values) = words.get(..usize::from(slots)) else {
            let offset = record.len();
            return Err(RecordError::Short { offset }.into());
        };
        let tail = &body[values.as_flattened().len()..];
        check_chunks(tail, chunks)?;
        let probe = self.loaded(header.spec, probes)?;
        Ok(Call::new(probe, phase, header, values, tail))
    }

    fn loaded(
        &mut self,
        spec: u16,
        probes: &impl ProbeSource,
    ) -> Result<&LoadedProbe, DecodeError> {
        let index = usize::from(spec);
        if !matches!(self.probes.get(index), Some(Some(_))) {
            let (profile, probe) = probes
                .probe(ProbeId(spec))
                .ok_or(DecodeError::UnknownProbe { spec })?;
            if self.probes.len() <= index {
                self.probes.resize(index + 1, None);
            }
            self.probes[index] = Some(Arc::new(LoadedProbe::new(profile, probe)));
        }
        self.probes[index]
            .as_deref()
            .ok_or(DecodeError::UnknownProbe { spec })
    }
}

fn check_chunks(mut tail: &[u8], count: u8) -> Result<(), RecordError> {
    for _ in 0..count {
        let (chunk, _, after) = Chunk::parse(tail)?;
        chunk.chunk_status()?;
        tail = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracer_abi::Phase;
    use tracer_event::{BootNanos, Content, Cpu, Nanos, Pid, Tid};

    use super::*;
    use crate::fixture::{Fixture, Record};

    fn decoded<'a>(decoder: &'a mut Decoder, record: &'a [u8]) -> Result<Call<'a>, DecodeError> {
        decoder.decode(record, &Fixture::new())
    }

    #[test]
    fn a_record_becomes_a_call_with_its_values_by_role() {
        let bytes = Record::exit()
            .value(FieldName::Context, 0x7f00_1234_5678)
            .value(FieldName::TokenCount, u64::MAX)
            .ids(FieldName::TokenIds, &[1, 15043, -1])
            .text(FieldName::Path, b"/models/a.gguf")
            .bytes();
        let mut decoder = Decoder::new();
        let call = decoded(&mut decoder, &bytes).unwrap();
        assert_eq!(call.signal(), Signal::Step);
        assert_eq!(call.probe.name.as_str(), "fixture/step");
        assert_eq!(call.phase, Phase::Exit);
        assert_eq!(
            (call.pid(), call.tid(), call.cpu()),
            (Pid(7), Tid(8), Cpu(1))
        );
        assert_eq!(
            (call.time(), call.duration()),
            (BootNanos(1000), Nanos(400))
        );
        assert_eq!(call.began(), BootNanos(600));
        assert_eq!(call.address(FieldName::Context), Some(0x7f00_1234_5678));
        assert_eq!(call.number(FieldName::TokenCount), Some(-1));
        let ids = call.numbers(FieldName::TokenIds).unwrap();
        assert_eq!(ids.iter().collect::<Vec<_>>(), [1, 15043, -1]);
        assert!(ids.is_whole());
        let raw = ids.to_raw_tokens();
        assert!(*raw.expose() == Content::tokens([1, 15043, -1]));
        let path = call.text(FieldName::Path).unwrap();
        assert_eq!(path.expose(), b"/models/a.gguf");
    }

    #[test]
    fn what_was_not_captured_is_none_and_never_zero() {
        let mut record = Record::exit()
            .value(FieldName::Context, 5)
            .value(FieldName::TokenCount, 6);
        record.header.faulted = 1 << record.slot(FieldName::Context);
        record.header.skipped = 1 << record.slot(FieldName::TokenCount);
        let bytes = record.bytes();
        let mut decoder = Decoder::new();
        let call = decoded(&mut decoder, &bytes).unwrap();
        assert_eq!(call.address(FieldName::Context), None);
        assert_eq!(call.number(FieldName::TokenCount), None);
        assert!(call.numbers(FieldName::TokenIds).is_none());
        assert_eq!(call.number(FieldName::NodeCount), None);
    }

    #[test]
    fn a_value_asked_for_as_something_else_is_none() {
        let bytes = Record::exit()
            .value(FieldName::Context, 5)
            .value(FieldName::TokenCount, 6)
            .ids(FieldName::TokenIds, &[1])
            .bytes();
        let mut decoder = Decoder::new();
        let call = decoded(&mut decoder, &bytes).unwrap();
        assert_eq!(call.number(FieldName::Context), None);
        assert_eq!(call.address(FieldName::TokenCount), None);
        assert_eq!(call.float(FieldName::TokenCount), None);
        assert!(call.text(FieldName::TokenIds).is_none());
    }

    #[test]
    fn a_probe_that_is_not_loaded_is_named() {
        let mut record = Record::exit();
        record.header.spec = 200;
        let bytes = record.bytes();
        let error = decoded(&mut Decoder::new(), &bytes).err();
        assert_eq!(error, Some(DecodeError::UnknownProbe { spec: 200 }));
    }

    #[test]
    fn slots_beyond_the_record_are_refused() {
        let record = Record::exit().value(FieldName::Context, 5);
        let mut bytes = record.bytes();
        bytes.truncate(bytes.len() - 1);
        let error = decoded(&mut Decoder::new(), &bytes).err().unwrap();
        assert!(matches!(
            error,
            DecodeError::Malformed(RecordError::Short { .. })
        ));
    }

    /// Asks for everything that can be asked for.
    fn ask_all(call: &Call<'_>) {
        for name in FieldName::ALL {
            let _ = (call.number(*name), call.address(*name), call.float(*name));
            let _ = call.membership(*name);
            if let Some(text) = call.text(*name) {
                let _ = (text.expose().len(), text.is_whole());
            }
            if let Some(numbers) = call.numbers(*name) {
                assert_eq!(numbers.iter().count(), numbers.len());
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(call) = decoded(&mut Decoder::new(), &bytes) {
                ask_all(&call);
            }
        }

        #[test]
        fn no_bytes_behind_a_sound_header_make_it_panic(
            tail in prop::collection::vec(any::<u8>(), 0..400),
            phase in 1u8..4,
            value_count in 0u8..16,
            chunk_count in 0u8..30,
            faulted: u16,
            skipped: u16,
        ) {
            let mut record = Record::exit();
            record.header.phase = phase;
            record.header.faulted = faulted;
            record.header.skipped = skipped;
            let mut bytes = record.bytes();
            bytes.truncate(size_of::<RecordHeader>());
            let counts = std::mem::offset_of!(RecordHeader, value_count);
            bytes[counts] = value_count;
            bytes[counts + 1] = chunk_count;
            bytes.extend(tail);
            if let Ok(call) = decoded(&mut Decoder::new(), &bytes) {
                ask_all(&call);
            }
        }
    }
}
