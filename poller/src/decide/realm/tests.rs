//! Token servers that are asked, that see passwords, and that are neither.

use super::*;
use proptest::prelude::*;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

const REGISTRY: &str = "https://registry.example.com/v2/org/app/tags/list";
const PLAIN: &str = "http://127.0.0.1:5000/v2/org/app/tags/list";

#[rstest::rstest]
#[case("https://auth.example.com/token", REGISTRY)]
#[case("https://auth.example.com:8443/token?x=y", REGISTRY)]
#[case("https://registry.example.com/token", REGISTRY)]
#[case("http://127.0.0.1:5000/token", PLAIN)]
#[case("http://2130706433:5000/token", PLAIN)]
fn a_token_server_with_tls_may_be_asked(#[case] text: &str, #[case] registry: &str) {
    assert!(realm(text, &url(registry)).is_ok());
}

#[rstest::rstest]
#[case("", RefusedRealm::Malformed)]
#[case("/token", RefusedRealm::Malformed)]
#[case("//auth.example.com/token", RefusedRealm::Malformed)]
#[case("auth.example.com/token", RefusedRealm::Malformed)]
#[case("file:///etc/passwd", RefusedRealm::Malformed)]
#[case("gopher://auth.example.com/", RefusedRealm::Malformed)]
#[case("javascript:alert(1)", RefusedRealm::Malformed)]
#[case("https://", RefusedRealm::Malformed)]
#[case("https://auth.example.com/to ken", RefusedRealm::Malformed)]
#[case("ht\ntps://auth.example.com/", RefusedRealm::Malformed)]
#[case("https://127。0。0。1/token", RefusedRealm::Malformed)]
#[case("https://auth.example.com\\@evil.example/", RefusedRealm::Malformed)]
#[case("https://user@auth.example.com/", RefusedRealm::User)]
#[case("https://registry.example.com:pw@evil.example/", RefusedRealm::User)]
#[case(
    "http://auth.example.com/token",
    RefusedRealm::NotHttps("auth.example.com".into())
)]
#[case(
    "http://registry.example.com/token",
    RefusedRealm::NotHttps("registry.example.com".into())
)]
#[case(
    "http://169.254.169.254/latest",
    RefusedRealm::NotHttps("169.254.169.254".into())
)]
fn a_token_server_that_makes_no_sense_is_not_asked(
    #[case] text: &str,
    #[case] expected: RefusedRealm,
) {
    assert_eq!(realm(text, &url(REGISTRY)), Err(expected));
}

#[rstest::rstest]
#[case::other_port("http://127.0.0.1:5001/token")]
#[case::other_name("http://localhost:5000/token")]
#[case::metadata("http://169.254.169.254/token")]
fn without_tls_only_the_registry_itself_is_asked(#[case] text: &str) {
    let refused = realm(text, &url(PLAIN));
    assert!(
        matches!(refused, Err(RefusedRealm::NotHttps(_))),
        "{refused:?}"
    );
}

/// Every spelling becomes the address it stands for, so that the rule for addresses sees it.
#[rstest::rstest]
#[case("https://2130706433/", "127.0.0.1")]
#[case("https://0x7f.1/", "127.0.0.1")]
#[case("https://017700000001/", "127.0.0.1")]
#[case("https://%31%32%37.0.0.1/", "127.0.0.1")]
#[case("https://169.254.169.254/", "169.254.169.254")]
#[case("https://0/", "0.0.0.0")]
#[case("https://[fd00:ec2::254]/", "[fd00:ec2::254]")]
#[case("https://[::ffff:10.0.0.1]/", "[::ffff:a00:1]")]
fn an_address_is_an_address_in_every_spelling(#[case] text: &str, #[case] host: &str) {
    let url = realm(text, &url(REGISTRY)).unwrap();
    assert_eq!(url.host_str(), Some(host));
    assert!(!matches!(url.host(), Some(Host::Domain(_))));
}

fn may_see(servers: &[&str], repository: &str, realm: &str) -> bool {
    let servers = servers.iter().map(|pair| pair.parse().unwrap()).collect();
    let repository: Repository = repository.parse().unwrap();
    let host = werf_shared::docker_hub::endpoint(&repository).host;
    let registry = url(&format!("https://{host}/v2/"));
    TokenServers::new(servers).may_see(&url(realm), &registry, &repository)
}

#[rstest::rstest]
#[case::own_origin(&[], "r.example.com/a", "https://r.example.com/token", true)]
#[case::own_port(&[], "r.example.com:5000/a", "https://r.example.com:5000/t", true)]
#[case::spelled_out(&[], "r.example.com/a", "https://R.EXAMPLE.com:443/t", true)]
#[case::other_port(&[], "r.example.com/a", "https://r.example.com:8443/t", false)]
#[case::no_tls(&[], "r.example.com/a", "http://r.example.com/t", false)]
#[case::sibling(&[], "r.example.com/a", "https://auth.example.com/t", false)]
#[case::below(&[], "r.example.com/a", "https://r.example.com.evil.example/t", false)]
#[case::docker_hub(&[], "docker.io/redis", "https://auth.docker.io/token", true)]
#[case::docker_hub_by_another_name(&[], "registry-1.docker.io/redis", "https://auth.docker.io/token", true)]
#[case::no_docker_hub(&[], "r.example.com/a", "https://auth.docker.io/token", false)]
#[case::docker_hub_at_another_port(&[], "docker.io/redis", "https://auth.docker.io:8443/token", false)]
#[case::gitlab(&[], "registry.gitlab.com/a", "https://gitlab.com/jwt/auth", true)]
#[case::no_gitlab(&[], "gitlab.com/a", "https://registry.gitlab.com/jwt/auth", false)]
#[case::named(&["r.example.com=auth.example.com"], "r.example.com/a", "https://auth.example.com/t", true)]
#[case::named_without_tls(&["r.example.com=auth.example.com"], "r.example.com/a", "http://auth.example.com/t", false)]
#[case::named_port(&["r.example.com:5000=auth.example.com:8443"], "r.example.com:5000/a", "https://auth.example.com:8443/t", true)]
#[case::named_another_port(&["r.example.com=auth.example.com:8443"], "r.example.com/a", "https://auth.example.com/t", false)]
#[case::named_for_another(&["s.example.com=auth.example.com"], "r.example.com/a", "https://auth.example.com/t", false)]
#[case::named_for_docker_hub(&["index.docker.io=auth.example.com"], "docker.io/redis", "https://auth.example.com/t", true)]
fn a_password_is_for_the_registry_and_its_token_server(
    #[case] servers: &[&str],
    #[case] repository: &str,
    #[case] realm: &str,
    #[case] expected: bool,
) {
    assert_eq!(may_see(servers, repository, realm), expected);
}

#[rstest::rstest]
#[case("")]
#[case("registry.example.com")]
#[case("registry.example.com=")]
#[case("=auth.example.com")]
#[case("registry.example.com=https://auth.example.com")]
#[case("registry.example.com=auth.example.com/token")]
#[case("registry.example.com=user@auth.example.com")]
#[case("*=auth.example.com")]
#[case("registry.example.com=auth.example.com:99999")]
fn a_pair_must_be_a_pair(#[case] text: &str) {
    assert_eq!(text.parse::<TokenServer>(), Err(InvalidTokenServer));
}

#[test]
fn a_realm_cannot_widen_the_scope() {
    let realm = url("https://a/t?scope=repository:org/app:push&account=x&service=other");
    let asked = request(&realm, Some("a b&c"), "repository:org/app:pull");
    let expected = "https://a/t?account=x&service=a+b%26c&scope=repository%3Aorg%2Fapp%3Apull";
    assert_eq!(asked.as_str(), expected);
    let bare = request(&url("https://a/t"), None, "s");
    assert_eq!(bare.as_str(), "https://a/t?scope=s");
}

proptest! {
    #[test]
    fn no_realm_without_tls_leaves_the_registry(text in "(https?|HTTP|ftp)?:?//[a-z0-9.@:\\[\\]%/\\\\#?。\t-]{0,30}") {
        if let Ok(url) = realm(&text, &super::tests::url(REGISTRY)) {
            prop_assert_eq!(url.scheme(), "https");
            prop_assert!(url.username().is_empty() && url.password().is_none());
        }
    }

    #[test]
    fn what_is_shown_of_a_host_is_harmless(host in "[a-z0-9.-]{1,200}", port in 1u16..) {
        if let Ok(url) = format!("https://{host}:{port}/").parse::<Url>() {
            let shown = shown(&url);
            prop_assert!(shown.len() <= LONGEST_SHOWN);
            prop_assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
