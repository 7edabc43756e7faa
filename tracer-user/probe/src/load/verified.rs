//! What it takes the verifier to accept a program, as it writes at `BPF_LOG_STATS`.
//!
//! The kernel's own `veristat` reads these lines, which `print_verification_stats` in
//! kernel/bpf/verifier.c writes. Their shape is no interface: up to 6.18 the frames stand in one line,
//! in 7.3 each function has its own.

/// One program that the verifier accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// Its name.
    pub program: String,
    /// What it is attached to.
    pub purpose: Purpose,
    /// Instructions that the verifier walked over, along all paths; the kernel's limit is a million.
    pub instructions: u32,
    /// Bytes of stack of the program's function and of each that it calls, not rounded up.
    pub frames: Vec<u32>,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Functions of user space: it can be pre-empted, and it can sleep.
    Uprobe,
    /// A tracepoint of the kernel.
    Tracepoint,
    /// A function of the kernel, or a question to its security modules.
    Hook,
}

impl Verified {
    /// Reads the verifier's statistics; `None` if a line is missing or not as expected.
    pub(super) fn parse(program: &str, purpose: Purpose, log: &str) -> Option<Self> {
        let after = |start: &str| log.lines().find_map(|line| line.strip_prefix(start));
        let functions = log.lines().filter(|line| line.starts_with("subprog "));
        let mut frames = functions
            .map(|line| line.rsplit_once(" stack ")?.1.parse().ok())
            .collect::<Option<Vec<u32>>>()?;
        if frames.is_empty() {
            frames = after("stack depth ")?
                .split('+')
                .map(|frame| frame.trim().parse().ok())
                .collect::<Option<_>>()?;
        }
        let instructions = after("processed ")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()?;
        Some(Self {
            program: program.to_owned(),
            purpose,
            instructions,
            frames,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_all_functions_are_read_from_one_line() {
        let log = "verification time 812 usec\nstack depth 16+48+0\nprocessed 1234 insns \
                   (limit 1000000) max_states_per_insn 2 total_states 51 peak_states 50 \
                   mark_read 8\n";
        let verified = Verified::parse("call_entry", Purpose::Uprobe, log).expect("it is whole");
        assert_eq!(verified.frames, [16, 48, 0]);
        assert_eq!(verified.instructions, 1234);
    }

    #[test]
    fn the_frames_of_all_functions_are_read_from_a_line_each() {
        let log = "verification time 28705 usec\nstack depth max 64\n\
                   subprog 0 (generate) main insns_self 145 insns_total 614 stack 40\n\
                   subprog 1 (wake) static insns_self 180 insns_total 180 stack 8\n\
                   processed 614 insns (limit 1000000) max_states_per_insn 4 total_states 53\n";
        let verified = Verified::parse("generate", Purpose::Uprobe, log).expect("it is whole");
        assert_eq!(verified.frames, [40, 8]);
        assert_eq!(verified.instructions, 614);
    }

    #[test]
    fn statistics_without_a_number_are_not_guessed() {
        for log in [
            "",
            "processed 12 insns",
            "stack depth 8+\nprocessed 12 insns",
        ] {
            assert_eq!(
                Verified::parse("empty", Purpose::Uprobe, log),
                None,
                "{log}"
            );
        }
    }
}
