//! Passwords: argon2id, a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::{Error, secret};

/// Least and most characters.
const LENGTH: std::ops::RangeInclusive<usize> = 12..=128;
/// KiB that one check takes, and how often it goes over them: what OWASP recommends for argon2id.
const COST: (u32, u32) = (19 * 1024, 2);
/// Checks at a time: 19 MiB each.
const AT_ONCE: usize = 2;
/// Checks that wait; more are told to come again.
const WAITING: usize = 16;

/// Checks passwords, each on a thread where it holds nobody up.
#[derive(Debug)]
pub(super) struct Passwords {
    room: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Of no password: what an unknown name's is compared with, so that it takes as long.
    nobody: String,
}

impl Passwords {
    pub(super) fn new() -> Result<Self, Error> {
        let nobody = hash(&secret::secret()?)?;
        Ok(Self { room: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0), nobody })
    }

    /// Whether `password` is the one that `kept` was made of; never where there is none.
    pub(super) async fn verify(&self, password: String, kept: Option<String>) -> Result<bool, Error> {
        let known = kept.is_some();
        let kept = kept.unwrap_or_else(|| self.nobody.clone());
        let right = self.work(move || {
            let kept = PasswordHash::new(&kept);
            Ok(kept.is_ok_and(|kept| Argon2::default().verify_password(password.as_bytes(), &kept).is_ok()))
        });
        Ok(right.await? && known)
    }

    /// What is kept of a password.
    pub(super) async fn hash(&self, password: String) -> Result<String, Error> {
        self.work(move || hash(&password)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        check: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING + AT_ONCE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Busy);
        }
        let _leave = Leave(&self.waiting);
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| Error::Busy)?;
        // A client that goes away ends this future, not the thread: the permit stays with the thread.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            check()
        });
        done.await.map_err(|_| Error::Busy)?
    }
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is kept of a password: PHC, with a salt of its own.
pub(super) fn hash(password: &str) -> Result<String, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Hash(error.to_string());
    let params = Params::new(COST.0, COST.1, 1, None).map_err(|error| wrong(&error))?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::encode_b64(&secret::salt()?).map_err(|error| wrong(&error))?;
    Ok(argon.hash_password(password.as_bytes(), &salt).map_err(|error| wrong(&error))?.to_string())
}

/// Whether `password` may be used by `name`. Any characters may; length is what counts.
pub(super) fn check(name: &str, password: &str) -> Result<(), Error> {
    let length = password.chars().count();
    if !LENGTH.contains(&length) {
        return Err(Error::Password("a password has 12 to 128 characters"));
    }
    let plain = password.to_lowercase();
    let distinct: std::collections::BTreeSet<char> = plain.chars().collect();
    if distinct.len() < 5 || plain.contains(&name.to_lowercase()) || plain.contains("podscope") {
        return Err(Error::Password("a password has 5 different characters, and neither its user's name nor podscope"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_argon2id_with_their_own_salt() {
        let kept = hash("correct horse battery").unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, hash("correct horse battery").unwrap());
    }

    #[test]
    fn length_counts_and_characters_do_not() {
        check("ada", "correct horse battery").unwrap();
        check("ada", "пароль из слов").unwrap();
        check("ada", &"0123456789abcdef".repeat(8)).unwrap();
        for wrong in ["short", "aaaaaaaaaaaaaaaa", "ada-lovelace-1815", "Podscope-1234567"] {
            assert!(check("ada", wrong).is_err(), "{wrong}");
        }
        assert!(check("ada", &"0123456789abcdef!".repeat(8)).is_err());
    }

    #[tokio::test]
    async fn the_whole_password_counts() {
        let passwords = Passwords::new().unwrap();
        let long = "0123456789abcdef".repeat(8);
        let kept = passwords.hash(long.clone()).await.unwrap();
        assert!(!passwords.verify(long[..127].to_owned(), Some(kept.clone())).await.unwrap());
        assert!(!passwords.verify(long.to_uppercase(), Some(kept.clone())).await.unwrap());
        assert!(!passwords.verify(long.clone(), Some("no hash".to_owned())).await.unwrap());
        assert!(passwords.verify(long, Some(kept)).await.unwrap());
    }

    /// Who is no user cannot be told by the clock.
    #[tokio::test]
    async fn unknown_names_take_as_long() {
        let passwords = Passwords::new().unwrap();
        let kept = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        let mut least = [std::time::Duration::MAX; 2];
        for _ in 0..5 {
            for (kept, least) in [Some(kept.clone()), None].into_iter().zip(&mut least) {
                let start = std::time::Instant::now();
                assert!(!passwords.verify("wrong".to_owned(), kept).await.unwrap());
                *least = start.elapsed().min(*least);
            }
        }
        let [known, unknown] = least;
        assert!(unknown * 2 > known && known * 2 > unknown, "{known:?} and {unknown:?}");
    }

    #[tokio::test]
    async fn only_so_many_checks_wait() {
        let passwords = Arc::new(Passwords::new().unwrap());
        let check = |_| {
            let passwords = Arc::clone(&passwords);
            tokio::spawn(async move { passwords.verify("wrong".to_owned(), None).await })
        };
        let all: Vec<_> = (0..30).map(check).collect();
        let mut turned_away = 0;
        for one in all {
            match one.await.unwrap() {
                Ok(right) => assert!(!right),
                Err(Error::Busy) => turned_away += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(turned_away, 30 - WAITING - AT_ONCE);
    }
}
