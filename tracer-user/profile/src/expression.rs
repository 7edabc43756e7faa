//! The capture language: how a profile says where a value is.
//!
//! ```text
//! i32 rsi                                  the register, cut to its low four bytes
//! i32 [frame + 24]                         an argument that is passed on the stack
//! u64 [[rdi + 272] + 8]                    through a pointer
//! address ret                              the return value
//! i32 array [rsi + 24] count token_count   integers behind a pointer
//! i32 gather [rsi + 64] count token_count  integers behind an array of pointers
//! bytes rsi count text_length limit 2048   bytes whose number is another field
//! cstring rdi limit 1024                   bytes up to a NUL
//! i32 ret in end_of_generation             whether a number is in a set
//! address [rsi] + index * 12               where an array's element lies
//! token_count > 0                          a condition, in `keep`
//! ```
//!
//! `[x]` is the word at address `x`. `frame` is the frame address: byte `k` of what the caller
//! pushed, which is `[rsp + 8 + k]` on entry, is `[frame + k]`. A name is another field or local.

use std::fmt;

use tracer_abi::{Comparison, Register};

use crate::{names::nearest, signal::TokenSet};

/// Longest expression that is read, in bytes.
const LONGEST: usize = 512;
/// Deepest nesting of brackets; more than the kernel half follows.
const DEEPEST: usize = 8;

/// What a field captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    Number(Type, Address),
    Element {
        address: Address,
        index: String,
        size: i64,
    },
    Membership(Type, Address, TokenSet),
    Array {
        element: Type,
        address: Address,
        count: String,
        limit: Option<u32>,
    },
    Gather {
        element: Type,
        address: Address,
        count: String,
        limit: Option<u32>,
    },
    Bytes {
        address: Address,
        count: String,
        limit: Option<u32>,
    },
    CString {
        address: Address,
        limit: Option<u32>,
    },
}

/// How a number is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Integer { width: u8, signed: bool },
    Float { width: u8 },
    Address,
}

impl Type {
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

/// What is wrong with an expression, without its place: the caller knows the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads what a field captures.
pub(crate) fn capture(text: &str) -> Result<Capture, Malformed> {
    let mut parser = Parser::new(text)?;
    let capture = parser.capture()?;
    parser.end()?;
    Ok(capture)
}

/// Reads a condition.
pub(crate) fn condition(text: &str) -> Result<Condition, Malformed> {
    let mut parser = Parser::new(text)?;
    let name = parser.word("a field or local")?;
    let (comparison, shift) = match parser.next() {
        Some(Token::Symbol("==")) => (Comparison::Equal, 0),
        Some(Token::Symbol("!=")) => (Comparison::NotEqual, 0),
        Some(Token::Symbol("<")) => (Comparison::Less, 0),
        Some(Token::Symbol(">")) => (Comparison::Greater, 0),
        Some(Token::Symbol("<=")) => (Comparison::Less, 1),
        Some(Token::Symbol(">=")) => (Comparison::Greater, -1),
        Some(Token::Symbol("&")) => (Comparison::AnyBit, 0),
        other => return Err(expected("one of == != < > <= >= &", other)),
    };
    let operand = parser.signed()?;
    parser.end()?;
    let operand = operand
        .checked_add(shift)
        .ok_or_else(|| Malformed(format!("{operand} leaves nothing to compare with")))?;
    Ok(Condition {
        name: name.to_owned(),
        comparison,
        operand,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Number(i64),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 12] = [
    "==", "!=", "<=", ">=", "<", ">", "&", "[", "]", "+", "-", "*",
];

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, Malformed> {
        if text.len() > LONGEST {
            return Err(Malformed(format!(
                "the expression is longer than {LONGEST} bytes"
            )));
        }
        let mut tokens = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let token = if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
                rest = &rest[symbol.len()..];
                Token::Symbol(symbol)
            } else if first.is_ascii_alphanumeric() || first == '_' {
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                rest = after;
                if first.is_ascii_digit() {
                    Token::Number(number(word)?)
                } else {
                    Token::Word(word)
                }
            } else {
                return Err(Malformed(format!("`{first}` means nothing here")));
            };
            tokens.push(token);
            rest = rest.trim_start();
        }
        Ok(Self { tokens, at: 0 })
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn accept(&mut self, wanted: Token<'_>) -> bool {
        let found = self.tokens.get(self.at).copied() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn end(&mut self) -> Result<(), Malformed> {
        match self.next() {
            None => Ok(()),
            other => Err(expected("the end", other)),
        }
    }

    fn word(&mut self, what: &str) -> Result<&'a str, Malformed> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(expected(what, other)),
        }
    }

    fn signed(&mut self) -> Result<i64, Malformed> {
        let negative = self.accept(Token::Symbol("-"));
        match self.next() {
            Some(Token::Number(number)) if negative => Ok(-number),
            Some(Token::Number(number)) => Ok(number),
            other => Err(expected("a number", other)),
        }
    }

    fn capture(&mut self) -> Result<Capture, Malformed> {
        let word = self.word("a type")?;
        match word {
            "bytes" => {
                let address = self.address(0)?;
                Ok(Capture::Bytes {
                    address,
                    count: self.count()?,
                    limit: self.limit()?,
                })
            }
            "cstring" => Ok(Capture::CString {
                address: self.address(0)?,
                limit: self.limit()?,
            }),
            _ => {
                let element = kind(word)?;
                if self.accept(Token::Word("array")) {
                    let address = self.address(0)?;
                    return Ok(Capture::Array {
                        element,
                        address,
                        count: self.count()?,
                        limit: self.limit()?,
                    });
                }
                if self.accept(Token::Word("gather")) {
                    let address = self.address(0)?;
                    return Ok(Capture::Gather {
                        element,
                        address,
                        count: self.count()?,
                        limit: self.limit()?,
                    });
                }
                let address = self.address(0)?;
                if element == Type::Address
                    && let Some((index, size)) = self.scaled()?
                {
                    return Ok(Capture::Element {
                        address,
                        index,
                        size,
                    });
                }
                if !self.accept(Token::Word("in")) {
                    return Ok(Capture::Number(element, address));
                }
                let name = self.word("a set")?;
                let set = TokenSet::parse(name).ok_or_else(|| {
                    unknown("set", name, TokenSet::ALL.iter().map(|set| set.as_str()))
                })?;
                Ok(Capture::Membership(element, address, set))
            }
        }
    }

    fn count(&mut self) -> Result<String, Malformed> {
        if !self.accept(Token::Word("count")) {
            return Err(expected(
                "`count` and the field that holds the number",
                self.next(),
            ));
        }
        self.word("the field that holds the number")
            .map(str::to_owned)
    }

    fn limit(&mut self) -> Result<Option<u32>, Malformed> {
        if !self.accept(Token::Word("limit")) {
            return Ok(None);
        }
        let limit = self.signed()?;
        match u32::try_from(limit) {
            Ok(limit) if limit > 0 => Ok(Some(limit)),
            _ => Err(Malformed(format!("a limit of {limit} captures nothing"))),
        }
    }

    /// `+ name * size`.
    fn scaled(&mut self) -> Result<Option<(String, i64)>, Malformed> {
        if !self.accept(Token::Symbol("+")) {
            return Ok(None);
        }
        let index = self.word("a field or local")?.to_owned();
        if !self.accept(Token::Symbol("*")) {
            return Err(expected("`*` and the size of an element", self.next()));
        }
        Ok(Some((index, self.signed()?)))
    }

    fn address(&mut self, depth: usize) -> Result<Address, Malformed> {
        if depth > DEEPEST {
            return Err(Malformed(format!("more than {DEEPEST} brackets")));
        }
        let mut address = match self.next() {
            Some(Token::Symbol("[")) => {
                let inner = self.address(depth + 1)?;
                if !self.accept(Token::Symbol("]")) {
                    return Err(expected("`]`", self.next()));
                }
                let Address {
                    origin,
                    mut through,
                    plus,
                } = inner;
                through.push(plus);
                Address {
                    origin,
                    through,
                    plus: 0,
                }
            }
            Some(Token::Word(word)) => Address::at(origin(word)),
            Some(Token::Number(number)) => Address::at(Origin::Constant(number)),
            Some(Token::Symbol("-")) => match self.next() {
                Some(Token::Number(number)) => Address::at(Origin::Constant(-number)),
                other => return Err(expected("a number", other)),
            },
            other => return Err(expected("a register, `frame`, `ret`, a name or `[`", other)),
        };
        loop {
            if let Some([Token::Symbol("+"), Token::Word(_)]) =
                self.tokens.get(self.at..self.at + 2)
            {
                return Ok(address);
            }
            let sign = if self.accept(Token::Symbol("+")) {
                1
            } else if self.accept(Token::Symbol("-")) {
                -1
            } else {
                return Ok(address);
            };
            let step = match self.next() {
                Some(Token::Number(number)) => number,
                other => return Err(expected("an offset", other)),
            };
            address.plus = i32::try_from(step * sign)
                .ok()
                .and_then(|step| address.plus.checked_add(step))
                .ok_or_else(|| Malformed(format!("offset {step} does not fit 32 bits")))?;
        }
    }
}

impl Address {
    const fn at(origin: Origin) -> Self {
        Self {
            origin,
            through: Vec::new(),
            plus: 0,
        }
    }
}

fn number(word: &str) -> Result<i64, Malformed> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    // The sign is a token of its own, and an offset is negated later: both need the margin.
    parsed
        .ok()
        .filter(|number| *number <= i64::from(u32::MAX))
        .ok_or_else(|| Malformed(format!("`{word}` is not a number up to {}", u32::MAX)))
}

fn kind(word: &str) -> Result<Type, Malformed> {
    const KINDS: [(&str, Type); 11] = [
        (
            "u8",
            Type::Integer {
                width: 1,
                signed: false,
            },
        ),
        (
            "u16",
            Type::Integer {
                width: 2,
                signed: false,
            },
        ),
        (
            "u32",
            Type::Integer {
                width: 4,
                signed: false,
            },
        ),
        (
            "u64",
            Type::Integer {
                width: 8,
                signed: false,
            },
        ),
        (
            "i8",
            Type::Integer {
                width: 1,
                signed: true,
            },
        ),
        (
            "i16",
            Type::Integer {
                width: 2,
                signed: true,
            },
        ),
        (
            "i32",
            Type::Integer {
                width: 4,
                signed: true,
            },
        ),
        (
            "i64",
            Type::Integer {
                width: 8,
                signed: true,
            },
        ),
        ("f32", Type::Float { width: 4 }),
        ("f64", Type::Float { width: 8 }),
        ("address", Type::Address),
    ];
    match KINDS.iter().find(|(name, _)| *name == word) {
        Some((_, kind)) => Ok(*kind),
        None => {
            let names = KINDS.iter().map(|(name, _)| *name);
            Err(unknown("type", word, names.chain(["bytes", "cstring"])))
        }
    }
}

fn origin(word: &str) -> Origin {
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
    match word {
        "frame" => Origin::Frame,
        "ret" => Origin::Return,
        _ => REGISTERS
            .iter()
            .find(|(name, _)| *name == word)
            .map_or_else(
                || Origin::Named(word.to_owned()),
                |(_, register)| Origin::Register(*register),
            ),
    }
}

fn expected(what: &str, found: Option<Token<'_>>) -> Malformed {
    let found = match found {
        None => "the end".to_owned(),
        Some(Token::Word(word)) => format!("`{word}`"),
        Some(Token::Number(number)) => format!("`{number}`"),
        Some(Token::Symbol(symbol)) => format!("`{symbol}`"),
    };
    Malformed(format!("expected {what}, found {found}"))
}

/// A message for a word that is not in a vocabulary.
pub(crate) fn unknown<'a>(
    what: &str,
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Malformed {
    let remedy = match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known: Vec<_> = known.into_iter().collect();
            format!("known are {}", known.join(", "))
        }
    };
    Malformed(format!("unknown {what} `{word}`: {remedy}"))
}

#[cfg(test)]
mod tests;
