//! What leaves of the content of real runs: under a policy that searches it nothing that was planted, in
//! any form; under one that keeps it exactly what went in and came out. Needs root and BPF.

mod llama;
mod log_probabilities;
mod onnx;
mod surroundings;
mod written;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

const SCAN_CONTENT: &str = "[fields]\ntext = \"scan\"\n";

/// Made up for this test, or published test values; nobody issued them.
const PLANTED: [&str; 6] = [
    "sk-proj-4b8Qz91LmXw72KtYc05RdNsVhTb36PfGj",
    "ghp_q7Xk2Vn9Rt4Bs8Lw1Zc6Yd3Fh5Jm0Pu2aEiOg",
    "4111 1111 1111 1111",
    "philippa.ravensworth@mail.example",
    "GB82 WEST 1234 5698 7654 32",
    "hunter2-Quokka-77",
];

fn prompt() -> String {
    let [key, token, card, mail, account, password] = PLANTED;
    format!(
        "Please remember these for me. The API key is {key} and the other one is {token}. My credit \
         card is {card}, write to {mail}, my IBAN is {account} and my password is {password} as you \
         know. Tell me a story about the sea."
    )
}

/// The ways in which a value could stand in an output: as it is, without its blanks, in JSON's,
/// URLs' and base64's forms (each of the three alignments) and in hexadecimal digits.
fn forms(value: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    let bytes = value.as_bytes();
    forms.insert(bytes.to_vec());
    forms.insert(value.replace(' ', "").into_bytes());
    forms.insert(value.to_uppercase().into_bytes());
    forms.insert(bytes.iter().rev().copied().collect());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.insert(hex.to_uppercase().into_bytes());
    forms.insert(hex.into_bytes());
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    forms.insert(percent.into_bytes());
    let reserved: String = bytes
        .iter()
        .map(
            |byte| match byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
                true => char::from(*byte).to_string(),
                false => format!("%{byte:02X}"),
            },
        )
        .collect();
    forms.insert(reserved.into_bytes());
    let numbers: Vec<String> = bytes.iter().map(ToString::to_string).collect();
    forms.insert(numbers.join(",").into_bytes());
    forms.insert(numbers.join(", ").into_bytes());
    for before in 0..3 {
        let mut padded = vec![b'x'; before];
        padded.extend_from_slice(bytes);
        let whole = base64(&padded[..padded.len() / 3 * 3]);
        // What depends on neighbours is left out.
        let first = (before * 8).div_ceil(6);
        forms.insert(whole.as_bytes()[first..whole.len()].to_vec());
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks_exact(3) {
        let number = three
            .iter()
            .fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        for shift in [18, 12, 6, 0] {
            text.push(char::from(DIGITS[number >> shift & 63]));
        }
    }
    text
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// Fails where a value stands in what was written, in any form.
fn assert_absent(written: &[u8], value: &str, whose: &str) -> Result<()> {
    for form in forms(value) {
        let shown = String::from_utf8_lossy(&form).into_owned();
        ensure!(
            !holds(written, &form),
            "{whose}: {value} was written as {shown}"
        );
    }
    Ok(())
}
