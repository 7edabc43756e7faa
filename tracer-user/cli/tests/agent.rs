//! `tracer agent` as a person and a service manager meet it, without a collector. What needs root and
//! BPF is tested end to end in the crate `tracer-tests`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tracer_agent::confine::CAPTURE_NEEDS;

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd")
}

fn tracer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(arguments)
        .output()
        .expect("the binary that cargo built can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with a configuration that its owner alone writes.
fn configured(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("agent.toml");
    fs::write(&path, text).expect("it can be written");
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&path, mode).expect("it is this user's");
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn a_wrong_line_is_named_with_its_remedy() {
    let (_folder, config) = configured("[ship]\nuser = \"nobody\"\nspool = \"1 gig\"\n");
    let output = tracer(&["agent", "--config", &config, "check"]);
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(
        error.contains("line 3") && error.contains("\"1GiB\""),
        "{error}"
    );
}

#[test]
fn a_cause_is_said_once() {
    let output = tracer(&["agent", "--config", "/none/agent.toml", "check"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "tracer: read the configuration /none/agent.toml: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_configuration_that_is_right_checks_without_a_word() {
    let (_folder, config) = configured("[ship]\nuser = \"nobody\"\n");
    let output = tracer(&["agent", "--config", &config, "check"]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
    let (_folder, config) =
        configured("[ship]\nuser = \"nobody\"\n[capture]\npolicy = \"/none\"\n");
    let output = tracer(&["agent", "--config", &config, "check"]);
    assert!(
        text(&output.stderr).contains("/none"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_agent_that_does_not_run_is_told_how_to_start() {
    let (folder, _) = configured("");
    let sockets = folder.path().display();
    let (_other, config) = configured(&format!("[ship]\nsockets = \"{sockets}\"\n"));
    let output = tracer(&["agent", "--config", &config, "status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("systemctl status tracer-ship"));
}

#[test]
fn a_token_that_is_none_is_refused() {
    let (_folder, config) = configured("[ship]\nuser = \"nobody\"\n");
    let output = tracer(&["agent", "--config", &config, "enroll", "--token", "abc"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("tracer-collector token new"));
}

/// The services as they are installed, with this build's program.
fn installed() -> Option<tempfile::TempDir> {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: there is no systemd-analyze here");
        return None;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["tracer-capture.service", "tracer-ship.service"] {
        let unit = fs::read_to_string(units().join(name)).expect("it is in the repository");
        let unit = unit.replace("/usr/bin/tracer", env!("CARGO_BIN_EXE_tracer"));
        fs::write(folder.path().join(name), unit).expect("it can be written");
    }
    Some(folder)
}

#[test]
fn systemd_understands_the_services_and_finds_them_tight() {
    let Some(folder) = installed() else { return };
    // Exposure in tenths, at most: what is left is said in the unit.
    for (name, exposure) in [
        ("tracer-capture.service", "35"),
        ("tracer-ship.service", "15"),
    ] {
        let unit = folder.path().join(name);
        let verified = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(&unit)
            .output()
            .unwrap();
        assert_eq!(text(&verified.stderr), "", "{name}");
        let judged = Command::new("systemd-analyze")
            .args([
                "security",
                "--offline=true",
                "--no-pager",
                "--threshold",
                exposure,
            ])
            .arg(&unit)
            .output()
            .unwrap();
        assert!(judged.status.success(), "{}", text(&judged.stdout));
    }
}

#[test]
fn captures_service_keeps_the_capabilities_that_capture_keeps() {
    let unit = fs::read_to_string(units().join("tracer-capture.service")).unwrap();
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .unwrap();
    let kept: Vec<String> = CAPTURE_NEEDS
        .iter()
        .flat_map(|(capability, _)| capability.iter_names())
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    assert_eq!(line.split(' ').collect::<Vec<_>>(), kept);
}
