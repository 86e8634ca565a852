//! The bundles as last seen, found by the release they have to do with. Nothing here is up to date;
//! what must be is read anew.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::time::Instant;
use werf_shared::bundle::BundleKey;

use super::watched::Watched;
use crate::decide::release::{self, Release};

/// How old the index may be. Building it looks at every bundle, and passes come in crowds.
const FRESH: Duration = Duration::from_secs(1);

/// Bundles by release.
pub struct Seen {
    bundles: Store<Watched>,
    index: Mutex<Index>,
}

/// Hashes of releases and who has to do with them, in order. Hashes instead of names, and keys instead
/// of bundles: ten thousand of them are a megabyte.
#[derive(Default)]
struct Index {
    built: Option<Instant>,
    entries: Arc<Vec<(u64, BundleKey)>>,
}

impl Seen {
    /// Looks into this store.
    pub fn new(bundles: Store<Watched>) -> Self {
        Self {
            bundles,
            index: Mutex::default(),
        }
    }

    /// The bundles that have, or had a second ago, to do with a release.
    pub fn with(&self, release: &Release) -> Vec<Arc<Watched>> {
        let entries = self.entries();
        let hash = hash_of(release);
        let start = entries.partition_point(|(other, _)| *other < hash);
        entries[start..]
            .iter()
            .take_while(|(other, _)| *other == hash)
            .filter_map(|(_, key)| self.get(key))
            .collect()
    }

    /// A bundle of this uid was seen and not seen to go.
    pub fn has(&self, key: &BundleKey, uid: &str) -> bool {
        self.get(key)
            .is_some_and(|bundle| bundle.uid().as_deref() == Some(uid))
    }

    fn get(&self, key: &BundleKey) -> Option<Arc<Watched>> {
        self.bundles
            .get(&ObjectRef::new(&key.name).within(&key.namespace))
    }

    fn entries(&self) -> Arc<Vec<(u64, BundleKey)>> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if index
            .built
            .is_none_or(|built| now.duration_since(built) > FRESH)
        {
            let mut entries = Vec::with_capacity(self.bundles.len());
            for watched in self.bundles.state() {
                let Ok(bundle) = &watched.0 else { continue };
                for release in release::named_by(bundle) {
                    entries.push((hash_of(&release), BundleKey::of(bundle)));
                }
            }
            entries.sort_unstable_by_key(|(hash, _)| *hash);
            index.entries = Arc::new(entries);
            index.built = Some(now);
        }
        Arc::clone(&index.entries)
    }
}

fn hash_of(release: &Release) -> u64 {
    let mut hasher = DefaultHasher::new();
    release.hash(&mut hasher);
    hasher.finish()
}
