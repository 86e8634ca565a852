//! What does a 401 ask for? The `WWW-Authenticate` headers (RFC 9110 section 11.6.1) reduced to the
//! one answer that can be given, and the scope that is asked for with it. Headers are hostile text:
//! what does not parse is no challenge, and nothing of it is ever shown.

use http_auth::ChallengeRef;
use http_auth::parser::ChallengeParser;

/// All the headers of one answer together. Real ones are some hundred bytes.
const LONGEST: usize = 8 * 1024;

/// What may be asked for beyond `pull`: Azure's registry lists tags only for holders of it (its
/// authentication documentation, section "Calling an Azure Container Registry API").
const LIST: &str = "metadata_read";

/// What a registry wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Challenge {
    /// User and password (RFC 7617).
    Basic,
    /// A token from a token server (distribution's token specification).
    Bearer {
        /// Where to get it.
        issuer: Issuer,
        /// The scope that the registry would have asked for.
        scope: Option<String>,
    },
}

/// Who gives out tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer {
    /// The URL of the token server, unchecked.
    pub realm: String,
    /// What the registry is called there.
    pub service: Option<String>,
}

/// What is done in a repository; nothing that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actions {
    /// Read.
    Pull,
    /// Read, and list where that is a right of its own.
    PullAndList,
}

/// A 401 that cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChallenge {
    /// Neither Basic nor Bearer.
    #[error("the registry names no way to log in that is supported")]
    Unsupported,
    /// The headers do not parse.
    #[error("the registry's WWW-Authenticate header is malformed")]
    Malformed,
    /// The headers are longer than any challenge.
    #[error("the registry's WWW-Authenticate header is longer than {LONGEST} bytes")]
    TooLong,
}

/// The challenge to answer: Bearer before Basic, as whoever offers both wants the first.
pub fn challenge<'a>(
    headers: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Challenge, NoChallenge> {
    let mut room = LONGEST;
    let mut basic = false;
    let mut bearer = None;
    let mut malformed = false;
    for header in headers {
        room = room.checked_sub(header.len()).ok_or(NoChallenge::TooLong)?;
        match read(header) {
            Some((offers_basic, token)) => {
                basic |= offers_basic;
                bearer = bearer.or(token);
            }
            None => malformed = true,
        }
    }
    match bearer {
        Some((issuer, scope)) => Ok(Challenge::Bearer { issuer, scope }),
        None if basic => Ok(Challenge::Basic),
        None if malformed => Err(NoChallenge::Malformed),
        None => Err(NoChallenge::Unsupported),
    }
}

/// What to ask for: to read the repository of this path, and of what the scope in a challenge names
/// only what reads this repository.
pub fn actions(path: &str, scope: Option<&str>) -> Actions {
    let named = scope.into_iter().flat_map(str::split_ascii_whitespace);
    let named = named.filter_map(|scope| {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        (kind == "repository" && name == path).then_some(actions)
    });
    let mut named = named.flat_map(|actions| actions.split(','));
    if named.any(|action| action == LIST) {
        Actions::PullAndList
    } else {
        Actions::Pull
    }
}

impl Actions {
    /// The scope that a token is asked for with.
    pub fn scope(self, path: &str) -> String {
        match self {
            Self::Pull => format!("repository:{path}:pull"),
            Self::PullAndList => format!("repository:{path}:pull,{LIST}"),
        }
    }
}

type Bearer = (Issuer, Option<String>);

/// Whether a header offers Basic, and its first Bearer.
fn read(header: &[u8]) -> Option<(bool, Option<Bearer>)> {
    // The parser knows ASCII only. Bytes above it are opaque (RFC 9110 section 5.5); as a space they
    // make a realm that holds them no URL.
    let text: String = header
        .iter()
        .map(|&byte| if byte.is_ascii() { byte.into() } else { ' ' })
        .collect();
    let text = text.trim_matches([' ', '\t']);
    let mut basic = false;
    let mut bearer = None;
    for challenge in ChallengeParser::new(text) {
        let challenge = challenge.ok()?;
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            basic = true;
        } else if challenge.scheme.eq_ignore_ascii_case("bearer") && bearer.is_none() {
            bearer = Some(read_bearer(&challenge)?);
        }
    }
    Some((basic, bearer))
}

fn read_bearer(challenge: &ChallengeRef<'_>) -> Option<Bearer> {
    let parameter = |name: &str| {
        let mut found = challenge
            .params
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, value)| value.to_unescaped());
        // Two realms are two meanings.
        found.next().is_none().then_some(first)
    };
    let issuer = Issuer {
        realm: parameter("realm")?.unwrap_or_default(),
        service: parameter("service")?,
    };
    Some((issuer, parameter("scope")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            issuer: Issuer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
            },
            scope: scope.map(str::to_owned),
        }
    }

    fn read(headers: &[&str]) -> Result<Challenge, NoChallenge> {
        challenge(headers.iter().map(|header| header.as_bytes()))
    }

    /// As the registries send them: distribution, Docker Hub, GHCR, Harbor, GitLab, ACR.
    #[rstest::rstest]
    #[case(
        r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:org/app:pull""#,
        bearer("https://auth.example.com/token", Some("registry"), Some("repository:org/app:pull"))
    )]
    #[case(
        r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/redis:pull",error="invalid_token""#,
        bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:library/redis:pull"))
    )]
    #[case(
        r#"Bearer realm="https://harbor.example.com/service/token",service="harbor-registry""#,
        bearer(
            "https://harbor.example.com/service/token",
            Some("harbor-registry"),
            None
        )
    )]
    #[case(
        r#"bearer REALM="https://r/t", Service="a\"b""#,
        bearer("https://r/t", Some("a\"b"), None)
    )]
    #[case(r#"Bearer service="no realm""#, bearer("", Some("no realm"), None))]
    #[case(r#"  Bearer realm="https://r/t"  "#, bearer("https://r/t", None, None))]
    #[case(r#"Basic realm="Registry Realm""#, Challenge::Basic)]
    #[case("Basic", Challenge::Basic)]
    #[case(r#"Digest realm="x", nonce="y", Basic realm="x""#, Challenge::Basic)]
    #[case(
        r#"Basic realm="b", Bearer realm="https://r/t""#,
        bearer("https://r/t", None, None)
    )]
    #[case(
        r#"Bearer realm="https://127。0。0。1/t""#,
        bearer("https://127   0   0   1/t", None, None)
    )]
    fn a_challenge_is_read(#[case] header: &str, #[case] expected: Challenge) {
        assert_eq!(read(&[header]), Ok(expected));
    }

    #[rstest::rstest]
    #[case::two(&["Basic realm=\"b\"", "Bearer realm=\"https://r/t\""])]
    #[case::turned(&["Bearer realm=\"https://r/t\"", "Basic realm=\"b\""])]
    #[case::with_one_broken(&["Bearer realm=\"x", "Bearer realm=\"https://r/t\""])]
    #[case::the_first_counts(&["Bearer realm=\"https://r/t\"", "Bearer realm=\"https://evil/\""])]
    fn bearer_goes_before_basic(#[case] headers: &[&str]) {
        assert_eq!(read(headers), Ok(bearer("https://r/t", None, None)));
    }

    #[rstest::rstest]
    #[case::none(&[], NoChallenge::Unsupported)]
    #[case::other(&["Negotiate"], NoChallenge::Unsupported)]
    #[case::unbalanced(&["Bearer realm=\"https://r/t"], NoChallenge::Malformed)]
    #[case::unquoted(&["Bearer realm=https://r/t"], NoChallenge::Malformed)]
    #[case::two_realms(&["Bearer realm=\"https://a/\",realm=\"https://b/\""], NoChallenge::Malformed)]
    #[case::parameter_only(&["realm=\"https://a/\""], NoChallenge::Malformed)]
    fn anything_else_is_no_challenge(#[case] headers: &[&str], #[case] expected: NoChallenge) {
        assert_eq!(read(headers), Err(expected));
    }

    #[test]
    fn headers_are_bounded_together() {
        let half = format!("Basic realm=\"{}\"", "x".repeat(LONGEST / 2));
        assert_eq!(read(&[&half]), Ok(Challenge::Basic));
        assert_eq!(read(&[&half, &half]), Err(NoChallenge::TooLong));
    }

    #[rstest::rstest]
    #[case(None, "repository:org/app:pull")]
    #[case(Some("repository:org/app:pull"), "repository:org/app:pull")]
    #[case(Some("repository:org/app:pull,push"), "repository:org/app:pull")]
    #[case(Some("repository:org/app:*"), "repository:org/app:pull")]
    #[case(Some("registry:catalog:*"), "repository:org/app:pull")]
    #[case(Some("repository:other:metadata_read"), "repository:org/app:pull")]
    #[case(
        Some("repository:org/app:metadata_read"),
        "repository:org/app:pull,metadata_read"
    )]
    #[case(
        Some("repository:other:push repository:org/app:delete,metadata_read"),
        "repository:org/app:pull,metadata_read"
    )]
    #[case(Some(":::"), "repository:org/app:pull")]
    fn only_reading_this_repository_is_asked_for(
        #[case] named: Option<&str>,
        #[case] expected: &str,
    ) {
        assert_eq!(actions("org/app", named).scope("org/app"), expected);
    }

    proptest! {
        #[test]
        fn no_header_panics_or_widens_the_scope(header in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Challenge::Bearer { scope, .. }) = challenge([header.as_slice()]) {
                let asked = actions("org/app", scope.as_deref()).scope("org/app");
                prop_assert!(asked.starts_with("repository:org/app:pull"));
            }
        }

        #[test]
        fn what_was_quoted_is_what_is_read(realm in "[ -~]{0,60}", service in "[ -~]{0,60}") {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Bearer realm=\"{}\",service=\"{}\"", quote(&realm), quote(&service));
            prop_assert_eq!(read(&[&header]), Ok(bearer(&realm, Some(&service), None)));
        }
    }
}
