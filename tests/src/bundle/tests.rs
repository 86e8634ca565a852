//! The shape of what is pushed, against a registry that runs for the length of a test.

use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::*;

/// A real registry on a free port of this machine, ended with the test.
struct Registry {
    process: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl Registry {
    /// `None` when the machine has no `docker-registry`; the tests then check nothing.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let host = format!("127.0.0.1:{port}");
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'}}\n",
            folder.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let registry = Self {
            process,
            host,
            _folder: folder,
        };
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(&registry.host).await.is_ok() {
                return Some(registry);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the registry did not start");
    }

    async fn get(&self, path: &str) -> (String, Vec<u8>) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let accept =
            "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
        let request = client
            .get(format!("http://{}/v2/{path}", self.host))
            .header("accept", accept);
        let response = request.send().await.unwrap().error_for_status().unwrap();
        let kind = response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        (kind, response.bytes().await.unwrap().to_vec())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unpack(archive: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), text)
    };
    archive.entries().unwrap().map(read).collect()
}

#[tokio::test]
async fn a_pushed_bundle_has_the_shape_werf_gives_it() {
    let Some(registry) = Registry::start().await else {
        return;
    };
    let repository = Repository::new(&registry.host, "demo/app").unwrap();
    let bundle = Bundle::demo("v1.2.0", "127.0.0.1:5000/busybox:1").unwrap();
    let digest = repository.push("v1.2.0", &bundle).await.unwrap();

    let (kind, manifest) = registry.get("demo/app/manifests/v1.2.0").await;
    assert_eq!(kind, "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(repository::digest_of(&manifest), digest);
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let keys: Vec<_> = manifest.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["config", "layers", "schemaVersion"]);
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.cncf.helm.config.v1+json"
    );
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/tar+gzip");

    let blob = |of: &Value| format!("demo/app/blobs/{}", of["digest"].as_str().unwrap());
    let (_, config) = registry.get(&blob(&manifest["config"])).await;
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(
        config,
        json!({"name": "demo", "version": "1.2.0", "apiVersion": "v2"})
    );

    let (_, layer) = registry.get(&blob(&manifest["layers"][0])).await;
    let files = unpack(&layer);
    assert!(files.contains_key("demo/templates/deployment.yaml"));
    assert!(files["demo/Chart.yaml"].contains("version: 1.2.0"));
    let values = values::parse(&files["demo/values.yaml"]).unwrap();
    assert_eq!(values["image"], "127.0.0.1:5000/busybox:1");
    assert_eq!(values["replicas"], 1);
    assert_eq!(values["werf"]["repo"], repository.name());
    assert_eq!(values["global"]["werf"]["version"], "v1.2.0");
}

#[tokio::test]
async fn what_is_not_a_bundle_is_stored_too_and_all_tags_are_listed() {
    let Some(registry) = Registry::start().await else {
        return;
    };
    let repository = Repository::new(&registry.host, "mixed").unwrap();
    assert!(repository.tags().await.unwrap().is_empty());
    repository.push_container_image("image").await.unwrap();
    repository.push_signed_chart("signed").await.unwrap();
    repository.push_index("index").await.unwrap();
    let args = PublishArgs {
        tag: "v1.0.0".to_owned(),
        registry: Some(registry.host.clone()),
        repository: "mixed".to_owned(),
        image: "busybox".to_owned(),
        message: Some("hi".to_owned()),
        replicas: Some(2),
    };
    let published = publish(args).await.unwrap();
    assert_eq!(
        published.reference,
        format!("{}/mixed:v1.0.0", registry.host)
    );
    let mut tags = repository.tags().await.unwrap();
    tags.sort();
    assert_eq!(tags, ["image", "index", "signed", "v1.0.0"]);

    let (kind, index) = registry.get("mixed/manifests/index").await;
    assert_eq!(kind, "application/vnd.oci.image.index.v1+json");
    let index: Value = serde_json::from_slice(&index).unwrap();
    assert!(index.get("layers").is_none());
    let (_, signed) = registry.get("mixed/manifests/signed").await;
    let signed: Value = serde_json::from_slice(&signed).unwrap();
    assert_eq!(signed["layers"].as_array().unwrap().len(), 2);
}

#[test]
fn the_same_content_packs_to_the_same_bytes() {
    let pack = || {
        Bundle::demo("v1.0.0", "busybox")
            .unwrap()
            .pack("host/app", "v1.0.0")
            .unwrap()
    };
    assert_eq!(pack().chart, pack().chart);
    let mut other = Bundle::demo("v1.0.0", "busybox").unwrap();
    other.set("message", "changed");
    assert_ne!(
        pack().chart,
        other.pack("host/app", "v1.0.0").unwrap().chart
    );
}

#[test]
fn a_tag_that_is_no_version_makes_a_version_of_zero() {
    let cases = [
        ("v1.2.3", "1.2.3"),
        ("1.2.3-rc.1", "1.2.3-rc.1"),
        ("main", "0.0.0-0-main"),
        ("Feature_X.", "0.0.0-0-feature-x"),
    ];
    for (tag, version) in cases {
        assert_eq!(chart_version(tag), version);
    }
}

#[test]
fn values_of_the_chart_stay_beside_those_of_werf() {
    let values = values::parse("a: 1\nglobal: {mine: yes-it-is}\n").unwrap();
    let all = values::with_service_values(&values, "app", "host/app", "v1");
    assert_eq!(all["a"], 1);
    assert_eq!(all["global"]["mine"], "yes-it-is");
    assert_eq!(all["global"]["werf"]["name"], "app");
    assert!(values::parse("- a list").is_err());
    assert_eq!(values::parse("# nothing\n").unwrap(), json!({}));
}
