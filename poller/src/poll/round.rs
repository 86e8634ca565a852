//! One poll of one subscription, for all the bundles that share it: list, choose for each, look at
//! what was chosen. It reads and decides; telling and remembering is the loop's.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use werf_shared::bundle::BundleKey;
use werf_shared::clock;
use werf_shared::poll_failure::Reason;
use werf_shared::tag::{Digest, Tag};

use crate::decide::book::Entry;
use crate::decide::failure::PollFailure;
use crate::decide::manifest::{Content, NotAManifest, content};
use crate::decide::newest::{Choice, Nothing, Selection, hold_back, newest};
use crate::decide::page::TagList;
use crate::decide::tell::{Outcome, Seen};
use crate::decide::watched::Subscription;
use crate::io::registry::{Listing, Registry, RegistryError, Scan};
use crate::metrics::Answer;

/// After so many answers of "not modified" the list is read in full once: a page can be the same
/// although a new one has been added behind it.
const TRUSTED_IN_A_ROW: u32 = 12;

/// And after so long, however few answers that were.
const TRUSTED_FOR: Duration = Duration::from_hours(1);

/// A bundle to choose for, and what was chosen for it from the same list under the same rule.
#[derive(Clone, Debug)]
pub struct Member {
    /// The bundle.
    pub key: BundleKey,
    /// The bundle as it was when the poll started.
    pub entry: Entry,
    /// The choice of the last poll.
    pub selection: Option<Selection>,
}

/// What is remembered of a subscription from one poll to the next.
#[derive(Clone, Debug)]
pub struct Cache {
    scan: Scan,
    trusted: u32,
    read_at: Instant,
    contents: HashMap<Digest, Content>,
}

/// How a poll ended.
#[derive(Debug)]
pub struct Round {
    /// The list, or why there is none.
    pub listed: Result<Listed, PollFailure>,
    /// What to remember.
    pub cache: Option<Cache>,
    /// How it ended for each bundle.
    pub members: Vec<Ended>,
}

/// A complete list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Status of the first page.
    pub status: u16,
    /// What was new about it.
    pub answer: Answer,
    /// How many pages it has.
    pub pages: usize,
    /// How many tags it has.
    pub tags: usize,
    /// `ETag` and fingerprint.
    pub seen: Seen,
}

/// How a poll ended for one bundle.
#[derive(Debug)]
pub struct Ended {
    /// The bundle, as it was when the poll started.
    pub member: Member,
    /// The end.
    pub outcome: Outcome,
    /// Why, in words.
    pub reason: String,
}

/// Polls once.
pub async fn poll(
    registry: &Registry,
    subscription: &Subscription,
    members: Vec<Member>,
    cache: Option<Cache>,
) -> Round {
    let started = clock::instant();
    let conditional = members.iter().all(|member| member.selection.is_some());
    let earlier = cache
        .as_ref()
        .filter(|cache| conditional && cache.is_trusted(started))
        .map(|cache| &cache.scan);
    let listing = match registry.list(subscription, earlier).await {
        Ok(listing) => listing,
        Err(error) => return failed(&error.failure(), members, cache),
    };
    let listed = look(&listing, cache.as_ref());
    let (known, trusted, read_at) = match cache {
        Some(cache) if listing.tags.is_none() => (cache.contents, cache.trusted + 1, cache.read_at),
        Some(cache) => (cache.contents, 0, started),
        None => (HashMap::new(), 0, started),
    };
    let mut glance = Glance {
        registry,
        subscription,
        deadline: started + registry.patience(),
        known,
        looked: HashMap::new(),
    };
    let mut ended = Vec::with_capacity(members.len());
    for member in members {
        ended.push(choose(member, &listing, &mut glance).await);
    }
    let cache = Cache {
        trusted,
        read_at,
        contents: glance.seen(),
        scan: listing.scan,
    };
    Round {
        listed: Ok(listed),
        cache: Some(cache),
        members: ended,
    }
}

impl Cache {
    fn is_trusted(&self, now: Instant) -> bool {
        self.trusted < TRUSTED_IN_A_ROW && now.duration_since(self.read_at) < TRUSTED_FOR
    }
}

/// A poll that failed for everybody.
pub fn failed(failure: &PollFailure, members: Vec<Member>, cache: Option<Cache>) -> Round {
    let members = members.into_iter().map(|member| Ended {
        member,
        outcome: Outcome::Failed(failure.clone()),
        reason: failure.what.clone(),
    });
    Round {
        members: members.collect(),
        listed: Err(failure.clone()),
        cache,
    }
}

fn look(listing: &Listing, cache: Option<&Cache>) -> Listed {
    let scan = &listing.scan;
    let same = cache.is_some_and(|cache| cache.scan.fingerprint == scan.fingerprint);
    let answer = match &listing.tags {
        None => Answer::NotModified,
        Some(_) if same => Answer::Unchanged,
        Some(_) => Answer::List,
    };
    Listed {
        status: listing.status,
        answer,
        pages: scan.pages.len(),
        tags: scan.tags,
        seen: Seen {
            etag: scan.etag(),
            fingerprint: scan.fingerprint.clone(),
        },
    }
}

async fn choose(mut member: Member, listing: &Listing, glance: &mut Glance<'_>) -> Ended {
    let watched = &member.entry.watched;
    let earlier = member.selection.take().filter(|_| listing.tags.is_none());
    let selection = earlier.unwrap_or_else(|| {
        let tags = listing.tags.iter().flat_map(TagList::iter);
        newest(tags, &watched.rule)
    });
    let held = watched
        .announced_since(member.entry.rules_since)
        .and_then(|announced| hold_back(&selection, &watched.rule, &announced));
    let (outcome, reason) = match held.unwrap_or_else(|| selection.choice.clone()) {
        Choice::Nothing(nothing, why) => (Outcome::Nothing(nothing, why.clone()), why),
        Choice::Chosen(tag, why) => match glance.at(&tag).await {
            Ok((digest, Content::Bundle)) => (Outcome::Chosen(tag, digest), why),
            Ok((_, Content::NotABundle(what))) => {
                let why = format!("{why}, but it is {what} and not a bundle");
                (Outcome::Nothing(Nothing::NotABundle, why.clone()), why)
            }
            Err(failure) => {
                let reason = format!("{why}, but its manifest cannot be read: {failure}");
                (Outcome::Failed(failure), reason)
            }
        },
    };
    member.selection = Some(selection);
    Ended {
        member,
        outcome,
        reason,
    }
}

/// Looks at manifests, at each tag once in a poll and into each digest once at all.
struct Glance<'a> {
    registry: &'a Registry,
    subscription: &'a Subscription,
    /// A host has few places for polls: one that hangs must not hold its own for every tag anew.
    deadline: Instant,
    known: HashMap<Digest, Content>,
    looked: HashMap<Tag, Result<(Digest, Content), PollFailure>>,
}

impl Glance<'_> {
    async fn at(&mut self, tag: &Tag) -> Result<(Digest, Content), PollFailure> {
        if let Some(looked) = self.looked.get(tag) {
            return looked.clone();
        }
        let looked = timeout_at(self.deadline, self.read(tag)).await;
        let looked = looked.unwrap_or_else(|_| Err(about(tag, PollFailure::timeout())));
        self.looked.insert(tag.clone(), looked.clone());
        looked
    }

    async fn read(&self, tag: &Tag) -> Result<(Digest, Content), PollFailure> {
        let about_tag = |error: &RegistryError| about(tag, error.failure());
        let digest = self.registry.digest(self.subscription, tag.as_str()).await;
        let digest = digest.map_err(|error| about_tag(&error))?;
        if let Some(content) = self.known.get(&digest) {
            return Ok((digest, content.clone()));
        }
        let body = self.registry.manifest(self.subscription, &digest).await;
        let body = body.map_err(|error| about_tag(&error))?;
        let content = content(&body).map_err(|error| not_a_manifest(error, tag))?;
        Ok((digest, content))
    }

    /// What was looked at in this poll; anything older is not wanted any more.
    fn seen(self) -> HashMap<Digest, Content> {
        self.looked.into_values().filter_map(Result::ok).collect()
    }
}

fn about(tag: &Tag, mut failure: PollFailure) -> PollFailure {
    failure.what = format!("{} (manifest of {tag})", failure.what);
    failure
}

fn not_a_manifest(error: NotAManifest, tag: &Tag) -> PollFailure {
    about(
        tag,
        PollFailure::new(Reason::ManifestInvalid, error.to_string()),
    )
}
