//! Bundles of the reference implementation verify here, and ours verify there: with keys and with
//! certificates, in files and in shards, with every algorithm that both have. Needs no root.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, SignatureAlgorithm,
};
use tempfile::TempDir;
use tracer_tests::{cache::Cache, reference::Reference, tracer};

/// Names that the reference sorts by folder and the specification by code point.
const NAMES: [&str; 6] = [
    "a-b",
    "a.b",
    "a/b",
    "weights.bin",
    "模型.bin",
    "with space (1)",
];

/// A model, keys and certificates in one folder, and both implementations.
struct Bench {
    folder: TempDir,
    reference: Reference,
    tracer: PathBuf,
}

impl Bench {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let model = folder.path().join("model");
        fs::create_dir_all(model.join("a"))?;
        for (number, name) in NAMES.iter().enumerate() {
            fs::write(model.join(name), name.repeat(1 + 400 * number))?;
        }
        Ok(Self {
            folder,
            reference: Reference::install(&Cache::open()?)?,
            tracer: tracer::binary()?,
        })
    }

    fn keys(&self, algorithm: &'static SignatureAlgorithm) -> Result<()> {
        let pair = KeyPair::generate_for(algorithm)?;
        self.write("key.pem", &pair.serialize_pem())?;
        self.write("key.pub", &pair.public_key_pem())
    }

    /// A root, an issuer below it, and a signer's certificate for `key.pem`.
    fn certificates(&self) -> Result<()> {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.use_authority_key_identifier_extension = true;
            params
        };
        let (root, issuer) = (authority("root"), authority("issuer"));
        let (root_key, issuer_key) = (KeyPair::generate()?, KeyPair::generate()?);
        self.write("root.pem", &root.self_signed(&root_key)?.pem())?;
        let root = Issuer::new(root, root_key);
        self.write("issuer.pem", &issuer.signed_by(&issuer_key, &root)?.pem())?;
        let issuer = Issuer::new(issuer, issuer_key);
        let mut signer = CertificateParams::default();
        signer.distinguished_name = rcgen::DistinguishedName::new();
        signer.distinguished_name.push(DnType::CommonName, "signer");
        signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        signer.use_authority_key_identifier_extension = true;
        let key = KeyPair::from_pem(&fs::read_to_string(self.folder.path().join("key.pem"))?)?;
        self.write("signer.pem", &signer.signed_by(&key, &issuer)?.pem())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.folder.path().join(name), text).context("the folder is ours")
    }

    fn tracer(&self, arguments: &str) -> Result<Output> {
        Command::new(&self.tracer)
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .output()
            .context("cannot run tracer")
    }

    fn reference(&self, arguments: &str) -> Result<Output> {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        self.reference.call(self.folder.path(), &arguments)
    }

    /// Changes the model, and says so unless both implementations refuse it.
    fn changes_are_refused(&self, ours: &str, theirs: &str) -> Result<()> {
        let path = self.folder.path().join("model/a/b");
        let good = fs::read(&path)?;
        fs::write(&path, "other")?;
        assert_eq!(self.tracer(ours)?.status.code(), Some(1), "{ours}");
        assert!(!self.reference(theirs)?.status.success(), "{theirs}");
        Ok(fs::write(path, good)?)
    }
}

fn assert_done(what: &str, output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{what}: {}\n{out}{err}",
        output.status
    );
}

#[test]
fn bundles_of_the_reference_verify_here() -> Result<()> {
    let bench = Bench::new()?;
    for (curve, form) in [
        (&PKCS_ECDSA_P256_SHA256, "sha256"),
        (&PKCS_ECDSA_P384_SHA384, "sha256"),
        (&PKCS_ECDSA_P521_SHA512, "sha256"),
        (&PKCS_ECDSA_P384_SHA384, "blake2"),
        (&PKCS_ECDSA_P384_SHA384, "blake3"),
        (&PKCS_ECDSA_P384_SHA384, "sha256:1000"),
        (&PKCS_ECDSA_P384_SHA384, "blake2:4096"),
    ] {
        bench.keys(curve)?;
        let sign = format!("sign model b.sig {form} key key.pem");
        assert_done(&sign, &bench.reference(&sign)?);
        let verify = "verify model --bundle b.sig --public-key key.pub";
        assert_done(&format!("{sign}, {verify}"), &bench.tracer(verify)?);

        bench.certificates()?;
        let sign = format!("sign model c.sig {form} certificate key.pem signer.pem issuer.pem");
        assert_done(&sign, &bench.reference(&sign)?);
        let verify = "verify model --bundle c.sig --cert-chain root.pem";
        assert_done(&format!("{sign}, {verify}"), &bench.tracer(verify)?);
        let theirs = format!("verify model c.sig {form} certificate root.pem");
        bench.changes_are_refused(verify, &theirs)?;
    }
    Ok(())
}

#[test]
fn our_bundles_verify_with_the_reference() -> Result<()> {
    let bench = Bench::new()?;
    for (curve, ours, theirs) in [
        (&PKCS_ECDSA_P256_SHA256, "--hash=sha256", "as-signed"),
        (&PKCS_ECDSA_P384_SHA384, "--hash=sha256", "as-signed"),
        (&PKCS_ECDSA_P521_SHA512, "--hash=sha256", "as-signed"),
        (&PKCS_ECDSA_P384_SHA384, "--hash=blake3", "as-signed"),
        // The reference knows the algorithm by another name than it signs, and must be told.
        (&PKCS_ECDSA_P384_SHA384, "--hash=blake2b", "blake2"),
        (
            &PKCS_ECDSA_P384_SHA384,
            "--shards=1000 --reference-names",
            "sha256:1000",
        ),
        (
            &PKCS_ECDSA_P384_SHA384,
            "--shards --reference-names",
            "sha256:1000000000",
        ),
        (
            &PKCS_ECDSA_P384_SHA384,
            "--shards=4096 --reference-names --hash=blake2b",
            "blake2:4096",
        ),
    ] {
        bench.keys(curve)?;
        let sign = format!("sign model --key key.pem --bundle b.sig {ours}");
        assert_done(&sign, &bench.tracer(&sign)?);
        let verify = format!("verify model b.sig {theirs} key key.pub");
        assert_done(&format!("{sign}, {verify}"), &bench.reference(&verify)?);

        bench.certificates()?;
        let sign = format!(
            "sign model --key key.pem --cert signer.pem --cert-chain issuer.pem --bundle c.sig {ours}"
        );
        assert_done(&sign, &bench.tracer(&sign)?);
        let verify = format!("verify model c.sig {theirs} certificate root.pem");
        assert_done(&format!("{sign}, {verify}"), &bench.reference(&verify)?);
        bench.changes_are_refused("verify model --bundle c.sig --cert-chain root.pem", &verify)?;
    }
    Ok(())
}

#[test]
fn a_model_of_one_file_verifies_on_both_sides() -> Result<()> {
    let bench = Bench::new()?;
    bench.keys(&PKCS_ECDSA_P384_SHA384)?;
    let sign = "sign model/weights.bin b.sig sha256 key key.pem";
    assert_done(sign, &bench.reference(sign)?);
    let verify = "verify model/weights.bin --bundle b.sig --public-key key.pub";
    assert_done(verify, &bench.tracer(verify)?);
    fs::write(bench.folder.path().join("model/weights.bin"), "other")?;
    assert_eq!(bench.tracer(verify)?.status.code(), Some(1));
    Ok(())
}
