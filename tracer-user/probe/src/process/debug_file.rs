//! Opening the separate debug files of a library, in the file system of the process that maps it.
//!
//! The process controls what its paths lead to. They are resolved within its root, so that a link
//! of its making leads nowhere else, and whoever reads the file compares its build-id.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::inside::open_within;

/// A debug file that may belong to a library.
pub(crate) struct DebugFile {
    /// Its path within the root it was found in, for messages.
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

/// The debug files of a build that there are: by build-id, then by the name that the library gives,
/// in the root of process `pid`, then in our own.
pub(crate) fn debug_files(
    pid: Option<u32>,
    library: &Path,
    build_id: &[u8],
    name: Option<&str>,
) -> Vec<DebugFile> {
    let candidates = candidates(library, build_id, name);
    let mut found = Vec::new();
    for root in roots(pid) {
        let open = |path: &PathBuf| {
            let file = open_within(&root, path).ok()?;
            let path = path.clone();
            Some(DebugFile { path, file })
        };
        found.extend(candidates.iter().filter_map(open));
    }
    found
}

fn roots(pid: Option<u32>) -> Vec<File> {
    let own = File::open("/").ok();
    let theirs = pid.and_then(|pid| File::open(format!("/proc/{pid}/root")).ok());
    let identity = |file: &File| file.metadata().ok().map(|data| (data.dev(), data.ino()));
    match (theirs, own) {
        (Some(theirs), Some(own)) if identity(&theirs) == identity(&own) => vec![own],
        (theirs, own) => theirs.into_iter().chain(own).collect(),
    }
}

/// Where Debian, Fedora and gdb put debug files.
fn candidates(library: &Path, build_id: &[u8], name: Option<&str>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if let Some((first, rest)) = build_id.split_first().filter(|(_, rest)| !rest.is_empty()) {
        let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        paths.push(format!("usr/lib/debug/.build-id/{first:02x}/{rest}.debug").into());
    }
    let folder = library
        .parent()
        .and_then(|folder| folder.strip_prefix("/").ok());
    let is_name = |name: &&str| !name.is_empty() && !name.contains('/') && *name != "..";
    if let (Some(folder), Some(name)) = (folder, name.filter(is_name)) {
        paths.push(folder.join(name));
        paths.push(folder.join(".debug").join(name));
        paths.push(Path::new("usr/lib/debug").join(folder).join(name));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_the_targets_making_does_not_lead_out_of_its_root() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let debug = folder.path().join("usr/lib/debug");
        std::fs::create_dir_all(&debug).expect("the folder is ours");
        std::os::unix::fs::symlink("/etc", debug.join(".build-id")).expect("the folder is ours");
        std::fs::create_dir_all(folder.path().join("etc/ab")).expect("the folder is ours");
        std::fs::write(folder.path().join("etc/ab/cd.debug"), "inside").expect("ours");
        let root = File::open(folder.path()).expect("it was just made");
        let [path] = &candidates(Path::new("/lib/x.so"), &[0xab, 0xcd], None)[..] else {
            panic!("one path for a build-id alone")
        };
        let mut text = String::new();
        let mut file = open_within(&root, path).expect("the link leads to the root's own /etc");
        std::io::Read::read_to_string(&mut file, &mut text).expect("it is readable");
        assert_eq!(text, "inside");
        assert!(open_within(&root, Path::new("../../../etc/passwd")).is_err());
    }

    #[test]
    fn a_name_with_a_folder_in_it_is_no_name() {
        for name in ["", "..", "../x", "/etc/shadow", "a/b"] {
            assert!(candidates(Path::new("/lib/x.so"), &[], Some(name)).is_empty());
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let root = File::open("/").expect("there is a root");
        assert!(open_within(&root, Path::new("dev/null")).is_err());
    }
}
