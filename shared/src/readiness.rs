//! Has everything that must happen before traffic happened? A latch: parts announce themselves,
//! then report done, once. It does not say whether the process is alive.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The parts the process waits for; clones share the same list.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    parts: Arc<Mutex<Vec<Part>>>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    ready: bool,
}

impl Readiness {
    /// Waits for nothing yet, so it is ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part to wait for until its handle reports [`ready`](ReadinessHandle::ready).
    pub fn expect(&self, name: &'static str) -> ReadinessHandle {
        let mut parts = self.lock();
        parts.push(Part { name, ready: false });
        ReadinessHandle {
            readiness: self.clone(),
            index: parts.len() - 1,
        }
    }

    /// What is still waited for, in the order it was expected; empty means ready.
    pub fn missing(&self) -> Vec<&'static str> {
        let parts = self.lock();
        parts
            .iter()
            .filter(|part| !part.ready)
            .map(|part| part.name)
            .collect()
    }

    /// Whether nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.lock().iter().all(|part| part.ready)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part's duty to report; dropped without reporting, the part stays missing for good.
#[derive(Debug)]
#[must_use = "a handle dropped without `ready` keeps the process not ready"]
pub struct ReadinessHandle {
    readiness: Readiness,
    index: usize,
}

impl ReadinessHandle {
    /// Reports the part as done.
    pub fn ready(self) {
        self.readiness.lock()[self.index].ready = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_waits_for_nothing_is_ready() {
        assert!(Readiness::new().is_ready());
    }

    #[test]
    fn readiness_names_what_is_missing_until_every_handle_reports() {
        let readiness = Readiness::new();
        let (watch, server) = (readiness.expect("watch"), readiness.expect("server"));
        assert_eq!(readiness.missing(), ["watch", "server"]);
        watch.ready();
        assert_eq!(readiness.clone().missing(), ["server"]);
        server.ready();
        assert!(readiness.is_ready());
        assert!(readiness.missing().is_empty());
    }

    #[test]
    fn a_part_that_gave_up_stays_missing() {
        let readiness = Readiness::new();
        drop(readiness.expect("watch"));
        assert_eq!(readiness.missing(), ["watch"]);
    }
}
