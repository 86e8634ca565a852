//! Fetches what `valuesFrom` names: the bundle's namespace first, because whoever owns the bundle
//! decides, then the target namespace; and the Secrets of the registry, which are nowhere but in the
//! bundle's. It does not look into what it fetched, and none of that may reach an error. The messages
//! are promised by the guides.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::Status;
use kube::{Api, Client};
use werf_shared::apiserver::is_too_long;
use werf_shared::error::Class;
use werf_shared::registry_secret::Secret as RegistrySecret;

use super::api::is_no_request;
use crate::decide::text::one_line;
use crate::decide::values::{Source, SourceKind, SourceRef};
use crate::seeded::{self, Bug};

/// How long one answer may take; the next pass asks again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many sources are asked for at once: 32 sources answer in a few round trips, and one bundle
/// does not take the apiserver's attention from the others.
const CONCURRENCY: usize = 4;

/// The longest words of the apiserver that are told.
const WORDS_LIMIT: usize = 400;

type Documents = BTreeMap<String, Vec<u8>>;

/// The sources that `refs` name, in their order, without optional ones that do not exist.
pub async fn fetch(
    client: &Client,
    refs: &[SourceRef],
    bundle_namespace: &str,
    target_namespace: &str,
) -> Result<Vec<Source>, FetchError> {
    let fetches: Vec<_> = refs
        .iter()
        .map(|reference| fetch_one(client, reference, bundle_namespace, target_namespace))
        .collect();
    let found: Vec<Option<Source>> = futures::stream::iter(fetches)
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// A Secret of the registry, `None` if it does not exist.
pub async fn registry_secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<RegistrySecret>, FetchError> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let found = ask(SourceKind::Secret, name, namespace, api.get_opt(name)).await?;
    Ok(found.map(|mut secret| {
        let kind = secret.type_.take().unwrap_or_default();
        RegistrySecret::new(kind, secret_documents(secret))
    }))
}

/// Why a source could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It does not exist in the only namespace it may be in.
    #[error("failed to get {kind} '{name}' from namespace '{namespace}'")]
    NotFound {
        /// Of the source.
        kind: SourceKind,
        /// Of the source.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// It does not exist in either of the two namespaces it may be in.
    #[error(
        "{} '{name}' not found in namespaces '{bundle_namespace}' or '{target_namespace}'",
        resource(*.kind)
    )]
    NotFoundInEither {
        /// Of the source.
        kind: SourceKind,
        /// Of the source.
        name: String,
        /// Where it was looked for first.
        bundle_namespace: String,
        /// Where it was looked for then.
        target_namespace: String,
    },
    /// The operator may not read it.
    #[error("failed to get {kind} '{name}' from namespace '{namespace}': forbidden")]
    Forbidden {
        /// Of the source.
        kind: SourceKind,
        /// Of the source.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The answer is no object of its kind. What exactly is wrong is not told, because it would
    /// quote the object.
    #[error("failed to get {kind} '{name}' from namespace '{namespace}': unreadable answer")]
    Unreadable {
        /// Of the source.
        kind: SourceKind,
        /// Of the source.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// No request can be made of its name.
    #[error("failed to get {kind} from namespace '{namespace}': its name is none")]
    Nameless {
        /// Of the source.
        kind: SourceKind,
        /// Where it was to be looked for.
        namespace: String,
    },
    /// No answer in time.
    #[error("failed to get {kind} '{name}' from namespace '{namespace}': no answer within 10s")]
    TimedOut {
        /// Of the source.
        kind: SourceKind,
        /// Of the source.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The apiserver answered with another error.
    #[error("failed to get {kind} '{name}' from namespace '{namespace}': {code}{}{message}", if message.is_empty() { "" } else { " " })]
    Refused {
        /// Of the source.
        kind: SourceKind,
        /// Of the source.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// The status code.
        code: u16,
        /// In the words of the apiserver; of a Secret in those of RFC 9110, because the apiserver's may
        /// quote what it holds.
        message: String,
    },
    /// Anything else on the way to the apiserver.
    #[error("failed to get {kind} '{name}' from namespace '{namespace}': no answer")]
    Failed {
        /// Of the source.
        kind: SourceKind,
        /// Of the source.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// What happened.
        source: Box<kube::Error>,
    },
}

impl FetchError {
    /// What the failure means for trying again. Missing and forbidden sources may appear without
    /// the bundle changing, so even `Rejected` deserves a slow retry.
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } | Self::NotFoundInEither { .. } | Self::Forbidden { .. } => {
                Class::Rejected
            }
            Self::Unreadable { .. } | Self::Nameless { .. } => Class::Broken,
            // 401 and 408 pass: a token is renewed, an overloaded apiserver recovers.
            Self::Refused { code, .. } => match code {
                400 | 402..=407 | 409..=428 | 430..=499 => Class::Broken,
                _ => Class::Transient,
            },
            Self::TimedOut { .. } | Self::Failed { .. } => Class::Transient,
        }
    }
}

async fn fetch_one(
    client: &Client,
    reference: &SourceRef,
    bundle_namespace: &str,
    target_namespace: &str,
) -> Result<Option<Source>, FetchError> {
    let got = get(client, reference, bundle_namespace).await;
    if seeded::has(Bug::OptionalSwallowsForbidden)
        && reference.optional
        && matches!(got, Err(FetchError::Forbidden { .. }))
    {
        return Ok(None);
    }
    let mut documents = got?;
    if documents.is_none() && target_namespace != bundle_namespace {
        documents = get(client, reference, target_namespace).await?;
    }
    match documents {
        Some(documents) => Ok(Some(Source {
            index: reference.index,
            kind: reference.kind,
            name: reference.name.clone(),
            documents,
        })),
        None if reference.optional => Ok(None),
        None => Err(not_found(reference, bundle_namespace, target_namespace)),
    }
}

/// The documents of the object, `None` if it does not exist in `namespace`.
async fn get(
    client: &Client,
    reference: &SourceRef,
    namespace: &str,
) -> Result<Option<Documents>, FetchError> {
    let name = &reference.name;
    let documents = async {
        match reference.kind {
            SourceKind::ConfigMap => {
                let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
                Ok(api.get_opt(name).await?.map(config_map_documents))
            }
            SourceKind::Secret => {
                let api = Api::<Secret>::namespaced(client.clone(), namespace);
                Ok(api.get_opt(name).await?.map(secret_documents))
            }
        }
    };
    ask(reference.kind, name, namespace, documents).await
}

/// Awaits an answer about an object under the deadline; says what went wrong without quoting it.
async fn ask<T>(
    kind: SourceKind,
    name: &str,
    namespace: &str,
    answer: impl Future<Output = kube::Result<T>>,
) -> Result<T, FetchError> {
    let (name, namespace) = (name.to_owned(), namespace.to_owned());
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(Ok(documents)) => Ok(documents),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(FetchError::Forbidden {
            kind,
            name,
            namespace,
        }),
        Ok(Err(error)) if is_unreadable(&error) => Err(FetchError::Unreadable {
            kind,
            name,
            namespace,
        }),
        Ok(Err(kube::Error::Api(status))) => Err(FetchError::Refused {
            kind,
            name,
            namespace,
            code: status.code,
            message: words(kind, &status),
        }),
        Ok(Err(error)) if is_no_request(&error) => Err(FetchError::Nameless { kind, namespace }),
        Ok(Err(source)) => Err(FetchError::Failed {
            kind,
            name,
            namespace,
            source: Box::new(source),
        }),
        Err(_elapsed) => Err(FetchError::TimedOut {
            kind,
            name,
            namespace,
        }),
    }
}

fn is_unreadable(error: &kube::Error) -> bool {
    matches!(error, kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) || is_too_long(error)
}

fn words(kind: SourceKind, status: &Status) -> String {
    match kind {
        SourceKind::ConfigMap => one_line(&status.message, WORDS_LIMIT),
        SourceKind::Secret => {
            let code = StatusCode::from_u16(status.code).ok();
            let words = code.and_then(|code| code.canonical_reason());
            words.unwrap_or_default().to_owned()
        }
    }
}

fn config_map_documents(config_map: ConfigMap) -> Documents {
    let texts = config_map.data.unwrap_or_default();
    let bytes = config_map.binary_data.unwrap_or_default();
    let texts = texts
        .into_iter()
        .map(|(key, text)| (key, text.into_bytes()));
    texts
        .chain(bytes.into_iter().map(|(key, bytes)| (key, bytes.0)))
        .collect()
}

fn secret_documents(secret: Secret) -> Documents {
    let data = secret.data.unwrap_or_default();
    data.into_iter()
        .map(|(key, bytes)| (key, bytes.0))
        .collect()
}

fn not_found(reference: &SourceRef, bundle_namespace: &str, target_namespace: &str) -> FetchError {
    let (kind, name) = (reference.kind, reference.name.clone());
    let bundle_namespace = bundle_namespace.to_owned();
    if target_namespace == bundle_namespace {
        return FetchError::NotFound {
            kind,
            name,
            namespace: bundle_namespace,
        };
    }
    FetchError::NotFoundInEither {
        kind,
        name,
        bundle_namespace,
        target_namespace: target_namespace.to_owned(),
    }
}

/// The kind as the guides write it at the start of a message.
fn resource(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::ConfigMap => "configMap",
        SourceKind::Secret => "secret",
    }
}

#[cfg(test)]
mod tests;
