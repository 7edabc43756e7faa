//! Check digits: what tells an identifier from any number of its length. Each function takes the
//! digits as values 0 to 9 unless it says otherwise.

/// ISO/IEC 7812-1 Annex B ("Luhn").
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(*digit);
            if place % 2 == 0 {
                digit
            } else if digit > 4 {
                digit * 2 - 9
            } else {
                digit * 2
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The sum of digits times weights.
pub(crate) fn weighted(digits: &[u8], weights: &[u8]) -> u32 {
    digits
        .iter()
        .zip(weights)
        .map(|(digit, weight)| u32::from(*digit) * u32::from(*weight))
        .sum()
}

/// The number's value modulo `modulus`.
pub(crate) fn remainder(digits: &[u8], modulus: u64) -> u64 {
    digits
        .iter()
        .fold(0, |rest, digit| (rest * 10 + u64::from(*digit)) % modulus)
}

/// ISO 7064 MOD 11,10, the last digit being the check digit.
pub(crate) fn iso_11_10(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else {
        return false;
    };
    let product = body.iter().fold(10, |product, digit| {
        let sum = match (u32::from(*digit) + product) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    (11 - product) % 10 == u32::from(*check)
}

/// Verhoeff's dihedral check.
pub(crate) fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let product = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a - 5 + 5 - b) % 5 + 5,
        (false, false) => (a - 5 + 5 - (b - 5)) % 5,
    };
    let mut check = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        let mut value = *digit;
        for _ in 0..place % 8 {
            value = PERMUTATION[usize::from(value)];
        }
        check = product(check, value);
    }
    check == 0
}

/// ISO 7064 MOD 97-10 over letters and digits, after the first four were moved to the end: ISO
/// 13616's check of an IBAN.
pub(crate) fn iban(characters: &[u8]) -> bool {
    let Some((head, body)) = characters.split_at_checked(4) else {
        return false;
    };
    let mut rest = 0_u32;
    for character in body.iter().chain(head) {
        rest = match character {
            b'0'..=b'9' => rest * 10 + u32::from(character - b'0'),
            b'A'..=b'Z' => rest * 100 + u32::from(character - b'A') + 10,
            b'a'..=b'z' => rest * 100 + u32::from(character - b'a') + 10,
            _ => return false,
        } % 97;
    }
    rest == 1
}

/// The digits of a text, as values.
#[cfg(test)]
pub(crate) fn digits(text: &str) -> Vec<u8> {
    text.bytes()
        .filter(u8::is_ascii_digit)
        .map(|byte| byte - b'0')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples_hold_and_every_changed_digit_is_noticed() {
        type Check = fn(&[u8]) -> bool;
        let cases: [(&str, Check); 4] = [
            ("4111 1111 1111 1111", luhn),
            ("7992 7398 713", luhn),
            ("2363", verhoeff),
            ("94577403194", iso_11_10),
        ];
        for (text, check) in cases {
            let mut digits = digits(text);
            assert!(check(&digits), "{text}");
            for place in 0..digits.len() {
                let kept = digits[place];
                digits[place] = (kept + 1) % 10;
                assert!(!check(&digits), "{text} with place {place} changed");
                digits[place] = kept;
            }
        }
    }

    #[test]
    fn the_standards_own_iban_holds_in_either_case() {
        assert!(iban(b"GB82WEST12345698765432"));
        assert!(iban(b"gb82west12345698765432"));
        assert!(!iban(b"GB82WEST12345698765433"));
        assert!(!iban(b"GB"));
    }
}
