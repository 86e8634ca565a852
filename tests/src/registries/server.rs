//! One running server.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::publisher::Pass;
use super::warden::Warden;
use super::{Program, Setup, Transport, configuration, storage};
use crate::bundle::Repository;
use crate::{cluster, components};

/// Far longer than a start takes on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A registry server, running unless it was stopped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    origin: String,
    folder: PathBuf,
    log: PathBuf,
    pass: Pass,
    warden: Warden,
}

/// A request as the server logged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The status of the answer.
    pub status: u16,
}

impl Server {
    /// Starts a server on a free port, empty.
    pub async fn start(setup: Setup<'_>) -> anyhow::Result<Self> {
        let program = program(setup.program)?;
        let made = tempfile::Builder::new()
            .prefix("werf-registry-")
            .tempdir()?;
        let (folder, log) = (made.path().to_owned(), made.path().join("log"));
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = configuration::write(&folder, &setup, free)?;
        let command = [program.as_path(), Path::new("serve"), &config];
        let mut warden = Warden::new(&folder, &log, &command)?;
        // From here on the folder is the warden's to remove.
        let _ = made.keep();
        warden.start()?;
        let address = listening(&log).await?;
        // Should it be started again, then where it was.
        let text = fs::read_to_string(&config)?;
        fs::write(
            &config,
            text.replace(&free.to_string(), &address.to_string()),
        )?;
        let scheme = match setup.transport {
            Transport::Plain => "http",
            Transport::Tls(_) | Transport::Mutual(_) => "https",
        };
        Ok(Self {
            origin: format!("{scheme}://{address}"),
            address,
            folder,
            log,
            pass: Pass::of(&setup)?,
            warden,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http` or `https`, and where it listens.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A repository, for somebody who may do everything there.
    pub fn repository(&self, path: &str) -> anyhow::Result<Repository> {
        self.pass.repository(&self.origin, path)
    }

    /// A client that trusts the server and brings the certificate it wants, but no password.
    pub fn client(&self) -> anyhow::Result<reqwest::Client> {
        Ok(self.pass.client()?.build()?)
    }

    /// Gives what is tagged `from` the tags `v0.1.0`, `v0.2.0` … as well, `count` of them.
    pub fn tag_numbered(&self, repository: &str, from: &str, count: usize) -> anyhow::Result<()> {
        storage::tag_numbered(&self.folder, repository, from, count)
    }

    /// Stops it; returns when nothing listens any more.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.warden.stop()
    }

    /// Starts it again after [`Server::stop`], at the same address with the same content.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        // Its last words are those of its predecessor.
        fs::remove_file(&self.log)?;
        self.warden.start()?;
        let address = listening(&self.log).await?;
        ensure!(address == self.address, "the server moved to {address}");
        Ok(())
    }

    /// The requests it has logged since its start. It logs after it has answered.
    pub fn logged(&self) -> anyhow::Result<Vec<Logged>> {
        let text = fs::read_to_string(&self.log)?;
        Ok(text.lines().filter_map(Logged::read).collect())
    }
}

impl Logged {
    /// `… "GET /v2/ HTTP/1.1" 200 …`, the format of Apache.
    fn read(line: &str) -> Option<Self> {
        let (request, rest) = line.split_once('"')?.1.split_once('"')?;
        let mut words = request.split(' ');
        Some(Self {
            method: words.next()?.to_owned(),
            target: words.next()?.to_owned(),
            version: words.next().filter(|w| w.starts_with("HTTP/"))?.to_owned(),
            status: rest.split_whitespace().next()?.parse().ok()?,
        })
    }
}

fn program(program: Program) -> anyhow::Result<PathBuf> {
    match program {
        Program::Debian => Ok(PathBuf::from("docker-registry")),
        Program::Distribution => components::distribution(),
    }
}

/// Waits until the log says where the server listens.
async fn listening(log: &Path) -> anyhow::Result<SocketAddr> {
    let deadline = Instant::now() + START;
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Some(address) = address(&text) {
            return Ok(address);
        }
        ensure!(
            Instant::now() < deadline,
            "a registry did not start\n{}",
            cluster::log_tail(log)
        );
        sleep(Duration::from_millis(10)).await;
    }
}

/// `… msg="listening on 127.0.0.1:4711, tls"`, once the line is complete.
fn address(log: &str) -> Option<SocketAddr> {
    let (line, _) = log.split_once("listening on ")?.1.split_once('\n')?;
    let end = line.find([',', '"'])?;
    line.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_a_complete_line() {
        let line = "time=\"…\" level=info msg=\"listening on 127.0.0.1:4711, tls\" go=x";
        assert_eq!(address(line), None);
        let complete = format!("level=info msg=\"starting\"\n{line}\n");
        assert_eq!(address(&complete), "127.0.0.1:4711".parse().ok());
        let plain = "level=info msg=\"listening on 127.0.0.1:1\"\n";
        assert_eq!(address(plain), "127.0.0.1:1".parse().ok());
    }

    #[test]
    fn requests_are_told_from_other_lines() {
        let line =
            r#"127.0.0.1 - - [21/Nov/2026:11:55:00 +0000] "GET /v2/?n=1 HTTP/2.0" 200 2 "" "x/1""#;
        let logged = Logged::read(line).unwrap();
        assert_eq!(
            (logged.target.as_str(), logged.version.as_str()),
            ("/v2/?n=1", "HTTP/2.0")
        );
        assert_eq!((logged.method.as_str(), logged.status), ("GET", 200));
        assert_eq!(Logged::read("level=info msg=\"a b c\" 200"), None);
    }
}
