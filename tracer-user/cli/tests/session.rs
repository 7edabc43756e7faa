//! The real binary, driven as from a terminal. None of these needs root: what needs it and BPF is
//! tested end to end in the crate `tracer-tests`.

mod said;

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use said::Said;
use tempfile::TempDir;

/// User and group `nobody`, the same number on every distribution.
const NOBODY: &str = "65534";
/// A recorded run; see the README beside it.
const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/recorded/node-llama-cpp.ndjson"
);

/// `tracer!("diff", "a", "b")`: runs the binary and gives what it said.
macro_rules! tracer {
    ($($argument:expr),* $(,)?) => {
        Said::of(
            Command::new(env!("CARGO_BIN_EXE_tracer"))
                .env_remove("NO_COLOR")
                .args([$($argument),*] as [&str; _]),
        )
    };
}

/// A copy of the binary that every user may run: the build folder may be its owner's alone.
struct Shared {
    folder: TempDir,
}

impl Shared {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let binary = folder.path().join("tracer");
        fs::copy(env!("CARGO_BIN_EXE_tracer"), &binary).expect("the binary can be copied");
        for path in [folder.path(), &binary] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
                .expect("the owner may change the mode");
        }
        Self { folder }
    }

    /// Runs the copy without privileges, whoever runs the test.
    fn as_nobody(&self, arguments: &[&str]) -> Said {
        let binary = self.folder.path().join("tracer");
        if !is_root() {
            return Said::of(Command::new(binary).args(arguments));
        }
        Said::of(
            Command::new("setpriv")
                .args([
                    "--reuid",
                    NOBODY,
                    "--regid",
                    NOBODY,
                    "--clear-groups",
                    "--inh-caps=-all",
                ])
                .arg(binary)
                .args(arguments),
        )
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .expect("/proc is mounted")
        .lines()
        .any(|line| line.split_whitespace().take(3).eq(["Uid:", "0", "0"]))
}

#[test]
fn the_help_is_what_people_were_promised() {
    insta::assert_snapshot!("help", tracer!("--help").out);
    insta::assert_snapshot!("help_doctor", tracer!("doctor", "--help").out);
    insta::assert_snapshot!("help_ps", tracer!("ps", "--help").out);
    insta::assert_snapshot!("help_trace", tracer!("trace", "--help").out);
    insta::assert_snapshot!("help_diff", tracer!("diff", "--help").out);
    insta::assert_snapshot!("help_policy", tracer!("policy", "--help").out);
    insta::assert_snapshot!("help_verify", tracer!("verify", "--help").out);
    insta::assert_snapshot!("help_sign", tracer!("sign", "--help").out);
    insta::assert_snapshot!("help_agent", tracer!("agent", "--help").out);
}

#[test]
fn help_and_version_end_well() {
    for arguments in [["--help"], ["--version"]] {
        let said = Said::of(Command::new(env!("CARGO_BIN_EXE_tracer")).args(arguments));
        assert_eq!((said.status, said.err.as_str()), (Some(0), ""), "{said:?}");
    }
    assert_eq!(
        tracer!("--version").out,
        concat!("tracer ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_arguments_end_with_status_2_and_name_themselves() {
    for (arguments, named) in [
        (vec![], "Usage: tracer"),
        (vec!["trcae"], "trace"),
        (vec!["trace", "--pids", "1"], "--pid"),
        (vec!["trace", "--capture", "all"], "tokens"),
        (vec!["trace", "--duration", "30"], "30s"),
        (vec!["trace", "--pid", "0"], "--pid: `0`"),
        (
            vec!["trace", "--pid", "1", "--exe", "/bin/x"],
            "cannot be used with",
        ),
        (vec!["trace", "-o", "csv"], "pretty, json or ndjson"),
        (
            vec!["trace", "--runtime", "llama.ccp"],
            "known runtimes: llama.cpp",
        ),
        (
            vec!["trace", "--profile", "/nonexistent.toml"],
            "/nonexistent.toml",
        ),
        (
            vec!["trace", "--policy", "/nonexistent.toml"],
            "/nonexistent.toml",
        ),
        (vec!["diff", "only-one"], "<B>"),
        (vec!["verify", "model"], "--bundle"),
        (vec!["verify", "model", "--bundle", "b"], "whom you trust"),
        (vec!["sign", "model", "--key", "k"], "--bundle"),
    ] {
        let said = Said::of(Command::new(env!("CARGO_BIN_EXE_tracer")).args(&arguments));
        assert_eq!(said.status, Some(2), "{arguments:?}: {said:?}");
        assert!(said.err.contains(named), "{arguments:?}: {said:?}");
        assert_eq!(said.out, "", "{arguments:?}");
    }
}

#[test]
fn the_configuration_is_printed_with_every_default() {
    let said = tracer!("trace", "--print-config");
    assert_eq!(said.status, Some(0), "{said:?}");
    insta::assert_snapshot!("print_config", said.out);
    toml::from_str::<toml::Table>(&said.out).expect("what is printed is TOML");
}

#[test]
fn the_printed_configuration_says_what_the_arguments_changed() {
    let said = tracer!(
        "trace",
        "--pid",
        "12,7",
        "--duration",
        "90s",
        "--capture",
        "tokens",
        "--no-govern",
        "--kernel-log",
        "debug",
        "-o",
        "ndjson:out \"x\".ndjson",
        "--print-config",
    );
    let printed: toml::Table = toml::from_str(&said.out).expect("what is printed is TOML");
    let trace = &printed["trace"];
    assert_eq!(trace["selection"]["pid"].to_string(), "[7, 12]");
    assert_eq!(trace["duration"].as_str(), Some("1m30s"));
    assert_eq!(trace["capture"].as_str(), Some("tokens"));
    assert_eq!(trace["govern"].as_bool(), Some(false));
    assert_eq!(trace["kernel_log"].as_str(), Some("debug"));
    assert_eq!(
        trace["outputs"][0].as_str(),
        Some("ndjson:out \"x\".ndjson")
    );
}

#[test]
fn a_policy_with_a_misspelt_field_is_refused_with_the_nearest_one() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, "[fields]\nenviroment = \"keep\"\n").expect("the folder is ours");
    let said = tracer!("trace", "--policy", path(&policy), "--print-config");
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.err.contains("did you mean `environment`?"), "{said:?}");
}

#[test]
fn tracing_without_root_says_how_to_get_it() {
    let said = Shared::new().as_nobody(&["trace"]);
    assert_eq!((said.status, said.out.as_str()), (Some(2), ""), "{said:?}");
    assert!(
        said.err.contains("root") && said.err.contains("sudo tracer"),
        "{said:?}"
    );
}

#[test]
fn a_doctor_without_root_still_reports() {
    let said = Shared::new().as_nobody(&["doctor", "-o", "json"]);
    assert_eq!(said.status, Some(1), "{said:?}");
    serde_json::from_str::<serde_json::Value>(&said.out).expect("the report is JSON");
}

#[test]
fn two_loads_are_told_apart_by_what_was_asked_for() {
    let recorded = fs::read_to_string(RECORDED).expect("the run was recorded");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let other = folder.path().join("other.ndjson");
    let changed = recorded.replace("\"context_length\":512,", "\"context_length\":256,");
    assert_ne!(changed, recorded);
    fs::write(&other, changed).expect("the folder is ours");

    let said = tracer!(
        "diff",
        RECORDED,
        path(&other),
        "--pick-a",
        "2",
        "--pick-b",
        "2"
    );
    assert_eq!(said.status, Some(1), "{said:?}");
    let rows: Vec<&str> = said
        .out
        .lines()
        .filter(|line| line.contains("parameters"))
        .collect();
    let words: Vec<Vec<&str>> = rows
        .iter()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(
        words,
        [["contexts[0].parameters.context_length", "512", "256"]],
        "{said:?}"
    );

    let json = tracer!(
        "diff",
        RECORDED,
        path(&other),
        "--pick-a=2",
        "--pick-b=2",
        "-o",
        "json"
    );
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("the report is JSON");
    assert_eq!(json["differences"][0]["b"], 256);
}

#[test]
fn equal_loads_do_not_differ_and_unseen_ones_are_no_difference() {
    let same = tracer!("diff", RECORDED, RECORDED, "--pick-a", "2", "--pick-b", "2");
    assert_eq!(same.status, Some(0), "{same:?}");
    let unseen = tracer!("diff", RECORDED, RECORDED, "--pick-a", "1", "--pick-b", "2");
    assert_eq!(unseen.status, Some(0), "{unseen:?}");
    assert!(
        unseen
            .out
            .contains("known on one side only: contexts[0].created"),
        "{unseen:?}"
    );
}

#[test]
fn a_file_with_several_loads_lists_them() {
    let said = tracer!("diff", RECORDED, RECORDED);
    assert_eq!((said.status, said.out.as_str()), (Some(2), ""), "{said:?}");
    assert!(
        said.err.contains("--pick-a") && said.err.contains("  2: process"),
        "{said:?}"
    );
}

#[test]
fn a_file_without_a_load_says_how_to_record_one() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let empty = folder.path().join("empty.ndjson");
    fs::write(&empty, "{\"kind\":\"loss\"}\n").expect("the folder is ours");
    let said = tracer!("diff", path(&empty), RECORDED, "--pick-b", "1");
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(
        said.err.contains("sudo tracer trace -o ndjson:FILE"),
        "{said:?}"
    );
    fs::write(&empty, "no json").expect("the folder is ours");
    let said = tracer!("diff", path(&empty), RECORDED, "--pick-b", "1");
    assert!(said.err.contains("line 1 column"), "{said:?}");
}

#[test]
fn completions_and_manual_name_every_command() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let said = tracer!("man", "--folder", path(folder.path()));
    assert_eq!(said.status, Some(0), "{said:?}");
    let script = tracer!("completions", "bash").out;
    for command in ["doctor", "ps", "trace", "diff", "verify", "sign"] {
        let page = folder.path().join(format!("tracer-{command}.1"));
        assert!(page.is_file(), "{}", page.display());
        assert!(script.contains(command), "{command}");
    }
    assert!(tracer!("man").out.contains("tracer\\-trace(1)"));
}

#[test]
fn a_profile_is_checked_against_a_library_without_attaching_anything() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let profile = folder.path().join("main.toml");
    let text = "name = \"main\"\nruntime = \"main\"\nrecognise = [\"main\"]\n\
                [[probe]]\nname = \"main\"\nsignal = \"call\"\ngroup = \"g\"\nrate = 1\n\
                symbols = [\"main\"]\nfields = { words = \"cstrings rsi count i32 rdi\" }\n\
                [[probe]]\nname = \"other\"\nsignal = \"call\"\ngroup = \"g\"\nrate = 1\n\
                symbols = [\"nowhere_to_be_found\"]\n";
    fs::write(&profile, text).expect("the folder is ours");
    let own = env!("CARGO_BIN_EXE_tracer");
    let said = tracer!(
        "profile",
        "check",
        path(&profile),
        "--binary",
        own,
        "-o",
        "json"
    );
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""), "{said:?}");
    let checked: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
    let probes = &checked["libraries"][0]["probes"];
    assert_eq!(probes[0]["status"], "resolved", "{checked}");
    assert_eq!(probes[0]["sites"][0]["role"], "entry");
    assert_eq!(
        probes[0]["reads"][0]["reads"],
        "NUL-terminated texts behind pointers at rsi (argument 2), as many as the 4-byte signed \
         integer in rdi (argument 1)"
    );
    assert_eq!(probes[1]["status"], "absent");

    // Without a library it only has to compile; a mistake is named with its place.
    assert_eq!(tracer!("profile", "check", path(&profile)).status, Some(0));
    fs::write(&profile, text.replace("i32 rdi", "i23 rdi")).expect("the folder is ours");
    let said = tracer!("profile", "check", path(&profile));
    assert_eq!(said.status, Some(2));
    assert!(said.err.contains("line 10, column 44"), "{}", said.err);
}

#[test]
fn built_in_profiles_are_listed_and_shown() {
    assert!(tracer!("profile", "list").out.contains("llama.cpp"));
    assert!(
        tracer!("profile", "show", "ggml")
            .out
            .contains("sched-compute")
    );
    assert_eq!(tracer!("profile", "check", "ggml").status, Some(0));
    let shown = tracer!("profile", "show", "llama").out;
    assert!(
        shown.contains("C string") || shown.contains("NUL-terminated text"),
        "{shown}"
    );
    let unknown = tracer!("profile", "show", "lama");
    assert_eq!(unknown.status, Some(2));
    assert!(
        unknown.err.contains("built in are: llama"),
        "{}",
        unknown.err
    );
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary that cargo built can be run");
    drop(child.stdout.take());
    let mut errors = String::new();
    let mut stderr = child.stderr.take().expect("it was piped");
    stderr
        .read_to_string(&mut errors)
        .expect("errors are UTF-8");
    let status = child.wait().expect("the child is ours");
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// A policy that is shipped.
const PSEUDONYMS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/policies/debug-pseudonyms.toml"
);
const SHAPES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/policies/shapes-only.toml"
);

/// A file of one text in a folder of its own.
fn text_file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("text");
    fs::write(&path, text).expect("the folder can be written");
    let path = path.to_str().expect("temporary paths are UTF-8").to_owned();
    (folder, path)
}

#[test]
fn a_policy_that_can_be_used_is_shown_resolved_with_its_digest() {
    let said = tracer!("policy", "lint", PSEUDONYMS);
    assert_eq!(said.status, Some(0), "{said:?}");
    for part in ["1 rule of its own", "sha256:", "personal = \"pseudonym\""] {
        assert!(said.out.contains(part), "{said:?}");
    }
    let said = tracer!("policy", "lint", PSEUDONYMS, "-o", "json");
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(json["own_rules"], 1);
}

#[test]
fn a_policy_that_cannot_be_used_is_refused_with_file_line_and_remedy() {
    let (_folder, path) = text_file("[fields]\nenviroment = \"keep\"\n");
    let said = tracer!("policy", "lint", &path);
    assert_eq!(said.status, Some(2));
    assert!(said.err.contains(&path), "{said:?}");
    let message = "line 2: unknown field `enviroment`; did you mean `environment`?";
    assert!(said.err.contains(message), "{said:?}");
}

#[test]
fn a_policy_is_tried_on_text_and_explained_without_showing_a_value() {
    let (_folder, path) = text_file("write to ann.lee@mail.example now\n");
    let said = tracer!("policy", "test", &path, "--policy", PSEUDONYMS);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(said.out.starts_with("write to [EMAIL#"), "{said:?}");
    let said = tracer!(
        "policy", "explain", &path, "--policy", PSEUDONYMS, "--field", "text"
    );
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(
        said.out.contains("EMAIL") && said.out.contains("pseudonym"),
        "{said:?}"
    );
    assert!(!said.out.contains("ann.lee"), "{said:?}");
    let said = tracer!("policy", "explain", &path, "-o", "json");
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(
        (&json["findings"][0]["start"], &json["findings"][0]["end"]),
        (&9.into(), &29.into())
    );
    let (_folder, harmless) = text_file("nothing here\n");
    assert_eq!(tracer!("policy", "test", &harmless).status, Some(0));
    let said = tracer!("policy", "test", &harmless, "--field", "txt");
    assert!(said.err.contains("there is no field `txt`"), "{said:?}");
}

#[test]
fn two_policies_are_compared_by_what_they_treat_differently() {
    let same = tracer!("policy", "diff", SHAPES, SHAPES);
    assert_eq!(same.status, Some(0), "{same:?}");
    let said = tracer!("policy", "diff", SHAPES, PSEUDONYMS);
    assert_eq!(said.status, Some(1), "{said:?}");
    for place in [
        "fields.text",
        "fields.token_ids",
        "actions.card",
        "rule customer-number",
    ] {
        assert!(said.out.contains(place), "{said:?}");
    }
}
