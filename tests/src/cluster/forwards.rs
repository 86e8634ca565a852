//! Loopback sockets of the machine that lead into the cluster's network. A socket stays in
//! the network namespace it was made in, so a listener made outside and a connection dialled
//! inside can meet in one process, and no route or rule of the machine is touched.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A client of the control socket says what it wants at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// The open doors. They close when this is dropped.
#[derive(Debug)]
pub(super) struct Forwards {
    /// The machine's own network namespace.
    outside: OwnedFd,
    doors: HashMap<SocketAddr, SocketAddr>,
    tasks: JoinSet<()>,
}

impl Forwards {
    pub(super) fn new(outside: OwnedFd) -> Self {
        Self {
            outside,
            doors: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Opens a door to an address inside; the same address gets the same door again.
    pub(super) fn open(&mut self, target: SocketAddr) -> anyhow::Result<SocketAddr> {
        if let Some(door) = self.doors.get(&target) {
            return Ok(*door);
        }
        let listener = self
            .listen_outside()
            .context("cannot listen outside the cluster")?;
        let door = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.tasks.spawn(serve(listener, target));
        self.doors.insert(target, door);
        Ok(door)
    }

    /// Answers the control socket for ever: an address per line, a door per line.
    pub(super) async fn answer(&mut self, control: UnixListener) -> anyhow::Error {
        loop {
            match control.accept().await {
                // Whoever hangs up in between or dawdles gets no answer.
                Ok((client, _)) => drop(timeout(PATIENCE, self.answer_one(client)).await),
                Err(error) => return anyhow!(error).context("the control socket broke"),
            }
        }
    }

    async fn answer_one(&mut self, client: UnixStream) -> anyhow::Result<()> {
        let mut client = BufReader::new(client);
        let mut line = String::new();
        client.read_line(&mut line).await?;
        let opened = line
            .trim()
            .parse()
            .map_err(anyhow::Error::from)
            .and_then(|target| self.open(target));
        let answer = match opened {
            Ok(door) => format!("{door}\n"),
            Err(error) => format!("{error:#}\n"),
        };
        Ok(client.get_mut().write_all(answer.as_bytes()).await?)
    }

    /// A thread of its own enters the machine's namespace and ends there.
    fn listen_outside(&self) -> anyhow::Result<TcpListener> {
        let outside = self.outside.as_fd().try_clone_to_owned()?;
        let thread = thread::spawn(move || -> std::io::Result<TcpListener> {
            move_into_link_name_space(outside.as_fd(), Some(LinkNameSpaceType::Network))?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        });
        let listener = thread
            .join()
            .map_err(|_| anyhow!("the thread panicked"))??;
        Ok(listener)
    }
}

/// Asks the keeper behind a control socket for a door.
pub(super) async fn ask(
    control: &std::path::Path,
    target: SocketAddr,
) -> anyhow::Result<SocketAddr> {
    let mut stream = UnixStream::connect(control)
        .await
        .context("the cluster does not answer: is it still running?")?;
    stream.write_all(format!("{target}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    let answer = answer.trim();
    answer
        .parse()
        .map_err(|_| anyhow!("no forward to {target}: {answer}"))
}

async fn serve(listener: tokio::net::TcpListener, target: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        // An error of `accept` concerns one connection only.
        if let Ok((client, _)) = listener.accept().await {
            connections.spawn(carry(client, target));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Either end sees the other hang up; there is nobody to tell more.
async fn carry(mut client: TcpStream, target: SocketAddr) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    // Small requests and answers would otherwise wait for each other.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
