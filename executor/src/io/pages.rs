//! Lists that somebody else may make as long as they like: page by page, and of each page only what is
//! needed stays in memory.

use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;

use super::api::{ApiError, call};

/// A page of a list: of whole Pods it takes about a megabyte.
const PAGE: u32 = 100;

/// Of a longer list the rest is not looked through.
const PAGES: usize = 20;

/// What of a list is kept, as far as it is looked through.
pub async fn kept<K, T>(
    operation: &'static str,
    api: &Api<K>,
    params: ListParams,
    keep: impl FnMut(K) -> Option<T>,
) -> Result<Vec<T>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    up_to(PAGES, operation, api, params.limit(PAGE), keep).await
}

/// What of a whole list is kept, however long it is; the size of a page is in `params`. Later pages are of
/// the same moment as the first.
pub async fn kept_of_all<K, T>(
    operation: &'static str,
    api: &Api<K>,
    params: ListParams,
    keep: impl FnMut(K) -> Option<T>,
) -> Result<Vec<T>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    up_to(usize::MAX, operation, api, params, keep).await
}

async fn up_to<K, T>(
    pages: usize,
    operation: &'static str,
    api: &Api<K>,
    mut params: ListParams,
    mut keep: impl FnMut(K) -> Option<T>,
) -> Result<Vec<T>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut items = Vec::new();
    for _ in 0..pages {
        let page = call(operation, api.list(&params)).await?;
        items.extend(page.items.into_iter().filter_map(&mut keep));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => break,
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Pod;
    use kube::client::Body;
    use kube::{Client, ResourceExt};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_list_is_read_in_pages_up_to_an_end_that_the_operator_sets() {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let query = request.uri().query().unwrap_or_default();
            assert!(query.contains("limit=100"), "{query}");
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
}
