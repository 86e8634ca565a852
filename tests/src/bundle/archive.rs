//! Packs a chart: a gzipped tar of one folder, the same bytes for the same content.

use std::collections::BTreeMap;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Packs the files into a folder of the given name.
pub(super) fn pack(folder: &str, files: &BTreeMap<String, String>) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    // Helm wants the metadata first.
    let first = |path: &str| path != "Chart.yaml";
    let mut ordered: Vec<_> = files.iter().collect();
    ordered.sort_by_key(|(path, _)| (first(path), path.as_str()));
    for (path, content) in ordered {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(content.len())?);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, format!("{folder}/{path}"), content.as_bytes())?;
    }
    Ok(archive.into_inner()?.finish()?)
}
