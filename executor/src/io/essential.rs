//! What is decoded of objects that somebody else may have made, however large they are: what something
//! is decided by. The rest is passed over while it is read. Decoded whole, an object of a megabyte can
//! take a hundred: a variable that is 13 characters of JSON is a struct of several hundred bytes, and
//! `managedFields` is a tree of maps.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use werf_shared::names::annotation;

use crate::decide::obstacle::is_marker;
use crate::decide::text::OUTSIDE_LIMIT;

mod workloads;

/// The longest text that is kept where only shorter ones have a meaning. No name is as long, so that
/// what was cut is no name either.
const TEXT: usize = 256;

/// Of lists in an object so much is kept. What the operator and Kubernetes make has less.
const ENTRIES: usize = 64;

/// An object with what something is decided by.
#[derive(Clone, Debug)]
pub struct Essential<K>(pub K);

/// A kind of which not everything is decoded.
pub trait Reduced: Sized {
    /// What is decoded.
    type Read: DeserializeOwned + Into<Self>;
}

impl<'de, K: Reduced> Deserialize<'de> for Essential<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::Read::deserialize(deserializer).map(|read| Self(read.into()))
    }
}

/// What identifies an object, its labels and those of its annotations that mean something. Only its
/// metadata is asked for.
pub struct Identity<K> {
    /// The metadata.
    pub metadata: ObjectMeta,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Identity<K> {
    fn clone(&self) -> Self {
        Self {
            metadata: self.metadata.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> fmt::Debug for Identity<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.metadata.fmt(formatter)
    }
}

impl<'de, K> Deserialize<'de> for Identity<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Read {
            #[serde(default)]
            metadata: Metadata,
        }
        Read::deserialize(deserializer).map(|read| Self {
            metadata: read.metadata.into(),
            kind: PhantomData,
        })
    }
}

/// Kube asks what a kind is called.
macro_rules! named_as_within {
    ($kind:ident, $only_metadata:literal, |$object:ident| $metadata:expr, $metadata_mut:expr) => {
        impl<K: Resource> Resource for $kind<K> {
            type DynamicType = K::DynamicType;
            type Scope = K::Scope;

            fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
                K::kind(dt)
            }

            fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
                K::group(dt)
            }

            fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
                K::version(dt)
            }

            fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
                K::plural(dt)
            }

            fn metadata_api() -> bool {
                $only_metadata
            }

            fn meta(&self) -> &ObjectMeta {
                let $object = self;
                $metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                let $object = self;
                $metadata_mut
            }
        }
    };
}

named_as_within!(Essential, false, |it| it.0.meta(), it.0.meta_mut());
named_as_within!(Identity, true, |it| &it.metadata, &mut it.metadata);

/// Metadata without `managedFields` and the rest that nothing is decided by.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    #[serde(deserialize_with = "some_labels")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "known_annotations")]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "some")]
    owner_references: Option<Vec<OwnerReference>>,
}

impl From<Metadata> for ObjectMeta {
    fn from(read: Metadata) -> Self {
        Self {
            name: read.name,
            namespace: read.namespace,
            uid: read.uid,
            resource_version: read.resource_version,
            creation_timestamp: read.creation_timestamp,
            deletion_timestamp: read.deletion_timestamp,
            labels: read.labels,
            annotations: read.annotations,
            owner_references: read.owner_references,
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[doc(hidden)]
pub struct EventRead {
    #[serde(default)]
    metadata: Metadata,
    reason: Option<String>,
    note: Option<String>,
    regarding: Option<ObjectReference>,
    series: Option<EventSeries>,
    event_time: Option<MicroTime>,
    deprecated_last_timestamp: Option<Time>,
}

impl Reduced for Event {
    type Read = EventRead;
}

impl From<EventRead> for Event {
    fn from(read: EventRead) -> Self {
        Self {
            metadata: read.metadata.into(),
            reason: read.reason,
            // One more than is looked at, so that it is seen that it was cut.
            note: read.note.map(|note| cut(note, OUTSIDE_LIMIT + 4)),
            regarding: read.regarding,
            series: read.series,
            event_time: read.event_time,
            deprecated_last_timestamp: read.deprecated_last_timestamp,
            ..Self::default()
        }
    }
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.shrink_to_fit();
    }
    text
}

fn known_annotations<'de, D>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error>
where
    D: Deserializer<'de>,
{
    let wanted = |key: &str| annotation::ALL.contains(&key) || is_marker(key);
    deserializer.deserialize_option(Texts { wanted })
}

fn some_labels<'de, D>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error>
where
    D: Deserializer<'de>,
{
    deserializer.deserialize_option(Texts {
        wanted: |_: &str| true,
    })
}

/// Some entries of a map of texts.
struct Texts<F> {
    wanted: F,
}

impl<'de, F: Fn(&str) -> bool> Visitor<'de> for Texts<F> {
    type Value = Option<BTreeMap<String, String>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of texts")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut kept = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            if kept.len() < ENTRIES && (self.wanted)(&key) {
                kept.insert(key, cut(entries.next_value()?, TEXT));
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Some(kept))
    }
}

/// The first entries of a list.
fn some<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    some_of(deserializer, |entry: T| Some(entry))
}

/// The first entries of a list that `keep` makes something of.
fn some_of<'de, D, R, T>(
    deserializer: D,
    keep: impl Fn(R) -> Option<T>,
) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    R: Deserialize<'de>,
{
    deserializer.deserialize_option(Entries {
        keep,
        kind: PhantomData,
    })
}

struct Entries<F, R> {
    keep: F,
    kind: PhantomData<R>,
}

impl<'de, R, T, F> Visitor<'de> for Entries<F, R>
where
    R: Deserialize<'de>,
    F: Fn(R) -> Option<T>,
{
    type Value = Option<Vec<T>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < ENTRIES {
            let Some(entry) = entries.next_element()? else {
                return Ok(Some(kept));
            };
            kept.extend((self.keep)(entry));
        }
        while entries.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(kept))
    }
}

#[cfg(test)]
mod tests;
