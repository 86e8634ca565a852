//! Bundles as this process stored them a moment ago. A write is told by the watch and leads to a pass; if
//! what the watch tells is what was stored, the pass need not read it once more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use werf_shared::bundle::{BundleKey, WerfBundle};

/// More than this are not kept: whole bundles are large, and any number of them can be stored faster than
/// passes come to them.
const MOST: usize = 64;

/// What was stored last of bundles that no pass has looked at since. Clones share it.
#[derive(Clone, Default)]
pub struct JustStored(Arc<Mutex<HashMap<BundleKey, WerfBundle>>>);

impl JustStored {
    /// Keeps a bundle as it was stored.
    pub fn keep(&self, stored: &WerfBundle) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Some may never be asked for again: their bundles are gone.
        if kept.len() >= MOST {
            kept.clear();
        }
        let mut stored = stored.clone();
        stored.metadata.managed_fields = None;
        kept.insert(BundleKey::of(&stored), stored);
    }

    /// A bundle as it was stored, if the watch shows this very version of it. Nearly always what comes
    /// after that leads to a pass of its own; not while the watch lists everything anew, which leads to
    /// passes before it is shown (`kube::runtime::reflector::Store`). So nobody rests on it alone. What
    /// does not fit is forgotten.
    pub fn take(&self, key: &BundleKey, told: Option<&str>) -> Option<WerfBundle> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = kept.remove(key)?;
        (told.is_some() && stored.resource_version().as_deref() == told).then_some(stored)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bundle(version: &str) -> WerfBundle {
        serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": "app", "resourceVersion": version},
            "spec": {"registry": {"url": "registry.example.com/app"}},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_the_watch_has_told_is_answered_and_once() {
        let key = BundleKey::new("a", "app");
        for (told, answered) in [
            (Some("5"), true),
            (Some("4"), false),
            (Some("6"), false),
            (None, false),
        ] {
            let stored = JustStored::default();
            stored.keep(&bundle("5"));
            assert_eq!(stored.take(&key, told).is_some(), answered, "{told:?}");
            assert!(stored.take(&key, Some("5")).is_none(), "{told:?}");
        }
    }

    #[test]
    fn never_are_many_kept() {
        let stored = JustStored::default();
        for number in 0..10 * MOST {
            let mut bundle = bundle("5");
            bundle.metadata.name = Some(format!("app-{number}"));
            stored.keep(&bundle);
            assert!(stored.0.lock().unwrap().len() <= MOST);
        }
    }

    #[test]
    fn the_last_one_counts() {
        let key = BundleKey::new("a", "app");
        let stored = JustStored::default();
        stored.keep(&bundle("5"));
        stored.clone().keep(&bundle("6"));
        let taken = stored.take(&key, Some("6")).unwrap();
        assert_eq!(taken.resource_version().as_deref(), Some("6"));
    }
}
