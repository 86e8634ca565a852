//! Which requests go through a proxy? `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` as
//! other programs understand them. What goes through a proxy is resolved and connected there, so
//! the proxy's own address is exempt from the rules for addresses, and those of the registries are
//! the proxy's to refuse; only literal addresses are still checked here.

use std::fmt;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::{Host, Url};

/// The settings as they are in the environment; an empty one is none.
#[derive(Clone, Default)]
pub struct ProxySettings {
    /// For https.
    pub https: String,
    /// For http.
    pub http: String,
    /// For whichever of the two has none.
    pub all: String,
    /// Hosts, domains and networks that are reached without one.
    pub exempt: String,
}

/// A setting that cannot be used; it is never shown, because there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a URL like http://[user:password@]host:port; proxies are spoken to by plain HTTP")]
pub struct InvalidProxy {
    /// The variable it is in.
    pub variable: &'static str,
}

/// The proxies there are.
pub struct Proxies {
    matcher: Matcher,
    https: Option<Url>,
    http: Option<Url>,
}

impl ProxySettings {
    /// The proxies they name.
    pub fn parse(&self) -> Result<Proxies, InvalidProxy> {
        let all = proxy("ALL_PROXY", &self.all)?;
        let builder = Matcher::builder()
            .https(&self.https)
            .http(&self.http)
            .all(&self.all)
            .no(&self.exempt);
        Ok(Proxies {
            matcher: builder.build(),
            https: proxy("HTTPS_PROXY", &self.https)?.or_else(|| all.clone()),
            http: proxy("HTTP_PROXY", &self.http)?.or(all),
        })
    }
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxySettings").finish_non_exhaustive()
    }
}

/// A proxy without a scheme is one for HTTP, as everywhere.
fn proxy(variable: &'static str, text: &str) -> Result<Option<Url>, InvalidProxy> {
    if text.is_empty() {
        return Ok(None);
    }
    let url = match text.split_once("://") {
        Some(_) => text.parse::<Url>(),
        None => format!("http://{text}").parse(),
    };
    let usable = |url: &Url| url.scheme() == "http" && matches!(url.path(), "" | "/");
    url.ok()
        .filter(usable)
        .map(Some)
        .ok_or(InvalidProxy { variable })
}

impl Proxies {
    /// For `https` and for `http`, as an HTTP client takes them; what is behind them is for
    /// [`Self::intercept`] to say.
    pub(super) fn clients(&self) -> reqwest::Result<Vec<reqwest::Proxy>> {
        let https = self.https.clone().map(reqwest::Proxy::https);
        let http = self.http.clone().map(reqwest::Proxy::http);
        https.into_iter().chain(http).collect()
    }

    /// A request for this goes through a proxy. What is on this machine never does: a proxy would
    /// look for it on its own.
    pub(super) fn intercept(&self, url: &Url) -> bool {
        let host_is_local = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => true,
        };
        if host_is_local {
            return false;
        }
        let uri: Result<Uri, _> = url.as_str().parse();
        uri.is_ok_and(|uri| self.matcher.intercept(&uri).is_some())
    }

    /// This is one of the proxies.
    pub fn include(&self, other: &Uri) -> bool {
        let proxies = [&self.https, &self.http].into_iter().flatten();
        proxies.into_iter().any(|proxy| {
            proxy.host_str() == other.host() && proxy.port_or_known_default() == port(other)
        })
    }
}

fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or(Some(80))
}

impl Default for Proxies {
    fn default() -> Self {
        Self {
            matcher: Matcher::builder().build(),
            https: None,
            http: None,
        }
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "http://user:hunter2@proxy.example.com:3128";

    fn proxies(https: &str, http: &str, all: &str, exempt: &str) -> Result<Proxies, InvalidProxy> {
        let settings = ProxySettings {
            https: https.to_owned(),
            http: http.to_owned(),
            all: all.to_owned(),
            exempt: exempt.to_owned(),
        };
        settings.parse()
    }

    #[rstest::rstest]
    #[case("https://ghcr.io/", true)]
    #[case("http://ghcr.io/", false)]
    #[case("https://registry.example.com/", false)]
    #[case("https://a.registry.example.com/", false)]
    #[case("https://notregistry.example.com/", true)]
    #[case("https://a.svc/", false)]
    #[case("https://svc/", false)]
    #[case("https://10.1.2.3/", false)]
    #[case("https://0xa.1.2.3/", false)]
    #[case("https://11.1.2.3/", true)]
    #[case("https://[fd00::1]:5000/", false)]
    #[case("https://127.0.0.1/", false)]
    #[case("https://localhost:5000/", false)]
    #[case("https://[::1]:5000/", false)]
    fn exempt_are_hosts_domains_and_networks(#[case] url: &str, #[case] through: bool) {
        let exempt = "registry.example.com, .svc,10.0.0.0/8,fd00::/8";
        let proxies = proxies(SECRET, "", "", exempt).unwrap();
        assert_eq!(proxies.intercept(&url.parse().unwrap()), through);
    }

    #[test]
    fn one_proxy_can_be_for_everything() {
        let all = proxies("", "", "proxy:3128", "").unwrap();
        for url in ["https://ghcr.io/", "http://ghcr.io/"] {
            assert!(all.intercept(&url.parse().unwrap()), "{url}");
        }
        assert_eq!(all.clients().unwrap().len(), 2);
        let none = proxies("", "", "", "*").unwrap();
        assert!(!none.intercept(&"https://ghcr.io/".parse().unwrap()));
        assert!(none.clients().unwrap().is_empty());
    }

    #[rstest::rstest]
    #[case("https://user:hunter2@proxy:3128")]
    #[case("socks5://user:hunter2@proxy:1080")]
    #[case("http://user:hunter2@")]
    #[case("http://user:hunter2@proxy/path")]
    fn a_proxy_that_cannot_be_used_is_refused_unseen(#[case] text: &str) {
        let refused = proxies("", text, "", "").unwrap_err();
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }

    #[test]
    fn a_password_is_never_shown() {
        let settings = ProxySettings {
            https: SECRET.to_owned(),
            ..ProxySettings::default()
        };
        let shown = format!("{settings:?} {:?}", settings.parse().unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn proxies_are_recognised_by_host_and_port() {
        let proxies = proxies(SECRET, "", "", "").unwrap();
        assert!(proxies.include(&Uri::from_static("http://x:y@proxy.example.com:3128")));
        assert!(!proxies.include(&Uri::from_static("http://proxy.example.com:80")));
    }
}
