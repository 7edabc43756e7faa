//! Which tokens end a generation: llama.cpp decides it by the tokens' texts and the special ids of
//! the file, so the same is done here.
//!
//! Source: `llama_vocab::impl::load` at build 11434.

/// Texts that always end a generation.
const ENDINGS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Texts of tokens for filling in the middle; the first of each kind ends a generation too, unless
/// the file names the id.
const PADDING: &[&str] = &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
const REPOSITORY: &[&str] = &[
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
];
const SEPARATOR: &[&str] = &["<|file_sep|>"];

/// Texts that say that another is an ordinary token.
const NORMAL_S_MARKERS: &[&str] = &["<|tool_response>", "<|plamo:eos|>"];

const MOST_ENDINGS: usize = 256;

/// What is noted while a vocabulary's tokens pass by.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    endings: Vec<(u32, &'static str)>,
    padding: Option<u32>,
    repository: Option<u32>,
    separator: Option<u32>,
    specials: Specials,
    default_end: Option<u32>,
    count: u32,
}

/// Ids that the file's own entries name.
#[derive(Debug, Default)]
struct Specials {
    end_of_sequence: Option<u32>,
    end_of_turn: Option<u32>,
    end_of_message: Option<u32>,
    padding: Option<u32>,
    repository: Option<u32>,
    separator: Option<u32>,
}

impl Vocabulary {
    /// The tokenizer's kind, which has a default end of sequence.
    pub(super) fn set_model(&mut self, model: &str) {
        self.default_end = match model {
            "llama" | "plamo2" => Some(2),
            "gpt2" => Some(11),
            "t5" => Some(1),
            _ => None,
        };
    }

    /// A token's text.
    pub(super) fn token(&mut self, id: u32, text: &[u8]) {
        self.count = self.count.max(id.saturating_add(1));
        let member = |texts: &[&'static str]| {
            let mut texts = texts.iter().copied();
            texts.find(|known| known.as_bytes() == text)
        };
        if let Some(ending) = member(ENDINGS).or_else(|| member(NORMAL_S_MARKERS)) {
            // A vocabulary of a million endings is none.
            if self.endings.len() < MOST_ENDINGS {
                self.endings.push((id, ending));
            }
        } else if member(PADDING).is_some() {
            self.padding.get_or_insert(id);
        } else if member(REPOSITORY).is_some() {
            self.repository.get_or_insert(id);
        } else if member(SEPARATOR).is_some() {
            self.separator.get_or_insert(id);
        }
    }

    /// A token whose text is longer than any that matters.
    pub(super) fn long_token(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// An entry that may name a special id.
    pub(super) fn special(&mut self, key: &str, number: u64) {
        let Ok(id) = u32::try_from(number) else {
            return;
        };
        let place = match key {
            "tokenizer.ggml.eos_token_id" => &mut self.specials.end_of_sequence,
            "tokenizer.ggml.eot_token_id" => &mut self.specials.end_of_turn,
            "tokenizer.ggml.eom_token_id" => &mut self.specials.end_of_message,
            "tokenizer.ggml.fim_pad_token_id" => &mut self.specials.padding,
            "tokenizer.ggml.fim_rep_token_id" => &mut self.specials.repository,
            "tokenizer.ggml.fim_sep_token_id" => &mut self.specials.separator,
            _ => return,
        };
        *place = Some(id);
    }

    /// The tokens that end a generation, in order.
    pub(super) fn end_of_generation(&self) -> Vec<u32> {
        let Self {
            endings,
            padding,
            repository,
            separator,
            specials,
            default_end,
            count,
        } = self;
        let inside = |id: Option<u32>| id.filter(|id| id < count);
        let has = |text: &str| endings.iter().any(|(_, known)| *known == text);
        let calls = has("<|call|>") || has("<|calls|>");
        let end_is_normal = calls && (has("<|return|>") || has("<|flush|>"));
        let s_is_normal = NORMAL_S_MARKERS.iter().any(|marker| has(marker));
        let mut ids: Vec<u32> = endings
            .iter()
            .filter(|(_, text)| *text != "<|plamo:eos|>")
            .map(|(id, _)| *id)
            .chain(inside(specials.padding).or(*padding))
            .chain(inside(specials.repository).or(*repository))
            .chain(inside(specials.separator).or(*separator))
            .chain(inside(specials.end_of_sequence).or(inside(*default_end)))
            .chain(inside(specials.end_of_turn))
            .chain(inside(specials.end_of_message))
            .collect();
        // The last word: these two are removed even if a special id named them.
        ids.retain(|id| {
            let is = |text| endings.contains(&(*id, text));
            !(end_is_normal && is("<|end|>") || s_is_normal && is("</s>"))
        });
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
