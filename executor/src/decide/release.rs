//! Who may work on a Helm release. Bundles may name the same one, from whatever namespaces: the oldest
//! of them owns it. That is read from what was last seen of the bundles and may be out of date; what
//! excludes is the look at the Jobs, after the own Job exists and before it is let run.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use werf_shared::bundle::status::{JobStatus, TriedRelease};
use werf_shared::bundle::{BundleKey, DeletionPolicy, WerfBundle};
use werf_shared::names::{self, annotation};

use super::outcome::{self, Progress};

/// A Helm release.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    /// The namespace it is deployed into.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl Release {
    /// The release that a bundle's spec names.
    pub fn of(bundle: &WerfBundle) -> Self {
        let converge = &bundle.spec.converge;
        let target = converge.target_namespace.clone();
        Self {
            namespace: target
                .filter(|target| !target.is_empty())
                .or_else(|| bundle.namespace())
                .unwrap_or_default(),
            name: converge
                .release_name
                .clone()
                .unwrap_or_else(|| names::release(&bundle.name_any())),
        }
    }

    /// The release that a Job of ours works on. Jobs of operators before this one do not say it.
    pub fn of_job(job: &Job) -> Option<Self> {
        Some(Self {
            namespace: job.namespace()?,
            name: job.annotations().get(annotation::RELEASE)?.clone(),
        })
    }

    fn is(&self, tried: &TriedRelease) -> bool {
        self.namespace == tried.namespace && self.name == tried.name
    }
}

/// What a Job works on, and as whom.
pub fn tried(job: &Job) -> Option<TriedRelease> {
    let release = Release::of_job(job)?;
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    Some(TriedRelease {
        namespace: release.namespace,
        name: release.name,
        service_account_name: pod.service_account_name.clone()?,
    })
}

/// The releases that a bundle has to do with: the one its spec names, and the one it works on or will
/// uninstall.
pub fn named_by(bundle: &WerfBundle) -> impl Iterator<Item = Release> {
    let tried = bundle.status.as_ref().and_then(|s| s.release.as_ref());
    let wanted = Release::of(bundle);
    let other = tried
        .filter(|tried| !wanted.is(tried))
        .map(|tried| Release {
            namespace: tried.namespace.clone(),
            name: tried.name.clone(),
        });
    std::iter::once(wanted).chain(other)
}

/// What stands between a bundle and its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rival {
    /// An older bundle names the same release.
    Owner(BundleKey),
    /// Another bundle's Job works on it, though that bundle does not own it, or no longer names it.
    Working(BundleKey, String),
    /// Another bundle is going and uninstalls it first.
    Uninstalling(BundleKey),
}

impl Rival {
    /// The rival in words.
    pub fn message(&self, release: &Release) -> String {
        let Release { namespace, name } = release;
        let what = format!("release {name} in namespace {namespace}");
        match self {
            Self::Owner(key) => format!(
                "{what} belongs to WerfBundle {} in namespace {}, which is older",
                key.name, key.namespace
            ),
            Self::Working(key, job) => format!(
                "Job {job} of WerfBundle {} in namespace {} still works on {what}",
                key.name, key.namespace
            ),
            Self::Uninstalling(key) => format!(
                "{what} is being uninstalled by WerfBundle {} in namespace {}",
                key.name, key.namespace
            ),
        }
    }
}

/// What stands between `bundle` and `release`, as far as is seen of the `others`.
pub fn rival<'a>(
    bundle: &WerfBundle,
    release: &Release,
    others: impl Iterator<Item = &'a WerfBundle>,
) -> Option<Rival> {
    let mut busy = None;
    let mut owner: Option<&WerfBundle> = None;
    for other in others.filter(|other| other.uid() != bundle.uid() && !is_left(other)) {
        if Release::of(other) == *release && age(other) < age(owner.unwrap_or(bundle)) {
            owner = Some(other);
        }
        busy = busy.or_else(|| works_on(other, release));
    }
    owner
        .map(|owner| Rival::Owner(BundleKey::of(owner)))
        .or(busy)
}

/// Another bundle that stays and has to do with `release`; it is not to be uninstalled then.
pub fn heir<'a>(
    bundle: &WerfBundle,
    release: &Release,
    others: impl Iterator<Item = &'a WerfBundle>,
) -> Option<BundleKey> {
    others
        .filter(|other| other.uid() != bundle.uid())
        .filter(|other| other.metadata.deletion_timestamp.is_none())
        .find(|other| Release::of(other) == *release)
        .map(BundleKey::of)
}

/// It is gone but for others' finalizers: it does nothing any more.
fn is_left(bundle: &WerfBundle) -> bool {
    bundle.metadata.deletion_timestamp.is_some()
        && !bundle.finalizers().iter().any(|f| f == names::FINALIZER)
}

fn age(bundle: &WerfBundle) -> (Timestamp, Option<String>) {
    let created = bundle.metadata.creation_timestamp.as_ref();
    // An object that the apiserver has stored has a time.
    (created.map_or(Timestamp::MAX, |time| time.0), bundle.uid())
}

fn works_on(bundle: &WerfBundle, release: &Release) -> Option<Rival> {
    let status = bundle.status.as_ref()?;
    let on_it = match &status.release {
        Some(tried) => release.is(tried),
        // Runs of operators before this one did not say it.
        None => Release::of(bundle) == *release,
    };
    if !on_it {
        return None;
    }
    let key = BundleKey::of(bundle);
    let uninstalls = bundle.spec.converge.deletion_policy == DeletionPolicy::Uninstall
        && status.release.is_some();
    if bundle.metadata.deletion_timestamp.is_some() && uninstalls {
        return Some(Rival::Uninstalling(key));
    }
    let job = status.active_job_name.clone()?;
    (status.last_job_status == Some(JobStatus::Running)).then_some(Rival::Working(key, job))
}

/// What becomes of a Job that exists, is suspended, and was looked past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may run.
    Granted,
    /// It stays suspended until the others have ended.
    Wait,
    /// It is removed: the release is another bundle's.
    StepBack,
}

/// Decides about a suspended Job, of whose release a look that began after the Job was created has
/// found `others`, or more than it could look at. Two that both look after both exist both find the
/// other; so whatever `owner` says, which may be out of date, at most one is granted. `owner` decides who
/// gives way. Two may both be owners, when one of them names another release by now: then the one that
/// has found a suspended Job of an `elder` gives way, or both would wait for ever.
pub fn permission(owner: bool, others: bool, elder: bool) -> Permission {
    match (owner, others) {
        (false, _) => Permission::StepBack,
        (true, false) => Permission::Granted,
        (true, _) if elder => Permission::StepBack,
        (true, _) => Permission::Wait,
    }
}

/// Whose a Job is that was created and never let run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody will ever let it run: its bundle is gone, or past it.
    Nobody,
    /// An older bundle may still let it run.
    Elder,
    /// A younger one may.
    Younger,
}

/// Says whose a Job is that was never let run, for `own`; `bundle` is the one that it was made for, as
/// it is stored now, if it is still there.
pub fn holder(own: &WerfBundle, job: &Job, bundle: Option<&WerfBundle>) -> Holder {
    let Some(bundle) = bundle else {
        return Holder::Nobody;
    };
    let status = bundle.status.clone().unwrap_or_default();
    // A claim is stored before its Job is made; of those that uninstall, the status says nothing yet.
    let claimed = status.active_job_name == job.metadata.name
        && status.resolved_target_namespace == job.metadata.namespace;
    let leaving = bundle.metadata.deletion_timestamp.is_some();
    if outcome::is_left_over(job, &status) || !(claimed || leaving) {
        Holder::Nobody
    } else if age(bundle) < age(own) {
        Holder::Elder
    } else {
        Holder::Younger
    }
}

/// How a Job that was found counts for somebody who wants to run on the same release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has ended, or will never run; or it is the own one, or of another release.
    Past,
    /// It was never let run. If its bundle does not need it any more, nobody ever will.
    Suspended,
    /// It runs, or may again.
    Working,
}

/// Says how a Job that was found with the label of `own`'s release counts.
pub fn found(own: &Job, other: &Job) -> Found {
    if own.uid() == other.uid() || Release::of_job(own) != Release::of_job(other) {
        return Found::Past;
    }
    let going = other.metadata.deletion_timestamp.is_some();
    match outcome::progress(other) {
        Progress::Ended => Found::Past,
        // The Job controller starts nothing for a Job that is being deleted.
        Progress::New if going => Found::Past,
        Progress::New => Found::Suspended,
        Progress::Running | Progress::Held => Found::Working,
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
