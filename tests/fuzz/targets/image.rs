//! ELF images with their unwind tables and code: reading, resolving and planning ends, whatever a
//! traced process made its library look like.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tracer_probe::code::fuzz::image(bytes));

#[cfg(not(fuzzing))]
fn main() {
    tracer_probe::code::fuzz::image(&[]);
}
