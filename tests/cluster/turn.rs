//! Who runs when. Tests that kill services run together, but not beside tests that talk to those
//! services: a refused connection is what a caller has to expect then, not a defect.

use std::sync::{Arc, LazyLock, Weak};

use tokio::sync::{
    Mutex, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit, RwLock, Semaphore,
};

/// Tests at the same time; they share two cores with the cluster.
const AT_ONCE: usize = 8;

/// Held by whoever has a bundle `my-app` in the operator's own namespace, where examples and guides have
/// it.
pub(crate) static MY_APP: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

static PEACE: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);
static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));
static ROUGH: LazyLock<Mutex<Weak<OwnedRwLockWriteGuard<()>>>> = LazyLock::new(Mutex::default);

/// A test's right to run, while it is held.
pub(crate) enum Turn {
    /// No service is killed meanwhile.
    Gentle {
        _peace: OwnedRwLockReadGuard<()>,
        _room: OwnedSemaphorePermit,
    },
    /// Services may be killed.
    Rough {
        _war: Arc<OwnedRwLockWriteGuard<()>>,
    },
    /// Nobody else runs: services are told other things than the tests of others expect.
    Alone { _all: OwnedRwLockWriteGuard<()> },
}

impl Turn {
    pub(crate) async fn gentle() -> anyhow::Result<Self> {
        Ok(Self::Gentle {
            _peace: Arc::clone(&PEACE).read_owned().await,
            _room: Arc::clone(&ROOM).acquire_owned().await?,
        })
    }

    pub(crate) async fn alone() -> Self {
        Self::Alone {
            _all: Arc::clone(&PEACE).write_owned().await,
        }
    }

    pub(crate) async fn rough() -> Self {
        let mut shared = ROUGH.lock().await;
        if let Some(war) = shared.upgrade() {
            return Self::Rough { _war: war };
        }
        let war = Arc::new(Arc::clone(&PEACE).write_owned().await);
        *shared = Arc::downgrade(&war);
        Self::Rough { _war: war }
    }
}
