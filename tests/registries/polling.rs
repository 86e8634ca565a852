//! What a bundle sees of a registry that lets everybody in.

use testbed::registries::{Program, Server};
use werf_poller::decide::newest::Nothing;
use werf_poller::decide::tell::Telling;
use werf_shared::poll_failure::Reason;

use crate::bed;
use crate::watcher::Watcher;

/// As many as a repository has after years of continuous delivery.
const MANY: usize = 5000;

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn the_newest_bundle_is_announced_once(#[case] program: Program) {
    let server = bed::open(program).await;
    let repository = bed::repository(server, "polling/once", &["v1.9.0", "v1.2.0"]).await;
    let digest = bed::push(&repository, "v1.10.0", "newest").await;
    let mut watcher = Watcher::of(server, "polling/once");
    assert_eq!(watcher.poll().await.announced(), ("v1.10.0", &*digest));
    for _ in 0..2 {
        assert_eq!(watcher.poll().await.telling, Telling::Silence);
    }
    let digest = bed::push(&repository, "v1.11.0", "newer").await;
    assert_eq!(watcher.poll().await.announced(), ("v1.11.0", &*digest));
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn what_is_no_bundle_is_not_announced(#[case] program: Program) {
    let server = bed::open(program).await;
    let repository = bed::repository(server, "polling/misfits", &["v1.0.0"]).await;
    repository.push_container_image("v2.0.0").await.unwrap();
    let mut watcher = Watcher::of(server, "polling/misfits");
    for (tag, misfit) in [
        ("v2.0.0", "image"),
        ("v3.0.0", "chart"),
        ("v4.0.0", "index"),
    ] {
        match misfit {
            "chart" => drop(repository.push_signed_chart(tag).await.unwrap()),
            "index" => drop(repository.push_index(tag).await.unwrap()),
            _ => {}
        }
        let telling = watcher.poll().await.telling;
        let Telling::Succeeded(Some((Nothing::NotABundle, why))) = telling else {
            panic!("{misfit}: {telling:?}");
        };
        assert!(why.contains(tag), "{why}");
    }
}

/// Of a thousand tags a page the third version announces one more after the fifth, which is full.
/// It is empty, until the one more push fills it.
#[rstest::rstest]
#[case(Program::Debian, 1)]
#[case(Program::Distribution, 6)]
#[tokio::test]
async fn the_newest_of_very_many_is_found_and_so_is_the_next(
    #[case] program: Program,
    #[case] pages: usize,
) {
    let server = bed::open(program).await;
    let repository = bed::repository(server, "polling/many", &["v0.0.0"]).await;
    server
        .tag_numbered("polling/many", "v0.0.0", MANY - 2)
        .unwrap();
    // Lists are sorted by text, so this is the last one.
    let digest = bed::push(&repository, "v1.0.0", "last").await;
    let mut watcher = Watcher::of(server, "polling/many");
    let polled = watcher.poll().await;
    assert_eq!(polled.announced(), ("v1.0.0", &*digest));
    let listed = polled.listed.unwrap();
    assert_eq!((listed.tags, listed.pages), (MANY, pages));
    assert_eq!(watcher.poll().await.telling, Telling::Silence);
    let digest = bed::push(&repository, "v1.0.1", "one more").await;
    let polled = watcher.poll().await;
    assert_eq!(polled.announced(), ("v1.0.1", &*digest));
    assert_eq!(polled.listed.unwrap().tags, MANY + 1);
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_moved_tag_is_announced_once_more_after_a_look_at_its_head(#[case] program: Program) {
    let server = bed::open(program).await;
    let repository = bed::repository(server, "polling/moved", &[]).await;
    let first = bed::push(&repository, "v1.0.0", "first").await;
    let mut watcher = Watcher::of(server, "polling/moved");
    assert_eq!(watcher.poll().await.announced(), ("v1.0.0", &*first));
    let second = bed::push(&repository, "v1.0.0", "second").await;
    assert_ne!(first, second);
    assert_eq!(watcher.poll().await.announced(), ("v1.0.0", &*second));
    assert_eq!(watcher.poll().await.telling, Telling::Silence);

    let manifests = server.logged().unwrap().into_iter().filter(|request| {
        request.target.starts_with("/v2/polling/moved/manifests/") && request.method != "PUT"
    });
    let looked: Vec<_> = manifests
        .map(|request| {
            (
                request.method,
                request.target.rsplit('/').next().unwrap().to_owned(),
            )
        })
        .collect();
    let head = || ("HEAD".to_owned(), "v1.0.0".to_owned());
    let get = |digest: String| ("GET".to_owned(), digest);
    // The last one may not be in the log yet.
    assert_eq!(looked[..4], [head(), get(first), head(), get(second)]);
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_deleted_tag_moves_nothing_backwards(#[case] program: Program) {
    let server = bed::open(program).await;
    let repository = bed::repository(server, "polling/deleted", &["v1.0.0"]).await;
    let digest = bed::push(&repository, "v2.0.0", "to be deleted").await;
    let mut watcher = Watcher::of(server, "polling/deleted");
    assert_eq!(watcher.poll().await.announced(), ("v2.0.0", &*digest));
    repository.delete(&digest).await.unwrap();
    assert_eq!(repository.tags().await.unwrap(), ["v1.0.0"]);
    let telling = watcher.poll().await.telling;
    assert!(
        matches!(telling, Telling::Succeeded(Some((Nothing::TagVanished, _)))),
        "{telling:?}"
    );
    assert_eq!(watcher.poll().await.telling, Telling::Silence);
    let digest = bed::push(&repository, "v2.0.1", "next").await;
    assert_eq!(watcher.poll().await.announced(), ("v2.0.1", &*digest));
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_repository_that_is_not_there_is_named_so(#[case] program: Program) {
    let server = bed::open(program).await;
    let polled = Watcher::of(server, "polling/nowhere").poll().await;
    let failure = polled.failure();
    assert_eq!(failure.reason, Reason::RepositoryNotFound);
    assert_eq!(failure.what, "404 not found");
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_registry_that_was_away_is_polled_on(#[case] program: Program) {
    let mut server = Server::start(bed::open_setup(program)).await.unwrap();
    let repository = bed::repository(&server, "polling/restart", &["v1.0.0"]).await;
    let mut watcher = Watcher::of(&server, "polling/restart");
    assert_eq!(watcher.poll().await.announced().0, "v1.0.0");
    server.stop().unwrap();
    let polled = watcher.poll().await;
    assert_eq!(polled.failure().reason, Reason::RegistryUnreachable);
    server.start_again().await.unwrap();
    // The poll after a failure is worth telling even when it finds nothing new.
    assert_eq!(watcher.poll().await.telling, Telling::Succeeded(None));
    let digest = bed::push(&repository, "v1.0.1", "after the restart").await;
    assert_eq!(watcher.poll().await.announced(), ("v1.0.1", &*digest));
}
