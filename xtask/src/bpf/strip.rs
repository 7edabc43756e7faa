//! Removing DWARF from a BPF object while keeping its BTF.
//!
//! The compiler needs full debug information to make BTF from; the loader needs only the BTF.

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// Returns `object` without its DWARF sections and their relocations.
pub(crate) fn dwarf(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("reading the linked BPF object")?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM keeps section and symbol names in one table; the writer wants one for each.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder
        .write(&mut stripped)
        .context("writing the stripped BPF object")?;
    Ok(stripped)
}
