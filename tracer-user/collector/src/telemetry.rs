//! The keys that telemetry is sealed for: the present one, and those before it, with which agents may
//! still seal and with which what is stored was sealed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tracer_wire::{OpenError, Opener, RecipientSecret, Record};

const PRESENT: &str = "telemetry.key";
const FORMER: &str = "telemetry.former";

/// All of them.
pub(crate) struct TelemetryKeys {
    present: RecipientSecret,
    former: Vec<RecipientSecret>,
}

impl TelemetryKeys {
    /// Keeps a first key in a folder.
    pub(crate) fn create(folder: &Path) -> Result<()> {
        let secret = RecipientSecret::generate()?;
        let path = folder.join(PRESENT);
        Ok(crate::pki::write_new(
            &path,
            secret.to_text().as_bytes(),
            0o600,
        )?)
    }

    /// Those in a folder.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let present = read(&folder.join(PRESENT))?;
        let former = former(folder)?;
        let former = former.iter().map(|(_, path)| read(path));
        Ok(Self {
            present,
            former: former.collect::<Result<_>>()?,
        })
    }

    /// Puts another key in the place of the present one, which stays among the former ones.
    pub(crate) fn rotate(folder: &Path) -> Result<Self> {
        // Whether it is one is asked before anything changes.
        Self::load(folder)?;
        let next = folder.join("telemetry.next");
        let _ = fs::remove_file(&next);
        let secret = RecipientSecret::generate()?;
        crate::pki::write_new(&next, secret.to_text().as_bytes(), 0o600)?;
        let numbers = former(folder)?.into_iter().map(|(number, _)| number);
        let number = numbers.max().unwrap_or(0) + 1;
        let present = folder.join(PRESENT);
        let kept = folder.join(format!("{FORMER}.{number}.key"));
        // A link and not a move: at each moment there is a present key.
        fs::hard_link(&present, &kept)
            .and_then(|()| fs::rename(&next, &present))
            .and_then(|()| fs::File::open(folder)?.sync_all())
            .with_context(|| format!("replacing {}", present.display()))?;
        Self::load(folder)
    }

    /// Whom telemetry is sealed for from now on.
    pub(crate) const fn present(&self) -> &RecipientSecret {
        &self.present
    }

    /// What opens all of it.
    pub(crate) fn openers(&self) -> Result<Openers> {
        let all = [&self.present].into_iter().chain(&self.former);
        let openers = all.map(|secret| {
            let secret = RecipientSecret::from_bytes(&secret.to_bytes())?;
            Ok(Opener::new(secret))
        });
        Ok(Openers(openers.collect::<Result<_>>()?))
    }
}

/// One opener for each key, the present one first; there is always one.
pub(crate) struct Openers(Vec<Opener>);

impl Openers {
    /// Takes the key of an epoch; gives which of the openers has it.
    pub(crate) fn learn(&mut self, record: &Record) -> Result<usize, OpenError> {
        let mut first = None;
        for (number, opener) in self.0.iter_mut().enumerate() {
            match opener.learn(record) {
                Ok(()) => return Ok(number),
                Err(error @ OpenError::NotARecipient { .. }) => first = first.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(first.expect("there is a present key, which did not open it"))
    }

    /// The opener that learnt an epoch.
    pub(crate) fn of(&self, number: usize) -> &Opener {
        &self.0[number]
    }
}

/// The files of former keys with their numbers.
fn former(folder: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let display = folder.display();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {display}"))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("reading {display}"))?.path();
        let number = path.file_name().and_then(|name| {
            let name = name.to_str()?.strip_prefix(FORMER)?;
            name.strip_prefix('.')?.strip_suffix(".key")?.parse().ok()
        });
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<RecipientSecret> {
    let reading = || format!("reading the telemetry key {}", path.display());
    let text = fs::read_to_string(path).with_context(reading)?;
    let text = zeroize::Zeroizing::new(text);
    RecipientSecret::parse(&text).with_context(reading)
}
