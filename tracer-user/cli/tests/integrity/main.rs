//! `tracer verify` and `tracer sign`, the real binary on real files; none of these needs root.

mod memory;
#[path = "../said/mod.rs"]
mod said;
mod writers;

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
};

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};
use rustix::fs::{FileType, Mode};
use said::Said;
use serde_json::Value;
use tempfile::TempDir;

/// A digest that no file here has.
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A folder with a key pair and a model of three files.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        };
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("keys can be made");
        fs::write(bench.path("key.pem"), pair.serialize_pem()).expect("the folder is ours");
        fs::write(bench.path("key.pub"), pair.public_key_pem()).expect("the folder is ours");
        fs::create_dir_all(bench.path("model/sub")).expect("the folder is ours");
        for name in ["config.json", "sub/weights.bin", "a b.txt"] {
            bench.write(name, name.as_bytes());
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self, name: &str) -> PathBuf {
        self.path("model").join(name)
    }

    fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.model(name), contents).expect("the folder is ours");
    }

    fn tracer(&self, arguments: &[&str]) -> Said {
        Said::of(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn sign(&self, more: &[&str]) {
        let mut arguments = vec!["sign", "model", "--key", "key.pem", "--bundle", "b.sig"];
        arguments.extend(more);
        let said = self.tracer(&arguments);
        assert_eq!(said.status, Some(0), "{said:?}");
    }

    fn verify(&self, more: &[&str]) -> Said {
        let mut arguments = vec![
            "verify",
            "model",
            "--bundle",
            "b.sig",
            "--public-key",
            "key.pub",
        ];
        arguments.extend(more);
        self.tracer(&arguments)
    }
}

#[test]
fn a_signed_model_verifies_until_a_byte_of_it_changes() {
    let bench = Bench::new();
    for form in [
        &[][..],
        &["--hash=blake2b"],
        &["--hash=blake3"],
        &["--shards"],
        &["--shards=5", "--hash=blake3"],
        &["--shards=5", "--reference-names"],
    ] {
        bench.sign(form);
        let said = bench.verify(&[]);
        assert_eq!(said.status, Some(0), "{form:?}: {said:?}");
        assert!(said.out.starts_with("verified  model: 3 files"), "{said:?}");
        bench.write("sub/weights.bin", b"sub/weights.bIn");
        let said = bench.verify(&[]);
        assert_eq!(said.status, Some(1), "{form:?}: {said:?}");
        assert!(said.out.contains("sub/weights.bin"), "{said:?}");
        bench.write("sub/weights.bin", b"sub/weights.bin");
    }
}

#[test]
fn a_bundle_inside_the_model_does_not_count_as_a_file_of_it() {
    let bench = Bench::new();
    let key = ["--key", "key.pem", "--bundle", "model/model.sig"];
    let said = bench.tracer(&[&["sign", "model"][..], &key].concat());
    assert_eq!(said.status, Some(0), "{said:?}");
    let verify = ["verify", "model", "--bundle", "model/model.sig"];
    let said = bench.tracer(&[&verify[..], &["--public-key", "key.pub"]].concat());
    assert_eq!(said.status, Some(0), "{said:?}");
}

#[test]
fn what_nobody_vouches_for_is_named_and_devices_are_never_opened() {
    let bench = Bench::new();
    bench.sign(&[]);
    symlink("config.json", bench.model("link")).expect("the folder is ours");
    let (fifo, mode) = (bench.model("fifo"), Mode::RUSR | Mode::WUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, mode, 0).expect("it is ours");
    // Opened for reading, the FIFO would hold the run up for ever.
    let said = bench.verify(&[]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(
        said.out
            .contains("a FIFO, socket or device that nobody vouches for"),
        "{said:?}"
    );
    assert!(
        said.out.contains("a symbolic link that nobody vouches for"),
        "{said:?}"
    );
    assert_eq!(bench.verify(&["--ignore-unsigned-files"]).status, Some(0));
    let ignored = ["--ignore-paths", "model/fifo", "--ignore-paths", "link"];
    assert_eq!(bench.verify(&ignored).status, Some(0));
    let sign = bench.tracer(&["sign", "model", "--key", "key.pem", "--bundle", "c.sig"]);
    assert_eq!(sign.status, Some(2), "{sign:?}");
    assert!(!bench.path("c.sig").exists());
}

#[test]
fn the_result_for_programs_is_an_in_toto_statement() {
    let bench = Bench::new();
    bench.sign(&[]);
    let said = bench.verify(&["-o", "json"]);
    let statement: Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(
        statement["predicateType"],
        "https://in-toto.io/attestation/svr/v0.2"
    );
    assert_eq!(
        statement["predicate"]["properties"][0],
        "TRACER_MODEL_VERIFIED"
    );
    assert_eq!(statement["subject"].as_array().map(Vec::len), Some(4));

    bench.write("config.json", b"changed");
    let said = bench.verify(&["-o", "json"]);
    let statement: Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(statement["predicate"]["properties"], serde_json::json!([]));
    assert_eq!(statement["predicate"]["tracer_outcome"], "not verified");

    fs::write(bench.path("b.sig"), "{}").expect("it is ours");
    let said = bench.verify(&["-o", "json"]);
    assert_eq!(said.status, Some(1), "{said:?}");
    let statement: Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert!(
        statement["predicate"]["tracer_refusal"].is_string(),
        "{statement}"
    );
}

#[test]
fn what_cannot_be_read_ends_with_status_2_and_names_itself() {
    let bench = Bench::new();
    bench.sign(&[]);
    for (arguments, named) in [
        (
            vec![
                "verify",
                "model",
                "--bundle",
                "gone.sig",
                "--public-key",
                "key.pub",
            ],
            "gone.sig",
        ),
        (
            vec![
                "verify",
                "gone",
                "--bundle",
                "b.sig",
                "--public-key",
                "key.pub",
            ],
            "gone",
        ),
        (
            vec![
                "verify",
                "model",
                "--bundle",
                "b.sig",
                "--public-key",
                "key.pem",
            ],
            "PUBLIC KEY",
        ),
        (
            vec![
                "verify",
                "model",
                "--bundle",
                "b.sig",
                "--cert-chain",
                "key.pub",
            ],
            "CERTIFICATE",
        ),
        (vec!["verify", "model", "--sha256sums", "b.sig"], "line 1"),
        (vec!["verify", "model", "--auto"], "no store"),
        (
            vec!["sign", "model", "--key", "key.pub", "--bundle", "x"],
            "PRIVATE KEY",
        ),
        (
            vec!["sign", "/dev/null", "--key", "key.pem", "--bundle", "x"],
            "neither a file",
        ),
        (
            vec!["sign", "model", "--key", "key.pem", "--bundle", "no/x"],
            "no/x",
        ),
        (vec!["lease-keeper"], "socket"),
    ] {
        let said = bench.tracer(&arguments);
        assert_eq!(said.status, Some(2), "{arguments:?}: {said:?}");
        assert!(said.err.contains(named), "{arguments:?}: {said:?}");
    }
}

#[test]
fn the_conformance_suites_command_line_signs_and_verifies() {
    let bench = Bench::new();
    let model = bench.path("model").display().to_string();
    let ignored = bench.model("a b.txt").display().to_string();
    let sign = [
        "sign-model",
        "--method",
        "key",
        "--model-path",
        &model,
        "--output-bundle",
        "s.sig",
        "--private-key",
        "key.pem",
        "--ignore-paths",
        &ignored,
    ];
    assert_eq!(bench.tracer(&sign).status, Some(0));
    let verify = [
        "verify-model",
        "--method",
        "key",
        "--model-path",
        &model,
        "--bundle",
        "s.sig",
        "--public-key",
        "key.pub",
    ];
    assert_eq!(
        bench.tracer(&verify).status,
        Some(0),
        "the bundle says what is left out"
    );
    bench.write("injected.bin", b"");
    assert_eq!(bench.tracer(&verify).status, Some(1));
    let lenient = [&verify[..], &["--ignore-unsigned-files"]].concat();
    assert_eq!(bench.tracer(&lenient).status, Some(0));
}

#[test]
fn a_list_by_sha256sum_verifies_a_folder_and_a_file() {
    let bench = Bench::new();
    let list = Command::new("sh")
        .args(["-c", "find . -type f -exec sha256sum {} + > ../sums"])
        .current_dir(bench.path("model"))
        .status();
    assert!(list.expect("sha256sum is there").success());
    for model in ["model", "model/sub/weights.bin"] {
        let said = bench.tracer(&["verify", model, "--sha256sums", "sums"]);
        assert_eq!(said.status, Some(0), "{said:?}");
    }
    bench.write("sub/weights.bin", b"other");
    for model in ["model", "model/sub/weights.bin"] {
        let said = bench.tracer(&["verify", model, "--sha256sums", "sums"]);
        assert_eq!(said.status, Some(1), "{said:?}");
    }
}

/// A real keyless signature of model-signing, and its model: `tracer-user/integrity/vectors/sigstore`.
#[test]
fn a_keyless_signature_is_verified_against_a_trusted_root() {
    let bench = Bench::new();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../integrity/vectors/sigstore");
    let (bundle, root) = (
        format!("{vectors}/model-v1.0.1.sig"),
        format!("{vectors}/trusted_root.json"),
    );
    let model = bench.path("keyless");
    fs::create_dir(&model).expect("the folder is ours");
    for name in ["signme-1", "signme-2"] {
        fs::write(model.join(name), name).expect("the folder is ours");
    }
    let model = model.display().to_string();
    let provider = "https://sigstore.verify.ibm.com/oauth2";
    let verify = |identity: &str| {
        let whom = ["--identity", identity, "--identity-provider", provider];
        let what = [
            "verify",
            &model,
            "--bundle",
            &bundle,
            "--trusted-root",
            &root,
        ];
        Said::of(&mut bench.command(&[&what[..], &whom[..]].concat()))
    };
    let good = verify("stefanb@us.ibm.com");
    assert_eq!(good.status, Some(0), "{good:?}");
    let signer = "signed by      stefanb@us.ibm.com (https://sigstore.verify.ibm.com/oauth2), log entry \
                  588939812 of 2025-10-07T15:33:48Z";
    assert!(good.out.contains(signer), "{good:?}");

    let other = verify("mallory@us.ibm.com");
    assert_eq!(other.status, Some(1), "{other:?}");
    let reason = "the signer is stefanb@us.ibm.com, and not mallory@us.ibm.com";
    assert!(other.out.contains(reason), "{other:?}");

    fs::write(bench.path("keyless/signme-2"), "signme-3").expect("the folder is ours");
    let changed = verify("stefanb@us.ibm.com");
    assert_eq!(changed.status, Some(1), "{changed:?}");
}
