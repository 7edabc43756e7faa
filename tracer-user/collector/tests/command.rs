//! The program as it is typed, and its service.
#![expect(clippy::unwrap_used, reason = "a test fails where it is wrong")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-collector");

fn collector(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

/// What it prints, if it succeeds.
fn said(arguments: &[&str]) -> String {
    let output = collector(arguments);
    let error = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn keys_are_exchanged_one_rotation_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("c");
    let read = |name: &str| fs::read_to_string(home.join(name)).unwrap();
    said(&["init", home.to_str().unwrap()]);
    let config = home.join("collector.toml");
    let config = config.to_str().unwrap();
    let (authority, key) = (read("authority.pem"), read("authority.key"));

    let told = said(&["rotate", "authority", "--config", config]);
    assert!(told.contains("After 24 hours"), "{told}");
    assert_ne!(read("authority.pem"), authority);
    assert_eq!(read("authority.former.pem"), authority);
    // Nothing is signed with the former key any more.
    for entry in fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.is_dir() || fs::read_to_string(&path).unwrap() != key);
    }
    for (arguments, why) in [
        (["rotate", "authority"], "finish that rotation first"),
        (["rotate", "finish"], "are good for 14"),
    ] {
        let output = collector(&[arguments[0], arguments[1], "--config", config]);
        assert_eq!(output.status.code(), Some(2));
        let error = text(&output.stderr);
        assert!(error.contains(why), "{error}");
    }
    let told = said(&["rotate", "authority", "--distrust", "--config", config]);
    assert!(told.contains("token new"), "{told}");
    let told = said(&["rotate", "finish", "--config", config]);
    assert!(told.contains("No former authority"), "{told}");

    let former = read("telemetry.key");
    let told = said(&["rotate", "telemetry", "--config", config]);
    assert!(told.contains("recipient = \"x25519:"), "{told}");
    assert_eq!(read("telemetry.former.1.key"), former);
    assert_ne!(read("telemetry.key"), former);
}

#[test]
fn completions_and_manual_pages_come_from_the_arguments() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(said(&["completions", shell]).contains("tracer-collector"));
    }
    let folder = tempfile::tempdir().unwrap();
    said(&["man", "--folder", folder.path().to_str().unwrap()]);
    let page = folder.path().join("tracer-collector-rotate-authority.1");
    assert!(fs::read_to_string(page).unwrap().contains("distrust"));
    assert!(said(&["man"]).contains("tracer\\-collector"));
}

#[test]
fn systemd_understands_the_service_and_finds_it_tight() {
    let analyze = |arguments: &[&str], unit: &Path| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).arg(unit).output()
    };
    if analyze(&["--version"], Path::new("")).is_err() {
        println!("skipped: there is no systemd-analyze here");
        return;
    }
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let unit = here.join("../../packaging/systemd/tracer-collector.service");
    let unit = fs::read_to_string(unit).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let installed = folder.path().join("tracer-collector.service");
    fs::write(
        &installed,
        unit.replace("/usr/bin/tracer-collector", PROGRAM),
    )
    .unwrap();
    let verified = analyze(&["verify", "--man=no", "--recursive-errors=no"], &installed).unwrap();
    assert_eq!(text(&verified.stderr), "");
    // Exposure in tenths, at most.
    let judge = [
        "security",
        "--offline=true",
        "--no-pager",
        "--threshold",
        "13",
    ];
    let judged = analyze(&judge, &installed).unwrap();
    assert!(judged.status.success(), "{}", text(&judged.stdout));
}
