//! Spans of a pass. What triggers a pass says nothing about why it is needed, so each span joins the
//! trace that is stored with the run or the wish it serves.

use kube::ResourceExt;
use tracing::{Span, info_span};
use werf_shared::bundle::WerfBundle;
use werf_shared::telemetry::propagation;

/// The parts of a pass that are spans.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Admit,
    ResolveValues,
    CreateJob,
    CollectLogs,
    PatchStatus,
}

/// A span in the trace of the bundle's current run or, failing that, of its wish.
pub(super) fn span_of_run(part: Part, bundle: &WerfBundle) -> Span {
    let status = bundle.status.as_ref();
    let run = status
        .filter(|status| status.active_job_name.is_some())
        .and_then(|status| status.current_run.as_ref());
    let traceparent = run
        .and_then(|run| run.traceparent.as_deref())
        .or_else(|| status?.desired_traceparent.as_deref());
    let tag = run
        .map(|run| run.tag.as_str())
        .or_else(|| status?.desired_tag.as_deref());
    span_within(part, bundle, tag, traceparent)
}

/// A span in the trace of `traceparent`.
pub(super) fn span_within(
    part: Part,
    bundle: &WerfBundle,
    tag: Option<&str>,
    traceparent: Option<&str>,
) -> Span {
    macro_rules! span {
        ($name:literal) => {
            info_span!(
                parent: None,
                $name,
                bundle.namespace = bundle.namespace().unwrap_or_default(),
                bundle.name = bundle.name_any(),
                tag,
            )
        };
    }
    let span = match part {
        Part::Admit => span!("admit"),
        Part::ResolveValues => span!("resolve_values"),
        Part::CreateJob => span!("create_job"),
        Part::CollectLogs => span!("collect_logs"),
        Part::PatchStatus => span!("patch_status"),
    };
    propagation::set_parent_from_traceparent(&span, traceparent);
    span
}

/// The trace id in a W3C `traceparent`: its second field.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}
