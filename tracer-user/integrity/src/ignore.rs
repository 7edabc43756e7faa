//! Which names of a model are left out.

use std::path::{Component, Path, PathBuf};

/// What a repository keeps beside a model, at its top level (Model Signing v1.0, default exclusions).
pub const GIT_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// Names, relative to the model, that are left out with everything below them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    names: Vec<String>,
}

impl Ignored {
    /// What git keeps in a model's folder.
    #[must_use]
    pub fn git() -> Self {
        let mut ignored = Self::default();
        ignored.extend(GIT_PATHS);
        ignored
    }

    /// Adds names as a manifest has them. Those that can match nothing inside a model, because they
    /// are absolute, empty or lead out of it, do nothing.
    pub fn extend<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            if let Some(name) = inside(Path::new(name))
                && !self.names.contains(&name)
            {
                self.names.push(name);
            }
        }
    }

    /// Adds a path as an operator types it, if it lies in the model: relative ones start where the
    /// operator is, or else in the model.
    pub fn add_typed(&mut self, model: &Path, path: &Path) {
        if !self.add_path(model, path)
            && path.is_relative()
            && let Some(name) = inside(path)
        {
            self.extend([name.as_str()]);
        }
    }

    /// Adds a path if it lies in the model, and says whether it does. A relative one starts where
    /// the operator is.
    pub fn add_path(&mut self, model: &Path, path: &Path) -> bool {
        let within = || {
            let (model, path) = (absolute(model)?, absolute(path)?);
            inside(path.strip_prefix(model).ok()?)
        };
        match within() {
            Some(name) => {
                self.extend([name.as_str()]);
                true
            }
            None => false,
        }
    }

    /// Whether a name, or a folder that it lies in, is left out.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|ignored| {
            name.strip_prefix(ignored.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// The path with its folder's links resolved; the last name stays, since it may be a link that is
/// meant itself, or not exist yet.
fn absolute(path: &Path) -> Option<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            Some(parent.canonicalize().ok()?.join(name))
        }
        _ => path.canonicalize().ok(),
    }
}

/// A relative path in the form of a manifest's names; `None` if it leads out or nowhere.
fn inside(path: &Path) -> Option<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!names.is_empty()).then(|| names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_left_out_with_all_below_it_and_a_longer_name_is_not() {
        let ignored = Ignored::git();
        for name in [".git", ".git/config", ".github/a/b"] {
            assert!(ignored.covers(name), "{name}");
        }
        for name in [".gitx", "a/.git", ".gitignore2", "git"] {
            assert!(!ignored.covers(name), "{name}");
        }
    }

    #[test]
    fn what_can_match_nothing_ignores_nothing() {
        let mut ignored = Ignored::default();
        ignored.extend(["", ".", "/", "..", "../model", "/srv/model", "a/../.."]);
        assert_eq!(ignored, Ignored::default());
        ignored.extend(["./a/", "b//c"]);
        assert_eq!(ignored.names(), ["a", "b/c"]);
    }

    #[test]
    fn a_typed_path_counts_from_where_the_operator_is_or_from_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir(&model).unwrap();
        let mut ignored = Ignored::default();
        ignored.add_typed(&model, &model.join("notes.txt"));
        ignored.add_typed(&model, Path::new("sub/x"));
        ignored.add_typed(&model, &folder.path().join("elsewhere"));
        assert_eq!(ignored.names(), ["notes.txt", "sub/x"]);
        // A bundle's path never starts in the model.
        assert!(!ignored.add_path(&model, Path::new("sub/y")));
        assert_eq!(ignored.names().len(), 2);
    }
}
