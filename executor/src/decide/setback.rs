//! Passes that failed for something that may pass: when has it lasted so long that people are told?

use std::time::Duration;

use tokio::time::Instant;
use werf_shared::bundle::WerfBundle;

use super::plan::{self, Situation};

/// So many failures in a row are told.
const FAILURES: u32 = 3;

/// And not before they have lasted so long: an apiserver is away for seconds when it is updated, and
/// whatever is written to a bundle hurries the next pass.
const LASTING: Duration = Duration::from_secs(20);

/// Failures in a row of one bundle's passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setback {
    failures: u32,
    first: Instant,
    last: Instant,
}

impl Setback {
    /// One more failure after `before`, if there was any.
    pub fn after(before: Option<Self>, now: Instant) -> Self {
        Self {
            failures: before.map_or(0, |before| before.failures).saturating_add(1),
            first: before.map_or(now, |before| before.first),
            last: now,
        }
    }

    /// It has lasted so long that people are told.
    pub fn lasts(&self) -> bool {
        self.failures >= FAILURES && self.last.duration_since(self.first) >= LASTING
    }

    /// The last failure is longer ago than that: nobody tries any more.
    pub fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        now.duration_since(self.last) > age
    }
}

/// No Job of the bundle runs or may run, and none is to go: what fails is the preparation of one.
pub fn is_preparing(bundle: &WerfBundle) -> bool {
    match plan::situation(bundle) {
        Situation::Idle => true,
        Situation::Deploying(claimed) => !claimed.confirmed,
        Situation::Arriving | Situation::Leaving | Situation::Left => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixtures::{That, at, bundle};

    #[rstest::rstest]
    #[case::once(&[0], false)]
    #[case::twice(&[0, 60], false)]
    #[case::for_seconds(&[0, 2, 4, 6, 8], false)]
    #[case::lasting(&[0, 2, 20], true)]
    #[case::hurried(&[0, 0, 0, 1, 2], false)]
    #[case::hurried_and_lasting(&[0, 0, 0, 1, 20], true)]
    fn what_lasts_is_told(#[case] failures: &[u64], #[case] told: bool) {
        let start = tokio::time::Instant::now();
        let at = |seconds: &u64| start + Duration::from_secs(*seconds);
        let setback = failures.iter().fold(None, |before, seconds| {
            Some(Setback::after(before, at(seconds)))
        });
        assert_eq!(setback.unwrap().lasts(), told);
    }

    #[test]
    fn a_run_is_not_shown_as_failed_for_what_fails_beside_it() {
        let wanting = bundle().wanting("v1", '1');
        assert!(is_preparing(&wanting));
        let claimed = wanting.deploying("hash");
        assert!(is_preparing(&claimed));
        let running = claimed.confirmed();
        assert!(!is_preparing(&running));
        assert!(is_preparing(&running.clone().deployed()));
        let mut leaving = running.deployed();
        leaving.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(20)));
        assert!(!is_preparing(&leaving));
    }
}
