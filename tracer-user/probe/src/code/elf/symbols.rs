//! Symbols: by name through `.gnu_hash`, then in one scan of `.symtab`; by prefix; by address.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use object::{LittleEndian as Le, elf};

use super::{Image, MAX_NAME, hash_table::HashTable, text};
use crate::code::{ImageError, read::ReadAt};

const SIZE: u64 = size_of::<elf::Sym64<Le>>() as u64;
const MAX_SYMBOLS: u64 = 4 << 20;
const CHUNK: u64 = 1 << 20;
/// Longest walk along one hash chain. A sound table has one or two entries a bucket.
const MAX_CHAIN: u32 = 1 << 16;

/// A defined function or object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Mangled name.
    pub name: String,
    /// Address.
    pub vaddr: u64,
    /// Size in bytes; 0 where the producer did not say.
    pub size: u64,
    /// What it names.
    pub kind: SymbolKind,
    /// Who can bind to it.
    pub binding: Binding,
    /// Where it was found.
    pub table: SymbolTable,
}

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// A function.
    Function,
    /// A resolver that the loader calls to learn the function's address (`STT_GNU_IFUNC`). Probing it
    /// would count the loader's calls, not the program's.
    IndirectFunction,
    /// Data, a label or anything else.
    Other,
}

/// Who can bind to a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The object file alone.
    Local,
    /// Everyone.
    Global,
    /// Everyone, unless a global one exists.
    Weak,
}

/// Where a symbol was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolTable {
    /// `.dynsym`: the loader knows it.
    Dynamic,
    /// `.symtab`: only debuggers do; stripping removes it.
    Static,
    /// Nowhere: the function was found without a symbol.
    None,
}

/// What looking symbols up by their names gave. A name that is nowhere is in neither map.
#[derive(Debug, Default)]
pub struct Lookup {
    /// Symbols by name.
    pub found: HashMap<String, Symbol>,
    /// Names that several functions bear, and how many do: which of them is meant cannot be told.
    pub ambiguous: HashMap<String, usize>,
    /// Why a table could not be read, so that what is missing may be in it.
    pub trouble: Option<ImageError>,
}

impl Lookup {
    /// Adds a symbol that is not exported. A name may be a function's and a variable's, or several
    /// files' own function's.
    fn add(&mut self, symbol: Symbol) {
        let Some(known) = self.found.get(&symbol.name) else {
            self.found.insert(symbol.name.clone(), symbol);
            return;
        };
        let rank = |symbol: &Symbol| {
            let is_function = symbol.kind == SymbolKind::Function;
            (is_function, symbol.binding != Binding::Local)
        };
        if rank(&symbol) > rank(known) {
            self.ambiguous.remove(&symbol.name);
            self.found.insert(symbol.name.clone(), symbol);
        } else if rank(&symbol) == rank(known) && symbol.vaddr != known.vaddr {
            *self.ambiguous.entry(symbol.name).or_insert(1) += 1;
        }
    }
}

/// Functions by address, to answer what is at or inside a range of code.
#[derive(Debug, Default)]
pub(in crate::code) struct SymbolIndex {
    /// (address, offset of the name in the file), sorted.
    functions: Vec<(u64, u64)>,
}

impl SymbolIndex {
    pub(in crate::code) fn within(&self, range: &Range<u64>) -> &[(u64, u64)] {
        let start = self
            .functions
            .partition_point(|&(vaddr, _)| vaddr < range.start);
        let end = self
            .functions
            .partition_point(|&(vaddr, _)| vaddr < range.end);
        self.functions.get(start..end).unwrap_or_default()
    }
}

impl<R: ReadAt> Image<R> {
    /// Looks up an exported symbol by its mangled name, through the loader's hash table.
    ///
    /// # Errors
    /// When the tables cannot be read or are damaged.
    pub fn exported(&self, name: &str) -> Result<Option<Symbol>, ImageError> {
        let (Some(table), Some(_)) = (self.dynamic.gnu_hash, self.dynamic.symtab) else {
            return Ok(self.scan_dynamic(&[name])?.remove(name));
        };
        let table = HashTable::read(self, table)?;
        let hash = name.bytes().fold(5381_u32, |hash, byte| {
            hash.wrapping_mul(33).wrapping_add(u32::from(byte))
        });
        if table.buckets == 0 || !table.may_hold(self, hash)? {
            return Ok(None);
        }
        let what = ".gnu_hash bucket";
        let first = self.bytes.u32(what, table.bucket(hash % table.buckets))?;
        if first < table.first_symbol {
            return Ok(None);
        }
        for number in first..first.saturating_add(MAX_CHAIN) {
            let link = self.bytes.u32(".gnu_hash chain", table.chain(number))?;
            if link | 1 == hash | 1 {
                let raw = self.dynamic_symbol(u64::from(number))?;
                let names = self.offset_of("symbol name", self.dynamic.strtab)?;
                if let Some(symbol) = self.symbol(&raw, names, SymbolTable::Dynamic)?
                    && symbol.name == name
                {
                    return Ok(Some(symbol));
                }
            }
            if link & 1 == 1 {
                break;
            }
        }
        Ok(None)
    }

    /// Finds symbols by their exact mangled names: exported ones by hash, then the rest, local ones
    /// included, in `.symtab` and in the debug symbols that were [adopted](Image::adopt_debug_file).
    pub fn symbols(&self, names: &[&str]) -> Lookup {
        let mut lookup = Lookup::default();
        let mut missing = Vec::new();
        for &name in names {
            match self.exported(name) {
                Ok(Some(symbol)) => drop(lookup.found.insert(name.to_owned(), symbol)),
                Ok(None) => missing.push(name),
                Err(error) => {
                    lookup.trouble.get_or_insert(error);
                    missing.push(name);
                }
            }
        }
        if let Err(error) = self.add_static(&missing, &mut lookup) {
            lookup.trouble.get_or_insert(error);
        }
        for debug in &self.debug {
            missing.retain(|name| !lookup.found.contains_key(*name));
            if let Err(error) = debug.add_static(&missing, &mut lookup) {
                lookup.trouble.get_or_insert(error);
            }
        }
        for name in lookup.ambiguous.keys() {
            lookup.found.remove(name);
        }
        lookup
    }

    fn add_static(&self, names: &[&str], lookup: &mut Lookup) -> Result<(), ImageError> {
        let Some(strings) = self.sections.strtab.as_ref().filter(|_| !names.is_empty()) else {
            return Ok(());
        };
        let wanted = self.offsets_of_names(strings, names)?;
        if wanted.is_empty() {
            return Ok(());
        }
        self.scan(SymbolTable::Static, |raw, _| {
            if let Some(&name) = wanted.get(&raw.st_name.get(Le))
                && let Some(symbol) = named(raw, name, SymbolTable::Static)
            {
                lookup.add(symbol);
            }
            Ok(())
        })
    }

    /// All functions whose mangled names begin with `prefix` and that `matches` accepts, by
    /// address; at most `limit`.
    ///
    /// # Errors
    /// When the tables cannot be read or are damaged.
    pub fn functions_matching(
        &self,
        prefix: &str,
        matches: impl Fn(&str) -> bool,
        limit: usize,
    ) -> Result<Vec<Symbol>, ImageError> {
        let mut found = BTreeMap::new();
        let mut add = |symbol: Symbol| {
            if found.len() < limit && symbol.kind == SymbolKind::Function {
                let key = (symbol.vaddr, symbol.name.clone());
                found.entry(key).or_insert(symbol);
            }
        };
        self.each_matching(SymbolTable::Dynamic, prefix, &matches, &mut add)?;
        self.each_matching(SymbolTable::Static, prefix, &matches, &mut add)?;
        for debug in &self.debug {
            debug.each_matching(SymbolTable::Static, prefix, &matches, &mut add)?;
        }
        Ok(found.into_values().collect())
    }

    fn each_matching(
        &self,
        table: SymbolTable,
        prefix: &str,
        matches: &impl Fn(&str) -> bool,
        add: &mut impl FnMut(Symbol),
    ) -> Result<(), ImageError> {
        let Some(strings) = self.strings_of(table)? else {
            return Ok(());
        };
        let wanted = self.offsets_of_matches(&strings, prefix, matches)?;
        if wanted.is_empty() {
            return Ok(());
        }
        self.scan(table, |raw, _| {
            let name = wanted.get(&raw.st_name.get(Le));
            name.and_then(|name| named(raw, name, table))
                .into_iter()
                .for_each(&mut *add);
            Ok(())
        })
    }

    /// Where in the file the names of a table are.
    fn strings_of(&self, table: SymbolTable) -> Result<Option<Range<u64>>, ImageError> {
        match table {
            SymbolTable::Static => Ok(self.sections.strtab.clone()),
            SymbolTable::None => Ok(None),
            SymbolTable::Dynamic if self.dynamic.symtab.is_none() => Ok(None),
            SymbolTable::Dynamic => {
                let start = self.offset_of("symbol names", self.dynamic.strtab)?;
                Ok(Some(start..start.saturating_add(self.dynamic.strtab_size)))
            }
        }
    }

    /// All functions of one table, in its order.
    ///
    /// # Errors
    /// When the table cannot be read or is damaged.
    pub fn functions(&self, table: SymbolTable) -> Result<Vec<Symbol>, ImageError> {
        let mut found = Vec::new();
        self.scan(table, |raw, names| {
            if let Some(symbol) = self.symbol(raw, names, table)?
                && symbol.kind == SymbolKind::Function
            {
                found.push(symbol);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Every name of the function at an address.
    ///
    /// # Errors
    /// When the tables cannot be read or are damaged.
    pub fn names_at(&self, vaddr: u64) -> Result<Vec<String>, ImageError> {
        let mut names = Vec::new();
        for &(_, name) in self
            .symbol_index()?
            .within(&(vaddr..vaddr.saturating_add(1)))
        {
            let name = text(self.bytes.c_string("symbol name", name, MAX_NAME)?);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Functions by address, read once.
    pub(in crate::code) fn symbol_index(&self) -> Result<&SymbolIndex, ImageError> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let mut functions = Vec::new();
        for table in [SymbolTable::Dynamic, SymbolTable::Static] {
            self.scan(table, |raw, names| {
                if kind(raw) != SymbolKind::Other && raw.st_shndx.get(Le) != elf::SHN_UNDEF {
                    let name = names.saturating_add(u64::from(raw.st_name.get(Le)));
                    functions.push((raw.st_value.get(Le), name));
                }
                Ok(())
            })?;
        }
        functions.sort_unstable();
        functions.dedup();
        Ok(self.index.get_or_init(|| SymbolIndex { functions }))
    }

    pub(super) fn dynamic_symbol(&self, number: u64) -> Result<elf::Sym64<Le>, ImageError> {
        let table = self.dynamic.symtab.unwrap_or_default();
        let at = self
            .offset_of("symbol table", table)?
            .saturating_add(number * SIZE);
        self.bytes.structure("symbol", at)
    }

    fn scan_dynamic(&self, names: &[&str]) -> Result<HashMap<String, Symbol>, ImageError> {
        let mut found = HashMap::new();
        self.scan(SymbolTable::Dynamic, |raw, strings| {
            if let Some(symbol) = self.symbol(raw, strings, SymbolTable::Dynamic)?
                && names.contains(&symbol.name.as_str())
            {
                found.insert(symbol.name.clone(), symbol);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `visit` with each entry of a table and the file offset of its names.
    fn scan(
        &self,
        table: SymbolTable,
        mut visit: impl FnMut(&elf::Sym64<Le>, u64) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let (range, names) = match (table, &self.sections) {
            (SymbolTable::Dynamic, _) => {
                let Some(symtab) = self.dynamic.symtab else {
                    return Ok(());
                };
                let start = self.offset_of("symbol table", symtab)?;
                let length = self.dynamic_symbol_count()?.saturating_mul(SIZE);
                (
                    start..start.saturating_add(length),
                    self.offset_of("symbol names", self.dynamic.strtab)?,
                )
            }
            (SymbolTable::Static, sections) => match (&sections.symtab, &sections.strtab) {
                (Some(symbols), Some(names)) => (symbols.clone(), names.start),
                (_, _) => return Ok(()),
            },
            (SymbolTable::None, _) => return Ok(()),
        };
        let count = range.end.saturating_sub(range.start) / SIZE;
        if count > MAX_SYMBOLS {
            return Err(ImageError::TooLarge {
                what: "number of symbols",
                length: count,
                limit: MAX_SYMBOLS,
            });
        }
        let mut at = range.start;
        while range.end - at >= SIZE {
            let length = (range.end - at).min(CHUNK) / SIZE * SIZE;
            let chunk = self.bytes.vec("symbol table", at, length, CHUNK)?;
            let (symbols, _) =
                object::pod::slice_from_bytes::<elf::Sym64<Le>>(&chunk, (length / SIZE) as usize)
                    .map_err(|()| ImageError::Malformed {
                    what: "symbol table",
                    at,
                    reason: "misaligned",
                })?;
            symbols.iter().try_for_each(|raw| visit(raw, names))?;
            at += length;
        }
        Ok(())
    }

    fn dynamic_symbol_count(&self) -> Result<u64, ImageError> {
        if let Some(hash) = self.dynamic.hash {
            // DT_HASH: the number of chains is the number of symbols.
            let at = self.offset_of(".hash", hash)?;
            return self.bytes.u32(".hash", at.saturating_add(4)).map(u64::from);
        }
        let Some(table) = self.dynamic.gnu_hash else {
            return Ok(0);
        };
        let table = HashTable::read(self, table)?;
        let length = u64::from(table.buckets) * 4;
        let buckets = self
            .bytes
            .vec(".gnu_hash buckets", table.bucket(0), length, MAX_SYMBOLS)?;
        let last = buckets
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bucket| u32::from_le_bytes(*bucket))
            .max()
            .unwrap_or_default();
        if last < table.first_symbol {
            return Ok(u64::from(table.first_symbol));
        }
        for number in last..last.saturating_add(MAX_CHAIN) {
            if self.bytes.u32(".gnu_hash chain", table.chain(number))? & 1 == 1 {
                return Ok(u64::from(number) + 1);
            }
        }
        Err(ImageError::Malformed {
            what: ".gnu_hash chain",
            at: table.chain(last),
            reason: "it does not end",
        })
    }

    fn raw_name(&self, raw: &elf::Sym64<Le>, names: u64) -> Result<Vec<u8>, ImageError> {
        let at = names.saturating_add(u64::from(raw.st_name.get(Le)));
        self.bytes.c_string("symbol name", at, MAX_NAME)
    }

    fn symbol(
        &self,
        raw: &elf::Sym64<Le>,
        names: u64,
        table: SymbolTable,
    ) -> Result<Option<Symbol>, ImageError> {
        if raw.st_shndx.get(Le) == elf::SHN_UNDEF {
            return Ok(None);
        }
        Ok(named(raw, &text(self.raw_name(raw, names)?), table))
    }
}

/// A symbol with its name; `None` if the image does not define it.
fn named(raw: &elf::Sym64<Le>, name: &str, table: SymbolTable) -> Option<Symbol> {
    if raw.st_shndx.get(Le) == elf::SHN_UNDEF {
        return None;
    }
    Some(Symbol {
        name: name.to_owned(),
        vaddr: raw.st_value.get(Le),
        size: raw.st_size.get(Le),
        kind: kind(raw),
        binding: match raw.st_info >> 4 {
            elf::STB_LOCAL => Binding::Local,
            elf::STB_WEAK => Binding::Weak,
            _ => Binding::Global,
        },
        table,
    })
}

fn kind(raw: &elf::Sym64<Le>) -> SymbolKind {
    match raw.st_info & 0xf {
        elf::STT_FUNC => SymbolKind::Function,
        elf::STT_GNU_IFUNC => SymbolKind::IndirectFunction,
        _ => SymbolKind::Other,
    }
}
