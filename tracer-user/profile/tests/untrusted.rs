//! A profile is text from outside: whatever it says, reading it ends, with a profile or an error
//! that names the file and a line of it.

use proptest::prelude::*;
use tracer_abi::{MAX_OPS, MAX_VALUES, OpFlags};
use tracer_profile::{ProfileError, read};

const SOUND: &str = include_str!("../profiles/llama.toml");

fn check(text: &str) -> Result<(), TestCaseError> {
    match read("file", text) {
        Ok(profile) => {
            for probe in &profile.probes {
                let spec = &probe.spec;
                prop_assert!(spec.op_count as usize <= MAX_OPS);
                prop_assert!(spec.value_count as usize <= MAX_VALUES);
                for op in &spec.ops[..spec.op_count as usize] {
                    let sides = op.flags & (OpFlags::ENTRY | OpFlags::EXIT);
                    prop_assert!(sides.count_ones() == 1, "an operation runs on one side");
                }
            }
        }
        Err(ProfileError::Wrong { line, .. }) => {
            prop_assert!(line >= 1 && line <= text.matches('\n').count() + 1);
        }
        Err(other) => return Err(TestCaseError::fail(other.to_string())),
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        check(&text)?;
    }

    #[test]
    fn a_damaged_profile_is_read_or_refused(at in 0..SOUND.len(), cut in 0..40_usize, put in "[ -~\\n]{0,8}") {
        let start = floor(at);
        let end = floor((at + cut).min(SOUND.len()));
        check(&format!("{}{put}{}", &SOUND[..start], &SOUND[end..]))?;
    }

    #[test]
    fn any_expression_is_compiled_or_refused(
        words in prop::collection::vec(
            prop_oneof![
                Just("i32"), Just("u64"), Just("address"), Just("f32"), Just("bytes"), Just("cstring"),
                Just("array"), Just("gather"), Just("count"), Just("limit"), Just("in"), Just("["),
                Just("]"), Just("+"), Just("-"), Just("*"), Just("rdi"), Just("frame"), Just("ret"),
                Just("result"), Just("here"), Just("8"), Just("0xffffffff"), Just("end_of_generation"),
            ],
            0..12,
        ),
        emit in prop_oneof![Just("entry"), Just("exit"), Just("both")],
    ) {
        let text = format!(
            "name = \"n\"\nruntime = \"r\"\nrecognise = [\"f\"]\n[[probe]]\nname = \"p\"\n\
             signal = \"step\"\ngroup = \"g\"\nrate = 1\nsymbols = [\"f\"]\nemit = \"{emit}\"\n\
             [probe.locals]\nhere = \"{0}\"\n[probe.fields]\nresult = \"{0}\"\n",
            words.join(" ")
        );
        check(&text)?;
    }
}

fn floor(mut at: usize) -> usize {
    while !SOUND.is_char_boundary(at) {
        at -= 1;
    }
    at
}
