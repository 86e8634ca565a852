//! What must hold of every input. Shared by the fuzz targets and by the test that runs the corpus.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::expect_used,
    reason = "each fuzz target uses one of these, and a broken property ends the run"
)]

use semver::Version;
use url::Url;
use werf_poller::decide::challenge::{Challenge, actions, challenge};
use werf_poller::decide::constraint::Constraint;
use werf_poller::decide::link::next_page;
use werf_poller::decide::newest::Rule;
use werf_poller::decide::page::{Contents, InvalidPage, Reading};
use werf_poller::decide::realm::{realm, shown};
use werf_shared::registry_credentials::credentials;
use werf_shared::registry_secret::Secret;
use werf_shared::repository::Repository;

const PATH: &str = "org/app";

/// The first line is a `Link` header, the rest a page. A page says the same however it is cut, and a
/// link stays where it was.
pub(crate) fn tag_list(input: &[u8]) {
    let end = input.iter().position(|b| *b == b'\n');
    let (link, body) = input.split_at(end.map_or(0, |end| end + 1));
    if let Ok(link) = std::str::from_utf8(link) {
        let home = Url::parse("https://registry.example.com:5000/v2/org/app/tags/list?n=1000")
            .expect("a URL");
        if let Ok(Some(next)) = next_page(&home, [link.trim_end()], [&home]) {
            assert_eq!(next.origin(), home.origin());
            assert_eq!(next.path(), home.path());
            assert_ne!(next, home);
            assert!(next.username().is_empty() && next.password().is_none());
        }
    }
    let whole = read(&[body]);
    let pieces: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(whole, read(&pieces));
    if let Ok(contents) = whole {
        assert!(contents.tags + contents.invalid <= LIMIT);
    }
}

const LIMIT: usize = 50;

fn read(pieces: &[&[u8]]) -> Result<Contents, InvalidPage> {
    let rules = [Rule::Newest];
    let mut reading = Reading::new(&rules, LIMIT);
    let mut page = reading.page(PATH);
    for piece in pieces {
        page.feed(piece)?;
    }
    page.finish()?;
    Ok(reading.finish())
}

/// Every line is a `WWW-Authenticate` header. Whatever a challenge names, nothing but reading this
/// repository is asked for, and only where tokens may be asked for at all.
pub(crate) fn www_authenticate(input: &[u8]) {
    let Ok(Challenge::Bearer { issuer, scope }) = challenge(input.split(|b| *b == b'\n')) else {
        return;
    };
    let asked = actions(PATH, scope.as_deref()).scope(PATH);
    assert!(matches!(
        asked.as_str(),
        "repository:org/app:pull" | "repository:org/app:pull,metadata_read"
    ));
    let registry = Url::parse("https://registry.example.com:5000").expect("a URL");
    if let Ok(realm) = realm(&issuer.realm, &registry) {
        assert_eq!(realm.scheme(), "https");
        assert!(realm.username().is_empty() && realm.password().is_none());
        assert!(shown(&realm).chars().all(|c| c.is_ascii_graphic()));
    }
}

/// The first line is a repository, the rest a `.dockerconfigjson`. Credentials show nothing of
/// themselves, and an error nothing of what it is about.
pub(crate) fn docker_config(input: &[u8]) {
    let end = input.iter().position(|b| *b == b'\n');
    let (repository, config) = input.split_at(end.map_or(0, |end| end + 1));
    let repository = std::str::from_utf8(repository).ok();
    let repository = repository.and_then(|text| text.trim_end().parse().ok());
    let repository: Repository = repository.unwrap_or_else(|| {
        let fallback = "registry.example.com:5000/org/app";
        fallback.parse().expect("a repository")
    });
    let kind = "kubernetes.io/dockerconfigjson";
    let key = ".dockerconfigjson".to_owned();
    let secret = Secret::new(kind, [(key, config.to_vec())]);
    match credentials(&secret, &repository) {
        Ok(found) => {
            // The same Secret gives the same identity: caches are kept by it.
            let again = credentials(&secret, &repository).expect("the same as before");
            assert_eq!(found.identity(), again.identity());
        }
        Err(error) => assert!(error.to_string().is_ascii()),
    }
}

/// A constraint either is refused or answers for every version, and reads the same when it is
/// written down again.
pub(crate) fn version_constraint(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(constraint) = text.parse::<Constraint>() else {
        return;
    };
    let again: Constraint = constraint.to_string().parse().expect("as it was written");
    for version in [
        "0.0.0",
        "1.2.3",
        "1.2.3-rc.1",
        "2.0.0+b",
        "18446744073709551615.0.1",
    ] {
        let version: Version = version.parse().expect("a version");
        assert_eq!(constraint.matches(&version), again.matches(&version));
    }
}
