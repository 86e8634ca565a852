//! Who asked the API server for what, read from its audit log: counted where requests arrive, by
//! nobody in their way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tokio::time::sleep;

/// Nothing written in this time: whatever was to be done is done.
const QUIET: Duration = Duration::from_millis(400);

const PATIENCE: Duration = Duration::from_mins(6);

/// The log from some moment on.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
    read: u64,
}

/// Requests by verb and resource, such as `update werfbundles/status`.
pub(super) type Requests = BTreeMap<String, usize>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<Object>,
}

#[derive(Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Debug, Deserialize)]
struct Object {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
}

impl Audit {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// Waits until nobody asks for anything.
    pub(super) async fn quiet(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let before = self.length()?;
            sleep(QUIET).await;
            if self.length()? == before {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "the API server never rests");
        }
    }

    /// Leaves out everything up to now.
    pub(super) fn skip(&mut self) -> anyhow::Result<()> {
        self.read = self.length()?;
        Ok(())
    }

    /// What somebody asked for since the last look.
    pub(super) fn asked_by(&mut self, user: &str) -> anyhow::Result<Requests> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        self.read += u64::try_from(text.len())?;
        count(&text, user)
    }

    fn length(&self) -> anyhow::Result<u64> {
        let metadata = std::fs::metadata(&self.path);
        Ok(metadata.context("there is no audit log")?.len())
    }
}

/// Watches last, and are no requests that a run makes.
fn count(text: &str, user: &str) -> anyhow::Result<Requests> {
    let mut requests = Requests::new();
    for line in text.lines() {
        let event: Event = serde_json::from_str(line).context("an audit event is malformed")?;
        let over = event.stage == "ResponseComplete" && event.verb != "watch";
        if event.user.username != user || !over {
            continue;
        }
        let object =
            event
                .object_ref
                .map_or_else(String::new, |object| match object.subresource.as_str() {
                    "" => object.resource,
                    subresource => format!("{}/{subresource}", object.resource),
                });
        *requests
            .entry(format!("{} {object}", event.verb))
            .or_default() += 1;
    }
    Ok(requests)
}

/// What changes something; Events are counted apart.
pub(super) fn writes(requests: &Requests) -> usize {
    sum(requests, |verb, resource| {
        !is_read(verb) && resource != "events"
    })
}

/// Events, made or counted up.
pub(super) fn events(requests: &Requests) -> usize {
    sum(requests, |_, resource| resource == "events")
}

/// What changes nothing.
pub(super) fn reads(requests: &Requests) -> usize {
    sum(requests, |verb, resource| {
        is_read(verb) && resource != "events"
    })
}

fn is_read(verb: &str) -> bool {
    matches!(verb, "get" | "list")
}

fn sum(requests: &Requests, wanted: impl Fn(&str, &str) -> bool) -> usize {
    let wanted = requests.iter().filter(|(name, _)| {
        name.split_once(' ')
            .is_some_and(|(verb, resource)| wanted(verb, resource))
    });
    wanted.map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_one_user_are_counted_by_what_they_do() {
        let line = |stage: &str, verb: &str, user: &str, resource: &str, sub: &str| {
            format!(
                r#"{{"stage":"{stage}","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{{"resource":"{resource}","subresource":"{sub}"}}}}"#
            )
        };
        let done = "ResponseComplete";
        let text = [
            line(done, "update", "us", "werfbundles", "status"),
            line(done, "update", "them", "werfbundles", "status"),
            line(done, "create", "us", "jobs", ""),
            line(done, "create", "us", "jobs", ""),
            line(done, "create", "us", "events", ""),
            line(done, "get", "us", "werfbundles", ""),
            line(done, "watch", "us", "jobs", ""),
            line("ResponseStarted", "get", "us", "jobs", ""),
        ]
        .join("\n");
        let requests = count(&text, "us").unwrap();
        assert_eq!(requests["update werfbundles/status"], 1);
        assert_eq!(requests["create jobs"], 2);
        let sums = (writes(&requests), events(&requests), reads(&requests));
        assert_eq!(sums, (3, 1, 1));
    }
}
