//! Names that say that what they name is a secret, whatever it looks like.

/// A word that says so as the last of a name.
const WORDS: [&str; 14] = [
    "apikey",
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "pin",
    "pwd",
    "secret",
    "secrets",
    "token",
];
/// A word that says so before `key`.
const BEFORE_KEY: [&str; 9] = [
    "access",
    "account",
    "api",
    "auth",
    "encryption",
    "license",
    "private",
    "secret",
    "signing",
];

/// Whether an option or variable of this name holds a secret.
pub(crate) fn is_secret_name(name: &[u8]) -> bool {
    let words = words(name);
    let last = |back: usize| {
        words
            .len()
            .checked_sub(back)
            .map(|index| words[index].as_str())
    };
    let Some(word) = last(1) else {
        return false;
    };
    let says_so = |word: &str| WORDS.contains(&word);
    says_so(word) || word == "key" && last(2).is_some_and(|before| BEFORE_KEY.contains(&before))
}

/// A name's words in lower case: parts between separators, and those that a capital begins.
fn words(name: &[u8]) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for byte in name.iter().take(128) {
        let begins = !byte.is_ascii_alphanumeric() || byte.is_ascii_uppercase() && was_lower;
        if begins {
            words.push(String::new());
        }
        if byte.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(char::from(byte.to_ascii_lowercase()));
        }
        was_lower = byte.is_ascii_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_by_its_last_words() {
        for name in [
            "--api-key",
            "API_KEY",
            "apiKey",
            "--hf-token",
            "DB_PASSWORD",
            "--ssl.private_key",
            "clientSecret",
        ] {
            assert!(is_secret_name(name.as_bytes()), "{name}");
        }
        for name in [
            "--max-tokens",
            "--cache-type-k",
            "--keep",
            "--token-limit",
            "OMP_NUM_THREADS",
            "--key",
            "",
            "--",
        ] {
            assert!(!is_secret_name(name.as_bytes()), "{name}");
        }
    }
}
