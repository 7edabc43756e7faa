//! Bitcoin's older addresses: base 58 with a checksum of two rounds of SHA-256.

use sha2::{Digest as _, Sha256};

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// A version, a hash of 20 bytes, a checksum.
const LENGTH: usize = 25;

/// Whether the token is an address whose checksum holds.
pub(crate) fn is_bitcoin(token: &[u8]) -> bool {
    if !(26..=35).contains(&token.len()) || !matches!(token[0], b'1' | b'3') {
        return false;
    }
    let Some(bytes) = decode(token) else {
        return false;
    };
    let (body, checksum) = bytes.split_at(LENGTH - 4);
    Sha256::digest(Sha256::digest(body))[..4] == *checksum
}

fn decode(token: &[u8]) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    for character in token {
        let digit = ALPHABET.iter().position(|known| known == character)?;
        let mut carry = u32::try_from(digit).ok()?;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        if carry > 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_s_address_holds_and_a_changed_one_does_not() {
        assert!(is_bitcoin(b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"));
        assert!(!is_bitcoin(b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"));
        assert!(!is_bitcoin(b"1234567890123456789012345678901234"));
    }
}
