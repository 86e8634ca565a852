//! The polls of one host: who waits, who is next, and when the host may be asked again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use tokio::time::Instant;

use super::Started;
use crate::decide::watched::Subscription;

/// After it was parked, a host is asked no faster than this at first: whoever counts requests must
/// not see all that was held back at once. From poll to poll it gets faster, and slower by half when
/// the host complains again.
const FIRST_GAP: Duration = Duration::from_millis(250);
const LONGEST_GAP: Duration = Duration::from_secs(4);
/// Shorter gaps are none.
const SHORTEST_GAP: Duration = Duration::from_millis(10);
/// What every poll leaves of the gap.
const SHRINK: f64 = 0.9;

/// What the queue knows of a host.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) running: usize,
    pub(super) stage: Stage,
    /// Who waits, by tenant.
    lines: BTreeMap<String, VecDeque<Started>>,
    /// Whose turn it was last.
    last: Option<String>,
    /// Whose poll made the host complain last.
    blamed: Option<String>,
    parked: Option<Instant>,
    gap: Duration,
    /// The gap after the poll that started last.
    paced: Option<Instant>,
}

/// Where the queue keeps a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nowhere: nobody waits, or all its places are taken.
    #[default]
    Idle,
    /// To be looked at now.
    Ready,
    /// To be looked at some time.
    Later,
    /// To be looked at when one of those who wait has fewer polls running.
    Crowded,
}

impl Host {
    pub(super) fn line_up(&mut self, tenant: &str, poll: Started) {
        self.lines
            .entry(tenant.to_owned())
            .or_default()
            .push_back(poll);
    }

    pub(super) fn leave(&mut self, tenant: &str, subscription: &Subscription) {
        if let Some(line) = self.lines.get_mut(tenant) {
            line.retain(|(waiting, _)| waiting != subscription);
            if line.is_empty() {
                self.lines.remove(tenant);
            }
        }
    }

    pub(super) fn waits_for(&self, tenant: &str) -> bool {
        self.lines.contains_key(tenant)
    }

    pub(super) fn has_line(&self) -> bool {
        !self.lines.is_empty()
    }

    pub(super) fn tenants(&self) -> impl Iterator<Item = &str> {
        self.lines.keys().map(String::as_str)
    }

    /// There is nothing to remember.
    pub(super) fn is_over(&self) -> bool {
        self.running == 0 && self.lines.is_empty()
    }

    pub(super) fn park(&mut self, until: Instant, blamed: Option<String>) {
        self.parked = self.parked.max(Some(until));
        self.gap = (2 * self.gap).clamp(FIRST_GAP, LONGEST_GAP);
        self.blamed = blamed.or(self.blamed.take());
    }

    pub(super) fn parked(&self, now: Instant) -> Option<Instant> {
        self.parked.filter(|until| *until > now)
    }

    /// When it may be asked, if that is not now.
    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        let gap = self.paced.filter(|at| *at > now && self.has_line());
        self.parked(now).max(gap)
    }

    /// Takes the next one in line whose tenant may. The tenants take turns. After a park everybody
    /// it held back goes before the tenant whose poll made the host complain: whoever has used up a
    /// quota of their own must not have the host parked again before anybody else was served.
    pub(super) fn start(
        &mut self,
        now: Instant,
        may: impl Fn(&str) -> bool,
    ) -> Option<(String, Started)> {
        let held_back = |(tenant, line): &(&String, &VecDeque<Started>)| {
            let due = line.front().map(|(_, due)| *due);
            self.blamed.as_ref() != Some(*tenant) && due <= self.parked && may(tenant)
        };
        let last = self.last.as_deref().unwrap_or_default();
        let after = self.lines.range::<str, _>((Excluded(last), Unbounded));
        let mut in_turn = after.chain(&self.lines);
        let next = in_turn.clone().find(held_back);
        let (tenant, _) = next.or_else(|| in_turn.find(|(tenant, _)| may(tenant)))?;
        let tenant = tenant.clone();
        let line = self.lines.get_mut(&tenant)?;
        let (subscription, due) = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&tenant);
        }
        self.last = Some(tenant.clone());
        self.running += 1;
        self.paced = (!self.gap.is_zero()).then(|| now + self.gap);
        // Whoever was held back by the host is not late.
        let due = self.parked.map_or(due, |until| due.max(until));
        Some((tenant, (subscription, due)))
    }

    pub(super) fn finished(&mut self, now: Instant) {
        self.running -= 1;
        if self.parked(now).is_none() {
            self.gap = self.gap.mul_f64(SHRINK);
            if self.gap < SHORTEST_GAP {
                self.gap = Duration::ZERO;
            }
        }
    }
}
