//! Every function that `docs` and the facts about real runtimes name can be written in the language:
//! each file of `runtimes` is a profile.

use std::{fs, path::Path};

use tracer_profile::{Catalogue, Probe, Profile, read};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles");
/// Profiles that are examples.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runtimes");

fn profile(name: &str) -> Profile {
    let path = Path::new(FOLDER).join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    read(name, &text).unwrap_or_else(|error| panic!("{error}"))
}

fn probe<'a>(profile: &'a Profile, name: &str) -> &'a Probe {
    let found = profile.probes.iter().find(|probe| probe.name == name);
    found.unwrap_or_else(|| panic!("no probe {name}"))
}

#[test]
fn what_the_documentation_says_of_functions_without_symbols_is_read() {
    let path = Path::new(FOLDER).join("../../../docs/profiles.md");
    let text = fs::read_to_string(path).expect("the page is there");
    let (_, section) = text
        .split_once("## Functions without a symbol")
        .expect("the section is there");
    let (ways, extension) = section
        .split_once("### Ways for a built-in profile")
        .expect("so is the one on `extends`");
    let code = |text: &str| -> String {
        let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
        let lines = lines.filter(|line| !line.starts_with("tracer "));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let probe = "[[probe]]\nname = \"p\"\nsignal = \"call\"\ngroup = \"g\"\nrate = 1\n\
                 symbols = [\"Run\"]\n";
    let whole = format!(
        "name = \"p\"\nruntime = \"p\"\nrecognise = [\"OrtGetApiBase\"]\n{}{probe}",
        code(ways)
    );
    let read = read("docs/profiles.md", &whole).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.recipes.len(), 4);

    let file = std::env::temp_dir().join(format!("tracer-extends-{}.toml", std::process::id()));
    fs::write(&file, code(extension)).expect("the folder for temporary files can be written");
    let mut all = Catalogue::built_in();
    let added = all.add_file(&file);
    fs::remove_file(&file).expect("it was written");
    added.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(all.profiles()[0].recipes.len(), 1);
}

/// What a field reads, in plain words.
fn reads<'a>(probe: &'a Probe, name: &str) -> &'a str {
    let found = probe.readings.iter().find(|reading| &*reading.name == name);
    &found.unwrap_or_else(|| panic!("no field {name}")).words
}

#[test]
fn a_profile_for_each_known_runtime_compiles() {
    let mut names = Vec::new();
    for folder in [FOLDER, EXAMPLES] {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            let text = fs::read_to_string(&path).expect("it can be read");
            let profile = read(&path.display().to_string(), &text);
            let profile = profile.unwrap_or_else(|error| panic!("{error}"));
            assert!(!profile.probes.is_empty(), "{}", profile.name);
            names.push(profile.name);
        }
    }
    assert_eq!(names.len(), 13, "{names:?}");
}

#[test]
fn what_a_field_reads_is_said_in_plain_words() {
    let whisper = profile("whisper.toml");
    let full = probe(&whisper, "full");
    assert_eq!(
        reads(full, "threads"),
        "4-byte signed integer at the stack ([rsp + 12] on entry)"
    );
    let ort = profile("onnxruntime.toml");
    let run = probe(&ort, "run-c");
    assert_eq!(
        reads(run, "input_names"),
        "NUL-terminated texts behind pointers at rdx (argument 3), as many as the 8-byte unsigned \
         integer in r8 (argument 5)"
    );
    let cuda = profile("cuda.toml");
    assert_eq!(
        reads(probe(&cuda, "launch-sample"), "grid_y"),
        "4-byte unsigned integer from bit 32 on of the 8-byte unsigned integer in rsi (argument 2)"
    );
    let torch = profile("torch.toml");
    assert_eq!(
        reads(probe(&torch, "embedding"), "element_type"),
        "2-byte unsigned integer at rdx (argument 3), + 160 behind the pointer there"
    );
}

/// A seed that is refused at its first line would lead the fuzzer nowhere.
#[test]
fn what_the_fuzzer_begins_with_is_read() {
    let folder = Path::new(FOLDER).join("../../../tests/fuzz/seeds/profile");
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        let added = Catalogue::built_in().add_file(&path);
        added.unwrap_or_else(|error| panic!("{error}"));
    }
}
