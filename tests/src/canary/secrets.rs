//! What is secret, read from the Secrets that etcd has had.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use regex::bytes::Regex;

use super::pile::Record;

/// How the suite writes what is random: in hex. Shorter runs are no secrets.
static RANDOM: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("[0-9a-f]{16,}").ok());

/// A word that may be base64 of something random.
static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("[A-Za-z0-9+/]{20,}=*").ok());

/// The word in a tag that has the scripted werf print what follows it, as it is or in base64; such a
/// secret is everywhere on purpose, and whoever made it looks after it.
static SPOKEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("canary([A-Za-z0-9+/]{16,}=*)").ok());

/// Before every object that the apiserver stores as protobuf.
const MAGIC: &[u8] = b"k8s\0";

// The numbers are those of k8s.io/apimachinery/pkg/runtime/generated.proto, …/apis/meta/v1 and
// k8s.io/api/core/v1.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Secret {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(map = "string, bytes", tag = "2")]
    data: HashMap<String, Vec<u8>>,
    #[prost(string, tag = "3")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(message, repeated, tag = "13")]
    owners: Vec<OwnerReference>,
}

#[derive(Clone, PartialEq, Message)]
struct OwnerReference {
    #[prost(string, tag = "1")]
    kind: String,
}

impl Secret {
    fn stored(record: &Record) -> Option<Self> {
        let raw = record.bytes.strip_prefix(MAGIC)?;
        Self::decode(Envelope::decode(raw).ok()?.raw.as_slice()).ok()
    }

    /// Made from other Secrets.
    fn is_derived(&self) -> bool {
        let owners = self.metadata.iter().flat_map(|metadata| &metadata.owners);
        owners.into_iter().any(|owner| owner.kind == "Job") || self.kind == "helm.sh/release.v1"
    }
}

/// Secrets may be in Secrets. Whatever makes one that is not a Job's has been given what it puts
/// there.
pub(super) fn may_hold(record: &Record) -> bool {
    name_of(record).is_some()
}

/// Namespace and name, if it is a Secret.
fn name_of(record: &Record) -> Option<&str> {
    record.place.strip_prefix("etcd /registry/secrets/")
}

/// What is secret, and whose it is.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// By a name that can be told: the text itself where it is one.
    canaries: BTreeMap<String, (Vec<u8>, String)>,
    spoken: BTreeSet<Vec<u8>>,
    not_random: BTreeSet<String>,
}

impl Secrets {
    pub(super) fn of(records: &[Record]) -> Self {
        let mut secrets = Self::default();
        for record in records {
            let bundle = record
                .place
                .starts_with("etcd /registry/werf.io/werfbundles/");
            if let Some(spoken) = SPOKEN.as_ref().filter(|_| bundle) {
                let found = spoken.captures_iter(&record.bytes);
                let texts = found.flat_map(|found| random_texts(&found[1]));
                secrets.spoken.extend(texts);
            }
        }
        for record in records {
            let Some(owner) = name_of(record) else {
                continue;
            };
            let Some(secret) = Secret::stored(record).filter(|secret| !secret.is_derived()) else {
                continue;
            };
            for (key, value) in &secret.data {
                secrets.learn(owner, key, value);
            }
        }
        secrets
    }

    fn learn(&mut self, owner: &str, key: &str, value: &[u8]) {
        let texts = random_texts(value);
        if texts.is_empty() && !is_public(key, value) {
            let what = format!("{owner}: {key} is not random, so nobody can look for it");
            self.not_random.insert(what);
        }
        for text in texts {
            if !self.spoken.contains(&text) {
                let name = String::from_utf8_lossy(&text).into_owned();
                let entry = (text, format!("Secret {owner}"));
                self.canaries.entry(name).or_insert(entry);
            }
        }
    }

    /// Names and texts.
    pub(super) fn canaries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let canaries = self.canaries.iter();
        canaries.map(|(name, (text, _))| (name.as_str(), text.as_slice()))
    }

    pub(super) fn owner(&self, canary: &str) -> &str {
        let known = self.canaries.get(canary);
        known.map_or("nobody's Secret", |(_, owner)| owner)
    }

    pub(super) fn spoken(&self) -> usize {
        self.spoken.len()
    }

    pub(super) fn not_random(&self) -> impl Iterator<Item = String> {
        self.not_random.iter().cloned()
    }
}

/// What a Secret holds that everybody may know.
fn is_public(key: &str, value: &[u8]) -> bool {
    let certificate = value.starts_with(b"-----BEGIN CERTIFICATE");
    // The configuration of the registries that tests run.
    certificate || value.len() < 8 || matches!(key, "username" | "config.json")
}

/// Everything random in a value: runs in hex, also within base64; the inside of a private key; bytes
/// that are no text.
fn random_texts(value: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(value) else {
        return vec![value.to_vec()];
    };
    if text.contains("PRIVATE KEY-----") {
        let lines = text.lines().filter(|line| line.len() == 64);
        return lines.map(|line| line.as_bytes().to_vec()).collect();
    }
    // Salted hashes of passwords.
    if let Some((_, hash)) = text.trim().split_once(":$2") {
        return vec![hash.as_bytes().to_vec()];
    }
    let mut found = runs(value);
    let words = WORD.as_ref().map(|word| word.find_iter(value));
    for word in words.into_iter().flatten() {
        if let Ok(inside) = STANDARD.decode(word.as_bytes()) {
            found.extend(runs(&inside));
        }
    }
    found
}

fn runs(bytes: &[u8]) -> Vec<Vec<u8>> {
    let found = RANDOM.as_ref().map(|random| random.find_iter(bytes));
    let texts = found.into_iter().flatten();
    texts.map(|found| found.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "00112233445566778899aabbccddeeff";

    fn stored(name: &str, owner: Option<&str>, key: &str, value: &[u8]) -> Record {
        let owners = owner.map(|kind| OwnerReference {
            kind: kind.to_owned(),
        });
        let secret = Secret {
            metadata: Some(ObjectMeta {
                owners: owners.into_iter().collect(),
            }),
            data: [(key.to_owned(), value.to_vec())].into(),
            kind: "Opaque".to_owned(),
        };
        let envelope = Envelope {
            raw: secret.encode_to_vec(),
        };
        Record {
            place: format!("etcd /registry/secrets/{name}"),
            bytes: [MAGIC, &envelope.encode_to_vec()].concat(),
        }
    }

    #[test]
    fn what_is_random_in_a_secret_is_secret() {
        let yaml = format!("password: canary-{PASSWORD}-x\n");
        let auth = STANDARD.encode(format!("robot:{PASSWORD}"));
        let docker = format!("{{\"auths\":{{\"a\":{{\"auth\":\"{auth}\"}}}}}}");
        for value in [yaml, docker] {
            let records = [stored("a/s", None, "values.yaml", value.as_bytes())];
            let secrets = Secrets::of(&records);
            let found: Vec<_> = secrets.canaries().collect();
            assert_eq!(found, [(PASSWORD, PASSWORD.as_bytes())], "{value}");
            assert_eq!(secrets.not_random().count(), 0);
            assert_eq!(secrets.owner(PASSWORD), "Secret a/s");
        }
    }

    #[test]
    fn a_secret_of_a_job_makes_nothing_secret() {
        let records = [stored(
            "a/s",
            Some("Job"),
            "values.yaml",
            PASSWORD.as_bytes(),
        )];
        assert_eq!(Secrets::of(&records).canaries().count(), 0);
    }

    #[test]
    fn a_secret_that_anybody_could_guess_is_told() {
        let records = [stored("a/s", None, "password", b"correct horse")];
        let secrets = Secrets::of(&records);
        assert_eq!(secrets.not_random().count(), 1);
        let public = [
            stored("a/s", None, "username", b"somebody"),
            stored("a/s", None, "ca.crt", b"-----BEGIN CERTIFICATE-----\nMII"),
        ];
        assert_eq!(Secrets::of(&public).not_random().count(), 0);
    }

    #[test]
    fn a_secret_that_a_tag_has_werf_print_is_not_looked_for() {
        let encoded = STANDARD.encode(format!("xy{PASSWORD}z"));
        for printed in [PASSWORD, &encoded] {
            let bundle = Record {
                place: "etcd /registry/werf.io/werfbundles/a/app".to_owned(),
                bytes: format!("{{\"tag\":\"v1.0.0-canary{printed}\"}}").into_bytes(),
            };
            let records = [stored("a/s", None, "p", PASSWORD.as_bytes()), bundle];
            let secrets = Secrets::of(&records);
            let found = (secrets.canaries().count(), secrets.spoken());
            assert_eq!(found, (0, 1), "{printed}");
        }
    }
}
