//! How the measured talk to the registry, and where it is. Everything happens in a network
//! namespace of its own, in which a whole network of made-up addresses is the machine itself:
//! they are neither loopback, where the poller would talk plain HTTP whatever it is told, nor
//! reachable from anywhere else.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use reqwest::Certificate;

use crate::authority::Authority;

/// The network of the registries; each address is a host of its own to a poller.
pub(super) const NETWORK: &str = "10.64.0.0/24";

/// The files of the registries' certificates.
pub(super) const AUTHORITY: &str = "ca.crt";
pub(super) const CERTIFICATE: &str = "server.crt";
pub(super) const KEY: &str = "server.key";
/// Whom clients trust: the public authorities, as on any machine, and ours.
pub(super) const TRUSTED: &str = "trusted.crt";

const PUBLIC: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How many hosts the registries are spread over.
pub(super) const HOSTS: usize = 16;

/// A protocol the registry speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Wire {
    /// Plain HTTP/1.1.
    Http,
    /// HTTPS with HTTP/1.1 only.
    Https1,
    /// HTTPS that offers HTTP/2 as well, as Go's servers do.
    Https2,
}

impl Wire {
    pub(super) const ALL: [Self; 3] = [Self::Http, Self::Https1, Self::Https2];

    pub(super) const fn port(self) -> u16 {
        match self {
            Self::Http => 5000,
            Self::Https1 => 5443,
            Self::Https2 => 5444,
        }
    }

    /// What it offers in ALPN, where it is TLS.
    pub(super) const fn protocols(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Http => None,
            Self::Https1 => Some(&["http/1.1"]),
            Self::Https2 => Some(&["h2", "http/1.1"]),
        }
    }

    pub(super) const fn is_tls(self) -> bool {
        self.protocols().is_some()
    }

    const fn scheme(self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }

    /// Host and port of the registry that holds the repository of this number.
    pub(super) fn host(self, number: usize) -> String {
        format!("10.64.0.{}:{}", 1 + number % HOSTS, self.port())
    }

    /// The URL of a path there.
    pub(super) fn url(self, number: usize, path: &str) -> String {
        format!("{}://{}{path}", self.scheme(), self.host(number))
    }

    /// The name in figures.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https1 => "https1",
            Self::Https2 => "https2",
        }
    }
}

/// Writes the registries' certificates.
pub(super) fn write_certificates(pki: &Path) -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let addresses: Vec<String> = (1..=HOSTS).map(|host| format!("10.64.0.{host}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let server = authority.server("registry", &addresses)?;
    let public = fs::read_to_string(PUBLIC).with_context(|| format!("cannot read {PUBLIC}"))?;
    for (name, content) in [
        (AUTHORITY, authority.pem()),
        (CERTIFICATE, &server.certificate),
        (KEY, &server.key.serialize_pem()),
        (TRUSTED, &format!("{public}\n{}", authority.pem())),
    ] {
        fs::write(pki.join(name), content).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// The authority alone.
pub(super) fn authority(pki: &Path) -> anyhow::Result<Certificate> {
    let pem = fs::read(pki.join(AUTHORITY))?;
    Certificate::from_pem(&pem).context("the authority is no certificate")
}

/// Makes the addresses; in a network namespace of its own only.
pub(super) fn arrange() -> anyhow::Result<()> {
    let route = format!("route add local {NETWORK} dev lo");
    for command in ["link set lo up", &route] {
        let output = Command::new("ip")
            .args(command.split(' '))
            .output()
            .context("cannot run ip")?;
        ensure!(
            output.status.success(),
            "`ip {command}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
