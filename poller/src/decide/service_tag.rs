//! Can this tag be a bundle at all? Repositories also hold what others keep there: signatures and
//! attestations of cosign, and the images and bookkeeping of werf itself.

/// Who keeps a tag that is never a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// cosign: signatures, attestations, bills of materials.
    Cosign,
    /// werf: stages of images and service records.
    Werf,
}

/// Suffixes of what cosign attaches to an image.
const COSIGN_SUFFIXES: [&str; 3] = [".sig", ".att", ".sbom"];

/// Prefixes of werf's service records.
const WERF_PREFIXES: [&str; 7] = [
    "managed-image-",
    "meta-",
    "custom-tag-meta-",
    "import-metadata-",
    "client-id-",
    "sync-server",
    "cleanup",
];

/// Hex digits of a stage's content hash (SHA-3, 224 bits).
const STAGE_HASH: usize = 56;

/// Hex digits of the digest in cosign's tags.
const COSIGN_HASH: usize = 64;

/// Says who keeps the tag, if it cannot be a bundle.
pub fn keeper(tag: &str) -> Option<Keeper> {
    if COSIGN_SUFFIXES.iter().any(|suffix| tag.ends_with(suffix)) || is_attached(tag) {
        Some(Keeper::Cosign)
    } else if WERF_PREFIXES.iter().any(|prefix| tag.starts_with(prefix)) || is_stage(tag) {
        Some(Keeper::Werf)
    } else {
        None
    }
}

/// `sha256-<64 hex>`, alone or with something behind it.
fn is_attached(tag: &str) -> bool {
    tag.strip_prefix("sha256-")
        .and_then(|rest| rest.get(..COSIGN_HASH))
        .is_some_and(is_hex)
}

/// `<56 hex>`, `<56 hex>-<time>` or `<56 hex>-<time>-rejected`.
fn is_stage(tag: &str) -> bool {
    let Some((hash, rest)) = tag.split_at_checked(STAGE_HASH) else {
        return false;
    };
    let rest = rest.strip_suffix("-rejected").unwrap_or(rest);
    let time = rest.strip_prefix('-');
    let is_time = |time: &str| !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit());
    is_hex(hash) && (rest.is_empty() || time.is_some_and(is_time))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_others_are_recognised() {
        let stage = "ab12".repeat(14);
        let digest = "cd34".repeat(16);
        for tag in [
            format!("sha256-{digest}.sig"),
            format!("sha256-{digest}"),
            format!("sha256-{digest}.cosign.bundle"),
            "v1.0.0.sbom".to_owned(),
            "v1.0.0.att".to_owned(),
        ] {
            assert_eq!(keeper(&tag), Some(Keeper::Cosign), "{tag}");
        }
        for tag in [
            format!("{stage}-1700000000000"),
            format!("{stage}-1700000000000-rejected"),
            stage.clone(),
            "managed-image-app".to_owned(),
            "meta-abc_def_1".to_owned(),
            "custom-tag-meta-x".to_owned(),
            "import-metadata-x".to_owned(),
            "client-id-x-1".to_owned(),
            "sync-server".to_owned(),
        ] {
            assert_eq!(keeper(&tag), Some(Keeper::Werf), "{tag}");
        }
    }

    #[test]
    fn tags_of_bundles_are_left() {
        for tag in [
            "v1.0.0",
            "latest",
            "sha256-fix",
            "abc123",
            "2024-01-01",
            "signed",
        ] {
            assert_eq!(keeper(tag), None, "{tag}");
        }
        assert_eq!(keeper(&format!("{}-final", "ab12".repeat(14))), None);
    }
}
