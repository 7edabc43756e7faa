//! Headers built by the format's rules, and any bytes at all.

use proptest::prelude::*;

use super::*;

/// A header under construction.
#[derive(Default)]
struct Built {
    entries: Vec<u8>,
    entry_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
}

impl Built {
    fn string(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }

    fn text(mut self, key: &str, value: &str) -> Self {
        Self::string(&mut self.entries, key);
        self.entries.extend(STRING.to_le_bytes());
        Self::string(&mut self.entries, value);
        self.entry_count += 1;
        self
    }

    fn number(mut self, key: &str, value: u32) -> Self {
        Self::string(&mut self.entries, key);
        self.entries.extend(4_u32.to_le_bytes());
        self.entries.extend(value.to_le_bytes());
        self.entry_count += 1;
        self
    }

    fn texts(mut self, key: &str, values: &[&str]) -> Self {
        Self::string(&mut self.entries, key);
        self.entries.extend(ARRAY.to_le_bytes());
        self.entries.extend(STRING.to_le_bytes());
        self.entries.extend((values.len() as u64).to_le_bytes());
        for value in values {
            Self::string(&mut self.entries, value);
        }
        self.entry_count += 1;
        self
    }

    fn tensor(mut self, name: &str, dimensions: &[u64], kind: u32) -> Self {
        Self::string(&mut self.tensors, name);
        self.tensors.extend((dimensions.len() as u32).to_le_bytes());
        for dimension in dimensions {
            self.tensors.extend(dimension.to_le_bytes());
        }
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend(0_u64.to_le_bytes());
        self.tensor_count += 1;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(self.tensor_count.to_le_bytes());
        bytes.extend(self.entry_count.to_le_bytes());
        bytes.extend(&self.entries);
        bytes.extend(&self.tensors);
        bytes
    }

    fn read(&self) -> Header {
        Header::read(self.bytes().as_slice(), Want::Pieces)
            .expect("the header is built by the rules")
    }
}

fn vocabulary(tokens: &[&str]) -> Built {
    Built::default()
        .text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.tokens", tokens)
}

#[test]
fn a_header_says_what_the_model_is() {
    let header = Built::default()
        .number("llama.context_length", 4096)
        .text("general.architecture", "llama")
        .text("general.name", "a model")
        .number("general.file_type", 15)
        .text("tokenizer.chat_template", "{{ messages }}")
        .tensor("token_embd.weight", &[64, 32_000], 12)
        .tensor("norm.weight", &[64], 0)
        .tensor("more.weight", &[64], 0)
        .read();
    assert_eq!(header.architecture.as_deref(), Some("llama"));
    assert_eq!(
        header.context_length,
        Some(4096),
        "though it came before its architecture"
    );
    assert_eq!(header.file_type, Some(15));
    assert_eq!(header.tensor_count, 3);
    assert_eq!(
        header.dominant_type(),
        Some(12),
        "by elements, not by tensors"
    );
    assert_eq!(header.chat_template, Some(Digest::of(b"{{ messages }}")));
}

#[test]
fn the_tokenizer_digest_ignores_order_and_the_chat_template() {
    let one = Built::default()
        .text("tokenizer.ggml.model", "gpt2")
        .number("tokenizer.ggml.eos_token_id", 1)
        .text("tokenizer.chat_template", "a")
        .read();
    let other = Built::default()
        .text("tokenizer.chat_template", "b")
        .number("tokenizer.ggml.eos_token_id", 1)
        .text("tokenizer.ggml.model", "gpt2")
        .read();
    assert_eq!(one.tokenizer, other.tokenizer);
    assert_ne!(one.digest, other.digest);
    let changed = Built::default()
        .text("tokenizer.ggml.model", "gpt2")
        .number("tokenizer.ggml.eos_token_id", 2)
        .read();
    assert_ne!(one.tokenizer, changed.tokenizer);
}

#[test]
fn the_end_of_a_generation_is_decided_as_llama_cpp_does() {
    let ends = |built: Built| built.read().end_of_generation;
    let chat = [
        "a",
        "<|im_end|>",
        "b",
        "<|endoftext|>",
        "<|fim_pad|>",
        "<|file_sep|>",
    ];
    assert_eq!(ends(vocabulary(&chat)), [1, 3, 4, 5]);
    let named = vocabulary(&chat).number("tokenizer.ggml.eos_token_id", 2);
    assert_eq!(ends(named), [1, 2, 3, 4, 5]);
    let harmony = ["<|return|>", "<|call|>", "<|end|>"];
    assert_eq!(
        ends(vocabulary(&harmony)),
        [0, 1],
        "<|end|> ends a message there, not the answer"
    );
    let gemma = ["</s>", "<|tool_response>", "<eos>"];
    assert_eq!(
        ends(vocabulary(&gemma)),
        [1, 2],
        "</s> is an ordinary token there"
    );
    let outside = vocabulary(&["a"]).number("tokenizer.ggml.eos_token_id", 7);
    assert_eq!(ends(outside), [0; 0], "an id that the vocabulary lacks");
    let pieces = Built::default()
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &["<unk>", "<s>", "eos", "x"]);
    assert_eq!(
        ends(pieces),
        [2],
        "the default of a SentencePiece vocabulary"
    );
}

#[test]
fn what_is_no_header_is_refused_with_its_place() {
    let refused = |bytes: &[u8]| {
        Header::read(bytes, Want::Pieces)
            .expect_err("no header")
            .to_string()
    };
    assert!(refused(b"ELF\x7f....").contains("not a GGUF file"));
    assert!(refused(b"GGUF\x00\x00\x00\x03").contains("version 50331648"));
    let mut huge = b"GGUF".to_vec();
    huge.extend(3_u32.to_le_bytes());
    huge.extend(0_u64.to_le_bytes());
    huge.extend(u64::MAX.to_le_bytes());
    assert!(refused(&huge).contains("at byte 24: metadata count"));
    let whole = vocabulary(&["a", "b"]).bytes();
    assert!(refused(&whole[..whole.len() - 1]).contains("reading GGUF header at byte"));
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(bytes);
        let _ = Header::read(file.as_slice(), Want::Pieces);
    }

    #[test]
    fn a_damaged_header_is_a_header_or_an_error(at in 0..400_usize, byte in any::<u8>()) {
        let mut bytes = vocabulary(&["a", "<eos>", "c"])
            .number("x.context_length", 5)
            .tensor("t", &[3, 4], 2)
            .bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Header::read(bytes.as_slice(), Want::Pieces);
    }
}
