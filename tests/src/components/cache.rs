//! Where the test bed keeps things outside the checkout.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;

/// The folder of everything the test bed builds and runs.
pub fn root() -> anyhow::Result<PathBuf> {
    root_from(
        std::env::var_os("WERF_OPERATOR_CACHE"),
        std::env::var_os("XDG_CACHE_HOME"),
        std::env::var_os("HOME"),
    )
    .context("set WERF_OPERATOR_CACHE or HOME: there is no place to keep built programs")
}

/// An empty variable counts as unset, as the XDG specification wants it.
fn root_from(
    own: Option<OsString>,
    xdg: Option<OsString>,
    home: Option<OsString>,
) -> Option<PathBuf> {
    let set = |value: Option<OsString>| value.filter(|v| !v.is_empty()).map(PathBuf::from);
    set(own)
        .map(|own| own.join("testbed"))
        .or_else(|| set(xdg).map(|xdg| xdg.join("werf-operator/testbed")))
        .or_else(|| set(home).map(|home| home.join(".cache/werf-operator/testbed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_variable_wins_and_an_empty_one_is_unset() {
        let path = |p: &str| Some(PathBuf::from(p));
        assert_eq!(
            root_from(Some("/a".into()), Some("/b".into()), Some("/c".into())),
            path("/a/testbed")
        );
        assert_eq!(
            root_from(Some("".into()), Some("/b".into()), Some("/c".into())),
            path("/b/werf-operator/testbed")
        );
        assert_eq!(
            root_from(None, None, Some("/c".into())),
            path("/c/.cache/werf-operator/testbed")
        );
        assert_eq!(root_from(None, None, None), None);
    }
}
