//! The whole poller between a scripted registry and an executor: watch events go in, and what the
//! executor is told comes out.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use axum::response::Response;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{Error, Event};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry as Metrics;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use werf_poller::decide::book::Book;
use werf_poller::io::announce::Courier;
use werf_poller::io::registry::{Limits, Registry};
use werf_poller::io::server::{self, Answer, Ask, Refusal, poll_span};
use werf_poller::io::watch;
use werf_poller::metrics::PollerMetrics;
use werf_poller::poll::Poller;
use werf_proto::v1alpha1::PollNowResponse;
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_proto::v1alpha1::poll_failed::Reason;
use werf_proto::v1alpha1::poll_succeeded::NothingChosen;
use werf_proto::v1alpha1::report_poll_request::Outcome;
use werf_shared::bundle::{BundleKey, WerfBundle};
use werf_shared::readiness::Readiness;

use crate::executor::{Executor, Told};
use crate::scripted::{
    Asked, LIST, Scripted, bundle, conditional, digest_of, hanging, manifest, page, reach, status,
};

type Guarded = DeserializeGuard<WerfBundle>;

pub(crate) struct Whole {
    pub(crate) registry: Scripted,
    pub(crate) executor: Executor,
    numbers: Metrics,
    readiness: Readiness,
    events: mpsc::UnboundedSender<Result<Event<Guarded>, Error>>,
    pub(crate) asks: mpsc::Sender<Ask>,
    _tasks: JoinSet<()>,
}

impl Whole {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Response + Send + 'static) -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let registry = Scripted::start(script).await;
        let executor = Executor::start().await;
        let mut numbers = Metrics::default();
        let metrics = PollerMetrics::register(&mut numbers);
        let readiness = Readiness::new();
        let courier = Courier::new(executor.channel(), metrics.clone());
        let http = Registry::new(Limits::default(), reach()).unwrap();
        let synced = readiness.expect("watch");
        let book = Book::new(4, Duration::ZERO);
        let poller = Poller::new(book, http, courier, metrics.clone(), synced);
        let (events, stream) = mpsc::unbounded_channel();
        let (changes, queue) = mpsc::channel(watch::QUEUE);
        let (asks, asked) = mpsc::channel(server::QUEUE);
        let stop = CancellationToken::new();
        let watching = watch::run(
            UnboundedReceiverStream::new(stream),
            changes,
            metrics,
            stop.clone(),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(async { watching.await.unwrap() });
        tasks.spawn(poller.run(queue, asked, stop));
        Self {
            registry,
            executor,
            numbers,
            readiness,
            events,
            asks,
            _tasks: tasks,
        }
    }

    /// A sample of the metrics.
    pub(crate) fn number(&self, sample: &str) -> Option<u64> {
        let mut text = String::new();
        encode(&mut text, &self.numbers).unwrap();
        let value = |line: &str| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value)
    }

    pub(crate) fn remove(&self, changes: &Value) {
        let event = Event::Delete(self.object(changes));
        self.events.send(Ok(event)).unwrap();
    }

    fn object(&self, changes: &Value) -> Guarded {
        let mut object = json!({
            "apiVersion": "werf.io/v1alpha1",
            "kind": "WerfBundle",
            "metadata": { "name": "app", "namespace": "team", "uid": "u", "generation": 1 },
            "spec": { "registry": { "url": self.registry.repository() } },
        });
        merge(&mut object, changes);
        serde_json::from_value(object).unwrap()
    }

    pub(crate) fn apply(&self, changes: &Value) {
        let event = Event::Apply(self.object(changes));
        self.events.send(Ok(event)).unwrap();
    }

    pub(crate) async fn send_ask(&self) -> oneshot::Receiver<Result<Answer, Refusal>> {
        let key = BundleKey::new("team", "app");
        let (reply, answer) = oneshot::channel();
        let span = poll_span(&key);
        self.asks.send(Ask { key, span, reply }).await.unwrap();
        answer
    }

    /// Asks until the loop has heard of the bundle: events and asks come in by different ways.
    pub(crate) async fn ask(&self) -> Result<PollNowResponse, Refusal> {
        loop {
            let answer = self.ask_once().await;
            if !matches!(answer, Err(Refusal::Unknown(_))) {
                return answer;
            }
        }
    }

    pub(crate) async fn ask_once(&self) -> Result<PollNowResponse, Refusal> {
        let answer = self.send_ask().await.await.unwrap()?;
        let mut response = answer.response;
        if let Some(verdict) = answer.verdict {
            response.verdict = verdict.await.unwrap();
        }
        Ok(response)
    }
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes.clone(),
    }
}

fn listing(tags: &'static [&'static str]) -> impl Fn(&Asked) -> Response + Send + 'static {
    move |asked| match asked.target.as_str() {
        LIST => page(tags, &[]),
        _ => manifest(asked, &bundle()),
    }
}

fn announced(tag: &str) -> Value {
    let digest = digest_of(&bundle());
    json!({ "announced": { "tag": tag, "digest": digest, "generation": 1 } })
}

#[tokio::test]
async fn a_new_tag_is_announced_once_and_an_unchanged_poll_tells_nothing() {
    let mut whole = Whole::start(listing(&["v1.9.0", "v1.10.0", "latest"])).await;
    whole.apply(&json!({}));
    let request = whole.executor.next_tag().await;
    assert_eq!(
        (
            request.tag.as_str(),
            request.uid.as_str(),
            request.generation
        ),
        ("v1.10.0", "u", 1)
    );
    assert_eq!(request.digest, digest_of(&bundle()));
    assert_eq!(request.list_fingerprint.len(), 64);
    whole.apply(&json!({ "status": announced("v1.10.0") }));
    let seen = whole.ask().await.unwrap();
    assert!(seen.unchanged);
    assert_eq!((seen.tag.as_str(), seen.verdict.as_str()), ("v1.10.0", ""));
    assert!(whole.executor.was_told_nothing_more());
    let manifests =
        whole.registry.asked().into_iter().filter(|asked| {
            asked.method == http::Method::GET && asked.target.contains("manifests")
        });
    assert_eq!(manifests.count(), 1, "a digest is looked into once");
}

#[tokio::test]
async fn after_a_restart_a_known_tag_is_not_announced() {
    let mut whole = Whole::start(listing(&["v1.0.0"])).await;
    whole.apply(&json!({ "status": announced("v1.0.0") }));
    whole.ask().await.unwrap();
    assert!(whole.executor.was_told_nothing_more());
}

#[tokio::test]
async fn a_poll_on_demand_tells_what_it_saw_and_why() {
    let whole = Whole::start(listing(&["v1.0.0", "v2.0.0", "latest"])).await;
    let constraint = json!({ "spec": { "registry": { "versionConstraint": "^1" } } });
    whole.events.send(Ok(Event::Init)).unwrap();
    let listed = Event::InitApply(whole.object(&constraint));
    whole.events.send(Ok(listed)).unwrap();
    whole.events.send(Ok(Event::InitDone)).unwrap();
    let seen = whole.ask().await.unwrap();
    assert_eq!(seen.repository, whole.registry.repository());
    assert_eq!((seen.http_status, seen.pages, seen.tags), (200, 1, 3));
    assert_eq!(seen.candidates, ["v1.0.0"]);
    assert_eq!(
        (seen.tag, seen.digest),
        ("v1.0.0".to_owned(), digest_of(&bundle()))
    );
    assert_eq!(
        seen.reason,
        "v1.0.0 is the highest version that satisfies ^1 (3 tags considered; passed over: 1 outside the constraint, 1 not versions)"
    );
}

#[tokio::test]
async fn wishes_that_pile_up_are_turned_away() {
    let whole = Whole::start(|_| hanging()).await;
    whole.apply(&json!({}));
    while whole.registry.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut waiting = Vec::new();
    for _ in 0..16 {
        waiting.push(whole.send_ask().await);
    }
    let refused = whole.send_ask().await.await.unwrap().unwrap_err();
    assert!(matches!(refused, Refusal::Crowded(_)));
    // Who has gone away makes room.
    drop(waiting.pop());
    let mut answer = whole.send_ask().await;
    let patience = Duration::from_millis(50);
    let waits = tokio::time::timeout(patience, &mut answer).await;
    assert!(waits.is_err(), "{waits:?}");
}

#[tokio::test]
async fn a_verdict_reaches_whoever_asked() {
    let whole = Whole::start(listing(&["v1.0.0"])).await;
    whole
        .executor
        .will_answer(&[Err(tonic::Code::Unavailable), Ok(Verdict::NotNewer)]);
    // Planned within its interval, so that the first poll is the one asked for.
    whole.apply(&json!({ "status": announced("v0.9.0") }));
    let seen = whole.ask().await.unwrap();
    assert_eq!(seen.verdict, "not newer: as the test says");
}

#[tokio::test]
async fn a_list_that_was_not_modified_is_enough_to_choose_from() {
    let script = |asked: &Asked| match asked.target.as_str() {
        LIST => conditional(asked, "\"e\"", &["v1.0.0"]),
        _ => manifest(asked, &bundle()),
    };
    let mut whole = Whole::start(script).await;
    whole.apply(&json!({}));
    assert_eq!(whole.executor.next_tag().await.etag, "\"e\"");
    let seen = whole.ask().await.unwrap();
    assert_eq!(
        (seen.http_status, seen.unchanged, seen.tags),
        (304, true, 1)
    );
    assert_eq!(seen.tag, "v1.0.0");
    assert!(whole.executor.was_told_nothing_more());
}

#[tokio::test]
async fn a_new_constraint_is_chosen_from_the_whole_list() {
    let script = |asked: &Asked| match asked.target.as_str() {
        LIST => conditional(asked, "\"e\"", &["v1.0.0", "v2.0.0"]),
        _ => manifest(asked, &bundle()),
    };
    let mut whole = Whole::start(script).await;
    whole.apply(&json!({}));
    assert_eq!(whole.executor.next_tag().await.tag, "v2.0.0");
    whole.apply(&json!({
        "metadata": { "generation": 2 },
        "spec": { "registry": { "versionConstraint": "^1" } },
        "status": announced("v2.0.0"),
    }));
    let request = whole.executor.next_tag().await;
    assert_eq!((request.tag.as_str(), request.generation), ("v1.0.0", 2));
}

#[tokio::test]
async fn a_tag_that_moved_is_announced_again() {
    let mut whole = Whole::start(listing(&["v1.0.0"])).await;
    whole.apply(&json!({}));
    whole.executor.next_tag().await;
    let mut moved = bundle();
    moved["annotations"] = json!({ "again": "yes" });
    let digest = digest_of(&moved);
    let request_digest = digest.clone();
    whole
        .registry
        .now_answers(move |asked| match asked.target.as_str() {
            LIST => page(&["v1.0.0"], &[]),
            _ => manifest(asked, &moved),
        });
    let seen = whole.ask().await.unwrap();
    assert!(seen.unchanged);
    let request = whole.executor.next_tag().await;
    assert_eq!((request.tag.as_str(), request.digest), ("v1.0.0", digest));
    for _ in 0..3 {
        assert_eq!(whole.ask().await.unwrap().tag, "v1.0.0");
        assert!(whole.executor.was_told_nothing_more(), "told once");
    }
    let stored = json!({ "tag": "v1.0.0", "digest": request_digest, "generation": 1 });
    whole.apply(&json!({ "status": { "announced": stored } }));
    for _ in 0..3 {
        assert_eq!(whole.ask().await.unwrap().tag, "v1.0.0");
        assert!(
            whole.executor.was_told_nothing_more(),
            "nor after it is stored"
        );
    }
}

#[tokio::test]
async fn a_registry_without_etags_is_told_once_and_unchanged_polls_tell_nothing() {
    let mut whole = Whole::start(listing(&["v1.0.0"])).await;
    whole.apply(&json!({}));
    assert_eq!(whole.executor.next_tag().await.etag, "");
    whole.apply(&json!({ "status": announced("v1.0.0") }));
    for _ in 0..3 {
        assert!(whole.ask().await.unwrap().unchanged);
        assert!(whole.executor.was_told_nothing_more());
    }
    let with_etag = |asked: &Asked| match asked.target.as_str() {
        LIST => conditional(asked, "\"e\"", &["v1.0.0"]),
        _ => manifest(asked, &bundle()),
    };
    whole.registry.now_answers(with_etag);
    whole.ask().await.unwrap();
    let report = whole.executor.next_report().await;
    assert!(matches!(report.outcome, Some(Outcome::Succeeded(now)) if now.etag == "\"e\""));
    whole.registry.now_answers(listing(&["v1.0.0"]));
    whole.ask().await.unwrap();
    let report = whole.executor.next_report().await;
    assert!(matches!(report.outcome, Some(Outcome::Succeeded(now)) if now.etag.is_empty()));
    whole.ask().await.unwrap();
    assert!(whole.executor.was_told_nothing_more());
}

#[tokio::test]
async fn a_lost_tag_moves_nothing_backwards() {
    let mut whole = Whole::start(listing(&["v1.0.0"])).await;
    whole.apply(&json!({ "status": announced("v2.0.0") }));
    let seen = whole.ask().await.unwrap();
    assert_eq!(seen.tag, "");
    let Some(Outcome::Succeeded(succeeded)) = whole.executor.next_report().await.outcome else {
        panic!("not a success");
    };
    assert_eq!(
        succeeded.nothing_chosen_reason(),
        NothingChosen::TagVanished
    );
    whole.ask().await.unwrap();
    assert!(whole.executor.was_told_nothing_more(), "told once");
}

#[rstest::rstest]
#[case(tonic::Code::InvalidArgument)]
#[case(tonic::Code::FailedPrecondition)]
#[case(tonic::Code::PermissionDenied)]
#[tokio::test]
async fn a_report_that_was_refused_is_repeated_by_the_next_poll(#[case] code: tonic::Code) {
    let mut whole = Whole::start(listing(&["v1.0.0"])).await;
    whole.executor.will_answer(&[Err(code)]);
    whole.apply(&json!({ "status": announced("v2.0.0") }));
    whole.ask().await.unwrap();
    let refused = whole.executor.next_report().await;
    // The refusal may come back after the next poll.
    let again = loop {
        whole.ask().await.unwrap();
        if let Ok(Told::Poll(report)) = whole.executor.told.try_recv() {
            break report;
        }
    };
    assert_eq!(again.outcome, refused.outcome);
}

#[tokio::test]
async fn after_a_move_nobody_watched_the_new_repository_is_chosen_from() {
    let mut whole = Whole::start(listing(&["v1.0.0"])).await;
    whole.apply(&json!({
        "metadata": { "generation": 2 },
        "status": announced("v2.0.0"),
    }));
    let request = whole.executor.next_tag().await;
    assert_eq!((request.tag.as_str(), request.generation), ("v1.0.0", 2));
}

#[tokio::test]
async fn what_is_no_bundle_is_named_and_not_announced() {
    let image = json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json" },
        "layers": [],
    });
    let mut whole = Whole::start(move |asked| match asked.target.as_str() {
        LIST => page(&["v1.0.0", "v0.9.0"], &[]),
        _ => manifest(asked, &image),
    })
    .await;
    whole.apply(&json!({}));
    let Some(Outcome::Succeeded(succeeded)) = whole.executor.next_report().await.outcome else {
        panic!("not a success");
    };
    assert_eq!(succeeded.nothing_chosen_reason(), NothingChosen::NotABundle);
    assert_eq!(
        succeeded.nothing_chosen,
        "v1.0.0 is the highest stable version, but it is a container image and not a bundle"
    );
    let asked = whole.registry.asked();
    assert!(!asked.iter().any(|asked| asked.target.contains("v0.9.0")));
    // The executor waits for a word about every new spec.
    whole.apply(&json!({ "metadata": { "generation": 2 } }));
    let report = whole.executor.next_report().await;
    assert_eq!(report.generation, 2);
    assert!(matches!(report.outcome, Some(Outcome::Succeeded(_))));
}

#[tokio::test]
async fn failures_and_the_recovery_are_reported() {
    let mut whole = Whole::start(|_| status(401)).await;
    let repository = whole.registry.repository();
    whole.apply(&json!({ "status": announced("v1.0.0") }));
    for _ in 0..2 {
        let seen = whole.ask().await.unwrap();
        let message = format!("error polling registry: {repository}: 401 unauthorized");
        assert_eq!((seen.http_status, &seen.reason), (401, &message));
        let Some(Outcome::Failed(failed)) = whole.executor.next_report().await.outcome else {
            panic!("not a failure");
        };
        assert_eq!(failed.reason(), Reason::AuthenticationFailed);
        assert_eq!(
            (failed.message, failed.consecutive_failures),
            (message, 1),
            "asking again counts no further"
        );
    }
    whole.registry.now_answers(listing(&["v1.0.0"]));
    whole.ask().await.unwrap();
    let recovered = whole.executor.next_report().await.outcome;
    assert!(matches!(recovered, Some(Outcome::Succeeded(_))));
    whole.ask().await.unwrap();
    assert!(whole.executor.was_told_nothing_more());
}

#[tokio::test]
async fn a_suspended_bundle_is_left_alone_until_it_is_not() {
    let mut whole = Whole::start(listing(&["v1.0.0"])).await;
    whole.executor.will_answer(&[Ok(Verdict::Suspended)]);
    whole.apply(&json!({}));
    whole.executor.next_tag().await;
    let suspended = json!({ "metadata": { "generation": 2 }, "spec": { "suspend": true } });
    whole.apply(&suspended);
    while !matches!(whole.ask().await, Err(Refusal::Resting(_))) {}
    whole.registry.asked();
    whole.apply(&json!({ "metadata": { "generation": 3 } }));
    assert_eq!(whole.executor.next_tag().await.generation, 3);
}

#[tokio::test]
async fn an_annotation_asks_for_a_poll_at_once() {
    let pushed = Arc::new(AtomicBool::new(false));
    let script = {
        let pushed = Arc::clone(&pushed);
        move |asked: &Asked| match asked.target.as_str() {
            LIST if pushed.load(SeqCst) => page(&["v1.0.0", "v1.1.0"], &[]),
            LIST => page(&["v1.0.0"], &[]),
            _ => manifest(asked, &bundle()),
        }
    };
    let mut whole = Whole::start(script).await;
    let asking = |value: &str, handled: &str| {
        let mut status = announced("v1.0.0");
        merge(&mut status, &json!({ "lastHandledReconcile": handled }));
        let annotations = json!({ "operator.werf.io/reconcile": value });
        json!({ "metadata": { "annotations": annotations }, "status": status })
    };
    // Seen for the first time, and taken up before.
    whole.apply(&asking("1", "1"));
    whole.ask().await.unwrap();
    assert!(whole.executor.was_told_nothing_more());
    pushed.store(true, SeqCst);
    // The executor may be the first to take it up.
    whole.apply(&asking("2", "2"));
    assert_eq!(whole.executor.next_tag().await.tag, "v1.1.0");
}

#[tokio::test]
async fn one_bad_object_does_not_stop_the_others() {
    let mut whole = Whole::start(listing(&["v1.0.0"])).await;
    let bad = json!({ "metadata": { "name": "bad" }, "spec": { "registry": 7 } });
    whole.apply(&bad);
    whole.apply(&json!({}));
    assert_eq!(whole.executor.next_tag().await.name, "app");
    assert_eq!(whole.readiness.missing(), ["watch"]);
    whole.events.send(Ok(Event::Init)).unwrap();
    whole.events.send(Ok(Event::InitDone)).unwrap();
    while !matches!(whole.ask_once().await, Err(Refusal::Unknown(_))) {}
    assert!(whole.readiness.is_ready());
}

#[tokio::test]
async fn bundles_of_one_repository_share_the_poll_and_choose_for_themselves() {
    let mut whole = Whole::start(listing(&["v1.0.0", "v2.0.0"])).await;
    whole.events.send(Ok(Event::Init)).unwrap();
    let old = json!({
        "metadata": { "name": "old", "uid": "o" },
        "spec": { "registry": { "versionConstraint": "^1" } },
        "status": announced("v0.1.0"),
    });
    let app = json!({ "status": announced("v0.1.0") });
    for changes in [&old, &app] {
        let event = Event::InitApply(whole.object(changes));
        whole.events.send(Ok(event)).unwrap();
    }
    whole.events.send(Ok(Event::InitDone)).unwrap();
    let seen = whole.ask().await.unwrap();
    assert_eq!(seen.tag, "v2.0.0");
    let mut told = HashSet::new();
    for _ in 0..2 {
        let request = whole.executor.next_tag().await;
        told.insert((request.name, request.tag));
    }
    let expected = [("app", "v2.0.0"), ("old", "v1.0.0")];
    assert_eq!(
        told,
        expected
            .map(|(name, tag)| (name.to_owned(), tag.to_owned()))
            .into()
    );
    let lists = whole
        .registry
        .asked()
        .into_iter()
        .filter(|asked| asked.target == LIST);
    assert_eq!(lists.count(), 1);
}
