//! A C++ program on PyTorch's own CPU library: the Python package needs gigabytes of CUDA to be imported.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    cache::Cache,
    compile::{compiled_with, scratch},
    package::{CUDA_CUPTI, CUDA_RUNTIME, TORCH},
};

/// The library whose functions it calls.
///
/// # Errors
/// When the package cannot be fetched.
pub fn library(cache: &Cache) -> Result<PathBuf> {
    Ok(TORCH.unpacked(cache)?.join("torch/lib/libtorch_cpu.so"))
}

/// The command line of `workloads/torch.cpp`. It waits before its calls and after them; with the argument
/// `rounds` it answers the same questions again and again instead.
///
/// # Errors
/// When the package cannot be fetched, or the program does not compile.
pub fn command(cache: &Cache) -> Result<Command> {
    let mut command = program(cache, &["torch.cpp"])?;
    command.arg(scratch("torch", "pt"));
    Ok(command)
}

/// The command line of `workloads/torch_serves.cpp`, which waits once and then does so many steps.
///
/// # Errors
/// As [`command`].
pub fn serving(cache: &Cache, steps: u32) -> Result<Command> {
    let mut command = program(cache, &["torch_serves.cpp", "report.h"])?;
    command.arg(steps.to_string());
    Ok(command)
}

fn program(cache: &Cache, sources: &[&str]) -> Result<Command> {
    let torch = TORCH.unpacked(cache)?.join("torch");
    let cuda = [&CUDA_RUNTIME, &CUDA_CUPTI].map(|package| package.unpacked(cache));
    let mut folders = vec![torch.join("lib")];
    for package in cuda {
        folders.push(package?.join("nvidia/cu13/lib"));
    }
    let include = |path: PathBuf| ["-isystem".to_owned(), path.display().to_string()];
    let mut flags = vec!["-std=c++20".to_owned(), "-g0".to_owned()];
    flags.extend(include(torch.join("include")));
    flags.extend(include(torch.join("include/torch/csrc/api/include")));
    let mut libraries = vec![format!("-L{}", folders[0].display())];
    libraries.extend(["-ltorch_cpu", "-lc10"].map(str::to_owned));
    // Its own dependencies are found by this program's path too, which only the old kind of entry does.
    libraries.push("-Wl,--allow-shlib-undefined,--disable-new-dtags".to_owned());
    libraries.extend(
        folders
            .iter()
            .map(|folder| format!("-Wl,-rpath,{}", folder.display())),
    );
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let libraries: Vec<&str> = libraries.iter().map(String::as_str).collect();
    Ok(Command::new(compiled_with(
        cache, sources, &flags, &libraries,
    )?))
}
