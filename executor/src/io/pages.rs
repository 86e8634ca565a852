//! Lists that somebody else may make as long as they like: page by page, of each page only what is
//! needed stays in memory, and of that a limited number. Pages are as long as the client lets them be
//! ([`werf_shared::apiserver`]).

use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;

use super::api::{ApiError, call};

/// Objects that are listed at a time: of whole Pods that makes about a megabyte.
const PAGE: u32 = 100;

/// Of a longer list the rest is not looked through.
const PAGES: usize = 20;

/// Nor if so much is kept.
const KEPT: usize = 1000;

/// What of a list is kept, as far as it is looked through: what it cannot explain stays unexplained.
pub async fn kept<K, T>(
    operation: &'static str,
    api: &Api<K>,
    params: ListParams,
    keep: impl FnMut(K) -> Option<T>,
) -> Result<Vec<T>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    up_to(PAGES, KEPT, operation, api, params, keep).await
}

/// What of a whole list is kept, however long the list is; `most` of it at most. Later pages are of the
/// same moment as the first.
pub async fn kept_of_all<K, T>(
    most: usize,
    operation: &'static str,
    api: &Api<K>,
    params: ListParams,
    keep: impl FnMut(K) -> Option<T>,
) -> Result<Vec<T>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    up_to(usize::MAX, most, operation, api, params, keep).await
}

async fn up_to<K, T>(
    pages: usize,
    most: usize,
    operation: &'static str,
    api: &Api<K>,
    mut params: ListParams,
    mut keep: impl FnMut(K) -> Option<T>,
) -> Result<Vec<T>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    params.limit = Some(PAGE);
    let mut items = Vec::new();
    for _ in 0..pages {
        let page = call(operation, api.list(&params)).await?;
        let length = page.items.len();
        for item in page.items {
            items.extend(keep(item));
            if items.len() >= most {
                return Ok(items);
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => break,
        }
        params.limit = Some(after(length));
    }
    Ok(items)
}

/// The size of the next page: where objects are large, fewer came than were asked for, and as many
/// would again be too long.
fn after(length: usize) -> u32 {
    u32::try_from(length).map_or(PAGE, |length| length.saturating_mul(2).clamp(1, PAGE))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Pod;
    use kube::client::Body;
    use kube::{Client, ResourceExt};
    use serde_json::json;
    use werf_shared::apiserver::bounded;

    use super::*;

    #[tokio::test]
    async fn a_list_is_read_in_pages_up_to_an_end_that_the_operator_sets() {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let query = request.uri().query().unwrap_or_default();
            assert!(query.contains("limit="), "{query}");
            let page = query
                .split("continue=")
                .nth(1)
                .map_or(0, |it| it.parse().unwrap());
            let pod = |name: &str| json!({"metadata": {"name": format!("{name}-{page}")}});
            let list = json!({"metadata": {"continue": (page + 1).to_string()},
                "items": [pod("wanted"), pod("other")]});
            Ok::<_, Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
        });
        let api: Api<Pod> = Api::namespaced(Client::new(service, "default"), "prod");
        let wanted = |pod: Pod| Some(pod.name_any()).filter(|name| name.starts_with("wanted"));
        let found = kept("list", &api, ListParams::default(), wanted).await;
        let found = found.unwrap();
        assert_eq!(found.len(), PAGES);
        assert_eq!(found[PAGES - 1], format!("wanted-{}", PAGES - 1));
    }

    /// An apiserver with these objects, of so many bytes each. Tells how many it was asked for.
    fn apiserver(sizes: Vec<usize>) -> (Client, Arc<Mutex<Vec<usize>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            let number = |key: &str| {
                let mut pairs = query.split('&');
                pairs.find_map(|pair| pair.strip_prefix(key)?.parse::<usize>().ok())
            };
            let from = number("continue=").unwrap_or(0);
            let size = number("limit=").unwrap();
            log.lock().unwrap().push(size);
            let end = (from + size).min(sizes.len());
            let pods: Vec<_> = (from..end)
                .map(|pod| json!({"metadata": {"name": pod.to_string()}, "x": "x".repeat(sizes[pod])}))
                .collect();
            let token = (end < sizes.len()).then(|| end.to_string());
            let list = json!({"metadata": {"continue": token}, "items": pods});
            let body = Body::from(list.to_string().into_bytes());
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let client = bounded(Client::new(service, "default"));
        (client, asked)
    }

    async fn names(client: Client, most: usize) -> Result<Vec<String>, ApiError> {
        let api: Api<Pod> = Api::namespaced(client, "prod");
        let name = |pod: Pod| Some(pod.name_any());
        kept_of_all(most, "list", &api, ListParams::default(), name).await
    }

    fn numbers(end: usize) -> Vec<String> {
        (0..end).map(|number| number.to_string()).collect()
    }

    #[tokio::test]
    async fn where_objects_are_large_pages_are_small() {
        let (client, asked) = apiserver([vec![1 << 20; 8], vec![9 << 20], vec![10; 100]].concat());
        assert_eq!(names(client, usize::MAX).await.unwrap(), numbers(109));
        let asked = asked.lock().unwrap().clone();
        // Halved until it fits, and again as soon as twice as many would not; then longer and longer.
        let large = [100, 50, 25, 12, 6, 3, 6, 3, 6, 3, 1, 2, 1, 2, 1];
        assert_eq!(asked[..15], large);
        assert_eq!(asked[15..], [2, 4, 8, 16, 32, 64]);
    }

    #[tokio::test]
    async fn an_honest_list_is_read_in_as_few_pages_as_it_has() {
        let (client, asked) = apiserver(vec![20 << 10; 220]);
        assert_eq!(names(client, usize::MAX).await.unwrap(), numbers(220));
        assert_eq!(*asked.lock().unwrap(), [100, 100, 100]);
    }

    #[tokio::test]
    async fn what_does_not_fit_alone_is_never_taken_for_the_end() {
        let (client, _) = apiserver(vec![10, 10, 11 << 20, 10]);
        let refused = names(client, usize::MAX).await.unwrap_err();
        assert!(matches!(refused, ApiError::TooLong { .. }), "{refused}");
        assert_eq!(refused.to_string(), "cannot list: the answer is too long");
        assert!(!refused.may_pass());
    }

    #[tokio::test]
    async fn no_more_is_read_than_may_be_kept() {
        let (client, asked) = apiserver(vec![10; 1000]);
        assert_eq!(names(client, 160).await.unwrap(), numbers(160));
        assert_eq!(*asked.lock().unwrap(), [100, 100]);
    }
}
