//! What was made of Secrets, as long as they stay the same and somebody asks for them. Two Secrets
//! with the same content share it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::decide::certificates::Fingerprint;
use crate::decide::watched::SecretKey;

/// No poll interval is longer than a day; a Secret that was not asked for in that time, and the
/// jitter, belongs to no bundle any more.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(27);

/// Secrets that are remembered at once. One more makes the least used one go, which then costs its
/// bundles a handshake at the next poll.
const LIMIT: usize = 1024;

/// Things by the Secret they were made of.
#[derive(Debug)]
pub(super) struct Kept<T>(HashMap<SecretKey, Entry<T>>);

#[derive(Debug)]
struct Entry<T> {
    fingerprint: Fingerprint,
    made: T,
    used: Instant,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone> Kept<T> {
    /// What was made of this Secret with this content, or of another one with the same.
    pub(super) fn find(&mut self, secret: &SecretKey, of: Fingerprint, now: Instant) -> Option<T> {
        if let Some(entry) = self
            .0
            .get_mut(secret)
            .filter(|entry| entry.fingerprint == of)
        {
            entry.used = now;
            return Some(entry.made.clone());
        }
        let same = self.0.values().find(|entry| entry.fingerprint == of);
        let made = same.map(|entry| entry.made.clone())?;
        self.keep(secret, of, made.clone(), now);
        Some(made)
    }

    /// Remembers it in place of what the Secret had before.
    pub(super) fn keep(&mut self, secret: &SecretKey, of: Fingerprint, made: T, now: Instant) {
        let entry = Entry {
            fingerprint: of,
            made,
            used: now,
        };
        self.0.insert(secret.clone(), entry);
        self.0
            .retain(|_, entry| now.duration_since(entry.used) < FORGOTTEN_AFTER);
        if self.0.len() > LIMIT {
            let least = self.0.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(least) = least.map(|(secret, _)| secret.clone()) {
                self.0.remove(&least);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decide::certificates::Material;

    fn secret(name: &str) -> SecretKey {
        SecretKey {
            namespace: "team".to_owned(),
            name: name.to_owned(),
        }
    }

    fn print(ca: &str) -> Fingerprint {
        Material::of(|key| (key == "ca.crt").then_some(ca.as_bytes())).fingerprint()
    }

    #[test]
    fn a_rotated_secret_makes_something_else_and_drops_the_old() {
        let mut kept = Kept::default();
        let now = Instant::now();
        let old = Arc::new(1);
        kept.keep(&secret("a"), print("old"), Arc::clone(&old), now);
        assert_eq!(
            kept.find(&secret("a"), print("old"), now),
            Some(old.clone())
        );
        assert_eq!(kept.find(&secret("a"), print("new"), now), None);
        kept.keep(&secret("a"), print("new"), Arc::new(2), now);
        assert_eq!(Arc::strong_count(&old), 1);
    }

    #[test]
    fn secrets_with_the_same_content_share() {
        let mut kept = Kept::default();
        let now = Instant::now();
        kept.keep(&secret("a"), print("ca"), 1, now);
        assert_eq!(kept.find(&secret("b"), print("ca"), now), Some(1));
        kept.keep(&secret("a"), print("other"), 2, now);
        assert_eq!(kept.find(&secret("b"), print("ca"), now), Some(1));
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_forgotten() {
        let mut kept = Kept::default();
        let start = Instant::now();
        kept.keep(&secret("a"), print("a"), 1, start);
        kept.keep(&secret("b"), print("b"), 2, start);
        let later = start + FORGOTTEN_AFTER;
        assert_eq!(kept.find(&secret("b"), print("b"), later), Some(2));
        kept.keep(&secret("c"), print("c"), 3, later);
        assert_eq!(kept.find(&secret("a"), print("a"), later), None);
        assert_eq!(kept.find(&secret("b"), print("b"), later), Some(2));
    }

    #[test]
    fn there_is_a_limit_and_the_least_used_goes_first() {
        let mut kept = Kept::default();
        let start = Instant::now();
        for n in 0..LIMIT {
            let now = start + Duration::from_secs(n as u64);
            kept.keep(&secret(&n.to_string()), print(&n.to_string()), n, now);
        }
        let now = start + Duration::from_hours(1);
        assert_eq!(kept.find(&secret("0"), print("0"), now), Some(0));
        kept.keep(&secret("one more"), print("one more"), LIMIT, now);
        assert_eq!(kept.0.len(), LIMIT);
        assert_eq!(kept.find(&secret("1"), print("1"), now), None);
        assert_eq!(kept.find(&secret("0"), print("0"), now), Some(0));
    }
}
