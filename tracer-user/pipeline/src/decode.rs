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

    pub(crate) fn field(&self, name: FieldName) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
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
