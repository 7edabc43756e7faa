//! Building workspace programs and learning where they are.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::Workspace;

/// cargo itself, the one that runs this program where there is one.
pub(crate) fn command(workspace: &Workspace) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&workspace.root);
    cargo
}

/// Runs `cargo ARGUMENTS` and returns the name and path of each program that it built or found
/// fresh.
pub(crate) fn executables(
    workspace: &Workspace,
    arguments: &[&str],
) -> Result<Vec<(String, PathBuf)>> {
    let shown = format!("cargo {}", arguments.join(" "));
    let output = command(workspace)
        .args(arguments)
        .args(["--quiet", "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` ended with {}", output.status);
    }
    let messages = String::from_utf8(output.stdout)
        .with_context(|| format!("reading the messages of `{shown}`"))?;
    messages
        .lines()
        .map(|line| {
            let message: Value = serde_json::from_str(line)
                .with_context(|| format!("reading a message of `{shown}`"))?;
            Ok(executable(&message))
        })
        .filter_map(Result::transpose)
        .collect()
}

/// The program that an artifact message announces.
fn executable(message: &Value) -> Option<(String, PathBuf)> {
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_artifacts_with_a_program_count() {
        let read = |text: &str| executable(&serde_json::from_str(text).expect("JSON"));
        let program = r#"{"reason":"compiler-artifact","target":{"name":"a"},"executable":"/t/a"}"#;
        assert_eq!(read(program), Some(("a".to_owned(), "/t/a".into())));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"a"},"executable":null}"#;
        assert_eq!(read(library), None);
        assert_eq!(read(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
