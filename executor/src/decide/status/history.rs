//! Which ended Jobs a status remembers.

use werf_shared::bundle::status::{HISTORY_LIMIT, HistoryEntry, JobStatus};

/// Forgets the oldest entry of a history that has become too long; but the last success of a tag only
/// when there is nothing else to forget, because it is what can be rolled back to.
pub(super) fn forget(history: &mut Vec<HistoryEntry>) {
    while history.len() > HISTORY_LIMIT {
        let is_last_success = |index: usize| {
            let entry = &history[index];
            let again =
                |other: &HistoryEntry| other.tag == entry.tag && other.result == entry.result;
            entry.result == JobStatus::Succeeded && !history[..index].iter().any(again)
        };
        let dispensable = (1..history.len())
            .rev()
            .find(|&index| !is_last_success(index));
        match dispensable {
            Some(index) => drop(history.remove(index)),
            None => history.truncate(HISTORY_LIMIT),
        }
    }
}
