//! What a value looks like: random, a placeholder, code, a word, a path.

use memchr::memmem;

use super::{
    class::{self, ALNUM, DIGIT, JOINER, LETTER, LOWER, UPPER},
    spelling::is_unpronounceable,
};

pub(crate) use super::placeholder::is_placeholder;

/// Whether letters and digits, capitals and small letters are mixed as nobody writes words.
pub(crate) fn looks_random(value: &[u8]) -> bool {
    let length = value.len();
    let (mut digits, mut letters, mut turns) = (0, 0, 0);
    let mut last = value.first().map_or(0, |byte| class::of(*byte, ALNUM));
    for byte in value {
        let class = class::of(*byte, ALNUM);
        digits += usize::from(class == DIGIT);
        letters += usize::from(class & LETTER != 0);
        turns += usize::from(class != last);
        last = class;
    }
    let symbols = length - digits - letters;
    let is_balanced = digits * 6 >= length && letters * 6 >= length && symbols * 4 <= length;
    let is_turning = digits > 0 && turns * 4 >= length && symbols * 4 <= length;
    let is_long = length >= 20 && turns * 5 >= length && digits > 0;
    let is_hex =
        || length >= 16 && digits >= 3 && symbols == 0 && value.iter().all(u8::is_ascii_hexdigit);
    let is_very_long = || {
        length >= 24
            && symbols * 8 <= length
            && (turns * 4 >= length || distinct(value) >= 20)
            && !value.windows(2).any(|pair| pair == b"--")
    };
    let is_odd = || {
        symbols * 4 > length
            && length >= 12
            && letters > 0
            && distinct(value) >= 10
            && has_kinds(value, 2)
            && !value
                .iter()
                .all(|b| class::is(*b, ALNUM | JOINER) || b"./:".contains(b))
    };
    (is_balanced || is_turning || is_long || is_hex() || is_very_long() || is_odd())
        && !is_path(value)
        && !is_dotted_name(value)
        && (!is_identifier(value) || is_grouped(value))
}

/// Five groups of letters and digits about as long as those of a UUID, with any letters.
pub(crate) fn is_grouped(value: &[u8]) -> bool {
    let mut groups = value.split(|byte| *byte == b'-');
    let lengths = [8..=12, 4..=4, 4..=4, 4..=4, 12..=16];
    let fits = lengths.into_iter().all(|lengths| {
        groups.next().is_some_and(|group| {
            lengths.contains(&group.len()) && group.iter().all(|byte| class::is(*byte, ALNUM))
        })
    });
    let count = |classes: u8| value.iter().filter(|b| class::is(**b, classes)).count();
    fits && groups.next().is_none() && count(DIGIT) >= 4 && count(LETTER) >= 4
}

/// Four or more equally long groups of capitals and digits, as on a licence: `VK7JG-NPHTM-…`.
pub(crate) fn is_product_key(value: &[u8]) -> bool {
    let mut groups = value.split(|byte| *byte == b'-');
    let length = groups.clone().next().map_or(0, <[u8]>::len);
    (4..=8).contains(&length)
        && groups.clone().count() >= 4
        && distinct(value) >= 8
        && groups.all(|group| {
            group.len() == length && group.iter().all(|byte| class::is(*byte, UPPER | DIGIT))
        })
}

/// How many different bytes it has.
pub(crate) fn distinct(value: &[u8]) -> u32 {
    let mut seen = [0_u128; 2];
    for byte in value {
        seen[usize::from(*byte >> 7)] |= 1 << (*byte & 127);
    }
    seen[0].count_ones() + seen[1].count_ones()
}

/// A call, an index, an operator: the value comes from somewhere else.
pub(crate) fn is_code(value: &[u8], quoted: bool) -> bool {
    // Between two quotes may stand what joins two texts: `"password: " + read() + "."`.
    let trimmed = value.trim_ascii();
    let is_joint = matches!(trimmed.first(), Some(b'+' | b',' | b'.'))
        && (matches!(
            trimmed.last(),
            Some(b'+' | b',' | b'.' | b'(' | b'[' | b'=')
        ) || trimmed.get(1) == Some(&b'$'));
    if is_joint && trimmed.len() > 1 {
        return true;
    }
    if quoted {
        return false;
    }
    if value.starts_with(b"(") && value[1..].iter().all(|byte| class::is(*byte, LETTER)) {
        return true;
    }
    let is_call = value
        .iter()
        .position(|byte| *byte == b'(')
        .is_some_and(|place| {
            place > 0
                && value[..place]
                    .iter()
                    .all(|byte| class::is(*byte, ALNUM | JOINER) || b".:>$".contains(byte))
        });
    let is_index = value
        .iter()
        .position(|byte| *byte == b'[')
        .is_some_and(|place| {
            place > 1
                && value[..place]
                    .iter()
                    .all(|byte| class::is(*byte, LETTER) || b"._$".contains(byte))
        });
    is_call
        || is_index
        || (is_dotted_name(value) && !value.split(|byte| *byte == b'.').any(is_numbered))
        || value.starts_with(b"->")
        // `ResponseEntity<TokenResponse>`
        || is_generic(value)
        || value.starts_with(b"//")
        || value.starts_with(b"&")
}

/// `ResponseEntity<TokenResponse>`: a type of types.
fn is_generic(value: &[u8]) -> bool {
    let opens = value.iter().position(|byte| *byte == b'<');
    opens.is_some_and(|opens| {
        value.ends_with(b">")
            && class::before(value, opens, LETTER)
            && class::at(value, opens + 1, LETTER)
            && class::is(value[0], UPPER) == class::at(value, opens + 1, UPPER)
    })
}

/// What PowerShell is asked for, as `(ConvertTo-SecureString`: its arguments follow.
pub(crate) fn is_cmdlet(value: &[u8]) -> bool {
    const VERBS: [&[u8]; 5] = [b"convertto-", b"convertfrom-", b"get-", b"read-", b"new-"];
    let name = value.strip_prefix(b"(").unwrap_or(value);
    let begins =
        |verb: &&[u8]| name.len() > verb.len() + 2 && name[..verb.len()].eq_ignore_ascii_case(verb);
    VERBS.iter().any(begins) && name.iter().all(|byte| class::is(*byte, LETTER | JOINER))
}

/// `config.secret.value`, `self.token`, `System.getenv`.
fn is_dotted_name(value: &[u8]) -> bool {
    value.contains(&b'.')
        && value.split(|byte| *byte == b'.').all(|part| {
            !part.is_empty()
                && part
                    .iter()
                    .all(|byte| class::is(*byte, LETTER | JOINER) || class::is(*byte, DIGIT))
                && part.iter().filter(|byte| class::is(**byte, DIGIT)).count() * 4 <= part.len()
                && (part.len() <= 24
                    || (part.len() <= 48 && !part.iter().any(|byte| class::is(*byte, DIGIT))))
        })
        && !value.split(|byte| *byte == b'.').any(is_unpronounceable)
}

/// A dash and a digit: no identifier of a programming language has both.
fn is_numbered(part: &[u8]) -> bool {
    part.contains(&b'-') && part.iter().any(|byte| class::is(*byte, DIGIT))
}

/// How long the ending of a file's name is, with its dot, where what stands before it has a digit: a value
/// with a digit is no less a value in a file's name. What may be an attribute as well, such as `.env`, is
/// none.
pub(crate) fn file_ending(value: &[u8]) -> usize {
    const ENDINGS: [&[u8]; 32] = [
        b"gguf",
        b"ggml",
        b"safetensors",
        b"onnx",
        b"ort",
        b"bin",
        b"pt",
        b"pth",
        b"pte",
        b"ckpt",
        b"h5",
        b"tflite",
        b"npy",
        b"npz",
        b"pkl",
        b"json",
        b"jsonl",
        b"yaml",
        b"yml",
        b"toml",
        b"txt",
        b"log",
        b"csv",
        b"xml",
        b"cfg",
        b"ini",
        b"zip",
        b"tar",
        b"gz",
        b"zst",
        b"so",
        b"parquet",
    ];
    let Some(dot) = value.iter().rposition(|byte| *byte == b'.') else {
        return 0;
    };
    let (stem, ending) = (&value[..dot], &value[dot + 1..]);
    let is_known = ENDINGS
        .iter()
        .any(|known| ending.eq_ignore_ascii_case(known));
    let has_digit = stem.iter().any(|byte| class::is(*byte, DIGIT));
    if is_known && has_digit {
        value.len() - dot
    } else {
        0
    }
}

/// Words and numbers joined as names of things are: `DOC_Vector_5_32`, `jackson-0.11.2`.
pub(crate) fn is_identifier(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| b"-_.:/=".contains(byte));
    let is_plain = |part: &[u8]| {
        let letters = part
            .iter()
            .take_while(|byte| class::is(**byte, LETTER))
            .count();
        let digits = &part[letters..];
        let is_number = digits.iter().all(|byte| class::is(*byte, DIGIT));
        is_number && digits.len() <= if letters == 0 { 10 } else { 5 } && letters <= 20
    };
    value.len() <= 48 && parts.all(is_plain)
}

pub(crate) fn is_path(value: &[u8]) -> bool {
    let is_url = value.windows(3).any(|three| three == b"://");
    let parts = value.split(|byte| *byte == b'/');
    let is_rooted =
        (value.starts_with(b"/") || value.starts_with(b"./") || value.starts_with(b"~/"))
            && parts
                .clone()
                .filter(|part| {
                    part.len() > 1
                        && part
                            .iter()
                            .all(|byte| class::is(*byte, LOWER) || b"._-".contains(byte))
                })
                .count()
                >= 2;
    is_url || is_rooted
}

pub(crate) fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(place, byte)| {
            if matches!(place, 8 | 13 | 18 | 23) {
                *byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

/// Names that end like this hold something about a secret, not the secret.
pub(crate) fn names_something_else(suffix: &[u8]) -> bool {
    const ENDINGS: [&[u8]; 44] = [
        b"id",
        b"ids",
        b"name",
        b"names",
        b"length",
        b"len",
        b"size",
        b"type",
        b"file",
        b"path",
        b"url",
        b"uri",
        b"count",
        b"index",
        b"version",
        b"env",
        b"field",
        b"policy",
        b"hash",
        b"digest",
        b"alias",
        b"label",
        b"format",
        b"prefix",
        b"limit",
        b"expiry",
        b"ttl",
        b"timeout",
        b"seconds",
        b"minutes",
        b"hours",
        b"days",
        b"age",
        b"algorithm",
        b"attempts",
        b"strength",
        b"iterations",
        b"rounds",
        b"hint",
        b"regex",
        b"required",
        b"class",
        b"ref",
        b"arn",
    ];
    if suffix.is_empty() {
        return false;
    }
    let suffix: Vec<u8> = suffix
        .iter()
        .filter(|byte| class::is(**byte, LETTER))
        .map(u8::to_ascii_lowercase)
        .collect();
    ENDINGS.iter().any(|ending| suffix.ends_with(ending))
}

pub(crate) fn has_kinds(value: &[u8], least: usize) -> bool {
    let has = |classes: u8| usize::from(value.iter().any(|byte| class::is(*byte, classes)));
    let symbol = usize::from(value.iter().any(|byte| !class::is(*byte, ALNUM)));
    has(LOWER) + has(UPPER) + has(DIGIT) + symbol >= least
}

/// More than a word: a digit, a symbol, or a capital inside.
pub(crate) fn is_mixed(value: &[u8]) -> bool {
    value.iter().any(|byte| class::is(*byte, DIGIT))
        || value
            .iter()
            .any(|byte| !class::is(*byte, ALNUM | JOINER) && !b"'.,".contains(byte))
        || value
            .windows(2)
            .any(|pair| class::is(pair[0], LOWER) && class::is(pair[1], UPPER))
}

pub(crate) fn is_plain_word(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| class::is(*byte, LETTER) || b"-'_".contains(byte))
}

/// A type or a keyword of a programming language where a value would stand.
pub(crate) fn is_type(value: &[u8]) -> bool {
    const TYPES: [&[u8]; 28] = [
        b"str",
        b"string",
        b"String",
        b"&str",
        b"bytes",
        b"int",
        b"bool",
        b"boolean",
        b"text",
        b"Text",
        b"varchar",
        b"object",
        b"Optional",
        b"required",
        b"optional",
        b"None",
        b"null",
        b"self",
        b"this",
        b"await",
        b"new",
        b"input",
        b"password",
        b"Password",
        b"secret",
        b"token",
        b"const",
        b"return",
    ];
    TYPES.contains(&value) || value.starts_with(b"varchar") || value.starts_with(b"Optional")
}

/// What programs say about passwords.
pub(crate) fn is_message(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 21] = [
        b"must",
        b"type ",
        b"choose",
        b"forgot",
        b"reset",
        b"change",
        b"confirm",
        b"new ",
        b"field",
        b"should",
        b"cannot",
        b"can't",
        b"password",
        b"not ",
        b"required",
        b"invalid",
        b"incorrect",
        b"wrong",
        b"enter",
        b"your ",
        b"please",
    ];
    let lower = value[..value.len().min(80)].to_ascii_lowercase();
    WORDS
        .iter()
        .any(|word| memmem::find(&lower, word).is_some())
}

/// `#add-password`, `FromEmailPassword`, `Password:`: the name of a password, where one would
/// stand.
pub(crate) fn names_a_password(value: &[u8]) -> bool {
    let is_name = value
        .iter()
        .all(|byte| class::is(*byte, LETTER | JOINER) || b"#./:$".contains(byte))
        && (value.iter().any(|byte| !class::is(*byte, LETTER))
            || value
                .windows(2)
                .any(|pair| class::is(pair[0], LOWER) && class::is(pair[1], UPPER)));
    let lower = value[..value.len().min(64)].to_ascii_lowercase();
    is_name && value.len() > 8 && memmem::find(&lower, b"password").is_some()
}

/// Twenty or more letters of both cases, mixed as in no name of a variable.
pub(crate) fn is_shuffled(value: &[u8]) -> bool {
    let count = |classes: u8| {
        value
            .iter()
            .filter(|byte| class::is(**byte, classes))
            .count()
    };
    value.len() >= 20
        && count(LETTER) == value.len()
        && count(UPPER) * 3 >= value.len()
        && count(LOWER) * 3 >= value.len()
}

/// Sixteen or more capitals and digits: no word, and no name of a constant.
pub(crate) fn is_plate(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| class::is(**byte, DIGIT)).count();
    let turns = value
        .windows(2)
        .filter(|pair| class::is(pair[0], DIGIT) != class::is(pair[1], DIGIT))
        .count();
    (16..=64).contains(&value.len())
        && value.iter().all(|byte| class::is(*byte, UPPER | DIGIT))
        && digits >= 2
        && turns >= 3
}

/// As long as a digest, in lower-case hexadecimal digits.
pub(crate) fn is_digest(value: &[u8]) -> bool {
    let is_hex = |byte: &u8| class::is(*byte, DIGIT) || (b'a'..=b'f').contains(byte);
    matches!(value.len(), 32 | 40 | 56 | 64 | 96 | 128) && value.iter().all(is_hex)
}

/// Several words of small letters.
pub(crate) fn is_prose(value: &[u8]) -> bool {
    value
        .iter()
        .filter(|byte| class::is(**byte, LOWER) || **byte == b' ')
        .count()
        * 10
        >= value.len() * 8
}
