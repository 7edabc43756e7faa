//! Texts for a checkout without the labelled sets: sentences with personal values whose checksums are right,
//! and sentences with numbers that are nobody's, from a seed.

use super::presidio::Document;
use crate::statistics::SplitMix;

const SEED: u64 = 0x7465_7874;
const WITH_VALUES: usize = 300;
const HARMLESS: usize = 100;
const NAMES: [&str; 6] = ["ada", "bo.lind", "c_ortiz", "dina", "emil.k", "farah"];

/// The texts: each of the first holds one value of each kind.
pub(super) fn documents() -> Vec<Document> {
    let mut random = SplitMix(SEED);
    let with_values = (0..WITH_VALUES).map(|_| with_values(&mut random));
    let mut documents: Vec<_> = with_values.collect();
    documents.extend((0..HARMLESS).map(|_| harmless(&mut random)));
    documents
}

fn with_values(random: &mut SplitMix) -> Document {
    let name = NAMES[random.below(NAMES.len())];
    let number = random.below(1000);
    let mut document = Document::new("plain");
    document.say("Please write to ");
    document.value("EMAIL_ADDRESS", &format!("{name}{number}@mail.example.net"));
    document.say(" or call ");
    document.value(
        "PHONE_NUMBER",
        &format!("+49 30 9018{:04}", random.below(10_000)),
    );
    document.say(" before noon. The card is ");
    document.value("CREDIT_CARD", &card(random));
    document.say(", the account ");
    document.value("IBAN_CODE", &iban(random));
    document.say(". They came from ");
    document.value("IP_ADDRESS", &format!("203.0.113.{}", random.below(256)));
    document.say(", and the number on the form was ");
    let [area, group, serial] = [
        100 + random.below(500),
        10 + random.below(89),
        1000 + random.below(8999),
    ];
    document.value("US_SSN", &format!("{area}-{group}-{serial}"));
    document.say(" as far as I can read it.");
    document
}

fn harmless(random: &mut SplitMix) -> Document {
    let mut document = Document::new("negative");
    let [runs, percent, tokens, layer] = [900, 99, 4096, 64].map(|limit| random.below(limit));
    document.say(&format!(
        "We ran it {runs} times and it was {percent} % faster. The window holds {tokens} tokens, layer \
         {layer} takes longest, and version 0.{layer}.{percent} changes nothing about that."
    ));
    document
}

/// Sixteen digits whose last one is Luhn's (ISO/IEC 7812-1).
fn card(random: &mut SplitMix) -> String {
    let mut digits = vec![4, 5, 3, 9];
    digits.extend((0..11).map(|_| random.below(10)));
    let doubled = |(place, digit): (usize, &usize)| match place % 2 {
        0 => digit * 2 / 10 + digit * 2 % 10,
        _ => *digit,
    };
    let sum: usize = digits.iter().enumerate().map(doubled).sum();
    digits.push((10 - sum % 10) % 10);
    digits.iter().map(ToString::to_string).collect()
}

/// A German account number with its check digits (ISO 13616-1).
fn iban(random: &mut SplitMix) -> String {
    let account: String = (0..18).map(|_| random.below(10).to_string()).collect();
    // D is 13 and E is 14.
    let remainder = format!("{account}131400")
        .bytes()
        .fold(0, |remainder, digit| {
            (remainder * 10 + u32::from(digit - b'0')) % 97
        });
    format!("DE{:02}{account}", 98 - remainder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luhn(number: &str) -> u32 {
        let digits = number.bytes().rev().map(|digit| u32::from(digit - b'0'));
        let counted = digits.enumerate().map(|(place, digit)| match place % 2 {
            0 => digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        });
        counted.sum::<u32>() % 10
    }

    #[test]
    fn the_checksums_of_the_values_are_right() {
        assert_eq!(luhn("4539148803436467"), 0, "one that is known");
        let mut random = SplitMix(SEED);
        for _ in 0..50 {
            let card = card(&mut random);
            assert_eq!((card.len(), luhn(&card)), (16, 0), "{card}");
            let iban = iban(&mut random);
            let (head, account) = iban.split_at(4);
            let remainder = format!("{account}1314{}", &head[2..])
                .bytes()
                .fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
            assert_eq!((iban.len(), remainder), (22, 1), "{iban}");
        }
    }

    #[test]
    fn a_text_holds_each_kind_of_value_where_its_label_says() {
        for document in documents().iter().take(WITH_VALUES) {
            let labelled: Vec<_> = document.labelled().collect();
            assert_eq!(labelled.len(), 6);
            assert!(labelled.contains(&("PHONE_NUMBER", labelled[1].1)));
            assert!(labelled[0].1.ends_with("@mail.example.net"));
            assert!(labelled[3].1.starts_with("DE"));
        }
    }
}
