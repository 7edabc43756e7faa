//! Does so much of one hot function's work and nothing else: what valgrind counts the instructions of.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use tracer_bench::instructions::Work;

fn main() -> Result<()> {
    let usage = "usage: tracer-bench-hot NAME COUNT; `cargo xtask bench instructions` runs it";
    let mut arguments = std::env::args().skip(1);
    let (name, count) = (arguments.next(), arguments.next());
    let work = name.as_deref().and_then(Work::named).context(usage)?;
    let count = count.and_then(|count| count.parse().ok()).context(usage)?;
    println!("{}", work.run(count)?);
    Ok(())
}
