use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroize;

/// The secret of one run, 32 random bytes: what makes equal values show the same tag within a run
/// and nothing across runs.
///
/// It is overwritten when it is dropped, and has no `Debug`, `Clone` or `Serialize`: with it, tags
/// of guessable values could be undone by trying.
pub struct RunKey([u8; 32]);

impl RunKey {
    /// A key of bytes that nobody else knows. The caller's copy should not outlive this call.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 of a value, apart for each purpose and kind.
    pub(crate) fn digest(&self, purpose: &str, kind: &str, value: &[u8]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in [purpose.as_bytes(), kind.as_bytes()] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.update(&canonical(value));
        mac.finalize().into_bytes().into()
    }
}

impl Drop for RunKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A value without what people vary when they mean the same: a number without its separators, a
/// name or address in lower case.
fn canonical(value: &[u8]) -> Vec<u8> {
    let is_separator = |byte: &u8| b" -./()+\t".contains(byte);
    let is_number = value.iter().any(u8::is_ascii_digit)
        && value
            .iter()
            .all(|byte| byte.is_ascii_digit() || is_separator(byte));
    if is_number {
        return value.iter().copied().filter(u8::is_ascii_digit).collect();
    }
    value.trim_ascii().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(
        RunKey: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize
    );

    #[test]
    fn equal_values_have_the_same_digest_within_a_run_and_not_across_runs() {
        let (this, other) = (RunKey::new([1; 32]), RunKey::new([2; 32]));
        let digest = this.digest("tag", "card", b"4111 1111 1111 1111");
        assert_eq!(digest, this.digest("tag", "card", b"4111-1111-1111-1111"));
        assert_ne!(digest, other.digest("tag", "card", b"4111 1111 1111 1111"));
        assert_ne!(digest, this.digest("tag", "phone", b"4111 1111 1111 1111"));
        assert_ne!(digest, this.digest("hash", "card", b"4111 1111 1111 1111"));
    }

    #[test]
    fn an_address_is_the_same_in_any_case() {
        let key = RunKey::new([7; 32]);
        assert_eq!(
            key.digest("tag", "email", b"Ann@Example.org"),
            key.digest("tag", "email", b"ann@example.org")
        );
    }
}
