//! Where does a repository really live? Everywhere where its name says, but for Docker Hub, which
//! has a short name, several long ones and a folder that nobody writes.

use std::borrow::Cow;

use crate::repository::Repository;

/// The host that serves Docker Hub's registry API.
const API: &str = "registry-1.docker.io";

/// What Docker Hub is called in references and in credentials (`docker login` writes
/// `https://index.docker.io/v1/`; Kubernetes accepts the same names).
pub const ALIASES: [&str; 3] = ["docker.io", "index.docker.io", API];

/// A repository as its registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// Host and port to talk to.
    pub host: &'a str,
    /// The repository's name there.
    pub path: Cow<'a, str>,
}

/// The endpoint that serves a repository.
pub fn endpoint(repository: &Repository) -> Endpoint<'_> {
    let (host, path) = (repository.host(), repository.path());
    if !is_docker_hub(host) {
        return Endpoint {
            host,
            path: path.into(),
        };
    }
    // "Official images" are in a folder of their own, as distribution's reference package has it.
    let path = if path.contains('/') {
        path.into()
    } else {
        format!("library/{path}").into()
    };
    Endpoint { host: API, path }
}

/// The host is one of Docker Hub's names.
pub fn is_docker_hub(host: &str) -> bool {
    ALIASES.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("docker.io/redis", "registry-1.docker.io", "library/redis")]
    #[case("docker.io/org/app", "registry-1.docker.io", "org/app")]
    #[case("index.docker.io/org/app", "registry-1.docker.io", "org/app")]
    #[case("registry-1.docker.io/redis", "registry-1.docker.io", "library/redis")]
    #[case("ghcr.io/redis", "ghcr.io", "redis")]
    #[case("hub.docker.io/redis", "hub.docker.io", "redis")]
    #[case("docker.io:5000/redis", "docker.io:5000", "redis")]
    fn a_repository_is_asked_for_where_it_lives(
        #[case] text: &str,
        #[case] host: &str,
        #[case] path: &str,
    ) {
        let repository = text.parse().unwrap();
        let endpoint = endpoint(&repository);
        assert_eq!((endpoint.host, endpoint.path.as_ref()), (host, path));
    }
}
