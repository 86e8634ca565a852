//! What a request to the apiserver does to what, read from its method and path.

use http::{Method, Uri};

/// What a request does to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `WATCH`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub verb: String,
    /// `secrets`, `batch/jobs`, `werf.io/werfbundles/status`: group, resource and subresource.
    pub resource: String,
    /// The object, where the path names one.
    pub name: Option<String>,
    /// Asks for whatever a cache holds, however old.
    pub stale: bool,
}

impl Call {
    /// Reads a request.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let asks = |wanted: &str| query.split('&').any(|part| part == wanted);
        let watch = asks("watch=true") || asks("watch=1");
        let place = Place::of(uri.path());
        let group = place.group.map(|group| format!("{group}/"));
        let sub = place.subresource.map(|sub| format!("/{sub}"));
        Self {
            verb: if watch { "WATCH" } else { method.as_str() }.to_owned(),
            resource: format!(
                "{}{}{}",
                group.unwrap_or_default(),
                place.resource.unwrap_or_default(),
                sub.unwrap_or_default()
            ),
            name: place.name.map(ToOwned::to_owned),
            // A watch goes on from where it was, and "0" is no place to go on from.
            stale: !watch && method == Method::GET && asks("resourceVersion=0"),
        }
    }

    /// Changes something. Events are left out: they are best effort, and nothing depends on them.
    pub fn changes_something(&self) -> bool {
        matches!(self.verb.as_str(), "POST" | "PUT" | "PATCH" | "DELETE") && !self.is_event()
    }

    /// Is about an Event.
    pub fn is_event(&self) -> bool {
        self.resource == "events.k8s.io/events" || self.resource == "events"
    }
}

/// The path and query of a collection in all namespaces, for one namespace instead: what the process
/// sees of the cluster is that namespace, and plans that run side by side do not meet. `None` when
/// the path is no such collection.
pub fn within_namespace(uri: &Uri, namespace: &str) -> Option<String> {
    let place = Place::of(uri.path());
    let everywhere = place.namespace.is_none() && place.name.is_none();
    let group = place.group?;
    let resource = place.resource?;
    let scoped = matches!(
        (group, resource),
        ("werf.io", "werfbundles") | ("batch", "jobs")
    );
    if !(everywhere && scoped) {
        return None;
    }
    let (before, _) = uri.path().rsplit_once('/')?;
    let query = uri.query().map(|query| format!("?{query}"));
    Some(format!(
        "{before}/namespaces/{namespace}/{resource}{}",
        query.unwrap_or_default()
    ))
}

#[derive(Debug, Default)]
struct Place<'a> {
    group: Option<&'a str>,
    namespace: Option<&'a str>,
    resource: Option<&'a str>,
    name: Option<&'a str>,
    subresource: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _, rest @ ..] => (None, rest),
            ["apis", group, _, rest @ ..] => (Some(*group), rest),
            _ => return Self::default(),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            rest => (None, rest),
        };
        Self {
            group,
            namespace,
            resource: rest.first().copied(),
            name: rest.get(1).copied(),
            subresource: rest.get(2).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, uri: &str) -> Call {
        Call::of(&method.parse().unwrap(), &uri.parse().unwrap())
    }

    #[test]
    fn a_request_is_named_by_verb_and_resource() {
        let jobs = "/apis/batch/v1/namespaces/a/jobs";
        let status = "/apis/werf.io/v1alpha1/namespaces/a/werfbundles/app/status?";
        for (method, uri, verb, resource, name) in [
            ("POST", jobs, "POST", "batch/jobs", None),
            (
                "PUT",
                status,
                "PUT",
                "werf.io/werfbundles/status",
                Some("app"),
            ),
            (
                "GET",
                "/api/v1/namespaces/a",
                "GET",
                "namespaces",
                Some("a"),
            ),
            (
                "GET",
                "/api/v1/namespaces/a/secrets/s",
                "GET",
                "secrets",
                Some("s"),
            ),
            (
                "GET",
                "/apis/batch/v1/jobs?watch=true",
                "WATCH",
                "batch/jobs",
                None,
            ),
        ] {
            let call = call(method, uri);
            assert_eq!(
                (call.verb.as_str(), call.resource.as_str()),
                (verb, resource)
            );
            assert_eq!(call.name.as_deref(), name);
        }
    }

    #[test]
    fn only_a_read_that_takes_any_age_is_stale() {
        assert!(call("GET", "/api/v1/namespaces/a/secrets/s?resourceVersion=0").stale);
        assert!(!call("GET", "/api/v1/namespaces/a/secrets/s?resourceVersion=01").stale);
        assert!(!call("GET", "/apis/batch/v1/jobs?watch=true&resourceVersion=0").stale);
    }

    #[test]
    fn collections_of_all_namespaces_are_narrowed_and_nothing_else() {
        let narrowed = |uri: &str| within_namespace(&uri.parse().unwrap(), "a");
        assert_eq!(
            narrowed("/apis/batch/v1/jobs?watch=true").as_deref(),
            Some("/apis/batch/v1/namespaces/a/jobs?watch=true")
        );
        assert_eq!(narrowed("/apis/batch/v1/namespaces/b/jobs"), None);
        assert_eq!(narrowed("/api/v1/namespaces"), None);
    }
}
