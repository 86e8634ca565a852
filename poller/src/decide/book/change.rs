//! What does it mean for polling that a bundle is as it is now?

use super::Entry;
use crate::decide::watched::Watched;

/// What a change of a bundle means for polling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A bundle that was not known; it has its first poll planned.
    Added,
    /// The spec changed, so it is polled at once.
    Edited,
    /// A person set the count of failures to zero, so it is polled at once.
    Reset,
    /// An annotation asks for a poll, so it is polled as soon as people may ask for one again.
    Asked,
    /// It is not polled any more.
    Rested,
    /// It cannot be polled, for this reason.
    Unpollable(String),
    /// Only our own status came back.
    Echo,
}

/// Compares a bundle with what is in the book. While something about it is still being told, its
/// status may be older than what was found.
pub(super) fn compare(before: Option<&Entry>, watched: &Watched, telling: bool) -> Change {
    let unchanged = before.is_some_and(|entry| entry.watched.generation == watched.generation);
    let was_active = before.is_some_and(|entry| entry.watched.active().is_some());
    match (&watched.subscription, before) {
        (Err(reason), _) if !unchanged => Change::Unpollable(reason.clone()),
        (Err(_), _) => Change::Echo,
        (Ok(_), _) if watched.resting && (was_active || before.is_none()) => Change::Rested,
        (Ok(_), _) if watched.resting => Change::Echo,
        (Ok(_), None) => Change::Added,
        (Ok(_), Some(_)) if !unchanged => Change::Edited,
        (Ok(_), Some(entry)) => {
            let reset = entry.watched.status.failures > 0 && watched.status.failures == 0;
            let asks = watched.asked.is_some() && entry.watched.asked != watched.asked;
            if reset && entry.failures > 0 && !telling {
                Change::Reset
            } else if asks {
                Change::Asked
            } else {
                Change::Echo
            }
        }
    }
}
