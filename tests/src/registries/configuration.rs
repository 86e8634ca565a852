//! The configuration file of a server. JSON is YAML.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::storage::DATA;
use super::tokens::ISSUER;
use super::{Access, Setup, Transport};

/// What a registry calls itself towards the token server.
pub(super) const SERVICE: &str = "registries of the tests";

/// The names the servers' certificates are for.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Writes the file and what it names into `folder`; the server will listen on `address`.
pub(super) fn write(
    folder: &Path,
    setup: &Setup<'_>,
    address: SocketAddr,
) -> anyhow::Result<PathBuf> {
    let mut document = json!({
        "version": "0.1",
        // The line that says where it listens is of this level.
        "log": { "level": "info", "fields": {} },
        "storage": {
            "filesystem": { "rootdirectory": folder.join(DATA) },
            "delete": { "enabled": true },
            "maintenance": { "uploadpurging": { "enabled": false } },
        },
        "http": { "addr": address, "secret": "one instance only" },
    });
    if let Some(tls) = tls(folder, setup.transport)? {
        document["http"]["tls"] = tls;
    }
    if let Some(auth) = auth(folder, setup.access)? {
        document["auth"] = auth;
    }
    let path = folder.join("config.json");
    fs::write(&path, document.to_string())?;
    Ok(path)
}

fn tls(folder: &Path, transport: Transport<'_>) -> anyhow::Result<Option<Value>> {
    let authority = match transport {
        Transport::Plain => return Ok(None),
        Transport::Tls(authority) | Transport::Mutual(authority) => authority,
    };
    let signed = authority.server("registry", &NAMES)?;
    let file = |name: &str, content: &str| -> anyhow::Result<PathBuf> {
        let path = folder.join(name);
        fs::write(&path, content)?;
        Ok(path)
    };
    let mut tls = json!({
        "certificate": file("server.crt", &signed.certificate)?,
        "key": file("server.key", &signed.key.serialize_pem())?,
    });
    if matches!(transport, Transport::Mutual(_)) {
        tls["clientcas"] = json!([file("clients.crt", authority.pem())?]);
    }
    Ok(Some(tls))
}

fn auth(folder: &Path, access: Access<'_>) -> anyhow::Result<Option<Value>> {
    match access {
        Access::Open => Ok(None),
        Access::Password(user, password) => {
            // The cheapest cost there is: every request is checked against it.
            let hash = bcrypt::hash(password, 4)?;
            let path = folder.join("htpasswd");
            fs::write(&path, format!("{user}:{hash}\n"))?;
            Ok(Some(
                json!({ "htpasswd": { "realm": "registries", "path": path } }),
            ))
        }
        Access::Tokens(tokens) => {
            let path = folder.join("tokens.crt");
            fs::write(&path, tokens.authority())?;
            Ok(Some(json!({ "token": {
                "realm": tokens.realm(),
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": path,
            }})))
        }
    }
}
