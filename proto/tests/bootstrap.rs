//! Generates the code of `src/gen` anew and fails when it differs from what is checked in.
//! `REGENERATE=1` writes it instead.

use std::path::Path;

use anyhow::{Context, Result};
use prost::Message;

const GENERATED: [&str; 2] = ["werf.operator.v1alpha1.rs", "descriptor_set.bin"];

#[test]
fn the_checked_in_code_is_what_the_contract_generates() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir()?;
    generate(root, fresh.path())?;
    for name in GENERATED {
        let checked_in = root.join("src/gen").join(name);
        let generated = std::fs::read(fresh.path().join(name))?;
        if std::env::var_os("REGENERATE").is_some() {
            std::fs::write(&checked_in, generated)?;
        } else {
            let present = std::fs::read(&checked_in)
                .with_context(|| format!("{name} is missing; run `make manifests`"))?;
            assert!(
                present == generated,
                "{name} is stale; run `make manifests`"
            );
        }
    }
    Ok(())
}

fn generate(root: &Path, out: &Path) -> Result<()> {
    let files = [
        "werf/operator/v1alpha1/executor.proto",
        "werf/operator/v1alpha1/poller.proto",
    ];
    let mut compiler = protox::Compiler::new([root])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?;
    std::fs::write(
        out.join("descriptor_set.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .build_transport(true)
        .out_dir(out)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

#[test]
fn every_field_of_the_contract_is_explained() -> Result<()> {
    let set = prost_types::FileDescriptorSet::decode(werf_proto::FILE_DESCRIPTOR_SET)?;
    let ours = set
        .file
        .iter()
        .filter(|file| file.package().starts_with("werf."));
    let mut bare = Vec::new();
    for file in ours {
        let explained: Vec<&[i32]> = file
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .filter(|location| !location.leading_comments().trim().is_empty())
            .map(|location| location.path.as_slice())
            .collect();
        for (m, message) in (0_i32..).zip(&file.message_type) {
            for (f, field) in (0_i32..).zip(&message.field) {
                // FileDescriptorProto.message_type = 4, DescriptorProto.field = 2.
                if !explained.contains(&[4, m, 2, f].as_slice()) {
                    bare.push(format!("{}.{}", message.name(), field.name()));
                }
            }
        }
    }
    assert!(bare.is_empty(), "without a comment: {bare:?}");
    Ok(())
}
