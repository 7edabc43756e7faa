//! The header of a GGUF file: metadata and tensor descriptions, without the tensors.
//!
//! The file is the target's: any bytes must end in a header or an error, in bounded time and
//! memory. It is read as a stream, once; only digests, counts and a few values are kept. Format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod stream;

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use tracer_event::Digest;

use self::stream::{ARRAY, LONGEST_KEPT, MOST_BYTES, STRING, Stream, Value};
use super::{
    pieces::{Gathering, Pieces},
    vocabulary::Vocabulary,
};

/// Metadata entries and, apart, tensors; real files have some dozens and some thousands.
const MOST_ENTRIES: u64 = 1 << 16;
/// Bytes of a key or tensor name; the format allows 65,535 and 64.
const LONGEST_NAME: u64 = 1 << 16;
/// Entries that tell of the tokenizer, and bytes of their keys; real files have some twenty.
const MOST_TOKENIZER_ENTRIES: usize = 1024;
const LONGEST_TOKENIZER_KEY: usize = 256;

/// What a model file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Version of the format: 2 or 3.
    pub version: u32,
    /// `general.type`: `model`, `adapter`, `mmproj`, …; absent in older files.
    pub kind: Option<String>,
    /// `general.architecture`.
    pub architecture: Option<String>,
    /// `general.name`.
    pub name: Option<String>,
    /// `general.file_type`: llama.cpp's number for the quantisation as a whole.
    pub file_type: Option<u32>,
    /// The context length that the model was trained with.
    pub context_length: Option<u64>,
    /// How many files the model is split into.
    pub split_count: Option<u64>,
    /// Tensors and their elements by type, ggml's number.
    pub tensor_types: BTreeMap<u32, TensorTotals>,
    /// How many tensors there are in this file.
    pub tensor_count: u64,
    /// How many tokens the vocabulary has.
    pub vocabulary_size: Option<u64>,
    /// Tokens that end a generation, as llama.cpp decides it.
    pub end_of_generation: Vec<u32>,
    /// Digest of the chat template's text.
    pub chat_template: Option<Digest>,
    /// Digest over all `tokenizer.` entries but chat templates, whatever their order.
    pub tokenizer: Option<Digest>,
    /// Digest over the whole header as it stands.
    pub digest: Option<Digest>,
    /// What the tokens stand for, if that was wanted and the vocabulary is of a known kind.
    pub pieces: Option<Arc<Pieces>>,
}

/// What is wanted of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Want {
    /// What an event says of it.
    #[default]
    Facts,
    /// What its tokens stand for, too.
    Pieces,
}

/// How much of a model has a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TensorTotals {
    /// Tensors.
    pub tensors: u64,
    /// Their elements.
    pub elements: u64,
}

/// Why bytes are not a header, and where.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file cannot be read, or ends inside the header.
    #[error("reading GGUF header at byte {at}: {cause}")]
    Read {
        /// Where.
        at: u64,
        /// What the system said.
        cause: io::Error,
    },
    /// The first bytes are another format's.
    #[error("not a GGUF file: it begins with {found:02x?}")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A version that is not known, or a file of the other byte order.
    #[error("GGUF version {version} is not known; versions 2 and 3 are")]
    Version {
        /// What the file says.
        version: u32,
    },
    /// A number that the format does not allow, or that no real file needs.
    #[error("GGUF header at byte {at}: {what} {value} is out of bounds")]
    Bounds {
        /// Where.
        at: u64,
        /// What the number is.
        what: &'static str,
        /// The number.
        value: u64,
    },
}

impl Header {
    /// Reads a header from the beginning of a file.
    ///
    /// # Errors
    /// If the bytes are not a GGUF header of a known version, or larger than any real one.
    pub fn read(file: impl Read, want: Want) -> Result<Self, GgufError> {
        let mut stream = Stream::new(file);
        let magic = stream.array()?;
        if &magic != b"GGUF" {
            return Err(GgufError::Magic { found: magic });
        }
        let version = stream.u32()?;
        if !matches!(version, 2 | 3) {
            return Err(GgufError::Version { version });
        }
        let tensor_count = stream.count("tensor count", MOST_ENTRIES)?;
        let entry_count = stream.count("metadata count", MOST_ENTRIES)?;
        let mut reading = Reading {
            gathering: (want == Want::Pieces).then(Gathering::default),
            ..Reading::default()
        };
        for _ in 0..entry_count {
            reading.entry(&mut stream)?;
        }
        let mut tensor_types: BTreeMap<u32, TensorTotals> = BTreeMap::new();
        for _ in 0..tensor_count {
            let (kind, elements) = tensor(&mut stream)?;
            if tensor_types.len() == 256 && !tensor_types.contains_key(&kind) {
                return Err(stream.bounds("tensor type", kind.into()));
            }
            let totals = tensor_types.entry(kind).or_default();
            totals.tensors += 1;
            totals.elements = totals.elements.saturating_add(elements);
        }
        Ok(reading.finish(version, tensor_count, tensor_types, stream.finish()))
    }

    /// The type that most elements have, ggml's number.
    #[must_use]
    pub fn dominant_type(&self) -> Option<u32> {
        self.tensor_types
            .iter()
            .max_by_key(|(_, totals)| totals.elements)
            .map(|(kind, _)| *kind)
    }
}

/// What is gathered while entries pass by.
#[derive(Default)]
struct Reading {
    header: Header,
    context_lengths: BTreeMap<String, u64>,
    vocabulary: Vocabulary,
    gathering: Option<Gathering>,
    tokenizer: BTreeMap<String, [u8; 32]>,
}

impl Reading {
    fn entry<R: Read>(&mut self, stream: &mut Stream<R>) -> Result<(), GgufError> {
        let key = stream.string("key", LONGEST_NAME)?;
        let key = String::from_utf8_lossy(&key).into_owned();
        stream.begin_entry();
        let kind = stream.u32()?;
        match key.as_str() {
            "tokenizer.ggml.tokens" if kind == ARRAY => self.tokens(stream)?,
            "tokenizer.ggml.token_type" if kind == ARRAY && self.gathering.is_some() => {
                self.token_types(stream)?;
            }
            "tokenizer.chat_template" if kind == STRING => {
                let length = stream.count("string length", MOST_BYTES)?;
                let mut text = Sha256::new();
                stream.pass(length, |bytes| text.update(bytes))?;
                self.header.chat_template = Some(Digest(text.finalize().into()));
            }
            _ => match stream.value(kind)? {
                Value::Text(text) => self.text(&key, text),
                Value::Number(number) => self.number(&key, number),
                Value::Other => {}
            },
        }
        if let Some(digest) = stream.end_entry()
            && key.starts_with("tokenizer.")
            && !key.starts_with("tokenizer.chat_template")
        {
            if key.len() > LONGEST_TOKENIZER_KEY || self.tokenizer.len() >= MOST_TOKENIZER_ENTRIES {
                return Err(stream.bounds("tokenizer entry", key.len() as u64));
            }
            self.tokenizer.insert(key, digest);
        }
        Ok(())
    }

    /// The vocabulary's texts: what ends a generation is decided by them.
    fn tokens<R: Read>(&mut self, stream: &mut Stream<R>) -> Result<(), GgufError> {
        let kind = stream.u32()?;
        let count = stream.count("array length", MOST_BYTES)?;
        if kind != STRING {
            return stream.elements(kind, count, 1);
        }
        for id in 0..count {
            let Ok(id) = u32::try_from(id) else {
                return Err(stream.bounds("token id", id));
            };
            let text = match &mut self.gathering {
                Some(gathering) => {
                    let text = stream.string("token length", LONGEST_NAME)?;
                    gathering.text(&text);
                    Some(text).filter(|text| text.len() as u64 <= LONGEST_KEPT)
                }
                None => stream.short_string()?,
            };
            match text {
                Some(text) => self.vocabulary.token(id, &text),
                None => self.vocabulary.long_token(),
            }
        }
        self.header.vocabulary_size = Some(count);
        Ok(())
    }

    fn token_types<R: Read>(&mut self, stream: &mut Stream<R>) -> Result<(), GgufError> {
        let kind = stream.u32()?;
        let count = stream.count("array length", MOST_BYTES)?;
        if !matches!(kind, 4 | 5) {
            return stream.elements(kind, count, 1);
        }
        for _ in 0..count {
            let kind = i32::from_le_bytes(stream.array()?);
            if let Some(gathering) = &mut self.gathering {
                gathering.kind(kind.into());
            }
        }
        Ok(())
    }

    fn text(&mut self, key: &str, text: Vec<u8>) {
        let text = || Some(String::from_utf8_lossy(&text).into_owned());
        match key {
            "general.type" => self.header.kind = text(),
            "general.architecture" => self.header.architecture = text(),
            "general.name" => self.header.name = text(),
            "tokenizer.ggml.model" => {
                let model = text().unwrap_or_default();
                self.vocabulary.set_model(&model);
                if let Some(gathering) = &mut self.gathering {
                    gathering.set_model(&model);
                }
            }
            _ => {}
        }
    }

    fn number(&mut self, key: &str, number: u64) {
        if let Some(architecture) = key.strip_suffix(".context_length") {
            // The architecture's own entry may come before the one that names it.
            if self.context_lengths.len() < 16 {
                self.context_lengths.insert(architecture.to_owned(), number);
            }
            return;
        }
        match key {
            "general.file_type" => self.header.file_type = u32::try_from(number).ok(),
            "split.count" => self.header.split_count = Some(number),
            _ => self.vocabulary.special(key, number),
        }
    }

    fn finish(
        self,
        version: u32,
        tensor_count: u64,
        tensor_types: BTreeMap<u32, TensorTotals>,
        digest: Digest,
    ) -> Header {
        let Self {
            header,
            context_lengths,
            vocabulary,
            gathering,
            tokenizer,
        } = self;
        let context_length = header
            .architecture
            .as_ref()
            .and_then(|architecture| context_lengths.get(architecture))
            .copied();
        let digest_of_tokenizer = (!tokenizer.is_empty()).then(|| {
            let mut all = Sha256::new();
            for (key, digest) in &tokenizer {
                all.update((key.len() as u64).to_le_bytes());
                all.update(key);
                all.update(digest);
            }
            Digest(all.finalize().into())
        });
        Header {
            version,
            context_length,
            tensor_types,
            tensor_count,
            end_of_generation: vocabulary.end_of_generation(),
            tokenizer: digest_of_tokenizer,
            digest: Some(digest),
            pieces: gathering.and_then(Gathering::finish).map(Arc::new),
            ..header
        }
    }
}

/// A description of one tensor: its type and how many elements it has.
fn tensor<R: Read>(stream: &mut Stream<R>) -> Result<(u32, u64), GgufError> {
    stream.string("tensor name", LONGEST_NAME)?;
    let dimensions = stream.u32()?;
    if dimensions > 8 {
        return Err(stream.bounds("dimension count", dimensions.into()));
    }
    let mut elements = 1_u64;
    for _ in 0..dimensions {
        elements = elements.saturating_mul(stream.u64()?);
    }
    let kind = stream.u32()?;
    stream.u64()?;
    Ok((kind, elements))
}

#[cfg(test)]
mod tests;
