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

/// So long the way into a room is waited for. Who waits takes up one of the passes that there may be at
/// a time; others are to get on while somebody takes long inside.
const PATIENCE: Duration = Duration::from_secs(2);

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
            collecting: Room(Semaphore::new(COLLECTING)),
            masking: Arc::new(Semaphore::new(1)),
            looking: Room(Semaphore::new(LOOKING)),
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

/// Where what may take long is done.
#[derive(Debug)]
pub(super) struct Room(Semaphore);

impl Room {
    /// Waits until there is room, but not for long.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        let room = tokio::time::timeout(PATIENCE, self.0.acquire()).await;
        room.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_gives_way_after_a_while() {
        let room = Room(Semaphore::new(1));
        let inside = room.enter().await;
        assert!(inside.is_some());
        assert!(room.enter().await.is_none());
        let (waiting, ()) = tokio::join!(room.enter(), async { drop(inside) });
        assert!(waiting.is_some());
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
