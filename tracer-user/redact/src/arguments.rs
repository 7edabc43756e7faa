//! What a command line says where no pattern finds it: prompts, and secrets that look like options.

/// Options whose value is a prompt, in the programs that runtimes come with and in common scripts.
const CONTENT_OPTIONS: [&[u8]; 18] = [
    b"-p",
    b"--prompt",
    b"-sys",
    b"--system",
    b"--system-prompt",
    b"--in-prefix",
    b"--in-suffix",
    b"--input",
    b"--input-text",
    b"--instruction",
    b"--message",
    b"--messages",
    b"--query",
    b"--question",
    b"-r",
    b"--reverse-prompt",
    b"--text",
    b"--user-prompt",
];
/// Words from which on an argument is prose whatever else it looks like.
const SURELY_PROSE: usize = 4;
/// Bytes from which on a word that begins as an option does may be a secret: base64 for URLs has `-`
/// among its signs.
const SHORTEST_SECRET: usize = 8;
const SHORTEST_SECRET_WITH_TWO: usize = 20;

/// Whether an argument is an option's name.
pub(crate) fn is_option(text: &[u8]) -> bool {
    text.starts_with(b"-") && text.len() > 1
}

/// Whether an option's value is content.
pub(crate) fn is_content_option(option: &[u8]) -> bool {
    CONTENT_OPTIONS.contains(&option)
}

/// Whether the argument after an option for a secret is that secret, and not the next option.
pub(crate) fn may_be_secret(text: &[u8]) -> bool {
    let is_mixed =
        || text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_uppercase);
    if text.starts_with(b"--") {
        text.len() >= SHORTEST_SECRET_WITH_TWO && is_mixed()
    } else {
        !is_option(text) || text.len() >= SHORTEST_SECRET
    }
}

/// Whether a value is prose, as a prompt is, rather than a name, a number, a path or a setting.
pub(crate) fn is_prose(text: &[u8]) -> bool {
    let mut words = text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let Some(first) = words.next() else {
        return false;
    };
    let more = words.count();
    let is_path = matches!(first, [b'/' | b'.' | b'~', rest @ ..] if rest.contains(&b'/'));
    let is_setting = first.contains(&b'=') || matches!(first, [b'{' | b'[', ..]);
    match more {
        0 => false,
        _ if is_path => false,
        _ => more >= SURELY_PROSE - 1 || !is_setting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_has_several_words_and_is_no_path_or_setting() {
        for text in [
            "my diagnosis is diabetes",
            "hello there",
            "{\"prompt\": \"my diagnosis is diabetes\"}",
            "/no_think what does this say",
            "a=b is what she said",
        ] {
            assert!(is_prose(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "hello",
            "/srv/My Models/llama 3 8b it.gguf",
            "./My Models/a.gguf",
            "temperature=0.7 top_p=1",
            "{\"enable_thinking\": false}",
        ] {
            assert!(!is_prose(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_secret_may_begin_as_an_option_does() {
        for text in ["hunter2", "-Xk3vQ9pLw", "--Xk3vQ9pLwZt7Rb2Nc5Md"] {
            assert!(may_be_secret(text.as_bytes()), "{text}");
        }
        for text in ["-v", "--port", "--context-length-limit"] {
            assert!(!may_be_secret(text.as_bytes()), "{text}");
        }
    }
}
