//! Registries that ask for patience: what is sent to them then, and to whom nothing happens.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use werf_poller::io::server::Refusal;
use werf_proto::v1alpha1::poll_failed::Reason;
use werf_proto::v1alpha1::report_poll_request::Outcome;

use crate::poller::Whole;
use crate::scripted::{Asked, LIST, Scripted, bundle, manifest, page, with};

/// When which list was asked for.
type Times = Arc<Mutex<Vec<(String, Instant)>>>;

/// Every repository has one tag; the times of the lists go into `times`.
fn listing(times: &Times) -> impl Fn(&Asked) -> Response + Send + 'static {
    let times = Arc::clone(times);
    move |asked| match asked.target.split_once("/tags/list") {
        Some((path, _)) => {
            let name = path.trim_start_matches("/v2/").to_owned();
            let list = json!({ "name": name, "tags": ["v1.0.0"] }).to_string();
            times.lock().unwrap().push((name, Instant::now()));
            with(200, &[], list)
        }
        None => manifest(asked, &bundle()),
    }
}

fn at(registry: &Scripted, name: &str) -> Value {
    json!({
        "metadata": { "name": name, "uid": name },
        "spec": { "registry": { "url": format!("{}/org/{name}", registry.address) } },
    })
}

fn in_seconds(seconds: u64) -> jiff::Timestamp {
    werf_shared::clock::now() + Duration::from_secs(seconds)
}

/// The shapes `Retry-After` has, each for at least three seconds.
fn seconds() -> String {
    "3".to_owned()
}

fn date() -> String {
    httpdate::fmt_http_date(in_seconds(4).into())
}

fn point_in_time() -> String {
    in_seconds(4).as_second().to_string()
}

fn go_duration() -> String {
    "0m3.1s".to_owned()
}

#[rstest::rstest]
#[case(429, seconds)]
#[case(429, date)]
#[case(429, point_in_time)]
#[case(429, go_duration)]
#[case(503, seconds)]
#[tokio::test]
async fn a_registry_that_asks_for_patience_is_left_alone_and_the_others_are_not(
    #[case] status: u16,
    #[case] retry_after: fn() -> String,
) {
    let (refused, when) = mpsc::channel();
    let mut whole = Whole::start(move |_| {
        refused.send(Instant::now()).unwrap();
        with(status, &[("retry-after", &retry_after())], "")
    })
    .await;
    whole.apply(&json!({}));
    let report = whole.executor.next_report().await;
    let refused = when.recv().unwrap();
    let Some(Outcome::Failed(failed)) = report.outcome else {
        panic!("not a failure");
    };
    if status == 429 {
        assert_eq!(failed.reason(), Reason::RateLimited);
    }
    assert_eq!(failed.consecutive_failures, 1);
    assert_eq!(whole.registry.asked().len(), 1);

    // Whoever asks is told at once, and its neighbours wait.
    let refusal = whole.ask().await.unwrap_err();
    let Refusal::Parked(_, host, _) = &refusal else {
        panic!("{refusal:?}");
    };
    assert_eq!(*host, whole.registry.address.to_string());
    let times = Times::default();
    whole.registry.now_answers(listing(&times));
    for name in ["second", "third"] {
        whole.apply(&at(&whole.registry, name));
    }

    // Another registry is none of theirs.
    let other = Scripted::start(listing(&Times::default())).await;
    whole.apply(&at(&other, "other"));
    assert_eq!(whole.executor.next_tag().await.name, "other");
    let nothing_sent = times.lock().unwrap().is_empty();
    let is_over = refused.elapsed() >= Duration::from_secs(3);
    assert!(nothing_sent || is_over, "the park was not kept");

    // They are polled when the park ends, one after the other, and have not failed.
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(whole.executor.next_tag().await.name);
    }
    told.sort();
    assert_eq!(told, ["app", "second", "third"]);
    let times: Vec<Instant> = times.lock().unwrap().iter().map(|(_, at)| *at).collect();
    assert!(times[0] - refused >= Duration::from_secs(3));
    // Two pauses of some 250 ms. A request that was long on its way makes one of them look shorter.
    let pause = |pair: &[Instant]| pair[1] - pair[0] > Duration::from_millis(100);
    assert!(times.windows(2).any(pause), "a burst: {times:?}");
}

#[rstest::rstest]
#[case(&[("ratelimit", "\"pull\";r=0;t=2")])]
#[case(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "2")])]
#[case(&[("ratelimit-remaining", "0;w=2")])]
#[case(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")])]
#[tokio::test]
async fn a_quota_that_is_used_up_is_a_success_and_a_pause(
    #[case] fields: &'static [(&'static str, &'static str)],
) {
    let script = move |asked: &Asked| match asked.target.as_str() {
        LIST => page(&["v1.0.0"], fields),
        _ => manifest(asked, &bundle()),
    };
    let mut whole = Whole::start(script).await;
    whole.apply(&json!({}));
    assert_eq!(whole.executor.next_tag().await.tag, "v1.0.0");
    let refusal = whole.ask().await.unwrap_err();
    assert!(matches!(refusal, Refusal::Parked(..)), "{refusal:?}");
    let lists = |asked: Vec<Asked>| asked.iter().filter(|asked| asked.target == LIST).count();
    assert_eq!(lists(whole.registry.asked()), 1);
    // The wish is not lost.
    while lists(whole.registry.asked()) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(whole.executor.was_told_nothing_more());
}

#[tokio::test]
async fn who_waits_for_a_poll_is_told_when_its_registry_is_parked() {
    let (finish, finished) = oneshot::channel::<()>();
    let finished = Mutex::new(Some(finished));
    // A list whose head comes at once, and its body when the test says so.
    let script = move |_: &Asked| {
        let finished = finished.lock().unwrap().take().unwrap();
        let body = stream::once(async move {
            let _dropped = finished.await;
            Ok::<_, std::io::Error>(r#"{"name":"org/app","tags":[]}"#)
        });
        let quota = [("ratelimit", "\"pull\";r=0;t=600")];
        with(200, &quota, Body::from_stream(body.boxed()))
    };
    let whole = Whole::start(script).await;
    whole.apply(&json!({}));
    while whole.registry.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    let answer = whole.send_ask().await;
    while whole.asks.capacity() < whole.asks.max_capacity() {
        tokio::task::yield_now().await;
    }
    finish.send(()).unwrap();
    let refusal = answer.await.unwrap().unwrap_err();
    assert!(matches!(refusal, Refusal::Parked(..)), "{refusal:?}");
}

#[tokio::test]
async fn the_metrics_tell_what_polls_cost_and_who_is_parked() {
    let mut whole = Whole::start(listing(&Times::default())).await;
    let host = whole.registry.address;
    whole.apply(&json!({}));
    whole.executor.next_tag().await;
    whole.ask().await.unwrap();
    let answers = |whole: &Whole, answer: &str| {
        whole.number(&format!(
            "werf_operator_registry_answers_total{{host=\"{host}\",answer=\"{answer}\"}}"
        ))
    };
    let requests = |whole: &Whole, kind: &str| {
        whole.number(&format!(
            "werf_operator_registry_requests_total{{kind=\"{kind}\"}}"
        ))
    };
    let counted = ["200", "304", "unchanged"].map(|answer| answers(&whole, answer));
    assert_eq!(counted, [Some(1), Some(0), Some(1)]);
    let sent = ["list", "manifest", "token"].map(|kind| requests(&whole, kind));
    assert_eq!(sent, [Some(2), Some(3), Some(0)]);
    assert_eq!(whole.number("werf_operator_registry_hosts_parked"), Some(0));

    let refused = |_: &Asked| with(429, &[("retry-after", "600")], "");
    whole.registry.now_answers(refused);
    assert_eq!(whole.ask().await.unwrap().http_status, 429);
    whole.ask().await.unwrap_err();
    let parks = whole.number("werf_operator_registry_host_parks_total");
    assert_eq!(parks, Some(1));
    assert_eq!(whole.number("werf_operator_registry_hosts_parked"), Some(1));

    // A host nobody polls any more has no series any more.
    whole.remove(&json!({}));
    while answers(&whole, "200").is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_token_server_that_asks_for_patience_parks_its_registry() {
    let script = |asked: &Asked| {
        if asked.target.starts_with("/token") {
            return with(429, &[("retry-after", "600")], "");
        }
        let host = asked.headers["host"].to_str().unwrap();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"reg\"");
        with(401, &[("www-authenticate", &challenge)], "")
    };
    let mut whole = Whole::start(script).await;
    whole.apply(&json!({}));
    let Some(Outcome::Failed(failed)) = whole.executor.next_report().await.outcome else {
        panic!("not a failure");
    };
    assert_eq!(failed.reason(), Reason::RateLimited, "{}", failed.message);
    let refusal = whole.ask().await.unwrap_err();
    let Refusal::Parked(_, host, _) = &refusal else {
        panic!("{refusal:?}");
    };
    assert_eq!(*host, whole.registry.address.to_string());
    let tokens = whole.number("werf_operator_registry_requests_total{kind=\"token\"}");
    assert_eq!(tokens, Some(1));
}
