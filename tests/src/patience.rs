//! Waiting for what a loaded or emulated machine does late.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long anything may take that a test waits for. It is what ends a test that hangs, and says nothing
/// about how fast something has to be.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How long one look lies behind the other.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `is_so` finds that it is.
///
/// # Errors
/// Those of `is_so`, and that it was not so within [`PATIENCE`], by the words of `what`.
pub fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > PATIENCE {
            bail!("{what}: not within {PATIENCE:?}");
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
