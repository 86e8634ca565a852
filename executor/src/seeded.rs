//! Bugs on purpose, one at a time, for the fault tests to find: harness that finds none proves
//! nothing. Without the feature `seeded-bugs`, which nothing that is shipped is built with, every
//! question here is answered with a constant "no", and nothing of this is in the program.

use std::sync::atomic::AtomicI32;

/// The attempts that this process has begun, for [`Bug::AttemptsResetAtStart`].
pub static ATTEMPTS: AtomicI32 = AtomicI32::new(0);

/// A bug on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The Job's name is not the one that was claimed.
    RandomJobName,
    /// The `ETag` is stored before the tag it came with.
    EtagBeforeTag,
    /// An announcement is acknowledged, then stored.
    AcknowledgedBeforeStored,
    /// The tag is called applied when its Job is let run.
    AppliedBeforeSuccess,
    /// A Job that has the right name is taken for ours.
    AnyConflictAdopted,
    /// Bundles are told apart by name.
    NameInsteadOfUid,
    /// A status is stored whatever happened since it was read.
    StatusWithoutFence,
    /// A Job that has ended is removed, then recorded.
    DeletedBeforeRecorded,
    /// The Secret with values is made before the Job, without an owner.
    SecretBeforeJob,
    /// A Job is let run before the status says that it exists.
    RunBeforeConfirmed,
    /// An optional source that may not be read is skipped.
    OptionalSwallowsForbidden,
    /// Values from Secrets are arguments.
    SecretInArguments,
    /// Attempts are counted in memory.
    AttemptsResetAtStart,
    /// Whatever is announced ends a rollback.
    RollbackHoldIgnored,
    /// Nobody looks whether another bundle works on the release.
    ReleaseExclusionSkipped,
    /// The bundle is read from a cache of any age.
    StaleRead,
}

/// Whether the executor has this bug.
#[cfg(not(feature = "seeded-bugs"))]
#[must_use]
pub const fn has(_: Bug) -> bool {
    false
}

/// Whether the executor has this bug: the one that `SEEDED_BUG` names.
#[cfg(feature = "seeded-bugs")]
#[must_use]
pub fn has(bug: Bug) -> bool {
    std::env::var("SEEDED_BUG").is_ok_and(|name| name == bug.name())
}

#[cfg(feature = "seeded-bugs")]
impl Bug {
    const fn name(self) -> &'static str {
        match self {
            Self::RandomJobName => "random-job-name",
            Self::EtagBeforeTag => "etag-before-tag",
            Self::AcknowledgedBeforeStored => "acknowledged-before-stored",
            Self::AppliedBeforeSuccess => "applied-before-success",
            Self::AnyConflictAdopted => "any-conflict-adopted",
            Self::NameInsteadOfUid => "name-instead-of-uid",
            Self::StatusWithoutFence => "status-without-fence",
            Self::DeletedBeforeRecorded => "deleted-before-recorded",
            Self::SecretBeforeJob => "secret-before-job",
            Self::RunBeforeConfirmed => "run-before-confirmed",
            Self::OptionalSwallowsForbidden => "optional-swallows-forbidden",
            Self::SecretInArguments => "secret-in-arguments",
            Self::AttemptsResetAtStart => "attempts-reset-at-start",
            Self::RollbackHoldIgnored => "rollback-hold-ignored",
            Self::ReleaseExclusionSkipped => "release-exclusion-skipped",
            Self::StaleRead => "stale-read",
        }
    }
}
