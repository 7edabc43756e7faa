//! Reads what a model snapshot needs from outside the records: the headers of the model's files
//! and the live process. Whatever is gone or unreadable is unknown, and nothing fails. A process can
//! delay what is read of it: the loop that drains the rings reads with patience.

pub mod files;
pub mod gguf;
pub mod live;
mod patience;
mod pieces;
mod quantisation;
mod vocabulary;

use tracer_event::{Content, Known, Label, Raw, model};

use self::gguf::Header;
pub(crate) use self::patience::Patience;
pub use self::pieces::Pieces;

/// A file's header as an event has it.
#[must_use]
pub fn header_event(header: &Header) -> model::Header<Raw<Content>> {
    let text = |text: &Option<String>| {
        Known::from(
            text.as_ref()
                .map(|text| Raw::new(Content::text(text.as_bytes()))),
        )
    };
    let quantisation = header
        .file_type
        .and_then(quantisation::file_type)
        .or_else(|| header.dominant_type().map(quantisation::tensor_type));
    model::Header {
        format: Known::Known(Label::new(match header.version {
            2 => "GGUF 2",
            _ => "GGUF 3",
        })),
        architecture: text(&header.architecture),
        name: text(&header.name),
        quantisation: quantisation.into(),
        tensor_types: header
            .tensor_types
            .iter()
            .map(|(kind, totals)| (quantisation::tensor_type(*kind), totals.tensors))
            .collect(),
        tensor_count: Known::Known(header.tensor_count),
        vocabulary_size: header.vocabulary_size.into(),
        context_length: header.context_length.into(),
        tokenizer: header.tokenizer.into(),
        digest: header.digest.into(),
    }
}
