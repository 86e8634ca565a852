//! An announcement is repeated until it is answered, and carries the trace of its poll.

use prometheus_client::registry::Registry as Metrics;
use tonic::Code;
use tracing::{Span, info_span};
use werf_poller::io::announce::{Call, Courier, Delivered, Message};
use werf_poller::metrics::PollerMetrics;
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_proto::v1alpha1::{AnnounceTagRequest, ReportPollRequest};
use werf_shared::bundle::BundleKey;

use crate::executor::{Executor, Told};

fn courier(executor: &Executor) -> Courier {
    let metrics = PollerMetrics::register(&mut Metrics::default());
    Courier::new(executor.channel(), metrics)
}

fn key() -> BundleKey {
    BundleKey::new("team", "app")
}

fn announcement(tag: &str, span: Span) -> Message {
    let call = Call::Announce(AnnounceTagRequest {
        tag: tag.to_owned(),
        ..AnnounceTagRequest::default()
    });
    Message { call, span }
}

fn verdict(verdict: Option<Verdict>, words: &str) -> Delivered {
    Delivered {
        key: key(),
        verdict,
        announcement: true,
        refused: verdict.is_none(),
        words: words.to_owned(),
    }
}

#[tokio::test]
async fn an_announcement_is_repeated_until_it_is_answered() {
    let mut executor = Executor::start().await;
    executor.will_answer(&[Err(Code::Unavailable), Err(Code::Internal)]);
    let mut courier = courier(&executor);
    courier.put(&key(), announcement("v1", Span::none()));
    let delivered = courier.next().await;
    assert_eq!(
        delivered,
        verdict(Some(Verdict::Accepted), "as the test says")
    );
    for _ in 0..3 {
        assert_eq!(executor.next_tag().await.tag, "v1");
    }
    assert!(executor.was_told_nothing_more());
    assert!(!courier.announces(&key()));
}

#[tokio::test]
async fn what_the_executor_refuses_is_not_repeated() {
    let mut executor = Executor::start().await;
    executor.will_answer(&[Err(Code::InvalidArgument)]);
    let mut courier = courier(&executor);
    courier.put(&key(), announcement("v1", Span::none()));
    assert_eq!(courier.next().await, verdict(None, "as the test says"));
    assert_eq!(executor.next_tag().await.tag, "v1");
    assert!(!courier.announces(&key()));
}

#[tokio::test]
async fn only_the_newest_announcement_goes_out() {
    let mut executor = Executor::start().await;
    let mut courier = courier(&executor);
    courier.put(&key(), announcement("v1", Span::none()));
    courier.put(&key(), announcement("v2", Span::none()));
    let report = Call::Report(ReportPollRequest::default());
    courier.put(
        &key(),
        Message {
            call: report,
            span: Span::none(),
        },
    );
    assert!(courier.next().await.announcement);
    assert!(!courier.next().await.announcement);
    assert_eq!(executor.next_tag().await.tag, "v2");
    executor.next_report().await;
    assert!(executor.was_told_nothing_more());
}

#[tokio::test]
async fn the_trace_of_the_poll_goes_along() {
    let spans = werf_shared::testing::capture_spans();
    let mut executor = Executor::start().await;
    let mut courier = courier(&executor);
    courier.put(&key(), announcement("v1", info_span!("announce")));
    courier.next().await;
    let Some(Told::Tag(_, Some(traceparent))) = executor.told.recv().await else {
        panic!("no traceparent");
    };
    drop(courier);
    let span = spans.find("announce").unwrap();
    let trace_id = span.span_context.trace_id().to_string();
    assert!(traceparent.contains(&trace_id), "{traceparent}");
    assert!(traceparent.contains(&span.span_context.span_id().to_string()));
}
