//! How much is held at a time, however many passes there are: Secrets, logs and lists are large, and
//! the memory of all of them together is what the operator is killed for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bundles that read their values at the same time; each may hold some megabytes.
const RESOLVING: usize = 4;

/// Logs that are read and kept at the same time; each is some megabytes. Reading one from a node that
/// does not answer takes long.
const COLLECTING: usize = 4;

/// Namespaces that are looked through at the same time, which takes long where there is much to see.
const LOOKING: usize = 2;

/// For each that is in a room two may wait at the door. So most passes are left to others.
const WAITING: usize = 2;

/// A Job that nobody looked at for so long has ended.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// Room for what takes much memory.
#[derive(Debug)]
pub struct Rooms {
    /// For bundles that read their values.
    pub(super) resolving: Semaphore,
    /// For logs.
    pub(super) collecting: Room,
    /// For one Secret and what finds it in texts, which takes fifty times its memory to build.
    pub(super) masking: Arc<Semaphore>,
    /// For what is seen of running Jobs.
    pub(super) looking: Room,
    /// When each running Job was looked at last, by uid.
    looks: Mutex<HashMap<String, Instant>>,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            resolving: Semaphore::new(RESOLVING),
            collecting: Room::for_so_many(COLLECTING),
            masking: Arc::new(Semaphore::new(1)),
            looking: Room::for_so_many(LOOKING),
            looks: Mutex::default(),
        }
    }
}

impl Rooms {
    /// How long it is until a Job is to be looked at again, where looks are that far apart. Whatever is
    /// written to a bundle starts a pass.
    pub(super) fn until_next_look(&self, job: &str, apart: Duration, now: Instant) -> Duration {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let next = looks.get(job).map(|last| *last + apart);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// A Job has been looked at.
    pub(super) fn looked(&self, job: &str, now: Instant) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|_, last| now.saturating_duration_since(*last) < FORGOTTEN);
        looks.insert(job.to_owned(), now);
    }
}

/// Where what takes long is done. Who waits for it takes up one of the passes that there may be at a
/// time, so that only a few do.
#[derive(Debug)]
pub(super) struct Room {
    inside: Semaphore,
    /// Of those that are inside and those that wait.
    there: Semaphore,
}

impl Room {
    fn for_so_many(inside: usize) -> Self {
        Self {
            inside: Semaphore::new(inside),
            there: Semaphore::new(inside * (1 + WAITING)),
        }
    }

    /// Waits until there is room; `None` at once if enough others do.
    pub(super) async fn enter(&self) -> Option<[SemaphorePermit<'_>; 2]> {
        let there = self.there.try_acquire().ok()?;
        let inside = self.inside.acquire().await.ok()?;
        Some([inside, there])
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn only_a_few_wait_for_a_room() {
        let room = Room::for_so_many(1);
        let enter = || room.enter().boxed_local();
        let inside = enter().now_or_never().unwrap();
        assert!(inside.is_some());
        let mut waiting = [enter(), enter()];
        for wait in &mut waiting {
            assert!(wait.now_or_never().is_none());
        }
        assert!(enter().now_or_never().unwrap().is_none(), "it is full");
        drop(inside);
        let [first, _] = waiting;
        assert!(first.now_or_never().unwrap().is_some());
    }

    #[test]
    fn looks_at_a_job_are_apart_whatever_starts_a_pass() {
        let rooms = Rooms::default();
        let (start, apart) = (Instant::now(), Duration::from_secs(15));
        let wait = |job, now| rooms.until_next_look(job, apart, now);
        assert_eq!(wait("a", start), Duration::ZERO);
        rooms.looked("a", start);
        assert_eq!(wait("a", start + Duration::from_secs(5)).as_secs(), 10);
        assert_eq!(wait("a", start + apart), Duration::ZERO);
        assert_eq!(wait("b", start), Duration::ZERO);
        rooms.looked("b", start + FORGOTTEN);
        assert_eq!(rooms.looks.lock().unwrap().len(), 1);
    }
}
