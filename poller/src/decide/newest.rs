//! Which tag of a list is wanted? The answer depends on the set of tags and the rule alone, never
//! on the order in which the registry lists them, and comes with its reasons.

use std::cmp::Ordering;
use std::fmt;

use semver::Version;
use werf_shared::tag::Tag;

use super::constraint::{Constraint, InvalidConstraint};
use super::service_tag::{Keeper, keeper};

/// How many candidates are kept for people to look at.
const CANDIDATES: usize = 10;

/// How a bundle chooses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The highest stable version; else the highest prerelease; else the highest of what is left,
    /// where `10.0` is higher than `9.0` and names are ordered by their text.
    Newest,
    /// The highest version that satisfies the constraint.
    Matching(Constraint),
    /// Nothing can be chosen, because the constraint cannot be read.
    Unreadable(InvalidConstraint),
}

/// What was chosen from a list, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The chosen tag, or why there is none.
    pub choice: Choice,
    /// How many tags were looked at.
    pub considered: usize,
    /// How many of them were passed over.
    pub dropped: Dropped,
    /// The best candidates, best first.
    pub candidates: Vec<Tag>,
}

/// The end of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This tag, for this reason.
    Chosen(Tag, String),
    /// None, for this reason.
    Nothing(Nothing, String),
}

/// Why a complete list offers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// No tag satisfies the constraint.
    NoMatchingVersion,
    /// No tag could be a bundle.
    NoTags,
    /// The best tag does not hold a bundle.
    NotABundle,
    /// The list lost the tag that was chosen before and offers only lower ones.
    TagVanished,
}

/// How many tags were passed over, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Signatures, attestations and bills of materials.
    pub signatures: usize,
    /// werf's own stages and records.
    pub service: usize,
    /// Tags that are no version while versions are wanted.
    pub not_a_version: usize,
    /// Prereleases while a stable version is there.
    pub prereleases: usize,
    /// Versions outside the constraint.
    pub outside: usize,
}

/// What is better than what: any class beats the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Other,
    Prerelease,
    Stable,
}

/// A tag, looked at once for all rules.
#[derive(Debug)]
pub struct Looked<'a> {
    tag: &'a Tag,
    keeper: Option<Keeper>,
    version: Option<Version>,
    /// The version is written out, so it is one also where nothing says that versions are meant.
    full: bool,
}

#[derive(Clone, Debug)]
struct Candidate<'a> {
    rank: Rank,
    version: Option<&'a Version>,
    tag: &'a Tag,
}

/// Chooses by one rule while a list goes by. Keeps the best candidates and counts; a tag that is
/// listed twice is counted twice and chosen as if it were listed once.
#[derive(Debug)]
pub struct Selector<'r> {
    rule: &'r Rule,
    considered: usize,
    dropped: Dropped,
    /// How many candidates there were of each rank.
    ranks: [usize; 3],
    /// The best ones, all of the best rank seen so far, best first.
    best: Vec<(Tag, Option<Version>)>,
    best_rank: Rank,
}

impl<'a> Looked<'a> {
    /// Looks at a tag.
    pub fn at(tag: &'a Tag) -> Self {
        let keeper = keeper(tag.as_str());
        let version = tag.version().filter(|_| keeper.is_none());
        let full = version.is_some() && tag.is_full_version();
        Self {
            tag,
            keeper,
            version,
            full,
        }
    }

    fn candidate(&self, rule: &Rule) -> Result<Candidate<'_>, DropReason> {
        match self.keeper {
            Some(Keeper::Cosign) => return Err(DropReason::Signature),
            Some(Keeper::Werf) => return Err(DropReason::Service),
            None => {}
        }
        let (rank, version) = match (rule, &self.version) {
            (Rule::Matching(constraint), Some(version)) if constraint.matches(version) => {
                (Rank::Stable, Some(version))
            }
            (Rule::Matching(_), Some(_)) => return Err(DropReason::Outside),
            (Rule::Newest, Some(version)) if self.full => {
                let rank = if version.pre.is_empty() {
                    Rank::Stable
                } else {
                    Rank::Prerelease
                };
                (rank, Some(version))
            }
            (Rule::Newest, version) => (Rank::Other, version.as_ref()),
            (Rule::Matching(_), None) | (Rule::Unreadable(_), _) => {
                return Err(DropReason::NotAVersion);
            }
        };
        let tag = self.tag;
        Ok(Candidate { rank, version, tag })
    }
}

impl<'r> Selector<'r> {
    /// Chooses by this rule.
    pub fn new(rule: &'r Rule) -> Self {
        Self {
            rule,
            considered: 0,
            dropped: Dropped::default(),
            ranks: [0; 3],
            best: Vec::new(),
            best_rank: Rank::Other,
        }
    }

    /// Takes the next tag of the list.
    pub fn add(&mut self, looked: &Looked<'_>) {
        self.considered += 1;
        let candidate = match looked.candidate(self.rule) {
            Ok(candidate) => candidate,
            Err(reason) => {
                *reason.counter(&mut self.dropped) += 1;
                return;
            }
        };
        let rank = candidate.rank;
        self.ranks[rank as usize] += 1;
        match rank.cmp(&self.best_rank) {
            Ordering::Less => return,
            Ordering::Equal => {}
            Ordering::Greater => {
                self.best.clear();
                self.best_rank = rank;
            }
        }
        let better = |(tag, version): &(Tag, Option<Version>)| {
            let version = version.as_ref();
            compare(&Candidate { rank, version, tag }, &candidate)
        };
        let full = self.best.len() == CANDIDATES;
        if full && self.best.last().is_some_and(|last| better(last).is_gt()) {
            return;
        }
        let place = self.best.partition_point(|kept| better(kept).is_gt());
        if self
            .best
            .get(place)
            .is_some_and(|kept| kept.0 == *looked.tag)
        {
            return;
        }
        self.best.truncate(CANDIDATES - 1);
        let version = candidate.version.cloned();
        self.best.insert(place, (looked.tag.clone(), version));
    }

    /// The list is complete.
    #[must_use]
    pub fn finish(self) -> Selection {
        let mut dropped = self.dropped;
        for (rank, count) in [Rank::Other, Rank::Prerelease].into_iter().zip(self.ranks) {
            match rank {
                _ if rank >= self.best_rank => {}
                Rank::Other => dropped.not_a_version += count,
                Rank::Prerelease | Rank::Stable => dropped.prereleases += count,
            }
        }
        let candidates: Vec<Tag> = self.best.into_iter().map(|(tag, _)| tag).collect();
        Selection {
            choice: conclude(candidates.first(), self.best_rank, self.rule, &dropped),
            considered: self.considered,
            dropped,
            candidates,
        }
    }
}

/// Refuses to go back: when the chosen tag is lower than the one that was announced under the same
/// rule, the list must have lost that one.
#[must_use]
pub fn hold_back(selection: &Selection, rule: &Rule, announced: &Tag) -> Option<Choice> {
    let looked = Looked::at(announced);
    let held = looked.candidate(rule).ok()?;
    match &selection.choice {
        Choice::Chosen(tag, _) => {
            let best = Looked::at(tag);
            let best = best.candidate(rule).ok()?;
            let lower = compare(&best, &held) == Ordering::Less;
            lower.then(|| {
                let why = format!(
                    "{announced} is no longer in the list, the highest left is {tag}; nothing moves backwards"
                );
                Choice::Nothing(Nothing::TagVanished, why)
            })
        }
        Choice::Nothing(Nothing::NoMatchingVersion | Nothing::NoTags, _) => {
            let why =
                format!("{announced} is no longer in the list, and nothing is left to choose");
            Some(Choice::Nothing(Nothing::TagVanished, why))
        }
        Choice::Nothing(..) => None,
    }
}

enum DropReason {
    Signature,
    Service,
    NotAVersion,
    Outside,
}

impl DropReason {
    fn counter(self, dropped: &mut Dropped) -> &mut usize {
        match self {
            Self::Signature => &mut dropped.signatures,
            Self::Service => &mut dropped.service,
            Self::NotAVersion => &mut dropped.not_a_version,
            Self::Outside => &mut dropped.outside,
        }
    }
}

/// Within a rank, the order of tags; their versions were read already and are not read again.
fn compare(a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
    let (text_a, text_b) = (a.tag.as_str(), b.tag.as_str());
    let by_version = match (a.version, b.version) {
        (Some(a), Some(b)) => a
            .cmp_precedence(b)
            .then_with(|| text_a.len().cmp(&text_b.len())),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    a.rank
        .cmp(&b.rank)
        .then(by_version)
        .then_with(|| text_a.cmp(text_b))
}

fn conclude(best: Option<&Tag>, rank: Rank, rule: &Rule, dropped: &Dropped) -> Choice {
    if let Rule::Unreadable(error) = rule {
        return Choice::Nothing(Nothing::NoMatchingVersion, error.to_string());
    }
    let Some(tag) = best else {
        return match rule {
            Rule::Matching(constraint) if dropped.outside + dropped.not_a_version > 0 => {
                let why = format!("no tag satisfies {constraint}{}", in_brackets(dropped));
                Choice::Nothing(Nothing::NoMatchingVersion, why)
            }
            _ => {
                let why = format!("no tag could be a bundle{}", in_brackets(dropped));
                Choice::Nothing(Nothing::NoTags, why)
            }
        };
    };
    let what = match (rule, rank) {
        (Rule::Matching(constraint), _) => {
            format!("the highest version that satisfies {constraint}")
        }
        (_, Rank::Stable) => "the highest stable version".to_owned(),
        (_, Rank::Prerelease) => "the highest prerelease, as no version is stable".to_owned(),
        (_, Rank::Other) => "the highest tag, as none is a whole semantic version".to_owned(),
    };
    Choice::Chosen(tag.clone(), format!("{tag} is {what}"))
}

fn in_brackets(dropped: &Dropped) -> String {
    if *dropped == Dropped::default() {
        String::new()
    } else {
        format!(" ({dropped})")
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            signatures,
            service,
            not_a_version,
            prereleases,
            outside,
        } = *self;
        let counts = [
            (outside, "outside the constraint"),
            (prereleases, "prereleases"),
            (not_a_version, "not versions"),
            (signatures, "signatures or attestations"),
            (service, "werf's own"),
        ];
        let told: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        formatter.write_str(&told.join(", "))
    }
}

#[cfg(test)]
mod tests;
