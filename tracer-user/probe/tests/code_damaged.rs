//! Images that are damaged, cut short or no images at all: each ends in an answer or an error.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up fails where it stands"
)]

use std::{path::PathBuf, process::Command, sync::LazyLock};

use proptest::prelude::*;
use tracer_probe::code::{Image, ImageError, fuzz};

/// A small real library with symbols, unwind table, a jump table, a cold part and an import.
static LIBRARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::TempDir::new().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    std::fs::write(
        at("code.s"),
        ".text\n.globl f, g\n.type f,@function\nf: .cfi_startproc\n push %rbp\n\
         .cfi_def_cfa_offset 16\n mov %rsp, %rbp\n.cfi_def_cfa_register 6\n cmp $1, %edi\n\
         ja .Lcold\n lea .Ltable(%rip), %rdx\n movslq (%rdx,%rdi,4), %rax\n add %rdx, %rax\n\
         jmp *%rax\n1: call work@PLT\n2: leave\n.cfi_def_cfa 7, 8\n ret\n.cfi_endproc\n\
         .size f, .-f\n.type g,@function\ng: .cfi_startproc\n jmp f\n.cfi_endproc\n.size g, .-g\n\
         .section .text.unlikely,\"ax\",@progbits\n.type f.cold,@function\nf.cold: .cfi_startproc\n\
         .cfi_def_cfa 6, 16\n.Lcold: xor %eax, %eax\n jmp 2b\n.cfi_endproc\n\
         .section .rodata\n.p2align 2\n.Ltable: .long 1b-.Ltable, 2b-.Ltable\n\
         .section .note.GNU-stack\n",
    )
    .unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-nostdlib", "-Wl,-z,max-page-size=512", "-o"])
        .args([at("lib.so"), at("code.s")])
        .status()
        .expect("a C compiler driver links Rust programs, so there is one");
    assert!(status.success());
    std::fs::read(at("lib.so")).unwrap()
});

#[test]
fn the_library_that_is_damaged_here_is_sound_itself() {
    let library: &[u8] = &LIBRARY;
    let image = Image::parse(library).unwrap();
    assert!(image.exported("f").unwrap().is_some());
    assert_eq!(image.symbols(&["f.cold"]).found.len(), 1);
    fuzz::image(library);
}

#[test]
fn what_is_no_such_image_is_named() {
    let damaged = |at: usize, value: u8| {
        let mut bytes = LIBRARY.clone();
        bytes[at] = value;
        Image::parse(&bytes[..]).map(drop).unwrap_err()
    };
    assert!(matches!(
        Image::parse(&b"#!/bin/sh"[..]),
        Err(ImageError::NotElf { .. })
    ));
    assert!(matches!(
        Image::parse(&b""[..]),
        Err(ImageError::Outside { .. })
    ));
    assert!(matches!(damaged(4, 1), ImageError::ThirtyTwoBit));
    assert!(matches!(damaged(5, 2), ImageError::BigEndian));
    assert!(matches!(
        damaged(18, 183),
        ImageError::Machine { machine: 183 }
    ));
    assert!(matches!(
        damaged(16, 1),
        ImageError::NotLoadable { kind: 1 }
    ));
    assert!(damaged(4, 1).to_string().contains("32-bit"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        fuzz::image(&bytes);
    }

    #[test]
    fn a_damaged_library_is_answered(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
    ) {
        let mut bytes = LIBRARY.clone();
        for (at, value) in damage {
            *at.get_mut(&mut bytes[..]) = value;
        }
        fuzz::image(&bytes);
    }

    #[test]
    fn extreme_words_in_a_library_are_answered(
        damage in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(vec![0, 1, u64::MAX, 1 << 63, 1 << 32, 0x7fff_ffff, 64])),
            1..4,
        ),
    ) {
        let mut bytes = LIBRARY.clone();
        for (at, value) in damage {
            let word = at.index(bytes.len() / 4 - 1) * 4;
            bytes[word..word + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
        fuzz::image(&bytes);
    }

    #[test]
    fn a_library_cut_short_is_answered(end in any::<prop::sample::Index>()) {
        fuzz::image(&LIBRARY[..end.index(LIBRARY.len())]);
    }
}
