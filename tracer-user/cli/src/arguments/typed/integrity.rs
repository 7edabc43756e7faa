//! The commands about the integrity of model files: `verify`, `sign`, and those of the conformance suite.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum, ValueHint};

use super::DocumentFormat;

/// Check a model's files against a signature, a list of digests, or the names in their store
///
/// Each file is hashed without disturbing a server that has it mapped, and each result says how far
/// it binds the bytes: G3 the kernel checks every page (fs-verity), G2 nobody could write meanwhile
/// (a lease was held), G1 it did not change as far as its file system tells, G0 it may have changed,
/// which is never a verified file.
///
/// Exit status: 0 verified, 1 not verified, 2 could not tell.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("against").required(true).args(["bundle", "sha256sums", "auto"]))]
pub(crate) struct Verify {
    /// File or folder of the model
    #[arg(value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Signature: a Model Signing v1.0 bundle
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) bundle: Option<PathBuf>,
    /// With --bundle: the signer's public key, as PEM
    #[arg(long, value_name = "FILE", requires = "bundle", conflicts_with = "cert_chain",
          value_hint = ValueHint::FilePath)]
    pub(crate) public_key: Option<PathBuf>,
    /// With --bundle: trusted certificates, as PEM; roots, and what stands below them; repeatable
    #[arg(long, value_name = "FILE", requires = "bundle", action = ArgAction::Append,
          value_hint = ValueHint::FilePath)]
    pub(crate) cert_chain: Vec<PathBuf>,
    /// With --cert-chain: the time at which certificates must be valid, as 2026-01-31T12:00:00Z;
    /// now unless given
    #[arg(long, value_name = "TIME", requires = "cert_chain")]
    pub(crate) at_time: Option<String>,
    #[command(flatten)]
    pub(crate) keyless: Keyless,
    /// List of digests as sha256sum writes it, with names relative to the model
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) sha256sums: Option<PathBuf>,
    /// Take the digests from the names in a Hugging Face cache or an Ollama store
    #[arg(long)]
    pub(crate) auto: bool,
    /// Leave this file or folder out; repeatable. What is signed or listed is compared all the same
    #[arg(long, value_name = "PATH", action = ArgAction::Append, value_hint = ValueHint::AnyPath)]
    pub(crate) ignore_paths: Vec<PathBuf>,
    /// Accept files that are neither signed nor listed, unseen
    #[arg(long)]
    pub(crate) ignore_unsigned_files: bool,
    /// Hash a second time past the page cache, and compare: finds pages that were changed in memory
    #[arg(long)]
    pub(crate) check_disk: bool,
    #[command(flatten)]
    pub(crate) effort: Effort,
    /// How to print; json is an in-toto statement
    #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
    pub(crate) output: DocumentFormat,
}

/// Sign a model's files: write a Model Signing v1.0 bundle
///
/// Exit status: 0 signed, 2 error.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// File or folder of the model
    #[arg(value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Private key, as PEM: ECDSA on P-256, P-384 or P-521
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: PathBuf,
    /// The key's certificate, as PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cert: Option<PathBuf>,
    /// Certificates between that one and its root, as PEM; repeatable
    #[arg(long, value_name = "FILE", requires = "cert", action = ArgAction::Append,
          value_hint = ValueHint::FilePath)]
    pub(crate) cert_chain: Vec<PathBuf>,
    /// Where the bundle goes; inside the model it is left out of it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) bundle: PathBuf,
    /// How to hash
    #[arg(long, value_enum, value_name = "ALGORITHM", default_value_t = Hash::Sha256)]
    pub(crate) hash: Hash,
    /// Hash in shards of so many bytes, in parallel also within a file
    #[arg(long, value_name = "BYTES", num_args = 0..=1, require_equals = true,
          default_missing_value = "1000000000")]
    pub(crate) shards: Option<std::num::NonZeroU64>,
    /// Name the hash of a shard as the Python reference does, which reads no other name
    #[arg(long, requires = "shards")]
    pub(crate) reference_names: bool,
    /// Leave this file or folder out; repeatable. It is written into the bundle
    #[arg(long, value_name = "PATH", action = ArgAction::Append, value_hint = ValueHint::AnyPath)]
    pub(crate) ignore_paths: Vec<PathBuf>,
    /// Follow symbolic links that stay inside the model, instead of refusing them
    #[arg(long)]
    pub(crate) allow_symlinks: bool,
    #[command(flatten)]
    pub(crate) effort: Effort,
}

/// Check a signature, with the command line of the Model Signing conformance suite
///
/// Exit status: 0 verified, 1 not verified, 2 could not tell.
#[derive(Debug, Args)]
pub(crate) struct VerifyModel {
    /// How it was signed
    #[arg(long, value_enum)]
    pub(crate) method: Method,
    /// File or folder of the model
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) model_path: PathBuf,
    /// The signature
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) bundle: PathBuf,
    /// The signer's public key, as PEM
    #[arg(long, value_name = "FILE", required_if_eq("method", "key"), value_hint = ValueHint::FilePath)]
    pub(crate) public_key: Option<PathBuf>,
    /// Trusted certificates, as PEM; repeatable
    #[arg(long, value_name = "FILE", action = ArgAction::Append,
          required_if_eq("method", "certificate"), value_hint = ValueHint::FilePath)]
    pub(crate) cert_chain: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) keyless: Keyless,
    /// Leave this file or folder out; repeatable
    #[arg(long, value_name = "PATH", action = ArgAction::Append, value_hint = ValueHint::AnyPath)]
    pub(crate) ignore_paths: Vec<PathBuf>,
    /// Accept files that are not signed, unseen
    #[arg(long)]
    pub(crate) ignore_unsigned_files: bool,
}

/// Sign a model, with the command line of the Model Signing conformance suite
///
/// Exit status: 0 signed, 2 error.
#[derive(Debug, Args)]
pub(crate) struct SignModel {
    /// How to sign
    #[arg(long, value_enum)]
    pub(crate) method: Method,
    /// File or folder of the model
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) model_path: PathBuf,
    /// Where the signature goes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output_bundle: PathBuf,
    /// Private key, as PEM
    #[arg(long, value_name = "FILE", required_if_eq_any([("method", "key"), ("method", "certificate")]),
          value_hint = ValueHint::FilePath)]
    pub(crate) private_key: Option<PathBuf>,
    /// The key's certificate, as PEM
    #[arg(long, value_name = "FILE", required_if_eq("method", "certificate"),
          value_hint = ValueHint::FilePath)]
    pub(crate) signing_cert: Option<PathBuf>,
    /// Certificates above that one, as PEM; repeatable
    #[arg(long, value_name = "FILE", action = ArgAction::Append, value_hint = ValueHint::FilePath)]
    pub(crate) cert_chain: Vec<PathBuf>,
    /// Leave this file or folder out; repeatable
    #[arg(long, value_name = "PATH", action = ArgAction::Append, value_hint = ValueHint::AnyPath)]
    pub(crate) ignore_paths: Vec<PathBuf>,
}

/// Whose keyless signatures are believed: the three belong together.
#[derive(Debug, Args)]
pub(crate) struct Keyless {
    /// With --bundle, of a keyless signature: Sigstore's trusted_root.json, which says which
    /// authorities and logs are believed; nothing is fetched
    #[arg(long, value_name = "FILE", requires_all = ["bundle", "identity", "identity_provider"],
          conflicts_with_all = ["public_key", "cert_chain"], value_hint = ValueHint::FilePath)]
    pub(crate) trusted_root: Option<PathBuf>,
    /// With --trusted-root: who must have signed, an address or URL
    #[arg(long, value_name = "NAME", requires = "trusted_root")]
    pub(crate) identity: Option<String>,
    /// With --trusted-root: the URL of who must have vouched for the signer
    #[arg(long, value_name = "URL", requires = "trusted_root")]
    pub(crate) identity_provider: Option<String>,
}

/// How much of the machine to use.
#[derive(Debug, Args)]
pub(crate) struct Effort {
    /// Threads that hash; one for each processor unless given, and at most 16
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<std::num::NonZeroUsize>,
}

/// How a model is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// With a key that verifiers know
    Key,
    /// With a key whose certificate leads to a root that verifiers know
    Certificate,
    /// Without a key of one's own
    Sigstore,
}

/// How contents are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hash {
    Sha256,
    Blake2b,
    Blake3,
}
