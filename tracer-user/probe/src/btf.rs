//! Where a struct's field lies in the running kernel, by name, from its own type information.
//!
//! Format: <https://docs.kernel.org/bpf/btf.html>. Only what is needed is read: structs and unions
//! by name, and members with the anonymous structs and unions that they lie in.

use std::{collections::HashMap, fs, io, path::Path};

/// Where the kernel tells its types.
pub(crate) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Far above any kernel's type information, which is about 6 MB.
const LARGEST: u64 = 256 << 20;
/// Anonymous structs and unions nest to about 4 in the kernel.
const DEEPEST: usize = 16;

const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FUNCTION: u32 = 12;

/// The kernel's types.
pub(crate) struct KernelTypes {
    bytes: Vec<u8>,
    strings: usize,
    /// Offset of each type in `bytes`; type 0 is `void` and has none.
    types: Vec<u32>,
    /// Structs and unions with a name.
    structures: HashMap<Vec<u8>, u32>,
}

/// Why a field could not be found.
#[derive(Debug, thiserror::Error)]
pub enum TypesError {
    /// The file cannot be read.
    #[error(
        "cannot read the kernel's type information from {path}: {cause}; a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y has it, as those of all current distributions do"
    )]
    Missing {
        /// The file.
        path: String,
        /// What happened.
        cause: io::Error,
    },
    /// The file is not BTF.
    #[error("the kernel's type information is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// There is no such field.
    #[error("this kernel has no field {field} in struct {structure}")]
    NoField {
        /// The struct.
        structure: String,
        /// The field.
        field: String,
    },
}

impl KernelTypes {
    /// Those of the running kernel.
    pub(crate) fn of_running_kernel() -> Result<Self, TypesError> {
        let path = Path::new(VMLINUX);
        let missing = |cause| TypesError::Missing {
            path: path.display().to_string(),
            cause,
        };
        let length = fs::metadata(path).map_err(missing)?.len();
        if length > LARGEST {
            return Err(TypesError::Damaged {
                offset: 0,
                what: "it is larger than 256 MiB",
            });
        }
        Self::parse(fs::read(path).map_err(missing)?)
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, TypesError> {
        let damaged = |offset, what| Err(TypesError::Damaged { offset, what });
        let word = |at: usize| word(&bytes, at);
        if bytes.get(..2) != Some(&[0x9f, 0xeb]) {
            return damaged(0, "no BTF magic number of this machine's byte order");
        }
        let header = word(4)? as usize;
        let (types_at, types_length) = (header + word(8)? as usize, word(12)? as usize);
        let strings = header + word(16)? as usize;
        let end = types_at + types_length;
        if end > bytes.len() || strings > bytes.len() {
            return damaged(8, "a section ends behind the end of the file");
        }
        let mut types = vec![0];
        let mut structures = HashMap::new();
        let mut at = types_at;
        while at < end {
            let info = word(at + 4)?;
            let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            let Some(extra) = extra_length(kind, count) else {
                return damaged(at + 4, "unknown kind of type");
            };
            if matches!(kind, KIND_STRUCT | KIND_UNION) {
                let name = name_at(&bytes, strings, word(at)?);
                if !name.is_empty() {
                    let index = u32::try_from(types.len()).unwrap_or(u32::MAX);
                    structures.entry(name.to_vec()).or_insert(index);
                }
            }
            let Ok(offset) = u32::try_from(at) else {
                return damaged(at, "an offset has more than 32 bits");
            };
            types.push(offset);
            at += 12 + extra;
        }
        Ok(Self {
            bytes,
            strings,
            types,
            structures,
        })
    }

    /// Byte offset of `field` in `structure`, which may lie in anonymous unions and structs.
    pub(crate) fn field_offset(&self, structure: &str, field: &str) -> Result<u32, TypesError> {
        let missing = || TypesError::NoField {
            structure: structure.into(),
            field: field.into(),
        };
        let &start = self
            .structures
            .get(structure.as_bytes())
            .ok_or_else(missing)?;
        let bits = self
            .member(start, field.as_bytes(), 0)?
            .ok_or_else(missing)?;
        Ok(bits / 8)
    }

    /// Number of a function's type, by which programs name what they attach to.
    pub(crate) fn function(&self, name: &str) -> Option<u32> {
        let is_it = |&&at: &&u32| {
            let at = at as usize;
            let kind = word(&self.bytes, at + 4).map(|info| (info >> 24) & 0x1f);
            let string = word(&self.bytes, at);
            kind.is_ok_and(|kind| kind == KIND_FUNCTION)
                && string.is_ok_and(|string| {
                    name_at(&self.bytes, self.strings, string) == name.as_bytes()
                })
        };
        let place = self.types.iter().skip(1).position(|at| is_it(&at))?;
        u32::try_from(place + 1).ok()
    }

    /// Bit offset of a member, if this type or an anonymous member of it has it.
    fn member(&self, id: u32, field: &[u8], depth: usize) -> Result<Option<u32>, TypesError> {
        let Some(&at) = self
            .types
            .get(id as usize)
            .filter(|_| id != 0 && depth < DEEPEST)
        else {
            return Ok(None);
        };
        let at = at as usize;
        let info = word(&self.bytes, at + 4)?;
        if !matches!((info >> 24) & 0x1f, KIND_STRUCT | KIND_UNION) {
            return Ok(None);
        }
        let has_bit_fields = info >> 31 == 1;
        for index in 0..(info & 0xffff) as usize {
            let member = at + 12 + index * 12;
            let name = name_at(&self.bytes, self.strings, word(&self.bytes, member)?);
            let offset = word(&self.bytes, member + 8)?;
            let offset = if has_bit_fields {
                offset & 0xff_ffff
            } else {
                offset
            };
            if name == field {
                return Ok(Some(offset));
            }
            if name.is_empty() {
                let inner = word(&self.bytes, member + 4)?;
                if let Some(inside) = self.member(inner, field, depth + 1)? {
                    return Ok(offset.checked_add(inside));
                }
            }
        }
        Ok(None)
    }
}

/// Bytes behind the 12 that every type has.
fn extra_length(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => 12 * count,
        // Enum, function prototype.
        6 | 13 => 8 * count,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Result<u32, TypesError> {
    let part = bytes.get(at..).and_then(|rest| rest.first_chunk());
    let part = part.ok_or(TypesError::Damaged {
        offset: at,
        what: "it ends too early",
    })?;
    Ok(u32::from_le_bytes(*part))
}

fn name_at(bytes: &[u8], strings: usize, offset: u32) -> &[u8] {
    let rest = bytes.get(strings + offset as usize..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(rest.len());
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use tracer_abi::KERNEL_FIELDS;

    use super::*;

    #[test]
    fn every_field_that_the_programs_need_is_found() {
        if !Path::new(VMLINUX).exists() {
            eprintln!("skipped every_field_that_the_programs_need_is_found: no {VMLINUX}");
            return;
        }
        let types = KernelTypes::of_running_kernel().expect("the kernel's own BTF is sound");
        for field in KERNEL_FIELDS {
            let offset = types.field_offset(field.structure, field.field);
            assert!(offset.is_ok_and(|offset| offset < 1 << 16), "{field:?}");
        }
    }

    #[test]
    fn a_hook_and_its_function_are_found() {
        if !Path::new(VMLINUX).exists() {
            eprintln!("skipped a_hook_and_its_function_are_found: no {VMLINUX}");
            return;
        }
        let types = KernelTypes::of_running_kernel().expect("the kernel's own BTF is sound");
        assert!(types.function("security_file_open").is_some());
        assert!(types.function("no_such_function").is_none());
        for field in tracer_abi::file::FILE_FIELDS {
            let offset = types.field_offset(field.structure, field.field);
            assert!(offset.is_ok_and(|offset| offset < 1 << 16), "{field:?}");
        }
    }

    #[test]
    fn damaged_type_information_is_an_error() {
        assert!(KernelTypes::parse(Vec::new()).is_err());
        let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0];
        bytes.resize(24, 0);
        assert!(KernelTypes::parse(bytes).is_err());
    }
}
