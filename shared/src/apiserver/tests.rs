//! What is read of answers, as a scripted apiserver sees it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::{AsyncReadExt as _, StreamExt as _, TryStreamExt as _};
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams, WatchParams};
use rstest::rstest;
use serde_json::json;

use super::*;

/// What was asked for and how much of the answers was taken, in pieces of a mebibyte.
#[derive(Default)]
struct Seen {
    queries: Mutex<Vec<String>>,
    pieces: AtomicUsize,
}

impl Seen {
    fn queries(&self) -> Vec<String> {
        let queries = self.queries.lock();
        queries.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An apiserver that answers everything with what `answer` makes of the query.
fn apiserver(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> (Client, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let seeing = Arc::clone(&seen);
    let service = tower::service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = answer(&query);
        seeing.queries.lock().unwrap().push(query);
        let seeing = Arc::clone(&seeing);
        let pieces: Vec<_> = body.chunks(MIB).map(Bytes::copy_from_slice).collect();
        let pieces = pieces.into_iter().map(move |piece| {
            seeing.pieces.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(piece))
        });
        let body = StreamBody::new(futures::stream::iter(pieces));
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    (bounded(Client::new(service, "default")), seen)
}

fn number(query: &str, key: &str) -> Option<usize> {
    let mut pairs = query.split('&');
    pairs.find_map(|pair| pair.strip_prefix(key)?.parse().ok())
}

/// A list of ten objects, each more than a mebibyte long, that starts where the token says.
fn long_objects(query: &str) -> Vec<u8> {
    let from = number(query, "continue=").unwrap_or(0);
    let size = number(query, "limit=").unwrap();
    let object = |number: usize| json!({"metadata": {"name": format!("{number}")}, "data": {"a": "x".repeat(MIB + MIB / 4)}});
    let end = (from + size).min(10);
    let token = (end < 10).then(|| end.to_string());
    let items: Vec<_> = (from..end).map(object).collect();
    json!({"metadata": {"continue": token}, "items": items})
        .to_string()
        .into_bytes()
}

#[tokio::test]
async fn a_page_that_is_too_long_is_asked_for_in_smaller_ones_from_the_same_place() {
    let (client, seen) = apiserver(long_objects);
    let api: Api<ConfigMap> = Api::namespaced(client, "prod");
    let params = ListParams::default().labels("a=b").limit(8);
    let first = api.list(&params).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    let names = |items: Vec<ConfigMap>| {
        items
            .into_iter()
            .map(|it| it.metadata.name.unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(first.items), ["0", "1"]);
    let next = api.list(&params.continue_token(&token)).await.unwrap();
    assert_eq!(names(next.items), ["2", "3"]);
    let asked = seen.queries();
    let asked: Vec<_> = asked.iter().map(|it| it.trim_start_matches('&')).collect();
    assert_eq!(
        asked,
        [
            "labelSelector=a%3Db&limit=8",
            "labelSelector=a%3Db&limit=4",
            "labelSelector=a%3Db&limit=2",
            "labelSelector=a%3Db&limit=8&continue=2",
            "labelSelector=a%3Db&continue=2&limit=4",
            "labelSelector=a%3Db&continue=2&limit=2",
        ]
    );
}

/// An object, or a list of one, that is so many mebibytes long.
fn long(mebibytes: usize) -> impl Fn(&str) -> Vec<u8> + Send + 'static {
    move |query| {
        let object = json!({"data": {"a": "x".repeat(mebibytes * MIB)}});
        let answer = match query {
            "" => object,
            _ => json!({"metadata": {}, "items": [object]}),
        };
        answer.to_string().into_bytes()
    }
}

#[rstest]
#[case::as_long_as_can_be(9, true)]
#[case::longer(11, false)]
#[tokio::test]
async fn a_page_of_one_may_be_as_long_as_an_object_can_be(
    #[case] mebibytes: usize,
    #[case] read: bool,
) {
    let (client, seen) = apiserver(long(mebibytes));
    let api: Api<ConfigMap> = Api::namespaced(client, "prod");
    let found = api.list(&ListParams::default().limit(4)).await;
    assert_eq!(found.is_ok(), read);
    assert_eq!(found.err().is_some_and(|it| is_too_long(&it)), !read);
    assert_eq!(seen.queries().len(), 3);
}

#[rstest]
#[case::short(9, true)]
#[case::long(11, false)]
#[case::much_longer(64, false)]
#[tokio::test]
async fn of_an_answer_that_is_too_long_the_rest_is_not_read(
    #[case] mebibytes: usize,
    #[case] read: bool,
) {
    let (client, seen) = apiserver(long(mebibytes));
    let api: Api<ConfigMap> = Api::namespaced(client, "prod");
    // A name that ends the path as that of a log would.
    let found = api.get("log").await;
    assert_eq!(found.is_ok(), read);
    assert_eq!(found.err().is_some_and(|it| is_too_long(&it)), !read);
    let pieces = seen.pieces.load(Ordering::Relaxed);
    assert!(pieces <= LIMIT / MIB + 1, "{pieces}");
}

#[tokio::test]
async fn logs_and_watches_are_as_long_as_they_are() {
    let (client, _) = apiserver(|_| vec![b'x'; 3 * LIMIT]);
    let api: Api<Pod> = Api::namespaced(client, "prod");
    let log = api.log_stream("a", &LogParams::default()).await.unwrap();
    let mut read = Vec::new();
    Box::pin(log).read_to_end(&mut read).await.unwrap();
    assert_eq!(read.len(), 3 * LIMIT);

    let (client, _) = apiserver(|query| {
        assert!(query.contains("watch=true"), "{query}");
        let event = json!({"type": "ADDED", "object": {"metadata": {"name": "x".repeat(MIB)}}});
        format!("{event}\n").repeat(12).into_bytes()
    });
    let api: Api<Pod> = Api::namespaced(client, "prod");
    let events = api.watch(&WatchParams::default(), "0").await.unwrap();
    let events: Vec<_> = events.try_collect().await.unwrap();
    assert_eq!(events.len(), 12);
}

#[tokio::test]
async fn two_long_answers_are_not_held_at_the_same_time() {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let service = tower::service_fn(|_: Request<Body>| async {
        let pieces = (0..8_usize).map(|piece| async move {
            // The first mebibyte is what the turn is waited for with.
            if piece == 1 {
                let open = OPEN.fetch_add(1, Ordering::SeqCst) + 1;
                MOST.fetch_max(open, Ordering::SeqCst);
            }
            if piece == 7 {
                OPEN.fetch_sub(1, Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b' '; MIB])))
        });
        let body = futures::StreamExt::then(futures::stream::iter(pieces), |piece| piece);
        Ok::<_, Infallible>(Response::new(StreamBody::new(body)))
    });
    let client = bounded(Client::new(service, "default"));
    let read = || client.request_text(Request::get("/").body(Vec::new()).unwrap());
    let (one, two) = futures::join!(read(), read());
    assert_eq!(one.unwrap().len(), two.unwrap().len());
    assert_eq!(MOST.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stops_half_way_keeps_others_waiting_only_for_a_while() {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let stops = request.uri().path().ends_with("/stops");
        let object = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(2 * LONG)}});
        let piece = Frame::data(Bytes::from(object.to_string()));
        let whole = futures::stream::iter([Ok::<_, Infallible>(piece)]);
        let body = if stops {
            StreamBody::new(whole.chain(futures::stream::pending()).boxed())
        } else {
            StreamBody::new(whole.boxed())
        };
        Ok::<_, Infallible>(Response::new(body))
    });
    let api: Api<ConfigMap> = Api::namespaced(bounded(Client::new(service, "default")), "prod");
    let started = tokio::time::Instant::now();
    let (stopped, other) = tokio::join!(api.get("stops"), api.get("other"));
    assert!(stopped.is_err());
    assert!(other.is_ok(), "{other:?}");
    assert!(started.elapsed() <= 2 * TURN);
}
