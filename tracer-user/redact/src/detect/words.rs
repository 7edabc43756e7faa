//! The words that decide where detectors look closer, all found in one pass.

use std::collections::HashMap;

use super::{
    class::{self, LETTER, LOWER, UPPER, WORD},
    finder::Finder,
    short_code::Form,
};

/// What a number near a word may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Card,
    Phone,
    /// It speaks of calls or numbers, and of other things too.
    Call,
    Bank,
    Birth,
    Address,
    Postcode,
    Identity,
    Tax,
    Passport,
    Licence,
    Plate,
    Health,
    Version,
    Crypto,
    Network,
    /// Of a language other than English, what a thing has that is numbered: `nummer`, `番号`.
    Number,
    /// One national identifier, by its place in the table.
    Identifier(u8),
}

/// Why a word is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A rule's pattern begins here.
    Rule(u16),
    /// A rule's pattern is searched for around here.
    Around(u16),
    /// What follows may be a password, whatever it looks like.
    Password,
    /// What follows may be a secret if it looks like one.
    Secret,
    /// The same of the word's first bytes, so many: it begins with another word.
    PasswordOf(u8),
    SecretOf(u8),
    /// `Bearer` and its kin: what follows blanks is a secret.
    Scheme,
    /// `-u`: a user and a password follow.
    User,
    /// A user's name and a password may follow, with a sign between them.
    Pair,
    /// Cookies may follow.
    Cookie,
    /// A program that takes a password among its options, by its place in the table.
    Program(u8),
    /// `IDENTIFIED WITH`: a password or its hash follows.
    Identified,
    /// A call with a user and a password as arguments, behind so many others.
    Credential(u8),
    /// A call with a key as an argument, behind so many others.
    Keyed(u8),
    /// A program that takes a password from a pipe.
    Piped,
    /// A host behind a user and a password, as Go's drivers write it.
    BehindUser,
    /// A password that many people have, with digits behind it.
    Common,
    /// What ends a host's name.
    HostEnding,
    /// What follows is a host's name.
    HostName,
    /// A path begins here.
    Path,
    /// A path may begin at the next byte.
    BeforePath,
    /// What follows may be a link-layer address without a digit.
    Mac,
    /// The end of an armoured key whose beginning may be missing.
    ArmourEnd,
    /// `://`
    Url,
    /// `-----BEGIN`
    Armour,
    /// A code of this form follows.
    Code(Form),
    /// It stands for this character, as `[at]` does.
    Mark(u8),
    /// It says what a number is.
    Topic(Topic),
}

/// A word's place in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) start: usize,
    pub(crate) end: usize,
    word: u32,
}

/// All words, found together.
pub(crate) struct Words {
    finder: Finder,
    /// Of one word after another.
    roles: Vec<Role>,
    /// Where each word's roles begin, and what they are for; one more than there are words.
    entries: Vec<(u32, Uses)>,
}

/// What a word's roles are for, so that few words' roles are gone through.
#[derive(Clone, Copy, Default)]
struct Uses {
    brings: bool,
    marks: bool,
    names_a_column: bool,
    numbers: bool,
}

impl Role {
    /// Whether a word in this role brings something about where it stands.
    fn brings(&self) -> bool {
        match self {
            Self::Topic(topic) => matches!(topic, Topic::Address | Topic::Birth),
            Self::Around(_) | Self::Mark(_) => false,
            _ => true,
        }
    }

    /// Whether what a column of this name holds is looked for.
    fn names_a_column(&self) -> bool {
        match self {
            Self::Password
            | Self::Secret
            | Self::PasswordOf(_)
            | Self::SecretOf(_)
            | Self::Code(_) => true,
            Self::Topic(topic) => !matches!(
                topic,
                Topic::Version | Topic::Network | Topic::Call | Topic::Number
            ),
            _ => false,
        }
    }
}

impl Words {
    /// These words, in either case.
    pub(crate) fn new<'w>(words: impl IntoIterator<Item = (&'w str, Role)>) -> Self {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut list = Vec::new();
        let mut roles: Vec<Vec<Role>> = Vec::new();
        let spelled = words
            .into_iter()
            .flat_map(|(word, role)| spelled(word, role).map(move |word| (word, role)));
        for (word, role) in spelled {
            let place = *places.entry(word.clone()).or_insert_with(|| {
                list.push(word);
                roles.push(Vec::new());
                roles.len() - 1
            });
            roles[place].push(role);
        }
        // Of words that begin alike only the longest is found: `key-` would hide `key`.
        for (place, word) in list.iter().enumerate() {
            let names = |role: &Role| matches!(role, Role::Password | Role::Secret);
            if roles[place].iter().any(names) {
                continue;
            }
            let shorter = (2..word.len()).rev().find_map(|length| {
                let shorter = *places.get(word.get(..length)?)?;
                let role = *roles[shorter].iter().find(|role| names(role))?;
                Some((u8::try_from(length).ok()?, role))
            });
            roles[place].extend(shorter.map(|(length, role)| match role {
                Role::Password => Role::PasswordOf(length),
                _ => Role::SecretOf(length),
            }));
        }
        let mut entries = Vec::with_capacity(roles.len() + 1);
        let mut first = 0;
        for roles in &roles {
            let uses = Uses {
                brings: roles.iter().any(Role::brings),
                marks: roles.iter().any(|role| matches!(role, Role::Mark(_))),
                names_a_column: roles.iter().any(Role::names_a_column),
                numbers: roles.contains(&Role::Topic(Topic::Number)),
            };
            entries.push((first, uses));
            first += u32::try_from(roles.len()).expect("a policy has fewer rules than that");
        }
        entries.push((first, Uses::default()));
        Self {
            finder: Finder::new(&list),
            roles: roles.into_iter().flatten().collect(),
            entries,
        }
    }

    /// Appends every word found, in order.
    pub(crate) fn find(&self, text: &[u8], hits: &mut Vec<Hit>) {
        self.finder.find(text, |found| {
            hits.push(Hit {
                start: found.start,
                end: found.end,
                word: found.place,
            });
        });
    }

    /// Why the word is looked for.
    pub(crate) fn roles(&self, hit: Hit) -> &[Role] {
        let word = hit.word as usize;
        &self.roles[self.entries[word].0 as usize..self.entries[word + 1].0 as usize]
    }

    fn uses(&self, hit: Hit) -> Uses {
        self.entries[hit.word as usize].1
    }

    /// Whether the word brings something about where it stands.
    pub(crate) fn brings(&self, hit: Hit) -> bool {
        self.uses(hit).brings
    }

    /// Whether it stands for a character.
    pub(crate) fn marks(&self, hit: Hit) -> bool {
        self.uses(hit).marks
    }

    /// Whether it is a word for a number of a language other than English.
    pub(crate) fn numbers(&self, hit: Hit) -> bool {
        self.uses(hit).numbers
    }

    /// Whether what a column holds that it names is looked for.
    pub(crate) fn names_a_column(&self, hit: Hit) -> bool {
        self.uses(hit).names_a_column
    }
}

/// The word in small letters, and what programs make of one with blanks: `tax_id`, `tax-id`, `taxid`.
fn spelled(word: &str, role: Role) -> impl Iterator<Item = String> + use<> {
    /// A shorter one would be some other word: `sa id`.
    const SHORTEST: usize = 5;
    let word = word.to_ascii_lowercase();
    let names_a_field = word.is_ascii() && word.trim() == word && word.contains(' ');
    let is_told =
        matches!(role, Role::Topic(topic) if !matches!(topic, Topic::Address | Topic::Call));
    let joiners: &[&str] = match names_a_field && is_told {
        true => &["_", "-", ""],
        false => &[],
    };
    let names: Vec<String> = joiners
        .iter()
        .map(|joiner| word.replace(' ', joiner))
        .filter(|name| name.len() > SHORTEST)
        .collect();
    [word].into_iter().chain(names)
}

/// A text with the words found in it.
#[derive(Clone, Copy)]
pub(crate) struct Context<'t> {
    pub(crate) text: &'t [u8],
    pub(crate) hits: &'t [Hit],
    pub(crate) words: &'t Words,
    /// Whether the text is one value, not a part of something longer.
    pub(crate) whole: bool,
    /// Whether a word for a number of a language other than English is among the hits.
    pub(crate) has_numbers: bool,
}

/// How far before a number a word may say what it is, in bytes.
pub(crate) const BEFORE: usize = 60;
/// How far after it.
pub(crate) const AFTER: usize = 30;
/// How long a text with nothing but an identifier may be.
pub(crate) const ALONE: usize = 80;

impl Context<'_> {
    /// Whether a word on one of the topics stands near.
    pub(crate) fn is_about(&self, start: usize, end: usize, topics: &[Topic]) -> bool {
        self.is_near(start, end, BEFORE, AFTER, topics)
    }

    /// Whether a word on one of the topics stands within these distances.
    pub(crate) fn is_near(
        &self,
        start: usize,
        end: usize,
        before: usize,
        after: usize,
        topics: &[Topic],
    ) -> bool {
        self.near(start, end, before, after).any(|hit| {
            self.words.roles(hit).iter().any(|role| {
                matches!(role, Role::Topic(topic) if topics.contains(topic)) && self.is_word(hit)
            })
        })
    }

    /// The topics of all words that stand near, in no order.
    pub(crate) fn topics_near(&self, start: usize, end: usize) -> Vec<Topic> {
        self.near(start, end, BEFORE, AFTER)
            .filter(|hit| self.is_word(*hit))
            .flat_map(|hit| self.words.roles(hit))
            .filter_map(|role| match role {
                Role::Topic(topic) => Some(*topic),
                _ => None,
            })
            .collect()
    }

    fn near(
        &self,
        start: usize,
        end: usize,
        before: usize,
        after: usize,
    ) -> impl Iterator<Item = Hit> {
        let first = self.hits.partition_point(|hit| hit.end + before < start);
        self.hits[first..]
            .iter()
            .copied()
            .take_while(move |hit| hit.start <= end + after)
            .filter(move |hit| hit.end <= start || hit.start >= end)
    }

    /// Whether a word on one of the topics ends where this begins, or with one more word between them.
    pub(crate) fn is_glued_to(&self, start: usize, topics: &[Topic]) -> bool {
        const BETWEEN: usize = 6;
        let first = self.hits.partition_point(|hit| hit.end + BETWEEN < start);
        self.hits[first..]
            .iter()
            .take_while(|hit| hit.end <= start)
            .filter(|hit| {
                let between = &self.text[hit.end..start];
                between.iter().all(|byte| class::is(*byte, LETTER))
            })
            .any(|hit| {
                let mut roles = self.words.roles(*hit).iter();
                roles.any(|role| matches!(role, Role::Topic(topic) if topics.contains(topic)))
            })
    }

    /// Whether the range is all there is but for blanks and quotes, and the text is one value.
    pub(crate) fn is_alone(&self, start: usize, end: usize) -> bool {
        let is_margin = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`.,;".contains(byte);
        self.whole
            && self.text.len() <= ALONE
            && self.text[..start].iter().all(is_margin)
            && self.text[end..].iter().all(is_margin)
    }

    /// Whether a hit is a word of its own, also as a part of `creditCard` or `card_number`, in the
    /// singular or plural.
    pub(crate) fn is_word(&self, hit: Hit) -> bool {
        let text = self.text;
        let starts = !class::before(text, hit.start, WORD)
            || !class::at(text, hit.start, LETTER)
            || (class::before(text, hit.start, LOWER) && class::at(text, hit.start, UPPER));
        let mut end = hit.end;
        if text
            .get(end)
            .is_some_and(|byte| byte.eq_ignore_ascii_case(&b's'))
        {
            end += 1;
        }
        let ends = |end: usize| {
            !class::at(text, end, WORD)
                || !class::before(text, end, LETTER)
                || (class::before(text, end, LOWER) && class::at(text, end, UPPER))
        };
        starts && (ends(hit.end) || ends(end))
    }
}
