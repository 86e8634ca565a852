//! What must not be shown of a Job: everything that is in its files.

use k8s_openapi::api::batch::v1::Job;
use kube::Client;

use crate::decide::job::files;
use crate::decide::mask::{Masker, Masks};
use crate::decide::registry_access;
use crate::decide::values::{self, Source, SourceKind};
use crate::io::jobs;

/// Masks everything in a Job's files that must not be shown; `None` when that cannot be known.
pub(super) async fn masker_of(client: &Client, job: &Job) -> Option<Masker> {
    if files::secret_of(job).is_none() {
        return Some(Masker::default());
    }
    let secret = jobs::files_of(client, job).await.ok()??;
    let mut data = secret.data?;
    let mut masks = Masks::default();
    if let Some(file) = data.remove(files::VALUES_KEY) {
        let source = Source {
            index: 0,
            kind: SourceKind::Secret,
            name: "values".to_owned(),
            documents: [(files::VALUES_KEY.to_owned(), file.0)].into(),
        };
        masks.join(values::resolve(&[source]).ok()?.secret_texts);
    }
    if let Some(config) = data.remove(files::DOCKER_CONFIG_KEY) {
        masks.join(registry_access::secret_texts(&config.0)?);
    }
    Some(masks.masker())
}
