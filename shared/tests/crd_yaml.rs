//! Writes the CRD anew and fails when it differs from what is checked in under `crds/`.
//! `REGENERATE=1` writes it instead.

use std::path::Path;

use anyhow::{Context, Result};

#[test]
fn the_checked_in_crd_is_what_the_types_say() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/werfbundles.werf.io.yaml");
    let generated = format!(
        "# Generated from shared/src/bundle.rs by `make manifests`.\n{}",
        serde_saphyr::to_string(&werf_shared::crd::werf_bundle())?
    );
    if std::env::var_os("REGENERATE").is_some() {
        return Ok(std::fs::write(path, generated)?);
    }
    let present = std::fs::read_to_string(&path)
        .with_context(|| format!("{} is missing; run `make manifests`", path.display()))?;
    assert!(
        present == generated,
        "the CRD is stale; run `make manifests`"
    );
    Ok(())
}
