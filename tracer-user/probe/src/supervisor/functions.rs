//! The functions of one library that a profile asks about: by symbol, by the parts of a mangled
//! name, or by a recipe for what has no symbol.

use std::{cell::RefCell, collections::HashMap, fs::File};

use tracer_profile::{FunctionTable, Library, Recipe, SymbolPattern, Way};

use crate::code::{
    Fingerprint, Image, Lookup, Symbol, SymbolKind, SymbolTable,
    elf::{Binding, hexadecimal},
};

/// More functions than this that fit one pattern are too many however many they are.
const MOST_MATCHES: usize = 64;
/// How many functions lead to each other through tables; a profile alone may have fewer.
const DEEPEST: usize = 8;

/// The function that was asked for, `None` if there is none, or why it cannot be told.
type Found = Result<Option<Symbol>, String>;

/// What is asked about a library, looked up once.
pub(super) struct Functions<'a> {
    image: &'a Image<File>,
    build_id: Option<&'a [u8]>,
    recipes: &'a [Recipe],
    lookup: Lookup,
    /// What was found by other means than an exact name.
    known: RefCell<HashMap<String, Found>>,
}

impl<'a> Functions<'a> {
    /// Looks up `names`, and what the recipes refer to, in one pass over the library's tables.
    pub(super) fn new<'n>(
        image: &'a Image<File>,
        build_id: Option<&'a [u8]>,
        recipes: &'a [Recipe],
        names: impl IntoIterator<Item = &'n str>,
    ) -> Self
    where
        'a: 'n,
    {
        let referred = recipes.iter().flat_map(|recipe| &recipe.ways);
        let mut names: Vec<&str> = names
            .into_iter()
            .chain(referred.filter_map(refers_to))
            .collect();
        names.sort_unstable();
        names.dedup();
        Self {
            image,
            build_id,
            recipes,
            lookup: image.symbols(&names),
            known: RefCell::default(),
        }
    }

    /// Why a table of symbols could not be read, so that functions may be missing.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lookup.trouble.as_ref().map(ToString::to_string)
    }

    /// The function of the first pattern that there is one for.
    ///
    /// # Errors
    /// When it cannot be told which function is meant.
    pub(super) fn first(&self, patterns: &[SymbolPattern]) -> Found {
        let mut unclear = None;
        for pattern in patterns {
            match self.function(pattern) {
                Ok(None) => {}
                Ok(Some(symbol)) => return Ok(Some(symbol)),
                Err(reason) => drop(unclear.get_or_insert(reason)),
            }
        }
        unclear.map_or(Ok(None), Err)
    }

    fn function(&self, pattern: &SymbolPattern) -> Found {
        match pattern {
            SymbolPattern::Exact(name) => self.named(name, DEEPEST),
            SymbolPattern::Prefix(prefix) => self.matching(pattern, prefix),
            SymbolPattern::Parts(parts) => {
                let first = parts.first().map(String::as_str).unwrap_or_default();
                self.matching(pattern, first)
            }
        }
    }

    /// By symbol, else by recipe.
    fn named(&self, name: &str, deepest: usize) -> Found {
        if let Some(count) = self.lookup.ambiguous.get(name) {
            return Err(format!("{count} functions are called {name}"));
        }
        match self.lookup.found.get(name) {
            Some(symbol) if symbol.kind == SymbolKind::Function => return Ok(Some(symbol.clone())),
            Some(_) | None => {}
        }
        if let Some(found) = self.known.borrow().get(name) {
            return found.clone();
        }
        let Some(recipe) = self.recipes.iter().find(|recipe| recipe.name == name) else {
            return Ok(None);
        };
        let found = self.by_recipe(recipe, deepest);
        self.known
            .borrow_mut()
            .insert(name.to_owned(), found.clone());
        found
    }

    fn by_recipe(&self, recipe: &Recipe, deepest: usize) -> Found {
        let mut unclear = None;
        for way in &recipe.ways {
            let found = match way {
                Way::Address { build_id, address } => self.at_address(build_id, *address),
                Way::Returned { by, slot } => self.in_returned_struct(by, *slot, deepest),
                Way::Slot { table, slot } => self.in_table(table, *slot, deepest),
                Way::String { text } => self.referring_to(text),
            };
            match found {
                Ok(None) => {}
                Ok(Some(vaddr)) => return Ok(Some(unnamed(&recipe.name, vaddr))),
                Err(reason) => drop(unclear.get_or_insert(format!("{}: {reason}", recipe.name))),
            }
        }
        unclear.map_or(Ok(None), Err)
    }

    /// An address holds for one build only; in any other it would be a guess.
    fn at_address(&self, build_id: &[u8], address: u64) -> Result<Option<u64>, String> {
        if self.build_id != Some(build_id) {
            return Ok(None);
        }
        let frame = self.image.frame_at(address).map_err(said)?;
        match frame {
            Some(frame) if frame.range.start == address => Ok(Some(address)),
            Some(_) | None => Err(format!(
                "no function begins at {address:#x}, which the profile gives for build {}",
                hexadecimal(Some(build_id))
            )),
        }
    }

    fn in_returned_struct(
        &self,
        by: &str,
        slot: u32,
        deepest: usize,
    ) -> Result<Option<u64>, String> {
        let Some(getter) = self.deeper(by, deepest)? else {
            return Ok(None);
        };
        let address = self.image.returned_address(getter.vaddr).map_err(said)?;
        let Some(address) = address else {
            return Err(format!("{by} does more than return an address"));
        };
        self.image.slot(address, slot as usize).map_err(said)
    }

    fn in_table(
        &self,
        table: &FunctionTable,
        slot: u32,
        deepest: usize,
    ) -> Result<Option<u64>, String> {
        let FunctionTable {
            getter,
            at_least,
            fingerprint,
        } = table;
        let at_least = *at_least as usize;
        let getter = match getter {
            Some(getter) => self.deeper(getter, deepest)?,
            None => None,
        };
        let begins = |(slot, begin): &(u32, Vec<u8>)| (*slot as usize, begin.clone());
        let address = match getter {
            Some(getter) => self.image.table_returned_by(getter.vaddr, at_least),
            None if fingerprint.is_empty() => Ok(None),
            None => self.image.table_like(&Fingerprint {
                at_least,
                begins: fingerprint.iter().map(begins).collect(),
            }),
        };
        match address.map_err(said)? {
            Some(address) => self.image.slot(address, slot as usize).map_err(said),
            None => Ok(None),
        }
    }

    fn deeper(&self, name: &str, deepest: usize) -> Found {
        match deepest.checked_sub(1) {
            Some(deepest) => self.named(name, deepest),
            None => Err(format!("{name} is found through itself")),
        }
    }

    fn referring_to(&self, text: &[u8]) -> Result<Option<u64>, String> {
        let functions = self.image.functions_referring_to(text).map_err(said)?;
        let mut functions = functions.into_iter();
        match (functions.next(), functions.count()) {
            (function, 0) => Ok(function),
            (_, others) => Err(format!(
                "{} functions refer to its string {:?}",
                others + 1,
                String::from_utf8_lossy(text).trim_end_matches('\0')
            )),
        }
    }

    /// The one function whose name fits. Parts of functions that the compiler split off bear the
    /// name with a suffix, and so do clones.
    fn matching(&self, pattern: &SymbolPattern, prefix: &str) -> Found {
        let key = pattern.to_string();
        if let Some(found) = self.known.borrow().get(&key) {
            return found.clone();
        }
        let fits = |name: &str| pattern.matches(name) && !is_piece(name);
        let found = self
            .image
            .functions_matching(prefix, fits, MOST_MATCHES)
            .map_err(said)
            .and_then(|found| one_of(&key, found));
        self.known.borrow_mut().insert(key, found.clone());
        found
    }
}

impl Library for Functions<'_> {
    /// A function that cannot be told from others is there too: its probe says why it is refused.
    fn defines(&self, symbol: &SymbolPattern) -> bool {
        !matches!(self.function(symbol), Ok(None))
    }

    fn version(&self, symbol: &str) -> Option<String> {
        let function = self.named(symbol, DEEPEST).ok()??;
        self.image.returned_string(function.vaddr).ok()?
    }

    fn build_id(&self) -> Option<&[u8]> {
        self.build_id
    }
}

/// The other function that a way leads through.
fn refers_to(way: &Way) -> Option<&str> {
    match way {
        Way::Returned { by, .. } => Some(by),
        Way::Slot { table, .. } => table.getter.as_deref(),
        Way::Address { .. } | Way::String { .. } => None,
    }
}

fn one_of(pattern: &str, mut found: Vec<Symbol>) -> Found {
    let plain = |symbol: &Symbol| !symbol.name.contains('.');
    if found.iter().any(plain) {
        found.retain(plain);
    }
    let mut addresses: Vec<u64> = found.iter().map(|symbol| symbol.vaddr).collect();
    addresses.dedup();
    match addresses.len() {
        0 | 1 => Ok(found.into_iter().next()),
        count => {
            let names: Vec<&str> = found.iter().map(|symbol| symbol.name.as_str()).collect();
            Err(format!(
                "{count} functions fit {pattern}, such as {} and {}",
                names[0],
                names[names.len() - 1]
            ))
        }
    }
}

/// A part of a function, not one itself.
fn is_piece(name: &str) -> bool {
    [".cold", ".part."].iter().any(|mark| name.contains(mark))
}

fn unnamed(name: &str, vaddr: u64) -> Symbol {
    Symbol {
        name: name.to_owned(),
        vaddr,
        size: 0,
        kind: SymbolKind::Function,
        binding: Binding::Local,
        table: SymbolTable::None,
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
