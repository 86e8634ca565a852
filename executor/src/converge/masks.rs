//! What must not be shown of a Job: everything that is in its files.

use std::collections::BTreeMap;
use std::panic;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use tokio::sync::Semaphore;
use tokio::task;

use crate::decide::job::files;
use crate::decide::mask::{Masker, Masks};
use crate::decide::registry_access;
use crate::decide::values::{self, Source, SourceKind};
use crate::io::api::ApiError;
use crate::io::jobs;

/// Does work with what masks everything in a Job's files that must not be shown, and without it when
/// that cannot be known; `again` makes an error of it that may pass. One at a time, `room` says whose
/// turn it is: a Secret and what finds it in a text are large, and are gone when the work is done.
/// Where blocking is allowed: building and searching take long.
pub(super) async fn masking<T: Send + 'static>(
    (client, room): (&Client, &Arc<Semaphore>),
    job: &Job,
    again: bool,
    work: impl FnOnce(Option<&Masker>) -> T + Send + 'static,
) -> Result<T, ApiError> {
    // Kept until the work is done, even if nobody waits for it any more.
    let room = Arc::clone(room).acquire_owned().await;
    let data = if files::secret_of(job).is_none() {
        Some(BTreeMap::new())
    } else {
        match jobs::files_of(client, job).await {
            Ok(secret) => secret.and_then(|secret| secret.data),
            Err(error) if again && error.may_pass() => return Err(error),
            Err(_) => None,
        }
    };
    let working = task::spawn_blocking(move || {
        let _room = room;
        let masker = data.and_then(masker_of);
        work(masker.as_ref())
    });
    working.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        // The process ends.
        Err(_) => ApiError::Timeout {
            operation: "mask what is told of the Job",
        },
    })
}

fn masker_of(mut data: BTreeMap<String, ByteString>) -> Option<Masker> {
    let mut masks = Masks::default();
    if let Some(file) = data.remove(files::VALUES_KEY) {
        let source = Source {
            index: 0,
            kind: SourceKind::Secret,
            name: "values".to_owned(),
            documents: [(files::VALUES_KEY.to_owned(), file.0)].into(),
        };
        masks.join(values::secret_texts(&[source])?);
    }
    if let Some(config) = data.remove(files::DOCKER_CONFIG_KEY) {
        masks.join(registry_access::secret_texts(&config.0)?);
    }
    Some(masks.masker())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::mpsc;

    use http::{Request, Response};
    use kube::client::Body;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn apiserver(code: u16, body: &'static str) -> Client {
        let service = tower::service_fn(move |_: Request<Body>| {
            let body = Body::from(body.as_bytes().to_vec());
            let response = Response::builder().status(code).body(body);
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        Client::new(service, "default")
    }

    fn job_with_files() -> Job {
        let volume = json!({"name": "files", "secret": {"secretName": "app-values"}});
        let pod = json!({"spec": {"containers": [], "volumes": [volume]}});
        let job = json!({"metadata": {"name": "app", "namespace": "a"}, "spec": {"template": pod}});
        let job = serde_json::from_value(job).unwrap();
        assert!(files::secret_of(&job).is_some());
        job
    }

    const THERE: &str = r#"{"data":{"values.yaml":"cGFzc3dvcmQ6IGh1bnRlcjIyCg=="}}"#;
    const BROKEN: &str = r#"{"kind":"Status","code":500,"reason":"InternalError"}"#;
    const FORBIDDEN: &str = r#"{"kind":"Status","code":403,"reason":"Forbidden"}"#;

    #[rstest]
    #[case::there(200, THERE, true, Ok(Some("***")))]
    #[case::in_a_moment(500, BROKEN, true, Err(()))]
    #[case::not_waited_for(500, BROKEN, false, Ok(None))]
    #[case::never(403, FORBIDDEN, true, Ok(None))]
    #[tokio::test]
    async fn a_secret_that_cannot_be_read_for_a_moment_is_waited_for(
        #[case] code: u16,
        #[case] body: &'static str,
        #[case] again: bool,
        #[case] expected: Result<Option<&str>, ()>,
    ) {
        let (client, room) = (apiserver(code, body), Arc::new(Semaphore::new(1)));
        let work = |masker: Option<&Masker>| masker.map(|it| it.mask("hunter22").into_owned());
        let done = masking((&client, &room), &job_with_files(), again, work).await;
        let done = done.as_ref().map(Option::as_deref).map_err(|_| ());
        assert_eq!(done, expected);
    }

    #[tokio::test]
    async fn one_secret_at_a_time_even_if_nobody_waits_for_the_end() {
        let (client, room) = (apiserver(200, THERE), Arc::new(Semaphore::new(1)));
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (end, ends) = mpsc::channel::<()>();
        let job = job_with_files();
        let work = move |_: Option<&Masker>| {
            begun.send(()).unwrap();
            ends.recv().unwrap();
        };
        tokio::select! {
            _ = masking((&client, &room), &job, true, work) => panic!("ended"),
            begun = begins => begun.unwrap(),
        }
        assert_eq!(room.available_permits(), 0);
        end.send(()).unwrap();
        masking((&client, &room), &job, true, |_| ()).await.unwrap();
    }
}
