//! What time is it, and which random number comes next: the only place that asks. It decides
//! nothing; whoever decides takes the answer as an argument, so that a test can choose it.

/// The wall-clock time, for what is stored or shown.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the one reader of the wall clock"
)]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// The monotonic time, for schedules; stands still in tests that pause tokio's clock.
pub fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// A random number in `0.0..1.0`, for [`Jitter::from_unit`](crate::backoff::Jitter::from_unit).
pub fn unit_random() -> f64 {
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_stay_in_the_unit_range_and_differ() {
        let drawn: Vec<f64> = (0..100).map(|_| unit_random()).collect();
        assert!(drawn.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(
            drawn
                .windows(2)
                .any(|pair| pair[0].to_bits() != pair[1].to_bits())
        );
    }
}
