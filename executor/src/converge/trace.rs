//! Spans of a pass. What triggers a pass says nothing about why it is needed, so each span joins the
//! trace that is stored with the run or the wish it serves.

use kube::ResourceExt;
use tracing::{Span, info_span};
use werf_shared::bundle::WerfBundle;
use werf_shared::telemetry::propagation;

/// A span in the trace of the bundle's current run or, failing that, of its wish.
pub(super) fn span_of_run(name: &'static str, bundle: &WerfBundle) -> Span {
    let status = bundle.status.as_ref();
    let active = status.filter(|status| status.active_job_name.is_some());
    let traceparent = active
        .and_then(|s| s.current_run.as_ref())
        .and_then(|run| run.traceparent.as_deref())
        .or_else(|| status.and_then(|s| s.desired_traceparent.as_deref()));
    span_within(name, bundle, traceparent)
}

pub(super) fn span_within(
    name: &'static str,
    bundle: &WerfBundle,
    traceparent: Option<&str>,
) -> Span {
    macro_rules! span {
        ($name:literal) => {
            info_span!(
                parent: None,
                $name,
                bundle.namespace = bundle.namespace().unwrap_or_default(),
                bundle.name = bundle.name_any(),
                tag = tracing::field::Empty,
            )
        };
    }
    let span = match name {
        "create_job" => span!("create_job"),
        "collect_logs" => span!("collect_logs"),
        "resolve_values" => span!("resolve_values"),
        _ => span!("patch_status"),
    };
    propagation::set_parent_from_traceparent(&span, traceparent);
    span
}

/// The trace id in a W3C `traceparent`: its second field.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}
