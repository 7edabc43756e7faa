//! Tests that need root say so, and skip by name where they have none; under CI they fail instead.

use std::{env, thread};

/// Whether the running test may go on: true when `met`, else the skip is printed with the test's name.
///
/// # Panics
/// When `CI` is `true` and the requirement is not met: a skipped test must not look like a passed one.
#[must_use]
pub fn met_or_skipped(met: bool, requirement: &str) -> bool {
    if met {
        return true;
    }
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(
        !ci,
        "{test} needs {requirement}, and CI=true forbids skipping it"
    );
    eprintln!("skipped {test}: needs {requirement}");
    false
}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Leaves the test, by name, unless it runs as root.
#[macro_export]
macro_rules! requires_root {
    () => {
        if !$crate::privilege::met_or_skipped($crate::privilege::is_root(), "root") {
            return Ok(());
        }
    };
}
