//! Random secrets, of which only hashes are kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use rand::rngs::OsRng;

use super::Error;

/// `N` bytes of the kernel's generator.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| Error::Random(error.to_string()))?;
    Ok(bytes)
}

/// 256 random bits, as 43 characters that need no escape anywhere.
pub(super) fn secret() -> Result<String, Error> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

/// The public part of a token: 64 random bits in hex.
pub(super) fn id() -> Result<String, Error> {
    Ok(format!("{:016x}", u64::from_be_bytes(random()?)))
}

/// Bytes for a password's salt.
pub(super) fn salt() -> Result<[u8; 16], Error> {
    random()
}

/// What is kept of a secret. It has 256 bits of its own, so a fast hash serves.
pub(super) fn hash(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// Whether `secret` is the one that `kept` is the hash of, in a time that does not depend on either.
pub(super) fn fits(secret: &str, kept: &str) -> bool {
    blake3::Hash::from_hex(kept).is_ok_and(|kept| blake3::hash(secret.as_bytes()) == kept)
}

/// What a page must show with a request that changes something: it follows from the cookie, which other sites' pages
/// cannot read.
pub(super) fn csrf(session: &str) -> String {
    URL_SAFE_NO_PAD.encode(blake3::derive_key("podscope hub 2026 csrf", session.as_bytes()))
}

/// Whether two texts are the same, in a time that does not say where they differ.
pub(super) fn same(left: &str, right: &str) -> bool {
    blake3::hash(left.as_bytes()) == blake3::hash(right.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_fit_their_own_hash_alone() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert_eq!((one.len(), one == other), (43, false));
        assert!(fits(&one, &hash(&one)) && !fits(&other, &hash(&one)) && !fits(&one, "no hash"));
        assert_ne!(csrf(&one), csrf(&other));
        assert!(!hash(&one).contains(&one) && !csrf(&one).contains(&one));
    }
}
