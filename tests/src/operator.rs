//! The operator in the cluster, as people install it: its programs in an image, the manifests of
//! `crds/` and `deploy/`, and a werf for its Jobs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Pid;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::access::Access;
use crate::components::SEARCH_PATH;
use crate::image::{self, Directory, File, ImageSpec};

/// The namespace the operator is installed into.
pub const NAMESPACE: &str = "k8s-werf-operator-go-system";

/// RFC 1918 and RFC 4193.
const PRIVATE_NETWORKS: &str = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7";

/// The user the operator's processes run as.
const OPERATOR_USER: u32 = 65532;

/// The user of the official werf image.
const WERF_USER: u32 = 1000;

/// The top of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// References of images, as Pods name them: by digest, so that a rebuilt image is pulled anew.
#[derive(Debug, Clone)]
pub struct Images {
    /// Poller and executor.
    pub operator: String,
    /// What Jobs run.
    pub werf: String,
    /// What Jobs run in tests: the tag may decide how they end; otherwise it is the same werf.
    pub scripted: String,
    /// What receives traces.
    pub receiver: String,
    /// Busybox, for the demo application.
    pub busybox: String,
}

/// Builds the operator and the werf of the Jobs, and pushes everything the cluster needs.
pub async fn push_images(access: &Access) -> anyhow::Result<Images> {
    let programs = build_operator().await?;
    let operator = operator_image(&programs)?;
    let stand_in = build_stand_in().await?;
    let werf = match std::env::var_os("WERF_BINARY") {
        Some(werf) => PathBuf::from(werf),
        None => stand_in.join("werf"),
    };
    ensure!(
        werf.is_file(),
        "WERF_BINARY: {} is not a file",
        werf.display()
    );
    let mut scripted = werf_image("werf-scripted", &stand_in.join("scripted"))?;
    add_program(&mut scripted, &werf, "werf-beside")?;
    let mut receiver = program_image("otlp-receiver", OPERATOR_USER);
    add_program(
        &mut receiver,
        &programs.join("otlp-receiver"),
        "otlp-receiver",
    )?;
    Ok(Images {
        operator: push(access, &operator).await?,
        werf: push(access, &werf_image("werf", &werf)?).await?,
        scripted: push(access, &scripted).await?,
        receiver: push(access, &receiver).await?,
        busybox: push(access, &image::busybox()?).await?,
    })
}

/// Pushes an image of a program that this machine has; returns its reference as Pods name it.
pub async fn push_program(access: &Access, name: &str) -> anyhow::Result<String> {
    let mut places = SEARCH_PATH
        .split(':')
        .map(|folder| Path::new(folder).join(name));
    let program = places.find(|place| place.is_file());
    let program = program.with_context(|| format!("this machine has no {name}"))?;
    let mut image = program_image(name, OPERATOR_USER);
    add_program(&mut image, &program, name)?;
    push(access, &image).await
}

async fn push(access: &Access, spec: &ImageSpec) -> anyhow::Result<String> {
    let digest = image::push(spec, &access.registry_here).await?;
    Ok(format!(
        "{}/{}@{digest}",
        access.registry_on_nodes, spec.name
    ))
}

/// How the operator is built; `release` is as it is shipped.
pub(crate) fn profile() -> String {
    std::env::var("PROFILE").unwrap_or_else(|_| "dev".to_owned())
}

/// Builds poller and executor; returns the folder they are in. `PROFILE=release` builds them as
/// they are shipped.
pub(crate) async fn build_operator() -> anyhow::Result<PathBuf> {
    let profile = profile();
    // The whole workspace: one package alone is built with other features, and so built twice.
    let arguments = ["build", "--workspace", "--bins", "--profile", &profile];
    run(Command::new(env!("CARGO")).args(arguments)).await?;
    let folder = if profile == "dev" { "debug" } else { &profile };
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| checkout().join("target"), PathBuf::from);
    Ok(target.join(folder))
}

fn operator_image(programs: &Path) -> anyhow::Result<ImageSpec> {
    let mut image = program_image("werf-operator", OPERATOR_USER);
    for name in ["poller", "executor"] {
        add_program(&mut image, &programs.join(name), name)?;
    }
    Ok(image)
}

/// An image from scratch with nothing but trusted certificates and a folder for programs.
fn program_image(name: &str, user: u32) -> ImageSpec {
    ImageSpec {
        name: name.to_owned(),
        tag: "latest".to_owned(),
        files: image::certificates().into_iter().collect(),
        directories: vec![Directory {
            path: "/tmp".to_owned(),
            mode: 0o1777,
        }],
        user,
        env: vec![("PATH".to_owned(), "/usr/local/bin".to_owned())],
        ..ImageSpec::default()
    }
}

/// Adds a program and the libraries it needs.
fn add_program(image: &mut ImageSpec, program: &Path, name: &str) -> anyhow::Result<()> {
    image.files.extend(image::libraries_of(program)?);
    image.files.push(File {
        from: program.to_owned(),
        to: format!("/usr/local/bin/{name}"),
        mode: 0o755,
    });
    image.files.sort_by(|a, b| a.to.cmp(&b.to));
    image.files.dedup();
    Ok(())
}

/// Builds the stand-in for werf; returns the folder its programs are in.
async fn build_stand_in() -> anyhow::Result<PathBuf> {
    let out = checkout().join("target/testbed");
    tokio::fs::create_dir_all(&out).await?;
    let mut go = Command::new("go");
    go.current_dir(checkout().join("tests/werf-stand-in"))
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(&out)
        .arg("./cmd/...");
    run(&mut go).await?;
    Ok(out)
}

/// An image like the official one as far as Jobs can tell: `werf` in the path, user 1000.
fn werf_image(name: &str, program: &Path) -> anyhow::Result<ImageSpec> {
    let mut image = program_image(name, WERF_USER);
    add_program(&mut image, program, "werf")?;
    Ok(image)
}

/// How the operator is installed.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The operator's image.
    pub image: String,
    /// Environment of both services.
    pub both: Vec<(String, String)>,
    /// Environment of the poller.
    pub poller: Vec<(String, String)>,
    /// Environment of the executor.
    pub executor: Vec<(String, String)>,
}

impl Installation {
    /// As in production, but for the local cluster's image, werf and plain HTTP registry.
    pub fn local(images: &Images) -> Self {
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            image: images.operator.clone(),
            both: Vec::new(),
            poller: vec![
                owned("POLLER_ALLOW_INSECURE_REGISTRIES", "true"),
                // The registries of tests are in the cluster, and an existing one may be anywhere.
                owned("POLLER_ALLOW_NETWORKS", PRIVATE_NETWORKS),
            ],
            executor: vec![
                owned("EXECUTOR_ALLOW_INSECURE_REGISTRIES", "true"),
                owned("EXECUTOR_JOB_IMAGE", &images.werf),
            ],
        }
    }

    /// Applies `crds/` and `deploy/base` and waits until both services are ready.
    pub async fn apply(&self, access: &Access) -> anyhow::Result<()> {
        let crds = checkout().join("crds");
        let crds = crds.to_string_lossy();
        access
            .kubectl(&["apply", "--server-side", "-f", &crds])
            .await?;
        let crd = "crd/werfbundles.werf.io";
        let established = ["wait", "--for=condition=Established", "--timeout=60s", crd];
        access.kubectl(&established).await?;
        let base = checkout().join("deploy/base");
        let rendered = access
            .kubectl(&["kustomize", &base.to_string_lossy()])
            .await?;
        let manifests = self.adapted(&rendered)?;
        access
            .kubectl_with(&["apply", "-f", "-"], &manifests)
            .await?;
        for deployment in [
            "deployment/werf-operator-executor",
            "deployment/werf-operator-poller",
        ] {
            let arguments = [
                "rollout",
                "status",
                deployment,
                "-n",
                NAMESPACE,
                "--timeout=90s",
            ];
            access.kubectl(&arguments).await?;
        }
        Ok(())
    }

    fn adapted(&self, rendered: &str) -> anyhow::Result<String> {
        let mut items: Vec<Value> = serde_saphyr::from_multiple(rendered)?;
        for item in &mut items {
            if let Some(containers) = item.pointer_mut("/spec/template/spec/containers") {
                for container in containers.as_array_mut().into_iter().flatten() {
                    self.adapt(container)?;
                }
            }
        }
        Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
    }

    fn adapt(&self, container: &mut Value) -> anyhow::Result<()> {
        let own = match container["name"].as_str() {
            Some("poller") => &self.poller,
            Some("executor") => &self.executor,
            other => bail!("a container called {other:?} in deploy/base"),
        };
        container["image"] = json!(self.image);
        let env = container["env"]
            .as_array_mut()
            .context("a container without env")?;
        for (name, value) in self.both.iter().chain(own) {
            env.push(json!({"name": name, "value": value}));
        }
        Ok(())
    }
}

/// Processes called `name` in the containers of a Pod: the kubelet puts the Pod's uid into the name
/// of their control group, which no other process on the machine has.
pub fn processes_of(pod_uid: &str, name: &str) -> anyhow::Result<Vec<Pid>> {
    ensure!(pod_uid.len() == 36, "no Pod has the uid {pod_uid:?}");
    let underscored = pod_uid.replace('-', "_");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // Processes end while they are looked at.
        let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let in_pod = groups.contains(pod_uid) || groups.contains(&underscored);
        if in_pod && comm.trim() == name {
            found.extend(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

pub(crate) async fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{:?}", command.as_std());
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {shown}"))?;
    ensure!(
        output.status.success(),
        "{shown} failed:\n{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
