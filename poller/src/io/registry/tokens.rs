//! What is remembered between requests: how each repository wants to be asked, so that a poll costs
//! no 401, and the tokens that are still good. Everything is kept under the identity of the
//! credentials it was got with: two tenants never share a token, even for one repository.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use url::Url;
use werf_shared::registry_credentials::Identity;

use crate::decide::challenge::{Actions, Issuer};
use crate::decide::token::Token;

/// More repositories than that cost a 401 now and then.
const CHALLENGES: usize = 32 * 1024;

/// A token is a kilobyte or two.
const TOKENS: usize = 4 * 1024;

/// Longer ones are used and not kept: their number is bounded, so must be their size.
const LONGEST_KEPT: usize = 8 * 1024;

/// A token that is about to expire could do so on its way.
const EARLY: Duration = Duration::from_secs(5);

/// What is remembered; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    ways: HashMap<Key, Way>,
    /// Few token servers serve many repositories.
    issuers: HashSet<Arc<Issuer>>,
    tokens: HashMap<Key, Kept>,
}

/// How a repository wants to be asked.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// With user and password.
    Basic,
    /// With a token.
    Bearer(Arc<Issuer>, Actions),
}

/// Stands for whose memory it is, and of what.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

#[derive(Debug)]
struct Kept {
    token: SecretString,
    until: Instant,
}

impl Key {
    /// The key of these parts under this identity. Parts are told apart by their lengths.
    pub(super) fn of(identity: Identity, parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(identity.as_bytes());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The key of a token for the repository at `root`. It is for that registry alone: another one
    /// that names the same token server is not given it unasked.
    pub(super) fn of_token(
        identity: Identity,
        root: &Url,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Self {
        let named = if service.is_some() { "named" } else { "" };
        let parts = [
            root.as_str(),
            realm,
            named,
            service.unwrap_or_default(),
            scope,
        ];
        Self::of(identity, &parts)
    }
}

/// It is made from a password, and whoever has the rest could guess that.
impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(..)")
    }
}

impl Memory {
    /// How the repository of this key wants to be asked, as far as it has said so.
    pub(super) fn way(&self, repository: Key) -> Option<Way> {
        self.state().ways.get(&repository).cloned()
    }

    /// Remembers how a repository wants to be asked.
    pub(super) fn learn(&self, repository: Key, way: Way) {
        let mut state = self.state();
        if state.ways.len() >= CHALLENGES && !state.ways.contains_key(&repository) {
            state.ways.clear();
            state.issuers.clear();
        }
        let way = match way {
            Way::Basic => Way::Basic,
            Way::Bearer(issuer, actions) => {
                // Some lost their last repository while a request still held them.
                if state.issuers.len() > state.ways.len() {
                    state.issuers.retain(|issuer| Arc::strong_count(issuer) > 1);
                }
                let known = state.issuers.get(&issuer).cloned();
                let shared = known.unwrap_or(issuer);
                state.issuers.insert(shared.clone());
                Way::Bearer(shared, actions)
            }
        };
        state.ways.insert(repository, way);
    }

    /// Forgets how a repository wants to be asked: what is remembered has led nowhere.
    pub(super) fn forget(&self, repository: Key) {
        let mut state = self.state();
        if let Some(Way::Bearer(issuer, _)) = state.ways.remove(&repository)
            // This one and the set's.
            && Arc::strong_count(&issuer) <= 2
        {
            state.issuers.remove(&issuer);
        }
    }

    /// A token that is still good.
    pub(super) fn token(&self, key: Key, now: Instant) -> Option<SecretString> {
        let state = self.state();
        let kept = state.tokens.get(&key)?;
        (kept.until > now).then(|| kept.token.clone())
    }

    /// Keeps a token until shortly before it expires.
    pub(super) fn keep(&self, key: Key, token: &Token, now: Instant) {
        let life = token.good_for.saturating_sub(EARLY);
        if life.is_zero() || token.value.expose_secret().len() > LONGEST_KEPT {
            return;
        }
        let mut state = self.state();
        if state.tokens.len() >= TOKENS {
            state.tokens.retain(|_, kept| kept.until > now);
        }
        if state.tokens.len() >= TOKENS {
            let soonest = state.tokens.iter().min_by_key(|(_, kept)| kept.until);
            if let Some(soonest) = soonest.map(|(key, _)| *key) {
                state.tokens.remove(&soonest);
            }
        }
        let kept = Kept {
            token: token.value.clone(),
            until: now + life,
        };
        state.tokens.insert(key, kept);
    }

    /// Drops a token that was refused.
    pub(super) fn drop_token(&self, key: Key) {
        self.state().tokens.remove(&key);
    }

    /// Nothing that is done under the lock can fail half way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::of(Identity::ANONYMOUS, &[&number.to_string()])
    }

    fn token(seconds: u64) -> Token {
        Token {
            value: "t".into(),
            good_for: Duration::from_secs(seconds),
        }
    }

    fn bearer(realm: &str) -> Way {
        let issuer = Issuer {
            realm: realm.to_owned(),
            service: None,
        };
        Way::Bearer(Arc::new(issuer), Actions::Pull)
    }

    #[tokio::test]
    async fn a_token_is_kept_until_shortly_before_it_expires() {
        let (memory, now) = (Memory::default(), Instant::now());
        memory.keep(key(1), &token(60), now);
        let after = |seconds| memory.token(key(1), now + Duration::from_secs(seconds));
        assert!(after(54).is_some());
        assert!(after(55).is_none());
        memory.keep(key(2), &token(5), now);
        assert!(memory.token(key(2), now).is_none());
    }

    #[tokio::test]
    async fn tokens_are_bounded_and_the_expired_go_first() {
        let (memory, now) = (Memory::default(), Instant::now());
        for number in 0..TOKENS {
            memory.keep(key(number), &token(if number == 7 { 10 } else { 60 }), now);
        }
        memory.keep(key(TOKENS), &token(60), now);
        assert_eq!(memory.state().tokens.len(), TOKENS);
        assert!(memory.token(key(7), now).is_none());
        memory.keep(key(0), &token(60), now + Duration::from_mins(2));
        assert_eq!(memory.state().tokens.len(), 1);
    }

    #[test]
    fn repositories_of_one_token_server_share_what_is_remembered() {
        let memory = Memory::default();
        for number in 0..3 {
            memory.learn(key(number), bearer("https://auth.example.com/"));
        }
        memory.learn(key(3), bearer("https://other.example.com/"));
        assert_eq!(memory.state().issuers.len(), 2);
        for number in 0..4 {
            memory.forget(key(number));
        }
        assert_eq!(memory.state().issuers.len(), 0);
        assert!(memory.way(key(0)).is_none());
    }

    #[test]
    fn a_repository_that_names_ever_new_token_servers_is_no_leak() {
        let memory = Memory::default();
        for number in 0..100 {
            memory.learn(key(0), bearer(&format!("https://{number}.example.com/")));
            let in_use = memory.way(key(0));
            memory.forget(key(0));
            drop(in_use);
        }
        for number in 0..100 {
            memory.learn(key(0), bearer(&format!("https://{number}.example.org/")));
        }
        assert!(memory.state().issuers.len() <= 2);
    }

    #[tokio::test]
    async fn a_token_of_unusual_size_is_not_kept() {
        let (memory, now) = (Memory::default(), Instant::now());
        for (length, kept) in [(LONGEST_KEPT, true), (LONGEST_KEPT + 1, false)] {
            let long = Token {
                value: "t".repeat(length).into(),
                ..token(60)
            };
            memory.keep(key(length), &long, now);
            assert_eq!(memory.token(key(length), now).is_some(), kept);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let memory = Memory::default();
        for number in 0..=CHALLENGES {
            memory.learn(key(number), Way::Basic);
        }
        assert_eq!(memory.state().ways.len(), 1);
    }

    #[test]
    fn keys_tell_everything_apart() {
        let key = |identity, parts: &[&str]| Key::of(identity, parts);
        let nobody = Identity::ANONYMOUS;
        assert_ne!(key(nobody, &["ab", "c"]), key(nobody, &["a", "bc"]));
        assert_ne!(key(nobody, &["a"]), key(nobody, &["a", ""]));
        let root = |host: &str| format!("https://{host}/v2/app/").parse().unwrap();
        let of = |host, service| Key::of_token(nobody, &root(host), "https://r/", service, "s");
        assert_ne!(of("a", None), of("a", Some("")));
        assert_ne!(of("a", None), of("b", None));
        assert_eq!(format!("{:?}", of("a", None)), "Key(..)");
    }
}
