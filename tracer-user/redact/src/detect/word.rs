//! What a word in a text brings about: the token that it begins, the value that it names.

use std::ops::Range;

use super::{
    Detectors, address, armour, assignment, bare,
    believe::Strength,
    class::{self, ALNUM, JOINER, WORD},
    colon, command,
    hit::{Certainty, Found, Hits, said, shape},
    kind::Kind,
    login, place, session,
    short_code::{self, Form},
    tokens::{self, Lead, TOKENS},
    url, user,
    words::{Context, Hit, Role, Topic},
};

/// Reads what a word brings about. `covered` is where the last value of an assignment ends: words in it
/// bring no others, so that no text is read again and again.
pub(crate) fn read(
    detectors: &Detectors,
    context: &Context<'_>,
    hit: Hit,
    covered: &mut usize,
    hits: &mut Hits,
) {
    let text = context.text;
    // A program may take several secrets.
    let before = *covered;
    for role in context.words.roles(hit) {
        match role {
            Role::Rule(place) => token(detectors, context, hit, usize::from(*place), hits),
            Role::Password | Role::Secret | Role::PasswordOf(_) | Role::SecretOf(_)
                if hit.start < *covered => {}
            Role::Password => assigned(text, hit.start..hit.end, PASSWORD, covered, hits),
            Role::Secret => assigned(text, hit.start..hit.end, SECRET, covered, hits),
            Role::PasswordOf(length) | Role::SecretOf(length) => {
                let word = hit.start..hit.start + usize::from(*length);
                let is_password = matches!(role, Role::PasswordOf(_));
                let names = if is_password { PASSWORD } else { SECRET };
                assigned(text, word, names, covered, hits);
            }
            Role::Pair | Role::Identified | Role::Credential(_) | Role::Keyed(_)
                if hit.start < *covered => {}
            Role::Pair => {
                let pair = login::pair(text, hit.end).filter(|_| context.is_word(hit));
                let both = pair.into_iter().flatten();
                hits.extend(both.map(|range| said(range, "login", Kind::BasicAuth)));
            }
            Role::Cookie => {
                let sessions = session::cookies(text, hit.end).into_iter();
                hits.extend(sessions.map(|range| said(range, "session-cookie", Kind::Secret)));
            }
            // `disconnect `
            Role::Program(_) if hit.start < before || class::before(text, hit.start, ALNUM) => {}
            Role::Program(program) => {
                let values = command::options(text, hit.end, *program);
                *covered = values
                    .iter()
                    .fold(*covered, |covered, range| covered.max(range.end));
                let found = |range| said(range, "command-line-password", Kind::BasicAuth);
                hits.extend(values.into_iter().map(found));
            }
            Role::Identified => {
                let range = command::identified(text, hit.end);
                hits.extend(range.map(|range| said(range, "sql-password", Kind::Password)));
            }
            Role::Credential(others) => {
                let values = command::called_with(text, hit.end, *others).into_iter();
                hits.extend(values.map(|range| said(range, "credential-call", Kind::BasicAuth)));
            }
            Role::Piped => {
                let range = command::piped(text, hit.start);
                hits.extend(range.map(|range| said(range, "piped-password", Kind::BasicAuth)));
            }
            Role::BehindUser => {
                let range = command::before_host(text, hit.start);
                hits.extend(range.map(|range| said(range, "login", Kind::BasicAuth)));
            }
            Role::Keyed(others) => {
                let range = command::keyed_with(text, hit.end, *others);
                hits.extend(range.map(|range| said(range, "key-of-a-call", Kind::Secret)));
            }
            Role::Common => {
                let range = short_code::common_password(text, hit.start..hit.end);
                hits.extend(range.map(|range| said(range, "common-password", Kind::Password)));
            }
            Role::HostEnding => {
                let range = place::host(text, hit.start, hit.end);
                hits.extend(range.map(|range| shape(range, "host", Kind::Host)));
            }
            Role::HostName => {
                let range = place::announced(text, hit.end).filter(|_| context.is_word(hit));
                hits.extend(range.map(|range| said(range, "host", Kind::Host)));
            }
            Role::Path | Role::BeforePath => {
                let start = hit.start + usize::from(*role == Role::BeforePath);
                let is_known = place::is_root(&text[start..]);
                let range = place::path(text, start, is_known);
                hits.extend(range.map(|range| shape(range, "path", Kind::Path)));
            }
            Role::Mac if context.is_word(hit) => {
                let end = text.len().min(hit.end + 64);
                let range = colon::lettered_mac(&text[..end], hit.end);
                hits.extend(range.map(|range| shape(range, "mac", Kind::MacAddress)));
            }
            Role::ArmourEnd => {
                let range = armour::headless(text, hit.start);
                hits.extend(range.map(|range| shape(range, "private-key", Kind::PrivateKey)));
            }
            Role::Scheme => {
                let is_word = !class::before(text, hit.start, WORD | JOINER)
                    && !text[..hit.start].ends_with(b"$");
                if let Some(range) = login::scheme(text, hit.end).filter(|_| is_word) {
                    hits.push(Found {
                        range,
                        rule: "bearer",
                        kind: Kind::Bearer,
                        certainty: Certainty::Context,
                    });
                }
            }
            Role::User => {
                let range = login::user(text, hit.end - 1);
                hits.extend(range.map(|range| shape(range, "command-line-user", Kind::BasicAuth)));
            }
            Role::Url => {
                if let Some(range) = url::credentials(text, hit.start) {
                    hits.push(Found {
                        range,
                        rule: "url-credentials",
                        kind: Kind::BasicAuth,
                        certainty: Certainty::Shape,
                    });
                }
                if let Some(range) = url::whole(text, hit.start) {
                    hits.push(Found {
                        range,
                        rule: "url",
                        kind: Kind::Host,
                        certainty: Certainty::Shape,
                    });
                }
            }
            Role::Armour => {
                if let Some(end) = armour::end(text, hit.start) {
                    hits.push(Found {
                        range: hit.start..end,
                        rule: "private-key",
                        kind: Kind::PrivateKey,
                        certainty: Certainty::Shape,
                    });
                }
            }
            Role::Topic(Topic::Address) if context.is_word(hit) => {
                if let Some(range) = address::told(text, hit.start..hit.end) {
                    let start = match address::belongs(&text[hit.start..hit.end]) {
                        true => hit.start,
                        false => range.start,
                    };
                    hits.push(Found {
                        range: start..range.end,
                        rule: "address",
                        kind: Kind::PostalAddress,
                        certainty: Certainty::Context,
                    });
                }
            }
            Role::Topic(Topic::Birth) => birth(detectors, context, hit, hits),
            Role::Code(form) => {
                let kind = match form {
                    Form::CardCheck => Kind::Card,
                    Form::Pin | Form::Once | Form::Recovery => Kind::Password,
                    Form::Phrase => Kind::Secret,
                    Form::Bank => Kind::BankAccount,
                };
                let range = short_code::read(text, hit.start..hit.end, *form);
                hits.extend(range.map(|range| said(range, "short-code", kind)));
            }
            Role::Topic(_) | Role::Around(_) | Role::Mark(_) | Role::Mac => {}
        }
    }
}

/// What a word for a secret says of the value after it.
type Named = (Strength, Kind);

const PASSWORD: Named = (Strength::Password, Kind::Password);
const SECRET: Named = (Strength::Secret, Kind::Secret);

fn assigned(
    text: &[u8],
    word: Range<usize>,
    (strength, kind): Named,
    covered: &mut usize,
    hits: &mut Hits,
) {
    let end = word.end;
    let is_behind_id = strength == Strength::Password && text[..word.start].ends_with(b"/");
    let Some(range) = assignment::read(text, word, strength) else {
        // `ID/PW : user / password`
        let pair = is_behind_id.then(|| login::pair(text, end)).flatten();
        hits.extend(
            pair.into_iter()
                .flatten()
                .map(|range| said(range, "login", Kind::BasicAuth)),
        );
        return;
    };
    *covered = range.end.max(*covered);
    for other in assignment::others_of_list(text, &range, strength) {
        *covered = other.end;
        hits.push(said(other, kind.name(), kind));
    }
    if strength == Strength::Password
        && let Some(user) =
            user::beside_in_a_string(text, &range).or_else(|| user::near(text, &range))
    {
        hits.push(said(user, "user-beside-password", Kind::BasicAuth));
    }
    if strength == Strength::Password
        && let Some(new) = assignment::changed_to(text, &range)
    {
        *covered = new.end;
        hits.push(said(new, kind.name(), kind));
    }
    hits.push(said(range, kind.name(), kind));
}

fn token(detectors: &Detectors, context: &Context<'_>, hit: Hit, place: usize, hits: &mut Hits) {
    let text = context.text;
    let token = &TOKENS[place];
    let lead = token.lead.start(text, hit.start);
    let is_glued = lead.is_none() && token.lead == Lead::None && tokens::is_glued(text, hit.start);
    let Some(lead) = lead.or(is_glued.then_some(hit.start)) else {
        return;
    };
    let Some((start, end)) = detectors.patterns[place].at(text, hit.start) else {
        return;
    };
    if is_monotone(&text[start..end]) || (is_glued && !tokens::is_certain(text, hit, end)) {
        return;
    }
    if let Some(length) = secret_beside(token.name) {
        let found = |range| said(range, "secret-beside-key-id", Kind::CloudKey);
        hits.extend(bare::beside(text, &(start..end), length).map(found));
    }
    if token.name == "azure-shared-key" {
        let account = user::beside_in_a_string(text, &(start..end));
        hits.extend(account.map(|range| said(range, "user-beside-password", Kind::BasicAuth)));
    }
    // What leads up to a word belongs to it: `14 characters.atlasv1.…`.
    let start = if start == hit.start { lead } else { start };
    // Who knows a hook's address may post there: it is masked with its scheme.
    let scheme: &[u8] = b"https://";
    let is_hook = token.name.ends_with("-webhook") && text[..start].ends_with(scheme);
    let start = if is_hook { start - scheme.len() } else { start };
    hits.push(Found {
        range: start..end,
        rule: token.name,
        kind: token.kind,
        certainty: Certainty::Shape,
    });
}

/// How long the secret is that its issuer gives out together with a key's id.
fn secret_beside(token: &str) -> Option<usize> {
    match token {
        "aws-access-key-id" => Some(40),
        "alibaba-access-key-id" => Some(30),
        "tencent-secret-id" | "twilio-key" => Some(32),
        _ => None,
    }
}

/// Whether the second half of a token is a row of the same letter, as in a template.
fn is_monotone(token: &[u8]) -> bool {
    let tail = &token[token.len() / 2..];
    tail.len() > 5 && tail.iter().all(|byte| *byte == tail[0])
}

fn birth(detectors: &Detectors, context: &Context<'_>, hit: Hit, hits: &mut Hits) {
    if !context.is_word(hit) {
        return;
    }
    let text = context.text;
    let after = detectors.birth.within(text, hit.end, hit.end + 60);
    let found = after.or_else(|| {
        detectors
            .birth
            .within(text, hit.start.saturating_sub(40), hit.start)
    });
    if let Some((start, end)) = found {
        hits.push(Found {
            range: start..end,
            rule: "birth-date",
            kind: Kind::BirthDate,
            certainty: Certainty::Context,
        });
    }
}
