//! The chart's values: what the chart brings, and what werf writes beside it when publishing.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

/// Reads a values file; an empty one is no values.
pub(super) fn parse(yaml: &str) -> anyhow::Result<Value> {
    let parsed: Option<Value> = serde_saphyr::from_str(yaml).context("the values are not YAML")?;
    match parsed {
        None | Some(Value::Null) => Ok(Value::Object(Map::new())),
        Some(values @ Value::Object(_)) => Ok(values),
        Some(_) => anyhow::bail!("the values are not a mapping"),
    }
}

/// Sets a value at the top level.
pub(super) fn set(values: &mut Value, key: &str, value: Value) {
    if let Some(map) = values.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

/// The values as werf publishes them: with what charts built by werf expect to find.
pub(super) fn with_service_values(
    values: &Value,
    name: &str,
    repository: &str,
    tag: &str,
) -> Value {
    let mut all = values.clone();
    let werf = json!({
        "name": name,
        "repo": repository,
        "image": {},
        "tag": {},
        "commit": {"hash": "0000000000000000000000000000000000000000", "date": {"human": "", "unix": 0}},
        "version": tag,
    });
    set(&mut all, "werf", werf);
    let mut global = match all.get("global") {
        Some(global @ Value::Object(_)) => global.clone(),
        _ => json!({}),
    };
    set(&mut global, "werf", json!({"name": name, "version": tag}));
    set(&mut all, "global", global);
    all
}
