//! The end of a container's log, whatever its length: read as a stream, kept in a bounded buffer,
//! under a deadline.

use std::time::Duration;

use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client, ResourceExt};

use super::api::{ApiError, call};
use crate::decide::job::CONTAINER;
use crate::decide::log_tail::{Before, READ, Read};

/// So much is read from the beginning, in order to count. The kubelet rotates logs at 10 MiB unless it
/// is told otherwise (`containerLogMaxSize`), so that there is seldom more.
const COUNTED: usize = 64 * 1024 * 1024;

/// Of longer logs the kubelet is asked for so many lines at the end.
const LINES: i64 = 50_000;

/// After this long what has been read is taken for the whole.
const DEADLINE: Duration = Duration::from_secs(20);

/// The end of the log of a Pod's werf container.
pub async fn end_of_log(client: &Client, pod: &Pod) -> Result<Read, ApiError> {
    end_of(client, pod, COUNTED).await
}

async fn end_of(client: &Client, pod: &Pod, counted: usize) -> Result<Read, ApiError> {
    let first = read(client, pod, None, counted).await?;
    if first.ended {
        return Ok(first.into_read());
    }
    let Ok(last) = read(client, pod, Some(LINES), usize::MAX).await else {
        return Ok(first.into_read());
    };
    let unread = u64::try_from(first.total).unwrap_or(u64::MAX);
    Ok(Read {
        before: Before::MoreThan(unread.saturating_sub(last.kept.len() as u64)),
        end: last.kept,
    })
}

struct Reading {
    kept: Vec<u8>,
    total: usize,
    ended: bool,
}

impl Reading {
    fn into_read(self) -> Read {
        let before = u64::try_from(self.total - self.kept.len()).unwrap_or(u64::MAX);
        Read {
            before: match (before, self.ended) {
                (0, _) => Before::Nothing,
                (count, true) => Before::Bytes(count),
                (count, false) => Before::MoreThan(count),
            },
            end: self.kept,
        }
    }
}

async fn read(
    client: &Client,
    pod: &Pod,
    lines: Option<i64>,
    most: usize,
) -> Result<Reading, ApiError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let params = LogParams {
        container: Some(CONTAINER.to_owned()),
        tail_lines: lines,
        ..LogParams::default()
    };
    let name = pod.name_any();
    let mut stream = Box::pin(call("read the log", api.log_stream(&name, &params)).await?);
    let mut chunk = vec![0; 16 * 1024];
    let mut reading = Reading {
        kept: Vec::new(),
        total: 0,
        ended: false,
    };
    let read_all = async {
        while reading.total < most {
            // A log that was cut short is better than none.
            let Ok(count @ 1..) = stream.read(&mut chunk).await else {
                reading.ended = true;
                break;
            };
            reading.total += count;
            reading.kept.extend_from_slice(&chunk[..count]);
            // Not for each chunk: what is kept moves.
            if reading.kept.len() > 2 * READ {
                let surplus = reading.kept.len() - READ;
                reading.kept.drain(..surplus);
            }
        }
    };
    let _ = tokio::time::timeout(DEADLINE, read_all).await;
    let surplus = reading.kept.len().saturating_sub(READ);
    reading.kept.drain(..surplus);
    Ok(reading)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// An apiserver that has this log, and gives its last mebibyte to whoever asks for lines.
    fn apiserver(log: Vec<u8>) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            assert!(query.contains("container=werf"), "{query}");
            let from = if query.contains("tailLines") {
                log.len().saturating_sub(1 << 20)
            } else {
                0
            };
            let response = Response::new(Body::from(log[from..].to_vec()));
            async move { Ok::<_, Infallible>(response) }
        });
        Client::new(service, "default")
    }

    fn pod() -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some("job-x".to_owned());
        pod
    }

    #[tokio::test]
    async fn a_log_is_read_whole_or_its_end_with_the_rest_counted() {
        let short = end_of_log(&apiserver(b"one\n".to_vec()), &pod())
            .await
            .unwrap();
        assert_eq!(short.end, b"one\n");
        assert_eq!(short.before, Before::Nothing);
        let long = [vec![b'a'; 3 << 20], b"end".to_vec()].concat();
        let total = long.len();
        let read = end_of_log(&apiserver(long), &pod()).await.unwrap();
        assert_eq!(read.end.len(), READ);
        assert!(read.end.ends_with(b"end"));
        let before = u64::try_from(total - READ).unwrap();
        assert_eq!(read.before, Before::Bytes(before));
    }

    #[tokio::test]
    async fn of_a_log_that_takes_too_long_the_end_is_asked_for() {
        let long = [vec![b'a'; 6 << 20], b"end".to_vec()].concat();
        let read = end_of(&apiserver(long), &pod(), 4 << 20).await.unwrap();
        assert!(read.end.ends_with(b"end"));
        assert!(matches!(read.before, Before::MoreThan(count) if count >= 3 << 20));
    }
}
