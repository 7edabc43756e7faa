//! The capture language: how a profile says where a value is.
//!
//! ```text
//! i32 rsi                                  the register, cut to its low four bytes
//! i32 [frame + 24]                         an argument that is passed on the stack
//! u32 rsi >> 32                            the upper half of a small struct in a register
//! u64 [[rdi + 272] + 8]                    through a pointer
//! address ret                              the return value
//! i32 array [rsi + 24] count token_count   integers behind a pointer
//! i32 array rdx count i32 rcx              as many as another place says
//! i32 array rdx stride 24 count 4          members of structs of 24 bytes
//! i64 vector rdx                           a std::vector's integers
//! f32 slice rdx                            a Rust slice's, or a std::span's
//! i32 gather [rsi + 64] count token_count  integers behind an array of pointers
//! bytes rsi count text_length limit 2048   bytes whose number is another field
//! cstring rdi limit 1024                   bytes up to a NUL
//! string rsi                               a std::string of libstdc++
//! libcxx_string rsi                        one of libc++
//! cstrings rdx count r8                    an array of C strings
//! strings vector [rdx]                     a std::vector of std::string
//! length of vector rdx size 24             how many elements a vector has
//! i32 ret in end_of_generation             whether a number is in a set
//! address [rsi] + index * 12               where an array's element lies
//! token_count > 0                          a condition, in `keep`
//! ```
//!
//! `[x]` is the word at address `x`. `frame` is the frame address: byte `k` of what the caller
//! pushed, which is `[rsp + 8 + k]` on entry, is `[frame + k]`. A name is another field or local.

mod parser;
mod words;

use tracer_abi::{Comparison, Layout, Register};

use crate::{names::nearest, signal::TokenSet};

pub(crate) use parser::{capture, condition};
pub(crate) use words::is_reserved;

/// What a field captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    Number(Type, Address),
    /// Some bits of a word: members of a small struct share a register.
    Part {
        width: u8,
        signed: bool,
        address: Address,
        /// The lowest bit that is taken.
        from: u8,
    },
    Element {
        address: Address,
        index: String,
        size: i64,
    },
    Membership(Type, Address, TokenSet),
    /// How long something is: in elements of `size` bytes, or as it says itself.
    Length {
        address: Address,
        layout: Layout,
        size: u32,
    },
    /// Numbers one behind the other.
    Numbers(Type, Elements),
    /// Numbers behind an array of pointers.
    Gather(Type, Elements),
    Bytes(Elements),
    CString {
        address: Address,
        limit: Option<u32>,
    },
    Texts(TextKind, Elements),
}

/// Several things of one kind, and how many are taken at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elements {
    pub(crate) address: Address,
    pub(crate) extent: Extent,
    /// From one to the next, where it is not the element's own size.
    pub(crate) stride: Option<u16>,
    pub(crate) limit: Option<u32>,
}

/// How many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Count(Count),
    /// The address is that of a front that says where they begin and how many there are.
    Front(Layout),
}

/// A number of elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Named(String),
    Constant(i64),
    Read(Type, Address),
}

/// How one text of several lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// A pointer to bytes that end with a NUL.
    C,
    /// `std::string` of libstdc++.
    Cxx,
    /// `std::string` of libc++.
    Libcxx,
    /// `std::string_view` of libstdc++.
    View,
    /// Rust's `&str`.
    Str,
    /// Rust's `String`.
    RustString,
}

impl TextKind {
    /// Where pointer and length are.
    pub(crate) const fn layout(self) -> Layout {
        match self {
            Self::C => Layout::Plain,
            Self::Cxx | Self::Str => Layout::PointerLength,
            Self::RustString => Layout::CapacityPointerLength,
            Self::Libcxx => Layout::LibcxxString,
            Self::View => Layout::LengthPointer,
        }
    }

    /// Bytes of the object itself.
    pub(crate) const fn size(self) -> u16 {
        match self {
            Self::C => 8,
            Self::Cxx => 32,
            Self::Libcxx | Self::RustString => 24,
            Self::View | Self::Str => 16,
        }
    }
}

/// How a number is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Integer { width: u8, signed: bool },
    Float { width: u8 },
    Address,
}

impl Type {
    /// One byte.
    pub(crate) const BYTE: Self = Self::Integer {
        width: 1,
        signed: false,
    };
    /// A word without a sign, as `size_t` is.
    pub(crate) const SIZE: Self = Self::Integer {
        width: 8,
        signed: false,
    };

    pub(crate) const fn width(self) -> u8 {
        match self {
            Self::Integer { width, .. } | Self::Float { width } => width,
            Self::Address => 8,
        }
    }

    pub(crate) const fn signed(self) -> bool {
        matches!(self, Self::Integer { signed: true, .. })
    }
}

/// A starting point, the offsets of the words that are read one through the other, and what is
/// added at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) origin: Origin,
    /// One for each pair of brackets, innermost first.
    pub(crate) through: Vec<i32>,
    /// Added after the last read.
    pub(crate) plus: i32,
}

impl Address {
    pub(crate) const fn at(origin: Origin) -> Self {
        Self {
            origin,
            through: Vec::new(),
            plus: 0,
        }
    }
}

/// Where an address begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Register(Register),
    Frame,
    Return,
    Named(String),
    Constant(i64),
}

/// A condition that a call must meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) name: String,
    pub(crate) comparison: Comparison,
    pub(crate) operand: i64,
}

/// What is wrong with an expression, and at which byte of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) problem: String,
    pub(crate) at: usize,
}

impl Capture {
    /// Where reading begins.
    pub(crate) const fn address(&self) -> &Address {
        match self {
            Self::Number(_, address)
            | Self::Part { address, .. }
            | Self::Membership(_, address, _)
            | Self::Element { address, .. }
            | Self::Length { address, .. }
            | Self::CString { address, .. } => address,
            Self::Numbers(_, elements)
            | Self::Gather(_, elements)
            | Self::Bytes(elements)
            | Self::Texts(_, elements) => &elements.address,
        }
    }

    /// The things that it takes several of.
    pub(crate) const fn elements(&self) -> Option<&Elements> {
        match self {
            Self::Numbers(_, elements)
            | Self::Gather(_, elements)
            | Self::Bytes(elements)
            | Self::Texts(_, elements) => Some(elements),
            Self::Number(..)
            | Self::Part { .. }
            | Self::Membership(..)
            | Self::Element { .. }
            | Self::Length { .. }
            | Self::CString { .. } => None,
        }
    }

    /// The same, to be changed.
    pub(crate) const fn elements_mut(&mut self) -> Option<&mut Elements> {
        match self {
            Self::Numbers(_, elements)
            | Self::Gather(_, elements)
            | Self::Bytes(elements)
            | Self::Texts(_, elements) => Some(elements),
            Self::Number(..)
            | Self::Part { .. }
            | Self::Membership(..)
            | Self::Element { .. }
            | Self::Length { .. }
            | Self::CString { .. } => None,
        }
    }

    /// The field or local that holds the number of elements.
    pub(crate) fn count(&self) -> Option<&String> {
        match &self.elements()?.extent {
            Extent::Count(Count::Named(name)) => Some(name),
            Extent::Count(Count::Constant(_) | Count::Read(..)) | Extent::Front(_) => None,
        }
    }

    /// Whether it is more than a number.
    pub(crate) const fn is_chunk(&self) -> bool {
        self.elements().is_some() || matches!(self, Self::CString { .. })
    }
}

/// A message for a word that is not in a vocabulary.
pub(crate) fn unknown<'a>(
    what: &str,
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let remedy = match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known: Vec<_> = known.into_iter().collect();
            format!("known are {}", known.join(", "))
        }
    };
    format!("unknown {what} `{word}`: {remedy}")
}

#[cfg(test)]
mod tests;
