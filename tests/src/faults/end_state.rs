//! What a plan leaves behind, in a form in which two runs can be compared: what differs from run to
//! run by its nature is replaced, everything else stays.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::history::{Change, Kind, What, World, annotation, may_run, text};

/// What a plan did and left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What exists at the end.
    pub(super) left: Value,
    /// How many Jobs and Secrets were ever created and deleted.
    pub(super) counts: BTreeMap<String, usize>,
    /// Every Job that was ever let run, in order.
    pub(super) deployed: Vec<String>,
}

/// Sums up a plan.
pub(super) fn outcome(changes: &[Change], world: &World, namespace: &str, canary: &str) -> Outcome {
    let mask = Mask::new(changes, namespace, canary);
    let mut left = BTreeMap::new();
    for kind in [Kind::Bundle, Kind::Job, Kind::Secret] {
        for object in world.all(kind) {
            let masked = mask.object(object);
            left.insert(
                format!("{kind:?} {}", text(&masked, "/metadata/name")),
                masked,
            );
        }
    }
    Outcome {
        left: json!(left),
        counts: counts(changes),
        deployed: deployed(changes),
    }
}

/// The lines in which two outcomes differ.
pub(super) fn difference(expected: &Outcome, found: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    if expected.deployed != found.deployed {
        lines.push(format!(
            "Jobs that ran: {:?} instead of {:?}",
            found.deployed, expected.deployed
        ));
    }
    if expected.counts != found.counts {
        lines.push(format!(
            "created and deleted: {:?} instead of {:?}",
            found.counts, expected.counts
        ));
    }
    compare("", &expected.left, &found.left, &mut lines);
    lines
}

fn compare(path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let (a, b) = (a.get(key), b.get(key));
                let path = format!("{path}/{key}");
                compare(
                    &path,
                    a.unwrap_or(&Value::Null),
                    b.unwrap_or(&Value::Null),
                    lines,
                );
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}/{index}"), a, b, lines);
            }
        }
        (a, b) if a == b => {}
        (a, b) => lines.push(format!("{path}: {} instead of {}", short(b), short(a))),
    }
}

/// Whole objects are not read in a message.
fn short(value: &Value) -> String {
    const LENGTH: usize = 300;
    let text = value.to_string();
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn counts(changes: &[Change]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for change in changes {
        if matches!(change.kind, Kind::Job | Kind::Secret) && change.what != What::Changed {
            let key = format!("{:?} {:?}", change.kind, change.what);
            *counts.entry(key).or_insert(0) += 1;
        }
    }
    counts
}

/// Each Job that was let run: which bundle of the name, tag, attempt. The number of the run is left
/// out: a claim that was given up has used one up, and deployed nothing.
fn deployed(changes: &[Change]) -> Vec<String> {
    let mut bundles = Vec::new();
    let mut ran = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for change in changes.iter().filter(|change| change.kind == Kind::Job) {
        let ours = !change.annotation("bundle-uid").is_empty();
        if !ours || !may_run(&change.object) || !seen.insert(change.uid().to_owned()) {
            continue;
        }
        let bundle = change.annotation("bundle-uid").to_owned();
        let number = bundles.iter().position(|known| *known == bundle);
        let number = number.unwrap_or_else(|| {
            bundles.push(bundle);
            bundles.len() - 1
        });
        let (tag, attempt) = (change.annotation("tag"), change.annotation("attempt"));
        ran.push(format!("bundle {} {tag} attempt {attempt}", number + 1));
    }
    ran
}

/// Replaces what differs between two runs of the same plan.
struct Mask {
    replaced: Vec<(String, String)>,
}

impl Mask {
    fn new(changes: &[Change], namespace: &str, canary: &str) -> Self {
        let mut replaced = vec![
            (namespace.to_owned(), "<namespace>".to_owned()),
            (canary.to_owned(), "<canary>".to_owned()),
        ];
        let mut hashes = Vec::new();
        let (mut bundles, mut jobs) = (0, 0);
        for change in changes {
            if change.kind == Kind::Bundle && change.what == What::Created {
                bundles += 1;
                replaced.push((change.uid().to_owned(), format!("<bundle {bundles}>")));
            }
            if change.kind == Kind::Job && change.what == What::Created {
                jobs += 1;
                // Numbered by what runs: one that never ran and is gone is in nobody's way.
                replaced.push((change.uid().to_owned(), format!("<uid of job {jobs}>")));
                let (tag, attempt) = (
                    annotation(&change.object, "tag"),
                    annotation(&change.object, "attempt"),
                );
                let name = format!("app-{tag}-{attempt}-{jobs}");
                replaced.push((change.name().to_owned(), name));
            }
            let hash = change.text("/status/currentRun/inputsHash");
            if change.kind == Kind::Bundle && !hash.is_empty() && !hashes.contains(&hash) {
                hashes.push(hash);
                replaced.push((hash.to_owned(), format!("<inputs {}>", hashes.len())));
            }
        }
        Self { replaced }
    }

    fn object(&self, object: &Value) -> Value {
        self.value(object)
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), self.field(key, value)))
                    .collect(),
            ),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::String(text) => Value::String(self.text(text)),
            other => other.clone(),
        }
    }

    fn field(&self, key: &str, value: &Value) -> Value {
        match key {
            "resourceVersion"
            | "creationTimestamp"
            | "lastTransitionTime"
            | "lastProbeTime"
            | "startTime"
            | "completionTime"
            | "started"
            | "startedAt"
            | "finished"
            | "desiredSince"
            | "since"
            | "lastSyncTime"
            | "lastErrorTime"
            | "traceId"
            | "desiredTraceparent"
            | "traceparent"
            | "operator.werf.io/traceparent"
            | "batch.kubernetes.io/controller-uid"
            | "controller-uid" => json!("<masked>"),
            "uid" => json!("<uid>"),
            // Contents are compared, in the form in which they are readable.
            "data" => value
                .as_object()
                .map(|data| {
                    data.iter()
                        .map(|(key, value)| (key.clone(), self.content(key, value)))
                        .collect()
                })
                .unwrap_or_default(),
            _ => match value {
                Value::Array(env) if key == "env" => {
                    let env = env
                        .iter()
                        .filter(|entry| text(entry, "/name") != "TRACEPARENT");
                    env.map(|entry| self.value(entry)).collect()
                }
                value => self.value(value),
            },
        }
    }

    fn content(&self, key: &str, value: &Value) -> Value {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::STANDARD;
        let bytes = engine.decode(value.as_str().unwrap_or_default());
        // The key of the inputs hash is random.
        match bytes.map(String::from_utf8) {
            Ok(Ok(text)) if key != "key" => json!(self.text(&text)),
            _ => json!("<bytes>"),
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.replaced {
            text = text.replace(from, to);
        }
        text
    }
}
