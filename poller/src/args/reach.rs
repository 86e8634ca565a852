//! Where registries may be and how they are reached: the flags for it, and the environment that all
//! programs share for proxies.

use std::sync::Arc;

use werf_shared::arguments::Problems;

use crate::io::registry::{ProxySettings, Reach};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReachArgs {
    /// Let bundles ask for plain HTTP
    #[arg(long, env = "POLLER_ALLOW_INSECURE_REGISTRIES")]
    allow_insecure_registries: bool,

    /// Private or reserved networks that registries may be in [default: none, only public addresses]
    #[arg(
        long,
        env = "POLLER_ALLOW_NETWORKS",
        default_value = "",
        hide_default_value = true,
        value_name = "CIDR,…"
    )]
    allow_networks: String,
}

impl ReachArgs {
    pub(super) fn check(self, proxies: &ProxySettings, problems: &mut Problems) -> Option<Reach> {
        let Self {
            allow_insecure_registries,
            allow_networks,
        } = self;
        let networks = problems.take("--allow-networks", allow_networks.parse());
        let proxies = proxies.parse();
        let variable = proxies.as_ref().err().map(|invalid| invalid.variable);
        let proxies = problems.take(variable.unwrap_or("HTTPS_PROXY"), proxies);
        Some(Reach {
            allow_insecure: allow_insecure_registries,
            networks: networks?,
            proxies: Arc::new(proxies?),
        })
    }
}

/// What the environment says of proxies; the capital letters first, as Go programs do it.
pub(super) fn proxies() -> ProxySettings {
    let first = |names: [&str; 2]| {
        let values = names
            .into_iter()
            .filter_map(|name| std::env::var(name).ok());
        values.into_iter().find(|value| !value.is_empty())
    };
    ProxySettings {
        https: first(["HTTPS_PROXY", "https_proxy"]).unwrap_or_default(),
        http: first(["HTTP_PROXY", "http_proxy"]).unwrap_or_default(),
        all: first(["ALL_PROXY", "all_proxy"]).unwrap_or_default(),
        exempt: first(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
    }
}
