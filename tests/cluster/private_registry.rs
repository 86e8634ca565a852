//! A registry of a tenant's own, in the tenant's namespace: it lets nobody in without a password, and
//! its certificate is signed by an authority that nobody knows.

use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::{Certificate, Client, StatusCode};
use serde_json::{Value, json};
use testbed::authority::Authority;
use testbed::bundle::{Bundle, Repository};
use testbed::operator::push_program;

use crate::tenant::Tenant;

const PROGRAM: &str = "docker-registry";
const USER: &str = "robot";
const PORT: u16 = 5000;
const PATH: &str = "team/app";

/// Quick to check; nobody attacks it.
const BCRYPT_COST: u32 = 4;

/// The Secret with the login.
pub(crate) const LOGIN: &str = "registry-login";

/// The Secret with the authority.
pub(crate) const CERTIFICATES: &str = "registry-ca";

pub(crate) struct PrivateRegistry<'a> {
    tenant: &'a Tenant,
    client: Client,
    authority: Authority,
    certificate: String,
    key: String,
    /// Where it is reached from here.
    origin: String,
}

impl<'a> PrivateRegistry<'a> {
    /// Starts it with a first password.
    pub(crate) async fn start(tenant: &'a Tenant, password: &str) -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let name = name_in(tenant);
        let signed = authority.server(PROGRAM, &[&name, "127.0.0.1"])?;
        let ours = Certificate::from_pem(authority.pem().as_bytes())?;
        let mut registry = Self {
            tenant,
            client: Client::builder()
                .no_proxy()
                .tls_certs_only([ours])
                .build()?,
            certificate: signed.certificate,
            key: signed.key.serialize_pem(),
            authority,
            origin: String::new(),
        };
        let image = push_program(&tenant.bed.access, PROGRAM).await?;
        tenant.apply(&registry.files(password)?).await?;
        tenant.apply(&server(&tenant.namespace, &image)).await?;
        let ready = ["wait", "--for=condition=Ready", "--timeout=120s", "pod"];
        let there = [PROGRAM, "-n", &tenant.namespace];
        tenant.bed.kubectl(&[&ready[..], &there].concat()).await?;
        let door = tenant.bed.reach(&tenant.namespace, PROGRAM, PORT).await?;
        registry.origin = format!("https://{door}");
        registry.answers().await?;
        Ok(registry)
    }

    /// The Pod is ready before the node sends connections to its Service there.
    async fn answers(&self) -> anyhow::Result<()> {
        let there = format!("{}/v2/", self.origin);
        let mut refused = None;
        for _ in 0..300 {
            match self.client.get(&there).send().await {
                Ok(_) => return Ok(()),
                Err(error) => refused = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(anyhow!(
            "the registry does not answer, the last time: {refused:?}"
        ))
    }

    /// `host:port`, as Pods know it.
    pub(crate) fn host(&self) -> String {
        format!("{}:{PORT}", name_in(self.tenant))
    }

    /// The repository as a bundle names it.
    pub(crate) fn url(&self) -> String {
        format!("{}/{PATH}", self.host())
    }

    /// The Secret with the login, as docker writes it, with a login for another registry beside it.
    pub(crate) fn docker_login(&self, password: &str, other: &str) -> Value {
        let config = json!({"auths": {
            self.host(): {"username": USER, "password": password, "auth": pair(password)},
            "other.example.com": {"username": "other", "password": other},
        }});
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": LOGIN, "namespace": self.tenant.namespace},
            "stringData": {".dockerconfigjson": config.to_string()},
        })
    }

    /// The Secret with the login as user and password.
    pub(crate) fn basic_login(&self, password: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": {"name": LOGIN, "namespace": self.tenant.namespace},
            "stringData": {"username": USER, "password": password},
        })
    }

    /// The Secret with the authority.
    pub(crate) fn certificates(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": CERTIFICATES, "namespace": self.tenant.namespace},
            "stringData": {"ca.crt": self.authority.pem()},
        })
    }

    /// Publishes the demo application under a tag.
    pub(crate) async fn publish(&self, password: &str, tag: &str) -> anyhow::Result<()> {
        let bundle = Bundle::demo(tag, &self.tenant.bed.images.busybox)?;
        let repository = Repository::with_client(self.client.clone(), &self.origin, PATH)?;
        repository
            .with_login(USER, password)
            .push(tag, &bundle)
            .await?;
        Ok(())
    }

    /// Gives it another password; returns when the old one is no good any more.
    pub(crate) async fn rotate(&self, old: &str, new: &str) -> anyhow::Result<()> {
        self.tenant.apply(&self.files(new)?).await?;
        // The kubelet looks at a Pod that changes, instead of in a minute.
        let annotate = ["annotate", "pod", PROGRAM, "rotated=true", "-n"];
        let namespace = [self.tenant.namespace.as_str()];
        let bed = &self.tenant.bed;
        bed.kubectl(&[&annotate[..], &namespace].concat()).await?;
        self.tenant
            .eventually("the registry knows the new password only", async || {
                Ok(self.lets_in(new).await? && !self.lets_in(old).await?)
            })
            .await
    }

    async fn lets_in(&self, password: &str) -> anyhow::Result<bool> {
        let request = self.client.get(format!("{}/v2/", self.origin));
        let request = request.basic_auth(USER, Some(password));
        let status = request.send().await?.status();
        let known = matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED);
        ensure!(known, "the registry answers {status}");
        Ok(status == StatusCode::OK)
    }

    fn files(&self, password: &str) -> anyhow::Result<Value> {
        let hash = bcrypt::hash(password, BCRYPT_COST).context("cannot hash the password")?;
        let config = json!({
            "version": "0.1",
            "log": {"level": "warn", "fields": {}},
            "storage": {"filesystem": {"rootdirectory": "/storage"}},
            "auth": {"htpasswd": {"realm": "testbed", "path": "/etc/registry/htpasswd"}},
            "http": {
                "addr": format!("0.0.0.0:{PORT}"), "secret": "one instance only",
                "tls": {"certificate": "/etc/registry/tls.crt", "key": "/etc/registry/tls.key"},
            },
        });
        Ok(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": PROGRAM, "namespace": self.tenant.namespace},
            "stringData": {
                "config.json": config.to_string(),
                "htpasswd": format!("{USER}:{hash}\n"),
                "tls.crt": self.certificate,
                "tls.key": self.key,
            },
        }))
    }
}

/// User and password as `auth` has them.
pub(crate) fn pair(password: &str) -> String {
    BASE64.encode(format!("{USER}:{password}"))
}

fn name_in(tenant: &Tenant) -> String {
    format!("{PROGRAM}.{}.svc.cluster.local", tenant.namespace)
}

fn server(namespace: &str, image: &str) -> Value {
    let labels = json!({"app": PROGRAM});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod",
         "metadata": {"name": PROGRAM, "namespace": namespace, "labels": labels},
         "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": PROGRAM, "image": image,
                "command": [PROGRAM, "serve", "/etc/registry/config.json"],
                "ports": [{"containerPort": PORT}],
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                "volumeMounts": [
                    {"name": "files", "mountPath": "/etc/registry"},
                    {"name": "storage", "mountPath": "/storage"},
                ],
            }],
            "volumes": [
                {"name": "files", "secret": {"secretName": PROGRAM}},
                {"name": "storage", "emptyDir": {}},
            ],
         }},
        {"apiVersion": "v1", "kind": "Service",
         "metadata": {"name": PROGRAM, "namespace": namespace},
         "spec": {"selector": labels, "ports": [{"port": PORT}]}},
    ]})
}
