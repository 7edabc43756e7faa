//! The file that says what is enforced: strict TOML, in which what matters has no default.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tracer_probe::files::Gate;

use crate::{
    arguments::{
        meant::integrity::{Against, Signer},
        quantity,
    },
    trouble::Trouble,
};

/// The longest policy that is read.
const MAX_POLICY: u64 = 1 << 20;
/// Write permission for the group and for others.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// How long an opener waits at most, unless the policy says so.
const DEADLINE: Duration = Duration::from_secs(30);
/// What no policy may cover.
const SYSTEM: [&str; 12] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr/bin",
    "/usr/lib", "/var/lib",
];
/// What no policy may lie in: programs, what they are linked with, and what they are set up by.
const PROGRAMS: [&str; 13] = [
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/sbin",
    "/sys",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/sbin",
];
/// No process is held longer than this, whatever the policy says.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is enforced, and how.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Folders and files.
    pub(crate) watch: Vec<PathBuf>,
    pub(crate) gate: Gate,
    /// Whether nobody gets in any more once the tracer is gone.
    pub(crate) outlives: bool,
    /// How long an opener waits at most.
    pub(crate) deadline: Duration,
    /// Whether it gets in when that has passed.
    pub(crate) in_after: bool,
    /// Who vouches for files; one of them is enough.
    pub(crate) trust: Vec<Against>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    watch: Vec<PathBuf>,
    gate: WrittenGate,
    on_agent_death: Answer,
    deadline: Option<String>,
    on_deadline: Option<Answer>,
    trust: Vec<Trust>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum WrittenGate {
    Deny,
    Wait,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trust {
    bundle: Option<PathBuf>,
    public_key: Option<PathBuf>,
    #[serde(default)]
    cert_chain: Vec<PathBuf>,
    trusted_root: Option<PathBuf>,
    identity: Option<String>,
    identity_provider: Option<String>,
    sha256sums: Option<PathBuf>,
    #[serde(default)]
    store: bool,
}

impl Policy {
    /// Reads a policy that nobody but its owner can change.
    ///
    /// # Errors
    /// If it cannot be read, others can write it, or it does not say what it has to.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let shown = || format!("the policy {}", path.display());
        let file = File::open(path).with_context(|| format!("read {}", shown()))?;
        let metadata = file.metadata().with_context(shown)?;
        ensure!(metadata.is_file(), "{} is no regular file", shown());
        if metadata.mode() & WRITABLE_BY_OTHERS != 0 || !trusted_owner(metadata.uid()) {
            return Err(Trouble::new(
                format!("{} can be changed by others than root", shown()),
                format!("chown root {0} && chmod go-w {0}", path.display()),
            )
            .into());
        }
        let mut text = String::new();
        file.take(MAX_POLICY + 1)
            .read_to_string(&mut text)
            .with_context(|| format!("read {}", shown()))?;
        ensure!(
            text.len() as u64 <= MAX_POLICY,
            "{} is longer than {MAX_POLICY} bytes",
            shown()
        );
        let policy = Self::parse(&text).with_context(shown)?;
        for root in &policy.watch {
            leaves_the_system_alone(root).with_context(shown)?;
        }
        Ok(policy)
    }

    /// Reads the text of a policy.
    ///
    /// # Errors
    /// If it does not say what it has to, with the place.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let Written {
            watch,
            gate,
            on_agent_death,
            deadline,
            on_deadline,
            trust,
        } = toml::from_str(text)?;
        ensure!(!watch.is_empty(), "watch: name at least one folder or file");
        if let Some(path) = watch.iter().find(|path| !path.is_absolute()) {
            bail!("watch: {} does not begin with /", path.display());
        }
        ensure!(
            !trust.is_empty(),
            "trust: nobody vouches for any file; add a [[trust]]"
        );
        if gate == WrittenGate::Deny {
            ensure!(
                deadline.is_none() && on_deadline.is_none(),
                "deadline and on_deadline belong to gate = \"wait\": with \"deny\" nobody waits"
            );
        }
        ensure!(
            gate == WrittenGate::Deny || on_agent_death == Answer::Allow,
            "on_agent_death = \"deny\" needs gate = \"deny\": the kernel lets everybody go on whom a \
             process held that is gone"
        );
        let deadline = match deadline {
            None => DEADLINE,
            Some(word) => quantity::duration(&word).context("deadline")?,
        };
        ensure!(
            deadline <= LONGEST,
            "deadline: a process may be held for an hour at most"
        );
        let trust = trust
            .into_iter()
            .enumerate()
            .map(|(index, trust)| {
                trust
                    .against()
                    .with_context(|| format!("[[trust]] number {}", index + 1))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            watch,
            gate: match gate {
                WrittenGate::Deny => Gate::Deny,
                WrittenGate::Wait => Gate::Wait,
            },
            outlives: on_agent_death == Answer::Deny,
            deadline,
            in_after: on_deadline == Some(Answer::Allow),
            trust,
        })
    }
}

impl Trust {
    fn against(self) -> Result<Against> {
        let Self {
            bundle,
            public_key,
            cert_chain,
            trusted_root,
            identity,
            identity_provider,
            sha256sums,
            store,
        } = self;
        let keyless = match (trusted_root, identity, identity_provider) {
            (None, None, None) => None,
            (Some(trusted_root), Some(identity), Some(issuer)) => Some(Signer {
                trusted_root,
                identity,
                issuer,
            }),
            _ => bail!("trusted_root, identity and identity_provider belong together"),
        };
        let chain = (!cert_chain.is_empty()).then_some(cert_chain);
        let signers = u8::from(public_key.is_some())
            + u8::from(chain.is_some())
            + u8::from(keyless.is_some());
        Ok(match (bundle, sha256sums, store) {
            (Some(bundle), None, false) => match (public_key, chain, keyless) {
                _ if signers > 1 => {
                    bail!("public_key, cert_chain and trusted_root exclude each other")
                }
                (Some(key), ..) => Against::Key { bundle, key },
                (None, Some(trusted), _) => Against::Certificates {
                    bundle,
                    trusted,
                    at: None,
                },
                (None, None, Some(signer)) => Against::Keyless { bundle, signer },
                (None, None, None) => bail!(
                    "bundle alone says nothing, anybody can sign: add public_key, cert_chain or \
                     trusted_root"
                ),
            },
            (None, Some(list), false) if signers == 0 => Against::Sums(list),
            (None, None, true) if signers == 0 => Against::Store,
            _ => bail!(
                "give one of: bundle with public_key, cert_chain or trusted_root; sha256sums; store = \
                 true"
            ),
        })
    }
}

/// Refuses to enforce anything about programs and configuration that nobody vouches for: no shell could
/// be started any more to end it.
fn leaves_the_system_alone(root: &Path) -> Result<()> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let root = real(root);
    let tracer = std::env::current_exe().unwrap_or_default();
    if let Some(outer) = PROGRAMS
        .iter()
        .find(|outer| root.starts_with(real(Path::new(outer))))
    {
        return Err(Trouble::new(
            format!(
                "watch: {} lies in {outer}, which this machine needs to go on",
                root.display()
            ),
            "name the folders that hold models",
        )
        .into());
    }
    let needed = SYSTEM.iter().map(Path::new).chain([tracer.as_path()]);
    for needed in needed {
        if real(needed).starts_with(&root) {
            return Err(Trouble::new(
                format!(
                    "watch: {} holds {}, which this machine needs to go on",
                    root.display(),
                    needed.display()
                ),
                "name the folders that hold models",
            )
            .into());
        }
    }
    Ok(())
}

/// Root, or whoever runs this: nobody else may decide who gets in.
fn trusted_owner(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: &str = "watch = [\"/srv/models\"]\ngate = \"wait\"\non_agent_death = \"allow\"\n";
    const TRUST: &str = "[[trust]]\nsha256sums = \"/etc/tracer/models.sha256\"\n";

    fn refusal(text: &str) -> String {
        match Policy::parse(text) {
            Ok(policy) => panic!("{text}: {policy:?}"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn a_policy_says_what_it_enforces() {
        let text = format!("{WAIT}deadline = \"5s\"\non_deadline = \"allow\"\n{TRUST}");
        let policy = Policy::parse(&text).unwrap();
        assert_eq!(policy.gate, Gate::Wait);
        assert_eq!(policy.deadline, Duration::from_secs(5));
        assert!(policy.in_after && !policy.outlives);
        assert!(matches!(policy.trust.as_slice(), [Against::Sums(_)]));
        let plain = Policy::parse(&format!("{WAIT}{TRUST}")).unwrap();
        assert!(!plain.in_after && plain.deadline == DEADLINE);
    }

    #[test]
    fn what_becomes_of_it_without_the_tracer_has_to_be_chosen() {
        let text = format!("watch = [\"/m\"]\ngate = \"deny\"\n{TRUST}");
        assert!(refusal(&text).contains("on_agent_death"));
        let chosen =
            format!("watch = [\"/m\"]\ngate = \"deny\"\non_agent_death = \"deny\"\n{TRUST}");
        assert!(Policy::parse(&chosen).unwrap().outlives);
        let wait = chosen.replace("gate = \"deny\"", "gate = \"wait\"");
        assert!(refusal(&wait).contains("needs gate = \"deny\""));
    }

    #[test]
    fn no_policy_covers_what_the_machine_needs() {
        for root in ["/", "/usr", "/etc", "/usr/../usr/lib"] {
            let refused = leaves_the_system_alone(Path::new(root)).unwrap_err();
            assert!(refused.to_string().contains("needs to go on"), "{root}");
        }
        let tracer = std::env::current_exe().unwrap();
        // What lies in such a folder is as necessary as the whole of it.
        for root in ["/usr/lib/x86_64-linux-gnu", "/etc/pam.d", "/usr/sbin"] {
            let refused = leaves_the_system_alone(Path::new(root)).unwrap_err();
            assert!(refused.to_string().contains("needs to go on"), "{refused}");
        }
        assert!(leaves_the_system_alone(tracer.parent().unwrap()).is_err());
        let models = tempfile::tempdir().unwrap();
        leaves_the_system_alone(models.path()).unwrap();
    }

    #[test]
    fn a_slip_is_named_with_its_place() {
        for (text, said) in [
            (format!("{WAIT}{TRUST}extra = 1\n"), "extra"),
            (WAIT.to_owned(), "trust"),
            (format!("{WAIT}deadline = \"2h\"\n{TRUST}"), "an hour"),
            (format!("{WAIT}deadline = \"soon\"\n{TRUST}"), "deadline"),
            (
                format!("{}deadline = \"1s\"\n{TRUST}", WAIT.replace("wait", "deny")),
                "nobody waits",
            ),
            (WAIT.replace("/srv", "srv") + TRUST, "does not begin with /"),
            (format!("{WAIT}[[trust]]\n"), "number 1"),
            (format!("{WAIT}{TRUST}store = true\n"), "give one of"),
            (
                format!("{WAIT}[[trust]]\nbundle = \"/b\"\n"),
                "anybody can sign",
            ),
        ] {
            let refused = refusal(&text);
            assert!(refused.contains(said), "{text}\n{refused}");
        }
    }
}
