//! What must still be told to the executor? At most one announcement and one report per bundle,
//! the newest of each, sent one after the other and repeated until they are answered.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use werf_shared::backoff::{Backoff, Jitter};
use werf_shared::bundle::BundleKey;

/// From a blip of the network to an executor that is away for hours.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

/// What a letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A chosen tag. It tells more than any report before it.
    Announcement,
    /// What a poll changed otherwise.
    Report,
}

/// The letters that wait for an answer.
#[derive(Debug)]
pub struct Outbox<T> {
    slots: BTreeMap<BundleKey, Slot<T>>,
    next_id: u64,
}

/// One letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter<T> {
    /// Tells this letter from one that replaced it.
    pub id: u64,
    /// What it is about.
    pub kind: Kind,
    /// What it says.
    pub content: T,
}

#[derive(Debug)]
struct Slot<T> {
    /// At most an announcement and a report, in this order.
    letters: Vec<Letter<T>>,
    flying: bool,
    failures: u32,
    not_before: Instant,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            next_id: 0,
        }
    }
}

impl<T: Clone> Outbox<T> {
    /// Adds a letter, in place of those it makes pointless.
    pub fn put(&mut self, key: &BundleKey, kind: Kind, content: T, now: Instant) {
        let id = self.next_id;
        self.next_id += 1;
        let slot = self.slots.entry(key.clone()).or_insert_with(|| Slot {
            letters: Vec::new(),
            flying: false,
            failures: 0,
            not_before: now,
        });
        match kind {
            Kind::Announcement => slot.letters.clear(),
            Kind::Report => slot.letters.retain(|letter| letter.kind != Kind::Report),
        }
        slot.letters.push(Letter { id, kind, content });
    }

    /// Drops everything about a bundle.
    pub fn forget(&mut self, key: &BundleKey) {
        self.slots.remove(key);
    }

    /// An announcement is waiting.
    pub fn announces(&self, key: &BundleKey) -> bool {
        self.slots.get(key).is_some_and(|slot| {
            let mut letters = slot.letters.iter();
            letters.any(|letter| letter.kind == Kind::Announcement)
        })
    }

    /// Something about a bundle is waiting.
    pub fn tells(&self, key: &BundleKey) -> bool {
        self.slots.contains_key(key)
    }

    /// How many bundles have letters waiting.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Up to `room` letters to send now; each must be answered or have failed some time.
    pub fn take_ready(&mut self, now: Instant, room: usize) -> Vec<(BundleKey, Letter<T>)> {
        let mut ready = Vec::new();
        for (key, slot) in &mut self.slots {
            if ready.len() == room {
                break;
            }
            if !slot.flying
                && slot.not_before <= now
                && let Some(letter) = slot.letters.first()
            {
                slot.flying = true;
                ready.push((key.clone(), letter.clone()));
            }
        }
        ready
    }

    /// When the next letter may be sent that has to wait.
    pub fn wake(&self) -> Option<Instant> {
        let waiting = self.slots.values().filter(|slot| !slot.flying);
        waiting.map(|slot| slot.not_before).min()
    }

    /// A letter was answered, so it is never sent again; says whether it was still the newest.
    pub fn answered(&mut self, key: &BundleKey, id: u64, now: Instant) -> bool {
        let Some(slot) = self.slots.get_mut(key) else {
            return false;
        };
        slot.flying = false;
        slot.failures = 0;
        slot.not_before = now;
        let before = slot.letters.len();
        slot.letters.retain(|letter| letter.id != id);
        let newest = slot.letters.len() < before;
        if slot.letters.is_empty() {
            self.slots.remove(key);
        }
        newest
    }

    /// A letter was not answered; the newest one goes out later. Gives the count of failures.
    pub fn failed(&mut self, key: &BundleKey, now: Instant, jitter: Jitter) -> u32 {
        let Some(slot) = self.slots.get_mut(key) else {
            return 0;
        };
        slot.flying = false;
        slot.failures = slot.failures.saturating_add(1);
        slot.not_before = now + RETRY.delay(slot.failures, jitter);
        slot.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> BundleKey {
        BundleKey::new("team", name)
    }

    fn contents(outbox: &mut Outbox<&'static str>, now: Instant) -> Vec<&'static str> {
        let ready = outbox.take_ready(now, 10);
        ready
            .into_iter()
            .map(|(_, letter)| letter.content)
            .collect()
    }

    #[test]
    fn only_the_newest_announcement_is_kept() {
        let now = crate::testing::instant();
        let mut outbox = Outbox::default();
        outbox.put(&key("a"), Kind::Report, "failed", now);
        outbox.put(&key("a"), Kind::Announcement, "v1", now);
        outbox.put(&key("a"), Kind::Announcement, "v2", now);
        outbox.put(&key("a"), Kind::Report, "failed again", now);
        assert_eq!(contents(&mut outbox, now), ["v2"]);
        assert_eq!(contents(&mut outbox, now), [""; 0], "one at a time");
        assert!(outbox.answered(&key("a"), 2, now));
        assert_eq!(contents(&mut outbox, now), ["failed again"]);
        assert!(outbox.tells(&key("a")));
        assert!(outbox.answered(&key("a"), 3, now));
        assert!(outbox.is_empty() && !outbox.tells(&key("a")));
    }

    #[test]
    fn a_letter_replaced_in_flight_does_not_take_its_successor_along() {
        let now = crate::testing::instant();
        let mut outbox = Outbox::default();
        outbox.put(&key("a"), Kind::Announcement, "v1", now);
        assert_eq!(contents(&mut outbox, now), ["v1"]);
        outbox.put(&key("a"), Kind::Announcement, "v2", now);
        assert!(!outbox.answered(&key("a"), 0, now));
        assert_eq!(contents(&mut outbox, now), ["v2"]);
    }

    #[test]
    fn unanswered_letters_are_repeated_ever_more_slowly() {
        let mut now = crate::testing::instant();
        let mut outbox = Outbox::default();
        outbox.put(&key("a"), Kind::Announcement, "v1", now);
        let mut waits = Vec::new();
        for _ in 0..11 {
            assert_eq!(contents(&mut outbox, now), ["v1"]);
            outbox.failed(&key("a"), now, Jitter::NONE);
            let wake = outbox.wake().unwrap();
            waits.push((wake - now).as_millis());
            now = wake;
        }
        assert_eq!(waits[..3], [100, 200, 400]);
        assert_eq!(waits[9..], [30_000, 30_000]);
    }

    #[test]
    fn nothing_is_told_about_a_deleted_bundle() {
        let now = crate::testing::instant();
        let mut outbox = Outbox::default();
        outbox.put(&key("a"), Kind::Announcement, "v1", now);
        outbox.forget(&key("a"));
        assert_eq!(contents(&mut outbox, now), [""; 0]);
        assert!(!outbox.answered(&key("a"), 0, now));
    }
}
