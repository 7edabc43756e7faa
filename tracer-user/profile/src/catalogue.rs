//! All profiles of a run: the built-in ones, then what the user's files add or replace.

use std::{fs, path::Path};

use crate::{
    document::Source,
    error::ProfileError,
    expression::unknown,
    profile::Profile,
    read::{Extension, read, read_extension},
};

/// A file of `profiles`: its name and its text.
macro_rules! built_in {
    ($name:literal) => {
        (
            concat!($name, ".toml"),
            include_str!(concat!("../profiles/", $name, ".toml")),
        )
    };
}

/// Built-in profiles: name and text. The first that knows a file is the one for it.
const BUILT_IN: &[(&str, &str)] = &[
    built_in!("llama"),
    built_in!("onnxruntime"),
    built_in!("torch"),
    built_in!("ctranslate2"),
    built_in!("whisper"),
    built_in!("litert"),
    built_in!("openvino"),
    built_in!("tokenizers"),
    built_in!("safetensors"),
    built_in!("cuda"),
    built_in!("candle"),
];

/// Those that a run has only if it asks for them.
const ON_REQUEST: &[(&str, &str)] = &[built_in!("ggml")];

/// Most bytes of one profile file.
const LARGEST_FILE: u64 = 1 << 20;

/// Profiles by name.
#[derive(Clone, Debug)]
pub struct Catalogue {
    profiles: Vec<Profile>,
}

impl Catalogue {
    /// The profiles that come with tracer.
    #[must_use]
    pub fn built_in() -> Self {
        let profiles = BUILT_IN
            .iter()
            .map(|(file, text)| {
                read(file, text).expect("a test reads every built-in profile without error")
            })
            .collect();
        Self { profiles }
    }

    /// The names of the built-in profiles that are there on request.
    pub fn on_request() -> impl Iterator<Item = &'static str> {
        ON_REQUEST
            .iter()
            .filter_map(|(file, _)| file.strip_suffix(".toml"))
    }

    /// Adds the built-in profile of this name that is there on request; false if there is none.
    pub fn add_on_request(&mut self, name: &str) -> bool {
        let known = Self::on_request().zip(ON_REQUEST);
        let named = known
            .filter(|(known, _)| *known == name)
            .map(|(_, all)| all);
        let Some((file, text)) = named.last() else {
            return false;
        };
        self.add(read(file, text).expect("a test reads every built-in profile without error"));
        true
    }

    /// Adds a file's profile, before all others; one of the same name is replaced in its place. A file that says `extends` adds
    /// recipes to a profile that is there already.
    ///
    /// # Errors
    /// If the file cannot be read or is neither, or extends a profile that does not exist.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ProfileError> {
        let unreadable = |cause| ProfileError::Unreadable {
            path: path.to_owned(),
            cause,
        };
        let length = fs::metadata(path).map_err(unreadable)?.len();
        if length > LARGEST_FILE {
            return Err(unreadable(std::io::Error::other(format!(
                "{length} bytes are more than the {LARGEST_FILE} that a profile may have"
            ))));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        self.add_text(&path.display().to_string(), &text)
    }

    /// Adds a profile, or an extension of one; `file` is what messages call it.
    ///
    /// # Errors
    /// If the text is neither, or extends a profile that does not exist.
    pub fn add_text(&mut self, file: &str, text: &str) -> Result<(), ProfileError> {
        match read_extension(file, text)? {
            None => {
                let profile = read(file, text)?;
                let is_new = self.profiles.iter().all(|known| known.name != profile.name);
                self.add(profile);
                // Where both know a file, the user's own is meant.
                if is_new {
                    self.profiles.rotate_right(1);
                }
            }
            Some(Extension { extends, recipes }) => {
                let names = || self.profiles.iter().map(|profile| profile.name.as_str());
                let place = names().position(|name| name == extends.value);
                let Some(place) = place else {
                    let problem = unknown("profile", &extends.value, names()).to_string();
                    return Err(Source::new(file, text).wrong(extends.at, problem));
                };
                // What the user knows of this very build comes before what usually works.
                let known = &mut self.profiles[place].recipes;
                for recipe in recipes {
                    match known.iter_mut().find(|known| known.name == recipe.name) {
                        Some(known) => drop(known.ways.splice(..0, recipe.ways)),
                        None => known.push(recipe),
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a profile; one of the same name is replaced.
    pub fn add(&mut self, profile: Profile) {
        match self
            .profiles
            .iter_mut()
            .find(|known| known.name == profile.name)
        {
            Some(known) => *known = profile,
            None => self.profiles.push(profile),
        }
    }

    /// The profiles, in the order in which they are asked whether they know a library.
    #[must_use]
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The profiles, for a run that owns them.
    #[must_use]
    pub fn into_profiles(self) -> Vec<Profile> {
        self.profiles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_is_sound() {
        for (file, text) in BUILT_IN.iter().chain(ON_REQUEST) {
            match read(file, text) {
                // The name by which it is asked for is its own.
                Ok(profile) => assert_eq!(format!("{}.toml", profile.name), *file),
                Err(error) => panic!("{error}"),
            }
        }
    }
    #[test]
    fn a_profile_of_ones_own_comes_first() {
        let mut catalogue = Catalogue::built_in();
        let own = "name = \"own\"\nruntime = \"own\"\nrecognise = [\"llama_decode\"]\n[[probe]]\n\
                   name = \"p\"\nsignal = \"call\"\ngroup = \"g\"\nrate = 1\nsymbols = [\"llama_decode\"]\n";
        catalogue.add_text("own.toml", own).expect("it is sound");
        let names: Vec<&str> = catalogue
            .profiles()
            .iter()
            .map(|profile| profile.name.as_str())
            .collect();
        assert_eq!(names[..2], ["own", "llama"]);
    }

    #[test]
    fn what_is_there_on_request_is_not_there_without() {
        let mut catalogue = Catalogue::built_in();
        let before = catalogue.profiles().len();
        assert!(!catalogue.add_on_request("no such profile"));
        assert_eq!(catalogue.profiles().len(), before);
        assert!(catalogue.add_on_request("ggml"));
        assert_eq!(catalogue.profiles()[before].name, "ggml");
    }
}
