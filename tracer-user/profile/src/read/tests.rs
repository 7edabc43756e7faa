use tracer_abi::{CaptureLevel, Op, OpFlags, OpKind, Register, Source as OpSource};

use super::*;
use crate::profile::{Argument, ExitWanted, Place};

fn with_probe(probe: &str) -> Result<Profile, ProfileError> {
    let text = format!(
        "name = \"n\"\nruntime = \"r\"\nrecognise = [\"f\"]\n[[probe]]\nname = \"p\"\n\
         group = \"g\"\nrate = 1\nsymbols = [\"f\"]\n{probe}"
    );
    read("file.toml", &text)
}

fn only_probe(probe: &str) -> Probe {
    let mut profile = with_probe(probe).expect("the profile is sound");
    assert_eq!(profile.probes.len(), 1);
    profile.probes.remove(0)
}

fn refused(probe: &str) -> String {
    with_probe(probe)
        .expect_err("the profile is wrong")
        .to_string()
}

fn used(probe: &Probe) -> &[Op] {
    &probe.spec.ops[..probe.spec.op_count as usize]
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    assert_eq!(
        refused("signal = \"step\"\nsampel_every = 4\n"),
        "profile file.toml, line 10, column 1: unknown key `sampel_every`: did you mean `sample_every`?"
    );
    assert_eq!(
        refused("signal = \"step\"\nemit = \"exit\"\n[probe.fields]\nreslt = \"i32 ret\"\n"),
        "profile file.toml, line 12, column 1: unknown field `reslt`: did you mean `result`? (a probe \
         of signal \"call\" may name its own)"
    );
}

#[test]
fn an_argument_read_at_the_exit_is_kept_from_the_entry() {
    let probe = only_probe(
        "signal = \"token-piece\"\nemit = \"exit\"\n[probe.fields]\n\
         text = \"bytes rdx count result limit 256\"\nresult = \"i32 ret\"\n",
    );
    assert_eq!(probe.exit, ExitWanted::Result);
    assert_eq!(probe.wanted_arguments, [Argument::Register(Register::Rdx)]);
    let [kept, result, text] = used(&probe) else {
        panic!("three operations, not {:?}", used(&probe));
    };
    assert_eq!(
        (kept.kind, kept.flags),
        (OpKind::Number as u8, OpFlags::ENTRY)
    );
    assert_eq!(kept.level, CaptureLevel::Text as u8);
    assert_eq!(result.flags, OpFlags::EXIT | OpFlags::SIGNED);
    assert_eq!(
        (text.kind, text.source),
        (OpKind::Bytes as u8, OpSource::Slot as u8)
    );
    assert_eq!((text.index, text.length_slot), (kept.slot, result.slot));
    assert_eq!(
        probe.spec.value_count, 1,
        "the kept argument stays out of the record"
    );
}

#[test]
fn a_condition_runs_before_anything_that_a_dropped_call_would_waste() {
    let probe = only_probe(
        "signal = \"step\"\nkeep = [\"kind >= 1\"]\n[probe.locals]\nkind = \"i32 rsi\"\n\
         [probe.fields]\ncontext = \"address rdi\"\n",
    );
    let kinds: Vec<u8> = used(&probe).iter().map(|op| op.kind).collect();
    let expected = [OpKind::Number, OpKind::Keep, OpKind::Number].map(|kind| kind as u8);
    assert_eq!(kinds, expected);
    assert_eq!(probe.spec.gate_at, 2);
    assert_eq!(used(&probe)[1].operand, 0, ">= 1 is > 0");
}

#[test]
fn content_cannot_be_declared_harmless() {
    let message = refused(
        "signal = \"input-token\"\n[probe.fields]\n\
         token_id = { read = \"i32 rdx\", level = \"shape\" }\n",
    );
    assert!(
        message.contains("must not leave the process below level tokens"),
        "{message}"
    );
    let message = refused(
        "signal = \"input-token\"\nkeep = [\"token_id > 4\"]\n[probe.fields]\n\
         token_id = \"i32 rdx\"\n",
    );
    assert!(
        message.contains("let the condition use a local"),
        "{message}"
    );
}

#[test]
fn a_chain_of_pointers_becomes_offsets_in_order() {
    let probe = only_probe(
        "signal = \"batch\"\n[probe.fields]\nsequences_per_token = \"i32 [[frame + 56] - 8]\"\n",
    );
    let [op] = used(&probe) else {
        panic!("one operation")
    };
    assert_eq!(
        (op.source, op.depth, op.width),
        (OpSource::Frame as u8, 2, 4)
    );
    assert_eq!(op.offsets[..2], [56, -8]);
    let expected = Argument::Frame {
        offset: 56,
        width: 8,
    };
    assert_eq!(probe.wanted_arguments, [expected]);
    assert_eq!(probe.fields[0].place, Place::Slot(0));
}

#[test]
fn each_layout_is_a_variant_and_the_plain_probe_comes_last() {
    let profile = with_probe(
        "signal = \"step\"\n[probe.fields]\ncontext = \"address rdi\"\n\
         [[probe.layout]]\nwhen = { present = [\"new\"] }\n\
         [probe.layout.fields]\ntoken_count = \"u32 [rsi + 4]\"\n",
    )
    .expect("the profile is sound");
    let [newer, plain] = profile.probes.as_slice() else {
        panic!("two variants")
    };
    assert_eq!((newer.fields.len(), plain.fields.len()), (2, 1));
    assert_eq!(plain.gate, Gate::default());
}

#[test]
fn what_the_kernel_cannot_do_is_refused_with_a_reason() {
    for (probe, reason) in [
        (
            "[probe.fields]\nresult = \"i32 ret\"\n",
            "needs a record at the exit",
        ),
        (
            "[probe.fields]\nresult = \"i32 rdi + 4\"\n",
            "did you mean `[… + …]`",
        ),
        (
            "[probe.fields]\nresult = \"i32 frame\"\n",
            "write [frame + offset]",
        ),
        (
            "[probe.fields]\nresult = \"i32 [[[[[rdi]]]]]\"\n",
            "more than 4 steps",
        ),
        (
            "[probe.fields]\nrope_frequency_base = \"f32 rdi\"\n",
            "no floating-point register",
        ),
        (
            "[probe.fields]\ncontext = \"i32 rdi\"\n",
            "`context` is of kind address",
        ),
        (
            "[probe.fields]\ntext = \"bytes rdi count nothing\"\n",
            "unknown field or local",
        ),
        (
            "[probe.fields]\ntext = \"cstring rdi limit 4096\"\n",
            "more than the 2048",
        ),
        (
            "[probe.locals]\na = \"u64 b\"\nb = \"u64 a\"\n",
            "defined by itself",
        ),
        (
            "keep = [\"half > 1\"]\n[probe.locals]\nhalf = \"u32 rsi >> 32\"\n",
            "`half` is a part of a word",
        ),
        ("minimum_duration = \"2ms\"\n", "needs a record at the exit"),
        (
            "mode = \"histogram\"\nemit = \"exit\"\n",
            "emits nothing per call",
        ),
        ("rate_limit = { burst = 3 }\n", "needs `per_second`"),
    ] {
        let message = refused(&format!("signal = \"step\"\n{probe}"));
        assert!(message.contains(reason), "{message}\nshould say: {reason}");
    }
}
