//! The words of the language.

use tracer_abi::{Layout, Register};

use super::{Origin, TextKind, Type};

pub(super) const INTEGERS: [(&str, u8, bool); 8] = [
    ("u8", 1, false),
    ("u16", 2, false),
    ("u32", 4, false),
    ("u64", 8, false),
    ("i8", 1, true),
    ("i16", 2, true),
    ("i32", 4, true),
    ("i64", 8, true),
];

pub(super) const FLOATS: [(&str, u8); 2] = [("f32", 4), ("f64", 8)];

pub(super) const TEXTS: [(&str, TextKind); 5] = [
    ("string", TextKind::Cxx),
    ("libcxx_string", TextKind::Libcxx),
    ("string_view", TextKind::View),
    ("str", TextKind::Str),
    ("rust_string", TextKind::RustString),
];

pub(super) const TEXT_LISTS: [(&str, TextKind); 6] = [
    ("cstrings", TextKind::C),
    ("strings", TextKind::Cxx),
    ("libcxx_strings", TextKind::Libcxx),
    ("string_views", TextKind::View),
    ("strs", TextKind::Str),
    ("rust_strings", TextKind::RustString),
];

pub(super) const CONTAINERS: [(&str, Layout); 3] = [
    ("vector", Layout::BeginEnd),
    ("slice", Layout::PointerLength),
    ("vec", Layout::CapacityPointerLength),
];

const REGISTERS: [(&str, Register); 16] = [
    ("rax", Register::Rax),
    ("rdx", Register::Rdx),
    ("rcx", Register::Rcx),
    ("rbx", Register::Rbx),
    ("rsi", Register::Rsi),
    ("rdi", Register::Rdi),
    ("rbp", Register::Rbp),
    ("rsp", Register::Rsp),
    ("r8", Register::R8),
    ("r9", Register::R9),
    ("r10", Register::R10),
    ("r11", Register::R11),
    ("r12", Register::R12),
    ("r13", Register::R13),
    ("r14", Register::R14),
    ("r15", Register::R15),
];

const WORDS: [&str; 11] = [
    "bytes", "cstring", "length", "of", "array", "gather", "count", "limit", "stride", "frame",
    "ret",
];

/// Whether a word means something in expressions, so that no value can be called so.
pub(crate) fn is_reserved(word: &str) -> bool {
    WORDS.contains(&word)
        || register(word).is_some()
        || kind(word).is_some()
        || find(&CONTAINERS, word).is_some()
        || find(&TEXTS, word).is_some()
        || find(&TEXT_LISTS, word).is_some()
}

/// The type that a word names.
pub(super) fn kind(word: &str) -> Option<Type> {
    let integer = INTEGERS.iter().find(|(name, ..)| *name == word);
    if let Some(&(_, width, signed)) = integer {
        return Some(Type::Integer { width, signed });
    }
    if let Some(width) = find(&FLOATS, word) {
        return Some(Type::Float { width });
    }
    (word == "address").then_some(Type::Address)
}

/// Where an address begins that starts with a word.
pub(super) fn origin(word: &str) -> Origin {
    match word {
        "frame" => Origin::Frame,
        "ret" => Origin::Return,
        _ => register(word).map_or_else(|| Origin::Named(word.to_owned()), Origin::Register),
    }
}

fn register(word: &str) -> Option<Register> {
    find(&REGISTERS, word)
}

/// What a table has for a word.
pub(super) fn find<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    let found = table.iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| *value)
}
