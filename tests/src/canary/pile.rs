//! Everything that was seen, each text once per place.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};

/// Something that was seen somewhere.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// `etcd /registry/…`, `log …`, `process …`, `metrics of …`.
    pub(super) place: String,
    pub(super) bytes: Vec<u8>,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Pile {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: Vec<Record>,
    known: HashSet<u64>,
}

impl Pile {
    pub(super) fn add(&self, place: String, bytes: Vec<u8>) {
        let mut hasher = DefaultHasher::new();
        (&place, &bytes).hash(&mut hasher);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !bytes.is_empty() && inner.known.insert(hasher.finish()) {
            inner.records.push(Record { place, bytes });
        }
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&[Record]) -> T) -> T {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        look(&inner.records)
    }
}
