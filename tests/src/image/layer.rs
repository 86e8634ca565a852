//! The only layer of an image, as a tar archive. Times and owners are fixed, so that equal
//! content gives an equal digest and is not pushed twice.

use std::fs;

use anyhow::Context as _;
use tar::{Builder, EntryType, Header};

use super::ImageSpec;

/// Builds the archive.
pub(super) fn build(spec: &ImageSpec) -> anyhow::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for directory in &spec.directories {
        let header = header(EntryType::Directory, directory.mode, 0);
        append(&mut archive, header, &directory.path, &[])?;
    }
    for file in &spec.files {
        let content =
            fs::read(&file.from).with_context(|| format!("cannot read {}", file.from.display()))?;
        let header = header(EntryType::Regular, file.mode, content.len());
        append(&mut archive, header, &file.to, &content)?;
    }
    for text in &spec.texts {
        let header = header(EntryType::Regular, 0o644, text.content.len());
        append(&mut archive, header, &text.to, text.content.as_bytes())?;
    }
    for (path, target) in &spec.links {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        archive
            .append_link(&mut header, relative(path), target)
            .with_context(|| format!("cannot add the link {path}"))?;
    }
    Ok(archive.into_inner()?)
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append(
    archive: &mut Builder<Vec<u8>>,
    mut header: Header,
    path: &str,
    content: &[u8],
) -> anyhow::Result<()> {
    archive
        .append_data(&mut header, relative(path), content)
        .with_context(|| format!("cannot add {path}"))
}

/// Paths in a layer are relative to the root of the image.
fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::super::{Directory, Text};
    use super::*;

    #[test]
    fn a_layer_has_paths_relative_to_the_root_and_the_modes_asked_for() {
        let spec = ImageSpec {
            directories: vec![Directory {
                path: "/tmp".to_owned(),
                mode: 0o1777,
            }],
            texts: vec![Text {
                to: "/etc/passwd".to_owned(),
                content: "root".to_owned(),
            }],
            links: vec![("/bin/sh".to_owned(), "/bin/busybox".to_owned())],
            ..ImageSpec::default()
        };
        let archive = build(&spec).unwrap();
        let mut archive = tar::Archive::new(archive.as_slice());
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                (path, entry.header().mode().unwrap())
            })
            .collect();
        let entry = |path: &str, mode| (path.to_owned(), mode);
        let expected = [
            entry("tmp", 0o1777),
            entry("etc/passwd", 0o644),
            entry("bin/sh", 0o777),
        ];
        assert_eq!(entries, expected);
    }
}
