//! The servers that the tests share, each started by the first test that needs it.

use std::sync::LazyLock;

use testbed::authority::Authority;
use testbed::bundle::{Bundle, Repository};
use testbed::registries::{Access, Program, Server, Setup, TokenServer, Transport};
use tokio::sync::OnceCell;

/// Who may come in, and with what.
pub(crate) const USER: &str = "robot$ci";
pub(crate) const PASSWORD: &str = "not:a secret";

/// Signs the certificates of all servers.
pub(crate) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new().unwrap());

/// Gives tokens for all registries that want them.
pub(crate) static TOKENS: LazyLock<TokenServer> =
    LazyLock::new(|| TokenServer::start(&AUTHORITY, &[(USER, PASSWORD)]).unwrap());

/// The servers of one program.
struct Servers {
    open: OnceCell<Server>,
    password: OnceCell<Server>,
    tokens: OnceCell<Server>,
    mutual: OnceCell<Server>,
}

impl Servers {
    const fn none() -> Self {
        Self {
            open: OnceCell::const_new(),
            password: OnceCell::const_new(),
            tokens: OnceCell::const_new(),
            mutual: OnceCell::const_new(),
        }
    }

    fn of(program: Program) -> &'static Self {
        static DEBIAN: Servers = Servers::none();
        static DISTRIBUTION: Servers = Servers::none();
        match program {
            Program::Debian => &DEBIAN,
            Program::Distribution => &DISTRIBUTION,
        }
    }
}

/// Plain HTTP, for everybody.
pub(crate) async fn open(program: Program) -> &'static Server {
    let setup = open_setup(program);
    started(&Servers::of(program).open, setup).await
}

/// TLS, for whoever knows the password.
pub(crate) async fn password(program: Program) -> &'static Server {
    let setup = Setup {
        program,
        access: Access::Password(USER, PASSWORD),
        transport: Transport::Tls(&AUTHORITY),
    };
    started(&Servers::of(program).password, setup).await
}

/// TLS, for whoever has a token.
pub(crate) async fn tokens(program: Program) -> &'static Server {
    let setup = Setup {
        program,
        access: Access::Tokens(&TOKENS),
        transport: Transport::Tls(&AUTHORITY),
    };
    started(&Servers::of(program).tokens, setup).await
}

/// TLS, for whoever has a certificate of the authority.
pub(crate) async fn mutual(program: Program) -> &'static Server {
    let setup = Setup {
        program,
        access: Access::Open,
        transport: Transport::Mutual(&AUTHORITY),
    };
    started(&Servers::of(program).mutual, setup).await
}

/// What [`open`] starts, for a test that wants a server for itself.
pub(crate) fn open_setup(program: Program) -> Setup<'static> {
    Setup {
        program,
        access: Access::Open,
        transport: Transport::Plain,
    }
}

async fn started(cell: &'static OnceCell<Server>, setup: Setup<'_>) -> &'static Server {
    let start = async || Server::start(setup).await.unwrap();
    cell.get_or_init(start).await
}

/// A repository with a bundle under each of the tags.
pub(crate) async fn repository(server: &Server, path: &str, tags: &[&str]) -> Repository {
    let repository = server.repository(path).unwrap();
    for tag in tags {
        push(&repository, tag, "first").await;
    }
    repository
}

/// Publishes a bundle that differs by its `content`; the digest of its manifest.
pub(crate) async fn push(repository: &Repository, tag: &str, content: &str) -> String {
    let mut bundle = Bundle::with_templates("app", &[], "").unwrap();
    bundle.set("content", content);
    repository.push(tag, &bundle).await.unwrap()
}
