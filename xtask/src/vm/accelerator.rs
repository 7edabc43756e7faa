//! Deciding whether this machine's processor can run the guests itself.
//!
//! A virtual machine may offer `/dev/kvm` and then hang every guest, so a boot is tried; the
//! answer is kept until this machine's next boot.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::guest::Accelerator;
use crate::workspace::Workspace;

/// A real processor brings a kernel to its first message within a second or two.
const LIMIT: Duration = Duration::from_secs(10);

/// Chooses KVM only where `kernel` boots on it.
pub(super) fn choose(workspace: &Workspace, kernel: Option<&Path>) -> Result<Accelerator> {
    let Some(kernel) = kernel else {
        return Ok(Accelerator::Tcg);
    };
    if !Path::new("/dev/kvm").exists() {
        return Ok(Accelerator::Tcg);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .context("reading this machine's boot id")?;
    let note = workspace.cache.join("kvm-works");
    let works = match fs::read_to_string(&note) {
        Ok(text) if text.starts_with(&boot) => text.ends_with("yes"),
        Ok(_) | Err(_) => {
            let works = boots_on_kvm(kernel)?;
            let text = format!("{boot}{}", if works { "yes" } else { "no" });
            fs::write(&note, text).with_context(|| format!("writing {}", note.display()))?;
            works
        }
    };
    if !works {
        println!("vm: /dev/kvm is there but a guest does not boot on it; emulating in software");
    }
    Ok(if works {
        Accelerator::Kvm
    } else {
        Accelerator::Tcg
    })
}

/// Boots `kernel` without a root: it panics, and `panic=-1` ends QEMU, which is all it has to do.
fn boots_on_kvm(kernel: &Path) -> Result<bool> {
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args(["-accel", "kvm", "-cpu", "host", "-m", "256"])
        .args(["-append", "panic=-1", "-kernel"])
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting qemu-system-x86_64; scripts/setup installs it")?;
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = qemu.try_wait().context("waiting for the probing boot")? {
            return Ok(status.success());
        }
        thread::sleep(Duration::from_millis(50));
    }
    qemu.kill().context("ending the probing boot")?;
    qemu.wait().context("ending the probing boot")?;
    Ok(false)
}
