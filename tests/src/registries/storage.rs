//! What a server has on disk, for what takes too long over HTTP.

use std::fs;
use std::path::Path;

/// Where the program keeps everything, within the server's folder.
pub(super) const DATA: &str = "data";

/// Gives what is tagged `from` the tags `v0.1.0`, `v0.2.0` … as well, `count` of them. A push makes
/// the same file and one more, which only deleting a tag looks at.
pub(super) fn tag_numbered(
    folder: &Path,
    repository: &str,
    from: &str,
    count: usize,
) -> anyhow::Result<()> {
    let tags = folder
        .join(DATA)
        .join("docker/registry/v2/repositories")
        .join(repository)
        .join("_manifests/tags");
    let link = fs::read(tags.join(from).join("current/link"))?;
    for number in 1..=count {
        let current = tags.join(format!("v0.{number}.0/current"));
        fs::create_dir_all(&current)?;
        fs::write(current.join("link"), &link)?;
    }
    Ok(())
}
