//! Reads expressions.

use tracer_abi::{Comparison, Layout};

use super::{
    Address, Capture, Condition, Count, Elements, Extent, Malformed, Origin, TextKind, Type,
    unknown,
    words::{CONTAINERS, FLOATS, INTEGERS, TEXT_LISTS, TEXTS, find, is_reserved, kind, origin},
};
use crate::signal::TokenSet;

/// Longest expression that is read, in bytes.
const LONGEST: usize = 512;
/// Deepest nesting of brackets; more than the kernel half follows.
const DEEPEST: usize = 8;

const SYMBOLS: [&str; 13] = [
    ">>", "==", "!=", "<=", ">=", "<", ">", "&", "[", "]", "+", "-", "*",
];

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
        other => return Err(parser.expected("one of == != < > <= >= &", other)),
    };
    let operand = parser.signed()?;
    parser.end()?;
    let operand = operand
        .checked_add(shift)
        .ok_or_else(|| parser.wrong(format!("{operand} leaves nothing to compare with")))?;
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

struct Parser<'a> {
    /// Each with the byte where it begins.
    tokens: Vec<(Token<'a>, usize)>,
    at: usize,
    length: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, Malformed> {
        if text.len() > LONGEST {
            return Err(Malformed {
                problem: format!("the expression is longer than {LONGEST} bytes"),
                at: 0,
            });
        }
        let mut tokens = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let at = text.len() - rest.len();
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
                    Token::Number(number(word).map_err(|problem| Malformed { problem, at })?)
                } else {
                    Token::Word(word)
                }
            } else {
                let problem = format!("`{first}` means nothing here");
                return Err(Malformed { problem, at });
            };
            tokens.push((token, at));
            rest = rest.trim_start();
        }
        Ok(Self {
            tokens,
            at: 0,
            length: text.len(),
        })
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|(token, _)| *token)
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn accept(&mut self, wanted: Token<'_>) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn end(&mut self) -> Result<(), Malformed> {
        match self.next() {
            None => Ok(()),
            other => Err(self.expected("the end", other)),
        }
    }

    /// An error at the token that was taken last.
    fn wrong(&self, problem: String) -> Malformed {
        let taken = self.tokens.get(self.at.saturating_sub(1));
        let at = taken.map_or(self.length, |(_, at)| *at);
        Malformed { problem, at }
    }

    fn expected(&self, what: &str, found: Option<Token<'_>>) -> Malformed {
        let found = match found {
            None => "the end".to_owned(),
            Some(Token::Word(word)) => format!("`{word}`"),
            Some(Token::Number(number)) => format!("`{number}`"),
            Some(Token::Symbol(symbol)) => format!("`{symbol}`"),
        };
        self.wrong(format!("expected {what}, found {found}"))
    }

    fn word(&mut self, what: &str) -> Result<&'a str, Malformed> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(self.expected(what, other)),
        }
    }

    fn signed(&mut self) -> Result<i64, Malformed> {
        let negative = self.accept(Token::Symbol("-"));
        match self.next() {
            Some(Token::Number(number)) if negative => Ok(-number),
            Some(Token::Number(number)) => Ok(number),
            other => Err(self.expected("a number", other)),
        }
    }

    fn capture(&mut self) -> Result<Capture, Malformed> {
        let word = self.word("a type")?;
        if let Some(text) = find(&TEXTS, word) {
            return self.text(text);
        }
        if let Some(text) = find(&TEXT_LISTS, word) {
            return Ok(Capture::Texts(text, self.elements()?));
        }
        match word {
            "bytes" => {
                if let Some(elements) = self.fronted()? {
                    return Ok(Capture::Bytes(elements));
                }
                let address = self.address(0)?;
                let extent = Extent::Count(self.count()?);
                Ok(Capture::Bytes(Elements {
                    address,
                    extent,
                    stride: None,
                    limit: self.limit()?,
                }))
            }
            "cstring" => Ok(Capture::CString {
                address: self.address(0)?,
                limit: self.limit()?,
            }),
            "length" => self.length(),
            _ => self.number(word),
        }
    }

    /// What begins with the type of a number.
    fn number(&mut self, word: &str) -> Result<Capture, Malformed> {
        let Some(element) = kind(word) else {
            let numbers = INTEGERS.iter().map(|(name, ..)| *name);
            let floats = FLOATS.iter().map(|(name, _)| *name);
            let texts = TEXTS.iter().chain(&TEXT_LISTS).map(|(name, _)| *name);
            let others = ["address", "bytes", "cstring", "length"];
            let known = numbers.chain(floats).chain(others).chain(texts);
            return Err(self.wrong(unknown("type", word, known)));
        };
        if self.accept(Token::Word("gather")) {
            let address = self.address(0)?;
            let extent = Extent::Count(self.count()?);
            return Ok(Capture::Gather(
                element,
                Elements {
                    address,
                    extent,
                    stride: None,
                    limit: self.limit()?,
                },
            ));
        }
        let starts_list = |word| word == "array" || find::<Layout>(&CONTAINERS, word).is_some();
        if matches!(self.peek(), Some(Token::Word(word)) if starts_list(word)) {
            return Ok(Capture::Numbers(element, self.elements()?));
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
        if self.accept(Token::Symbol(">>")) {
            return self.part(element, address);
        }
        if !self.accept(Token::Word("in")) {
            return Ok(Capture::Number(element, address));
        }
        let name = self.word("a set")?;
        let Some(set) = TokenSet::parse(name) else {
            let sets = TokenSet::ALL.iter().map(|set| set.as_str());
            return Err(self.wrong(unknown("set", name, sets)));
        };
        Ok(Capture::Membership(element, address, set))
    }

    /// The bits of a word from the number on that follows `>>`.
    fn part(&mut self, element: Type, address: Address) -> Result<Capture, Malformed> {
        let Type::Integer { width, signed } = element else {
            return Err(self.wrong("only a whole number is a part of a word".to_owned()));
        };
        let from = self.signed()?;
        let most = 64 - 8 * i64::from(width);
        let from = u8::try_from(from)
            .ok()
            .filter(|&from| from > 0 && i64::from(from) <= most);
        if most == 0 {
            return Err(self.wrong("eight bytes are the whole word".to_owned()));
        }
        let Some(from) = from else {
            return Err(self.wrong(format!("{width} bytes of a word begin at bit 1 to {most}")));
        };
        Ok(Capture::Part {
            width,
            signed,
            address,
            from,
        })
    }

    /// One text that says itself where its bytes are.
    fn text(&mut self, text: TextKind) -> Result<Capture, Malformed> {
        Ok(Capture::Bytes(Elements {
            address: self.address(0)?,
            extent: Extent::Front(text.layout()),
            stride: None,
            limit: self.limit()?,
        }))
    }

    /// `vector …`, `slice …`, `vec …`, or an array with a count; the word `array` may be left out.
    fn elements(&mut self) -> Result<Elements, Malformed> {
        if let Some(elements) = self.fronted()? {
            return Ok(elements);
        }
        self.accept(Token::Word("array"));
        let address = self.address(0)?;
        let stride = self.stride()?;
        let extent = Extent::Count(self.count()?);
        Ok(Elements {
            address,
            extent,
            stride,
            limit: self.limit()?,
        })
    }

    fn fronted(&mut self) -> Result<Option<Elements>, Malformed> {
        let Some(Token::Word(word)) = self.peek() else {
            return Ok(None);
        };
        let Some(layout) = find(&CONTAINERS, word) else {
            return Ok(None);
        };
        self.at += 1;
        Ok(Some(Elements {
            address: self.address(0)?,
            extent: Extent::Front(layout),
            stride: self.stride()?,
            limit: self.limit()?,
        }))
    }

    /// `of vector ADDRESS size BYTES`, `of slice ADDRESS`, or `of string ADDRESS`.
    fn length(&mut self) -> Result<Capture, Malformed> {
        if !self.accept(Token::Word("of")) {
            let found = self.next();
            return Err(self.expected("`of`", found));
        }
        let what = self.word("what the length is of")?;
        let text = find(&TEXTS, what).map(TextKind::layout);
        let Some(layout) = text.or_else(|| find(&CONTAINERS, what)) else {
            let texts = TEXTS.iter().map(|(name, _)| *name);
            let known = texts.chain(CONTAINERS.iter().map(|(name, _)| *name));
            return Err(self.wrong(unknown("container", what, known)));
        };
        let address = self.address(0)?;
        let mut size = 1;
        if layout == Layout::BeginEnd {
            if !self.accept(Token::Word("size")) {
                let found = self.next();
                return Err(self.expected("`size` and the bytes of one element", found));
            }
            let written = self.signed()?;
            size = u32::try_from(written)
                .ok()
                .filter(|size| *size > 0)
                .ok_or_else(|| self.wrong(format!("an element of {written} bytes is none")))?;
        }
        Ok(Capture::Length {
            address,
            layout,
            size,
        })
    }

    fn count(&mut self) -> Result<Count, Malformed> {
        const WHAT: &str = "`count` and a field, a number or a place";
        if !self.accept(Token::Word("count")) {
            let found = self.next();
            return Err(self.expected(WHAT, found));
        }
        match self.peek() {
            Some(Token::Number(_) | Token::Symbol("-")) => {
                let number = self.signed()?;
                if number < 1 {
                    return Err(self.wrong(format!("a count of {number} captures nothing")));
                }
                Ok(Count::Constant(number))
            }
            Some(Token::Symbol("[")) => Ok(Count::Read(Type::SIZE, self.address(0)?)),
            Some(Token::Word(word)) => {
                if let Some(kind) = kind(word) {
                    if !matches!(kind, Type::Integer { .. }) {
                        self.at += 1;
                        return Err(self.wrong(format!("`{word}` is no whole number")));
                    }
                    self.at += 1;
                    return Ok(Count::Read(kind, self.address(0)?));
                }
                match origin(word) {
                    Origin::Named(name) => {
                        self.at += 1;
                        Ok(Count::Named(name))
                    }
                    _ => Ok(Count::Read(Type::SIZE, self.address(0)?)),
                }
            }
            found => {
                self.at += 1;
                Err(self.expected(WHAT, found))
            }
        }
    }

    fn limit(&mut self) -> Result<Option<u32>, Malformed> {
        if !self.accept(Token::Word("limit")) {
            return Ok(None);
        }
        let limit = self.signed()?;
        match u32::try_from(limit) {
            Ok(limit) if limit > 0 => Ok(Some(limit)),
            _ => Err(self.wrong(format!("a limit of {limit} captures nothing"))),
        }
    }

    fn stride(&mut self) -> Result<Option<u16>, Malformed> {
        if !self.accept(Token::Word("stride")) {
            return Ok(None);
        }
        let stride = self.signed()?;
        match u16::try_from(stride) {
            Ok(stride) if stride > 0 => Ok(Some(stride)),
            _ => {
                let most = u16::MAX;
                Err(self.wrong(format!("a stride lies between 1 and {most}, not {stride}")))
            }
        }
    }

    /// `+ name * size`.
    fn scaled(&mut self) -> Result<Option<(String, i64)>, Malformed> {
        if !self.accept(Token::Symbol("+")) {
            return Ok(None);
        }
        let index = self.word("a field or local")?.to_owned();
        if !self.accept(Token::Symbol("*")) {
            let found = self.next();
            return Err(self.expected("`*` and the size of an element", found));
        }
        Ok(Some((index, self.signed()?)))
    }

    fn address(&mut self, depth: usize) -> Result<Address, Malformed> {
        if depth > DEEPEST {
            return Err(self.wrong(format!("more than {DEEPEST} brackets")));
        }
        let mut address = match self.next() {
            Some(Token::Symbol("[")) => {
                let inner = self.address(depth + 1)?;
                if !self.accept(Token::Symbol("]")) {
                    let found = self.next();
                    return Err(self.expected("`]`", found));
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
            Some(Token::Word(word)) => match origin(word) {
                Origin::Named(name) if is_reserved(&name) => {
                    return Err(self.expected("a place", Some(Token::Word(word))));
                }
                origin => Address::at(origin),
            },
            Some(Token::Number(number)) => Address::at(Origin::Constant(number)),
            Some(Token::Symbol("-")) => match self.next() {
                Some(Token::Number(number)) => Address::at(Origin::Constant(-number)),
                other => return Err(self.expected("a number", other)),
            },
            other => {
                return Err(self.expected("a register, `frame`, `ret`, a name or `[`", other));
            }
        };
        loop {
            if let Some([(Token::Symbol("+"), _), (Token::Word(_), _)]) =
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
                other => return Err(self.expected("an offset", other)),
            };
            address.plus = i32::try_from(step * sign)
                .ok()
                .and_then(|step| address.plus.checked_add(step))
                .ok_or_else(|| self.wrong(format!("offset {step} does not fit 32 bits")))?;
        }
    }
}

fn number(word: &str) -> Result<i64, String> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    // The sign is a token of its own, and an offset is negated later: both need the margin.
    parsed
        .ok()
        .filter(|number| *number <= i64::from(u32::MAX))
        .ok_or_else(|| format!("`{word}` is not a number up to {}", u32::MAX))
}
