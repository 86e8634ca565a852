//! What is the executor told about a poll? Only what it does not know yet: an unchanged poll is
//! not worth a message. What it knows is in the bundle's status; what was told and has not come
//! back in the status yet is remembered here.

use werf_shared::tag::{Digest, Tag};

use super::failure::PollFailure;
use super::newest::Nothing;
use super::page::Fingerprint;
use super::watched::Known;

/// How a poll ended for one bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This tag is wanted.
    Chosen(Tag, Digest),
    /// No tag is.
    Nothing(Nothing, String),
    /// It failed.
    Failed(PollFailure),
}

/// What a complete list looked like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its `ETag`; empty without one.
    pub etag: String,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

/// So many new `ETag`s of the same list are told in a row; a registry that makes up more of them
/// makes up one for every answer, which is not worth a write each.
const NEW_ETAGS: u8 = 3;

/// What the executor was told about a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    announced: Option<(Tag, Digest, i64)>,
    seen: Option<Seen>,
    nothing: Option<(Nothing, String)>,
    /// How many polls in a row brought the same list under a new `ETag`.
    new_etags: u8,
    /// The generation of the last poll. The executor deploys nothing under a spec that it was told
    /// nothing about, so the first poll under each is worth telling, whatever it finds.
    generation: Option<i64>,
    /// The executor may believe something else than what the last poll found: it was told of a
    /// failure, or what it was told may not have arrived.
    unsettled: bool,
}

/// What to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// This tag was chosen.
    Announce(Tag, Digest),
    /// The poll succeeded; with the reason when nothing was chosen.
    Succeeded(Option<(Nothing, String)>),
    /// The poll failed.
    Failed(PollFailure),
    /// Nothing.
    Silence,
}

impl Told {
    /// Decides what to tell about a poll under a generation, and remembers it.
    /// `failed_before` says that the poll before this one failed.
    pub fn tell(
        &mut self,
        known: &Known,
        generation: i64,
        failed_before: bool,
        outcome: Outcome,
        seen: Option<&Seen>,
    ) -> Telling {
        let known_etag = self.seen.as_ref().map_or(&known.etag, |seen| &seen.etag);
        let new_etag = seen.is_some_and(|seen| seen.etag != *known_etag);
        let supports = |etag: &str| !etag.is_empty();
        let other_support = seen.is_some_and(|seen| supports(&seen.etag) != supports(known_etag));
        let other_list = matches!((&self.seen, seen), (Some(before), Some(now)) if before.fingerprint != now.fingerprint);
        self.new_etags = match (new_etag, other_list) {
            (true, false) => self.new_etags.saturating_add(1),
            _ => 0,
        };
        let other_etag = other_support || (new_etag && self.new_etags <= NEW_ETAGS);
        let recovered = failed_before || known.failures > 0;
        let last = self.generation.replace(generation);
        let edited = last.is_some_and(|last| last != generation);
        let unsettled =
            std::mem::replace(&mut self.unsettled, matches!(outcome, Outcome::Failed(_)));
        let worth_telling = other_etag || other_list || recovered || unsettled || edited;
        if let Some(seen) = seen {
            self.seen = Some(seen.clone());
        }
        match outcome {
            Outcome::Failed(failure) => Telling::Failed(failure),
            Outcome::Chosen(tag, digest) => {
                let had_nothing = self.nothing.take().is_some();
                let choice = (tag, digest, generation);
                if self.knows(known, &choice) {
                    if worth_telling || had_nothing {
                        Telling::Succeeded(None)
                    } else {
                        Telling::Silence
                    }
                } else {
                    self.announced = Some(choice.clone());
                    Telling::Announce(choice.0, choice.1)
                }
            }
            Outcome::Nothing(nothing, why) => {
                let reason = Some((nothing, why));
                if reason == self.nothing && !worth_telling {
                    return Telling::Silence;
                }
                self.nothing.clone_from(&reason);
                Telling::Succeeded(reason)
            }
        }
    }

    /// The executor answered an announcement without taking it, so it must be told again.
    pub fn not_taken(&mut self) {
        self.announced = None;
    }

    /// What was told last may never arrive, so nothing of it counts as told.
    pub fn lost(&mut self) {
        *self = Self {
            generation: self.generation,
            unsettled: true,
            ..Self::default()
        };
    }

    /// The executor was told that the bundle cannot be polled.
    pub fn failed(&mut self) {
        self.unsettled = true;
    }

    /// The status moved. What has come back in it need not be remembered: from then on the status
    /// alone says what is known.
    pub fn watched(&mut self, known: &Known) {
        let came_back = self
            .announced
            .as_ref()
            .is_some_and(|choice| holds(known, choice));
        if came_back {
            self.announced = None;
        }
    }

    fn knows(&self, known: &Known, choice: &(Tag, Digest, i64)) -> bool {
        match &self.announced {
            Some(announced) => announced == choice,
            None => holds(known, choice),
        }
    }
}

/// The status holds this choice. One made under an older generation is told again, because the
/// executor must know that it is still the choice: what it holds is never given up for a lower tag
/// chosen under the same rules.
fn holds(known: &Known, (tag, digest, generation): &(Tag, Digest, i64)) -> bool {
    known.announced.as_ref().is_some_and(|announced| {
        announced.tag == tag.as_str()
            && announced.digest == digest.as_str()
            && announced.generation >= *generation
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::page::Reading;
    use proptest::prelude::*;
    use werf_shared::bundle::status::Announced;
    use werf_shared::poll_failure::Reason;

    fn digest(n: u8) -> Digest {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
            .parse()
            .unwrap()
    }

    fn chosen(tag: &str) -> Outcome {
        Outcome::Chosen(tag.parse().unwrap(), digest(1))
    }

    fn announce(tag: &str) -> Telling {
        Telling::Announce(tag.parse().unwrap(), digest(1))
    }

    fn seen(etag: &str, tags: &str) -> Seen {
        let mut reading = Reading::new([], 9);
        reading.entry(Some(tags)).unwrap();
        Seen {
            etag: etag.to_owned(),
            fingerprint: reading.finish().fingerprint,
        }
    }

    fn knowing(tag: &str) -> Known {
        Known {
            announced: Some(Announced {
                tag: tag.to_owned(),
                digest: digest(1).to_string(),
                generation: 1,
            }),
            ..Known::default()
        }
    }

    #[test]
    fn a_new_tag_is_announced_once() {
        let mut told = Told::default();
        let known = Known::default();
        let list = seen("", "v1");
        assert_eq!(
            told.tell(&known, 1, false, chosen("v1"), Some(&list)),
            announce("v1")
        );
        assert_eq!(
            told.tell(&known, 1, false, chosen("v1"), Some(&list)),
            Telling::Silence
        );
        told.watched(&knowing("v1"));
        assert_eq!(
            told.tell(&knowing("v1"), 1, false, chosen("v1"), Some(&list)),
            Telling::Silence
        );
    }

    #[test]
    fn after_a_restart_the_status_is_enough() {
        let mut told = Told::default();
        let known = knowing("v1");
        let list = seen("", "v1");
        assert_eq!(
            told.tell(&known, 1, false, chosen("v1"), Some(&list)),
            Telling::Silence
        );
    }

    #[test]
    fn a_choice_is_told_again_under_a_new_spec() {
        let mut told = Told::default();
        let list = seen("", "v1");
        let known = knowing("v1");
        assert_eq!(
            told.tell(&known, 2, false, chosen("v1"), Some(&list)),
            announce("v1")
        );
        assert_eq!(
            told.tell(&known, 2, false, chosen("v1"), Some(&list)),
            Telling::Silence
        );
    }

    #[test]
    fn a_tag_that_moved_is_announced_again() {
        let mut told = Told::default();
        let moved = Outcome::Chosen("v1".parse().unwrap(), digest(2));
        let telling = told.tell(&knowing("v1"), 1, false, moved, Some(&seen("", "v1")));
        assert_eq!(telling, Telling::Announce("v1".parse().unwrap(), digest(2)));
    }

    #[test]
    fn a_choice_that_was_not_taken_is_announced_again() {
        let mut told = Told::default();
        let list = seen("", "v1");
        let known = Known::default();
        let _announced = told.tell(&known, 1, false, chosen("v1"), Some(&list));
        told.not_taken();
        assert_eq!(
            told.tell(&known, 1, false, chosen("v1"), Some(&list)),
            announce("v1")
        );
    }

    #[test]
    fn a_status_that_was_wiped_is_filled_again() {
        let mut told = Told::default();
        let list = seen("", "v1");
        let _announced = told.tell(&Known::default(), 1, false, chosen("v1"), Some(&list));
        told.watched(&knowing("v1"));
        let telling = told.tell(&Known::default(), 1, false, chosen("v1"), Some(&list));
        assert_eq!(telling, announce("v1"));
    }

    #[test]
    fn a_new_etag_or_list_is_reported() {
        let mut told = Told::default();
        let known = knowing("v1");
        let mut poll =
            |etag, tags| told.tell(&known, 1, false, chosen("v1"), Some(&seen(etag, tags)));
        assert_eq!(poll("a", "v1"), Telling::Succeeded(None));
        assert_eq!(poll("a", "v1"), Telling::Silence);
        assert_eq!(poll("b", "v1"), Telling::Succeeded(None));
        assert_eq!(poll("b", "v0"), Telling::Succeeded(None));
        assert_eq!(poll("b", "v0"), Telling::Silence);
    }

    #[test]
    fn an_etag_that_changes_with_every_answer_is_not_reported_for_ever() {
        let mut told = Told::default();
        let known = knowing("v1");
        let mut poll = |etag: &str| {
            told.tell(&known, 1, false, chosen("v1"), Some(&seen(etag, "v1"))) != Telling::Silence
        };
        let reported = (0..20).filter(|n| poll(&n.to_string())).count();
        assert_eq!(reported, usize::from(NEW_ETAGS));
        assert!(poll(""), "that there is none any more is news");
        assert!(!poll(""));
    }

    #[test]
    fn every_failure_and_the_recovery_are_reported() {
        let mut told = Told::default();
        let known = knowing("v1");
        let failure = PollFailure::new(Reason::RegistryUnreachable, "refused");
        for _ in 0..2 {
            let telling = told.tell(&known, 1, true, Outcome::Failed(failure.clone()), None);
            assert_eq!(telling, Telling::Failed(failure.clone()));
        }
        let list = seen("", "v1");
        let telling = told.tell(&known, 1, true, chosen("v1"), Some(&list));
        assert_eq!(telling, Telling::Succeeded(None));
        assert_eq!(
            told.tell(&known, 1, false, chosen("v1"), Some(&list)),
            Telling::Silence
        );
    }

    #[test]
    fn the_same_nothing_is_reported_again_under_a_new_spec() {
        let mut told = Told::default();
        let list = seen("", "v1");
        let image = || (Nothing::NotABundle, "an image".to_owned());
        let mut poll = |generation| {
            let outcome = Outcome::Nothing(image().0, image().1);
            told.tell(&knowing("v0"), generation, false, outcome, Some(&list))
        };
        assert_eq!(poll(1), Telling::Succeeded(Some(image())));
        assert_eq!(poll(1), Telling::Silence);
        assert_eq!(poll(2), Telling::Succeeded(Some(image())));
        assert_eq!(poll(2), Telling::Silence);
    }

    #[test]
    fn what_may_not_have_arrived_is_told_again() {
        let mut told = Told::default();
        let list = seen("e", "v1");
        let known = Known {
            etag: "e".to_owned(),
            ..knowing("v1")
        };
        let poll = |told: &mut Told| told.tell(&known, 1, false, chosen("v1"), Some(&list));
        assert_eq!(poll(&mut told), Telling::Silence);
        told.lost();
        assert_eq!(poll(&mut told), Telling::Succeeded(None));
        assert_eq!(poll(&mut told), Telling::Silence);
    }

    #[test]
    fn a_failure_that_is_no_longer_counted_is_still_taken_back() {
        let mut told = Told::default();
        let failure = Outcome::Failed(PollFailure::new(Reason::RegistryUnreachable, "refused"));
        let _failed = told.tell(&knowing("v1"), 1, false, failure, None);
        let telling = told.tell(
            &knowing("v1"),
            1,
            false,
            chosen("v1"),
            Some(&seen("", "v1")),
        );
        assert_eq!(telling, Telling::Succeeded(None));
    }

    fn any_outcome() -> impl Strategy<Value = Option<Outcome>> {
        let failure = PollFailure::new(Reason::RegistryUnreachable, "refused");
        let nothing = |nothing| Some(Outcome::Nothing(nothing, "why".to_owned()));
        prop_oneof![
            Just(Some(chosen("v1"))),
            Just(Some(chosen("v2"))),
            Just(nothing(Nothing::NotABundle)),
            Just(nothing(Nothing::TagVanished)),
            Just(Some(Outcome::Failed(failure))),
            Just(None),
        ]
    }

    proptest! {
        /// Whatever happened before: the executor waits for a word about every new spec.
        #[test]
        fn the_first_poll_under_a_spec_is_never_silent(
            steps in proptest::collection::vec((any_outcome(), any::<bool>()), 1..20),
        ) {
            let mut told = Told::default();
            let mut known = Known::default();
            let (mut generation, mut heard) = (1, 0);
            for (outcome, edited) in steps {
                generation += i64::from(edited);
                let Some(outcome) = outcome else {
                    told.lost();
                    continue;
                };
                let failed = matches!(outcome, Outcome::Failed(_));
                let telling = told.tell(&known, generation, false, outcome, Some(&seen("", "v1")));
                prop_assert!(heard == generation || telling != Telling::Silence);
                prop_assert_eq!(failed, matches!(telling, Telling::Failed(_)));
                if let Telling::Announce(tag, digest) = &telling {
                    let (tag, digest) = (tag.to_string(), digest.to_string());
                    known.announced = Some(Announced { tag, digest, generation });
                }
                heard = generation;
            }
        }
    }

    #[test]
    fn a_reason_for_choosing_nothing_is_reported_when_it_changes() {
        let mut told = Told::default();
        let known = knowing("v1");
        let list = seen("", "v1");
        let mut poll = |outcome| told.tell(&known, 1, false, outcome, Some(&list));
        let nothing = |why: &str| (Nothing::NotABundle, why.to_owned());
        let outcome = |why: &str| Outcome::Nothing(Nothing::NotABundle, why.to_owned());
        assert_eq!(
            poll(outcome("an image")),
            Telling::Succeeded(Some(nothing("an image")))
        );
        assert_eq!(poll(outcome("an image")), Telling::Silence);
        assert_eq!(
            poll(outcome("an index")),
            Telling::Succeeded(Some(nothing("an index")))
        );
        assert_eq!(poll(chosen("v1")), Telling::Succeeded(None));
        assert_eq!(poll(chosen("v1")), Telling::Silence);
    }
}
