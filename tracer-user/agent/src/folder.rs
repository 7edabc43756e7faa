//! Folders with rights of their own.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

/// Makes a folder with these rights, unless it is there. Folders that are missing above it get the usual
/// ones: other users go through them to folders of their own.
///
/// # Errors
/// If one cannot be made.
pub fn make(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_folder_itself_is_closed() {
        let within = tempfile::tempdir().unwrap();
        let folder = within.path().join("above/ship");
        make(&folder, 0o700).unwrap();
        make(&folder, 0o755).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        let usual = within.path().join("usual");
        fs::create_dir(&usual).unwrap();
        assert_eq!(mode(folder.parent().unwrap()), mode(&usual));
    }
}
