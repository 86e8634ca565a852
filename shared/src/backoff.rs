//! How long to wait after the n-th failure in a row. Pure: the randomness comes in as a
//! [`Jitter`], the waiting is the caller's.

use std::time::Duration;

/// A delay that doubles with every failure in a row, up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// How far jitter moves a delay, as a share of it.
    pub const SPREAD: f64 = 0.1;

    /// Starts at `first`, doubles, stays at `max`.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The wait after `failures` failures in a row (the first failure is 1).
    ///
    /// Jitter applies after the limit, so a delay may exceed `max` by [`Self::SPREAD`].
    pub fn delay(&self, failures: u32, jitter: Jitter) -> Duration {
        let doublings = failures.saturating_sub(1);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        let delay = self.first.saturating_mul(factor).min(self.max);
        jitter.spread(delay, Self::SPREAD)
    }
}

impl Default for Backoff {
    /// 30 s, 1, 2, 4 and 8 min: quick enough for a blip, slow enough for an outage.
    fn default() -> Self {
        Self::new(Duration::from_secs(30), Duration::from_mins(8))
    }
}

/// How far to move a delay off its mark, from -1 (earliest) to 1 (latest).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// Exactly on the mark.
    pub const NONE: Self = Self(0.0);

    /// From a random number in `0.0..1.0`; numbers outside count as the nearest end.
    pub fn from_unit(random: f64) -> Self {
        if random.is_nan() {
            return Self::NONE;
        }
        Self(random.clamp(0.0, 1.0).mul_add(2.0, -1.0))
    }

    /// Moves `duration` by at most `share` of it either way (0.1 is ±10 %).
    pub fn spread(&self, duration: Duration, share: f64) -> Duration {
        if *self == Self::NONE {
            return duration;
        }
        let factor = self.0.mul_add(share, 1.0).max(0.0);
        Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rstest::rstest]
    #[case(0, 30)]
    #[case(1, 30)]
    #[case(2, 60)]
    #[case(3, 120)]
    #[case(4, 240)]
    #[case(5, 480)]
    #[case(6, 480)]
    #[case(33, 480)]
    #[case(u32::MAX, 480)]
    fn delays_double_up_to_eight_minutes(#[case] failures: u32, #[case] seconds: u64) {
        let delay = Backoff::default().delay(failures, Jitter::NONE);
        assert_eq!(delay, Duration::from_secs(seconds));
    }

    #[rstest::rstest]
    #[case::earliest(0.0, 90)]
    #[case::on_the_mark(0.5, 100)]
    #[case::latest(1.0, 110)]
    #[case::below_the_range(-3.0, 90)]
    #[case::above_the_range(7.0, 110)]
    #[case::not_a_number(f64::NAN, 100)]
    fn jitter_moves_a_delay_by_its_share(#[case] random: f64, #[case] seconds: u64) {
        let spread = Jitter::from_unit(random).spread(Duration::from_secs(100), 0.1);
        assert_eq!(spread, Duration::from_secs(seconds));
    }

    #[test]
    fn the_longest_duration_does_not_overflow() {
        let spread = Jitter::from_unit(1.0).spread(Duration::MAX, 0.1);
        assert_eq!(spread, Duration::MAX);
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_a_tenth_of_the_schedule(failures: u32, random in 0.0..1.0) {
            let exact = Backoff::default().delay(failures, Jitter::NONE).as_secs_f64();
            let moved = Backoff::default().delay(failures, Jitter::from_unit(random)).as_secs_f64();
            prop_assert!((moved - exact).abs() <= exact * Backoff::SPREAD + 1e-6);
        }
    }
}
