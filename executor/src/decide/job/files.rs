//! The files a Job finds mounted, and the one Secret they are in: immutable, owned by the Job and
//! gone with it. Nothing of them is in the Job itself.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{KeyToPath, Secret, SecretVolumeSource, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::owned_by_job;
use crate::decide::registry_access::RegistryAccess;
use crate::decide::values::Values;

/// The values file, as an argument of werf names it.
pub(super) const VALUES_FILE: &str = "/values/values.yaml";

/// The folder of `config.json`, as `DOCKER_CONFIG` names it.
pub(super) const DOCKER_CONFIG: &str = "/docker-config";

/// The folder of the registry's certificate authorities.
pub(super) const CERTIFICATES: &str = "/registry-certificates";

/// Key of the values file in the Secret.
pub const VALUES_KEY: &str = "values.yaml";

/// Key of the docker config in the Secret.
pub const DOCKER_CONFIG_KEY: &str = "config.json";

const CERTIFICATES_KEY: &str = "ca.crt";

/// What a Job finds mounted.
#[derive(Clone, Copy, Default)]
pub struct Files<'a> {
    values: Option<&'a str>,
    docker_config: Option<&'a str>,
    certificates: Option<&'a str>,
}

/// One file: the volume it comes in, the folder it is in, its name there and in the Secret, and what
/// is in it.
struct File<'a> {
    volume: &'static str,
    folder: &'static str,
    key: &'static str,
    content: &'a str,
}

impl<'a> Files<'a> {
    /// The files of a deployment.
    pub fn of(values: &'a Values, access: &'a RegistryAccess) -> Self {
        Self {
            values: values.file.as_deref(),
            docker_config: access.docker_config(),
            certificates: access.certificates(),
        }
    }

    /// The Job has exactly these files mounted.
    pub fn fit(&self, job: &Job) -> bool {
        let mounted: Vec<_> = secret_volumes(job)
            .map(|(volume, _)| volume.name.as_str())
            .collect();
        mounted == self.iter().map(|file| file.volume).collect::<Vec<_>>()
    }

    /// The Secret with the files of a Job; none if there are none.
    pub fn secret(&self, job: &Job) -> Option<Secret> {
        let name = job.metadata.name.clone().unwrap_or_default();
        let contents: BTreeMap<_, _> = self
            .iter()
            .map(|file| (file.key.to_owned(), file.content.to_owned()))
            .collect();
        (!contents.is_empty()).then(|| Secret {
            metadata: ObjectMeta {
                name: Some(secret_name(&name)),
                namespace: job.metadata.namespace.clone(),
                labels: job.metadata.labels.clone(),
                owner_references: Some(vec![owned_by_job(job)]),
                ..ObjectMeta::default()
            },
            immutable: Some(true),
            string_data: Some(contents),
            ..Secret::default()
        })
    }

    pub(super) fn has_values(&self) -> bool {
        self.values.is_some()
    }

    /// Where programs look for what is there.
    pub(super) fn environment(&self) -> impl Iterator<Item = (&'static str, String)> {
        let docker_config = self.docker_config.map(|_| DOCKER_CONFIG.to_owned());
        // Go's crypto/x509 reads all certificates of these folders, and one file of its own choice as
        // well, unless SSL_CERT_FILE says otherwise. The first two are its defaults: public
        // certificates stay known.
        let certificates = self
            .certificates
            .map(|_| format!("/etc/ssl/certs:/etc/pki/tls/certs:{CERTIFICATES}"));
        [
            docker_config.map(|folder| ("DOCKER_CONFIG", folder)),
            certificates.map(|folders| ("SSL_CERT_DIR", folders)),
        ]
        .into_iter()
        .flatten()
    }

    /// The volumes of the Pod of the Job of that name.
    pub(super) fn volumes(&self, job: &str) -> impl Iterator<Item = Volume> {
        let secret_name = secret_name(job);
        self.iter().map(move |file| Volume {
            name: file.volume.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret_name.clone()),
                default_mode: Some(0o440),
                items: Some(vec![KeyToPath {
                    key: file.key.to_owned(),
                    path: file.key.to_owned(),
                    mode: None,
                }]),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        })
    }

    /// Where the container has them.
    pub(super) fn mounts(&self) -> impl Iterator<Item = VolumeMount> {
        self.iter().map(|file| VolumeMount {
            name: file.volume.to_owned(),
            mount_path: file.folder.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        })
    }

    fn iter(&self) -> impl Iterator<Item = File<'a>> + use<'a> {
        let file = |volume, folder, key, content: Option<&'a str>| {
            content.map(|content| File {
                volume,
                folder,
                key,
                content,
            })
        };
        [
            file("values", "/values", VALUES_KEY, self.values),
            file(
                "docker-config",
                DOCKER_CONFIG,
                DOCKER_CONFIG_KEY,
                self.docker_config,
            ),
            file(
                "registry-certificates",
                CERTIFICATES,
                CERTIFICATES_KEY,
                self.certificates,
            ),
        ]
        .into_iter()
        .flatten()
    }
}

impl fmt::Debug for Files<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.iter().map(|file| file.key))
            .finish()
    }
}

/// The Secret that a Job's files are in, as the Job itself says; none when it has no files.
pub fn secret_of(job: &Job) -> Option<&str> {
    secret_volumes(job).map(|(_, secret)| secret).next()
}

fn secret_volumes(job: &Job) -> impl Iterator<Item = (&Volume, &str)> {
    let pod = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let volumes = pod.into_iter().flat_map(|pod| pod.volumes.iter().flatten());
    volumes.filter_map(|volume| {
        let secret = volume.secret.as_ref()?.secret_name.as_deref()?;
        Some((volume, secret))
    })
}

fn secret_name(job: &str) -> String {
    format!("{job}-files")
}
