//! One poll of one subscription, for all the bundles that share it: list, choose for each, look at
//! what was chosen. It reads and decides; telling and remembering is the loop's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use werf_shared::bundle::BundleKey;
use werf_shared::clock;
use werf_shared::poll_failure::Reason;
use werf_shared::tag::{Digest, Tag};

use crate::decide::book::Entry;
use crate::decide::failure::PollFailure;
use crate::decide::manifest::{Content, NotAManifest};
use crate::decide::newest::{Choice, Nothing, Rule, Selection, hold_back};
use crate::decide::tell::{Outcome, Seen};
use crate::decide::watched::Subscription;
use crate::io::registry::{Access, Listing, Query, Registry, RegistryError, Scan};
use crate::metrics::{Answer, PollEnd};

/// After so many answers of "not modified" the list is read in full once: a page can be the same
/// although a new one has been added behind it.
const TRUSTED_IN_A_ROW: u32 = 12;

/// And after so long, however few answers that were.
const TRUSTED_FOR: Duration = Duration::from_hours(1);

/// A bundle to choose for.
#[derive(Clone, Debug)]
pub struct Member {
    /// The bundle.
    pub key: BundleKey,
    /// The bundle as it was when the poll started.
    pub entry: Entry,
}

/// What is remembered of a subscription from one poll to the next.
#[derive(Clone, Debug)]
pub struct Cache {
    scan: Scan,
    trusted: u32,
    read_at: Instant,
    /// What each rule chose from the list when it was read.
    selections: Selections,
    contents: HashMap<Digest, Content>,
    /// What the registry warned of last.
    warning: Option<String>,
}

type Selections = Arc<[(Rule, Arc<Selection>)]>;

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

impl Round {
    /// How it ended, all in all: one bundle that failed is enough for people to want to know.
    pub fn end(&self) -> PollEnd {
        let failed = self.members.iter().find_map(|ended| match &ended.outcome {
            Outcome::Failed(failure) => Some(failure),
            _ => None,
        });
        match self.listed.as_ref().err().or(failed) {
            Some(failure) => PollEnd::Failure(failure.class()),
            None => PollEnd::Success,
        }
    }
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
    /// How many entries are no tags.
    pub invalid: usize,
    /// How many tags a page was asked to have; nothing when that was left to the registry.
    pub page_size: Option<u16>,
    /// The registry was asked only for what changed.
    pub conditional: bool,
    /// What the registry warns of.
    pub warning: Option<String>,
    /// It did not warn of that before.
    pub warns_anew: bool,
    /// `ETag` and fingerprint.
    pub seen: Seen,
}

/// How a poll ended for one bundle.
#[derive(Debug)]
pub struct Ended {
    /// The bundle, as it was when the poll started.
    pub member: Member,
    /// What its rule chose from the list, if there is one.
    pub selection: Option<Arc<Selection>>,
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
    let (rules, rule_of) = distinct(&members);
    let earlier = cache.as_ref();
    let access = match registry.open(subscription).await {
        Ok(access) => access,
        Err(error) => return failed(&error.failure(), members, cache),
    };
    let query = Query {
        access: &access,
        rules: &rules,
        earlier: earlier.map(|cache| &cache.scan),
        conditional: earlier.is_some_and(|cache| cache.answers(&rules, started)),
    };
    let listing = match registry.list(query).await {
        Ok(listing) => listing,
        Err(error) => return failed(&error.failure(), members, cache),
    };
    let listed = look(&listing, earlier);
    let unchanged = listing.contents.is_none();
    let selections = match (listing.contents, &cache) {
        (Some(contents), _) => rules
            .into_iter()
            .zip(contents.selections.into_iter().map(Arc::new))
            .collect(),
        (None, Some(cache)) => cache.select(&rules),
        (None, None) => Selections::default(),
    };
    let (known, trusted, read_at, warned) = match cache {
        Some(cache) if unchanged => {
            let trusted = cache.trusted + 1;
            (cache.contents, trusted, cache.read_at, cache.warning)
        }
        Some(cache) => (cache.contents, 0, started, cache.warning),
        None => (HashMap::new(), 0, started, None),
    };
    let mut glance = Glance {
        registry,
        access: &access,
        deadline: started + registry.patience(),
        known,
        looked: HashMap::new(),
    };
    let mut ended = Vec::with_capacity(members.len());
    for (member, rule) in in_turn(members.into_iter().zip(rule_of)) {
        if let Some((_, selection)) = selections.get(rule) {
            ended.push(choose(member, selection, &mut glance).await);
        }
    }
    let lost = glance.lost_a_tag();
    let cache = Cache {
        // A list that names a tag which is not there is not believed a second time.
        trusted: if lost { TRUSTED_IN_A_ROW } else { trusted },
        read_at,
        selections,
        contents: glance.seen(),
        warning: listing.warning.or(warned),
        scan: listing.scan,
    };
    Round {
        listed: Ok(listed),
        cache: Some(cache),
        members: ended,
    }
}

/// Orders members so that their namespaces take turns: the time of a poll is limited, and whoever
/// has many bundles that choose differently must not use up what the others' take.
fn in_turn(members: impl Iterator<Item = (Member, usize)>) -> Vec<(Member, usize)> {
    let mut turns: HashMap<String, usize> = HashMap::new();
    let with_turn = |(member, rule): (Member, usize)| {
        let turn = turns.entry(member.key.namespace.clone()).or_default();
        *turn += 1;
        (*turn, (member, rule))
    };
    let mut members: Vec<_> = members.map(with_turn).collect();
    members.sort_by_key(|(turn, _)| *turn);
    members.into_iter().map(|(_, member)| member).collect()
}

/// The rules of the members, each once, and which one is whose.
fn distinct(members: &[Member]) -> (Vec<Rule>, Vec<usize>) {
    let mut places = HashMap::new();
    let mut rules = Vec::new();
    let place = |member: &Member| {
        *places
            .entry(member.entry.watched.rule.clone())
            .or_insert_with_key(|rule| {
                rules.push(rule.clone());
                rules.len() - 1
            })
    };
    let rule_of = members.iter().map(place).collect();
    (rules, rule_of)
}

impl Cache {
    /// "Not modified" would be answer enough for these rules.
    fn answers(&self, rules: &[Rule], now: Instant) -> bool {
        self.trusted < TRUSTED_IN_A_ROW
            && now.duration_since(self.read_at) < TRUSTED_FOR
            && self.select(rules).len() == rules.len()
    }

    /// What these rules chose, as far as they were asked.
    fn select(&self, rules: &[Rule]) -> Selections {
        if self.selections.iter().map(|(rule, _)| rule).eq(rules) {
            return self.selections.clone();
        }
        let known: HashMap<_, _> = self
            .selections
            .iter()
            .map(|entry| (&entry.0, entry))
            .collect();
        let known = rules.iter().filter_map(|rule| known.get(rule).copied());
        known.cloned().collect()
    }
}

/// A poll that failed for everybody.
pub fn failed(failure: &PollFailure, members: Vec<Member>, cache: Option<Cache>) -> Round {
    let members = members.into_iter().map(|member| Ended {
        member,
        selection: None,
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
    let answer = match &listing.contents {
        None => Answer::NotModified,
        Some(_) if same => Answer::Unchanged,
        Some(_) => Answer::List,
    };
    let warned = cache.and_then(|cache| cache.warning.as_ref());
    Listed {
        status: listing.status,
        answer,
        pages: scan.pages.len(),
        tags: scan.tags,
        invalid: scan.invalid,
        page_size: scan.page_size.number(),
        conditional: listing.conditional,
        warning: listing.warning.clone(),
        warns_anew: listing.warning.is_some() && listing.warning.as_ref() != warned,
        seen: Seen {
            etag: scan.etag(),
            fingerprint: scan.fingerprint,
        },
    }
}

async fn choose(member: Member, selection: &Arc<Selection>, glance: &mut Glance<'_>) -> Ended {
    let watched = &member.entry.watched;
    let held = watched
        .announced_since(member.entry.rules_since)
        .and_then(|announced| hold_back(selection, &watched.rule, &announced));
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
    Ended {
        member,
        selection: Some(selection.clone()),
        outcome,
        reason,
    }
}

/// Looks at manifests, at each tag once in a poll and into each digest once at all.
struct Glance<'a> {
    registry: &'a Registry,
    access: &'a Access,
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
        let digest = self.registry.digest(self.access, tag.as_str()).await;
        let digest = digest.map_err(|error| about_tag(&error))?;
        if let Some(content) = self.known.get(&digest) {
            return Ok((digest, content.clone()));
        }
        let body = self.registry.manifest(self.access, &digest).await;
        let body = body.map_err(|error| about_tag(&error))?;
        let content = body.content();
        let content = content.map_err(|error| not_a_manifest(error, tag))?;
        Ok((digest, content))
    }

    /// A tag of the list is not there.
    fn lost_a_tag(&self) -> bool {
        let missing = |looked: &Result<_, PollFailure>| matches!(looked, Err(failure) if failure.status == Some(404));
        self.looked.values().any(missing)
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
