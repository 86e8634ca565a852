//! Whoever answers for a registry wants the credentials for somebody else. In hundreds of shapes of
//! realms, redirects, links and edited bundles an evil server must see none.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

const PASSWORD: &str = "correct-horse-battery";

/// Takes every connection and keeps what arrives, down to the last byte.
struct Evil {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    _listening: JoinSet<()>,
}

impl Evil {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let ears = Arc::clone(&heard);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 16 << 10];
                let length = stream.read(&mut bytes).await.unwrap_or_default();
                bytes.truncate(length);
                ears.lock().unwrap().push(bytes);
            }
        });
        Self {
            address,
            heard,
            _listening: listening,
        }
    }

    fn heard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

/// Realms that lead to `evil` or nowhere, as seen from the registry at `home`.
fn realms(evil: SocketAddr, home: SocketAddr) -> Vec<String> {
    let port = evil.port();
    let hosts = [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("0177.0.0.1:{port}"),
        format!("127.1:{port}"),
        format!("0:{port}"),
        format!("0.0.0.0:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("127.0.0.1.:{port}"),
        format!("127。0。0。1:{port}"),
        format!("%31%32%37.0.0.1:{port}"),
        format!("{home}@127.0.0.1:{port}"),
        format!("user:pass@127.0.0.1:{port}"),
        format!("{home}\\\\@127.0.0.1:{port}"),
        format!("{home}#@127.0.0.1:{port}"),
        format!("{home}.evil.invalid:{port}"),
        "169.254.169.254".to_owned(),
        "[fd00:ec2::254]".to_owned(),
        "[::ffff:10.0.0.1]".to_owned(),
        "auth.docker.io.evil.invalid".to_owned(),
    ];
    let schemes = [
        "http://",
        "https://",
        "HTTPS://",
        "//",
        "",
        "ftp://",
        "file://",
        "gopher://",
    ];
    let paths = ["/token", "/token?service=x&scope=repository:org/app:push"];
    let mut realms = Vec::new();
    for scheme in schemes {
        for host in &hosts {
            realms.extend(paths.map(|path| format!("{scheme}{host}{path}")));
        }
    }
    realms
}

#[tokio::test]
async fn no_realm_leads_credentials_away() {
    let evil = Evil::start().await;
    let bed = Bed::start(|_| status(500)).await;
    bed.has_entry("login", &entry("user", PASSWORD));
    let home = bed.registry.address;
    let realms = realms(evil.address, home);
    assert!(realms.len() > 300, "{}", realms.len());
    for realm in realms {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"reg\"");
        bed.registry.now_answers(move |_| {
            let mut response = status(401);
            let value = http::HeaderValue::from_bytes(challenge.as_bytes()).unwrap();
            response.headers_mut().insert("www-authenticate", value);
            response
        });
        let failure = bed.poll(Some("login")).await.unwrap_err();
        let asked = bed.asked();
        // Before a fragment there is only the host the entry is for.
        let lower = realm.to_lowercase();
        let stays = lower.starts_with("http") && lower.contains(&format!("://{home}#"));
        if !stays {
            assert_eq!(asked, [list(None)], "{realm}");
            let rejected = [Reason::AuthRealmRejected, Reason::AuthChallengeInvalid];
            assert!(rejected.contains(&failure.reason), "{realm}: {failure}");
        }
        assert!(!failure.what.contains(PASSWORD));
        assert_eq!(evil.heard(), 0, "{realm}");
    }
}

#[tokio::test]
async fn no_redirect_or_link_leads_credentials_away() {
    let evil = Evil::start().await;
    let token = json!({ "token": "abc", "expires_in": 3600 });
    let user = basic("user", PASSWORD);
    let bed = Bed::start(guarded(vec![Some(user)], token)).await;
    bed.has_entry("login", &entry("user", PASSWORD));
    bed.poll(Some("login")).await.unwrap();
    let (address, home) = (evil.address, bed.registry.address);
    for target in [
        format!("http://{address}/v2/org/app/tags/list"),
        format!("https://{address}/v2/org/app/tags/list"),
        format!("//{address}/v2/org/app/tags/list"),
        format!("http://{home}@{address}/v2/org/app/tags/list"),
        format!("http://localhost:{}/v2/org/app/tags/list", address.port()),
        format!("https://{home}/v2/org/app/tags/list"),
        "https://169.254.169.254/latest".to_owned(),
    ] {
        for code in [301, 302, 303, 307, 308] {
            let target = target.clone();
            bed.registry
                .now_answers(move |_| with(code, &[("location", &target)], ""));
            bed.asked();
            bed.poll(Some("login")).await.unwrap_err();
            assert_eq!(bed.asked().len(), 1);
        }
        for link in [
            format!("<{target}>; rel=\"next\""),
            format!("{target}; rel=next"),
        ] {
            bed.registry
                .now_answers(move |_| page(&["v1"], &[("link", &link)]));
            bed.asked();
            bed.poll(Some("login")).await.unwrap_err();
            assert_eq!(bed.asked().len(), 1);
        }
        assert_eq!(evil.heard(), 0, "{target}");
    }
}

/// Alice points her bundle at her own host, with the Secret that is for another registry.
#[rstest::rstest]
#[case::other(&["registry.corp.example"])]
#[case::other_port(&["127.0.0.1", "127.0.0.1:1"])]
#[case::other_path(&["HOME/team", "HOME/org/app/more", "HOME/or"])]
#[case::docker(&["https://index.docker.io/v1/", "docker.io"])]
#[case::wildcards(&["*", "*.*", "*.0.0", "*.example:PORT", "*:PORT", "127.*.1:PORT"])]
#[case::users(&["user@HOME", "HOME@registry.corp.example", "HOME.registry.corp.example"])]
#[tokio::test]
async fn an_edited_url_gets_nobody_elses_credentials(#[case] keys: &[&str]) {
    let bed = Bed::start(|_| with(401, &[("www-authenticate", "Basic")], "")).await;
    let home = bed.registry.address.to_string();
    let port = bed.registry.address.port().to_string();
    let entries = keys.iter().map(|key| {
        let key = key.replace("HOME", &home).replace("PORT", &port);
        (key, entry("user", PASSWORD))
    });
    let entries: serde_json::Map<String, Value> = entries.collect();
    bed.cluster.docker("login", &entries.into());
    let failure = bed.poll(Some("login")).await.unwrap_err();
    assert_eq!(failure.reason, Reason::RegistrySecretInvalid, "{failure}");
    assert_eq!(bed.asked(), []);
}

/// A registry names the token server of another one, for which the same Secret has other credentials:
/// a token made with those would end up with the registry.
#[tokio::test]
async fn a_registry_is_not_given_a_token_made_with_credentials_for_another() {
    let evil = Evil::start().await;
    let bed = Bed::start(|_| status(500)).await;
    let (home, other) = (bed.registry.address.to_string(), evil.address.to_string());
    let entries =
        json!({ home: entry("user", "for-the-registry"), &other: entry("user", PASSWORD) });
    bed.cluster.docker("login", &entries);
    let challenge = format!("Bearer realm=\"https://{other}/token\"");
    let script = move |_: &Asked| with(401, &[("www-authenticate", &challenge)], "");
    bed.registry.now_answers(script);
    let failure = bed.poll(Some("login")).await.unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRealmRejected);
    assert!(failure.what.contains("--token-server"), "{failure}");
    assert!(failure.what.contains(&other), "{failure}");
    assert_eq!(evil.heard(), 0);
}

/// The credentials are the same this time, and the token is there already, from a poll of the other.
#[tokio::test]
async fn a_registry_is_not_given_a_token_that_another_one_is_asked_with() {
    let token = json!({ "token": "abc", "expires_in": 3600 });
    let user = basic("user", PASSWORD);
    let bed = Bed::start(guarded(vec![Some(user)], token)).await;
    let home = bed.registry.address;
    let challenge = format!("Bearer realm=\"http://{home}/token\",service=\"reg\"");
    let script = move |_: &Asked| with(401, &[("www-authenticate", &challenge)], "");
    let evil = Scripted::start(script).await;
    let entry = entry("user", PASSWORD);
    let entries = json!({ home.to_string(): entry, evil.address.to_string(): entry });
    bed.cluster.docker("login", &entries);
    bed.poll(Some("login")).await.unwrap();
    let subscription = Subscription {
        credentials: Some(Cluster::key("login")),
        ..Subscription::anonymous(evil.repository().parse().unwrap(), false)
    };
    let failure = poll(&bed.client, &subscription, None).await.unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRealmRejected, "{failure}");
    let heard = evil.asked();
    assert!(heard.iter().all(|asked| by(asked).is_none()), "{heard:?}");
}

#[tokio::test]
async fn nothing_is_sent_without_tls_where_nobody_allowed_that() {
    let cluster = Cluster::default();
    cluster.basic("login", "user", PASSWORD);
    let subscription = Subscription {
        credentials: Some(Cluster::key("login")),
        ..Subscription::anonymous("registry.invalid/org/app".parse().unwrap(), true)
    };
    let failure = poll(&client(&cluster), &subscription, None)
        .await
        .unwrap_err();
    assert_eq!(failure.reason, Reason::InsecureNotAllowed);
    assert_eq!(cluster.asked(), [""; 0], "the Secret is not even read");
}

#[rstest::rstest]
#[case("169.254.169.254")]
#[case("[fd00:ec2::254]")]
#[case("[::ffff:10.0.0.1]")]
#[case("0.0.0.0")]
#[case("3232235777")]
#[tokio::test]
async fn not_even_nobody_asks_inside_for_a_token(#[case] host: &'static str) {
    let challenge = format!("Bearer realm=\"https://{host}/token\"");
    let script = move |_: &Asked| with(401, &[("www-authenticate", &challenge)], "");
    let bed = Bed::start(script).await;
    let failure = bed.poll(None).await.unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRealmRejected, "{failure}");
    assert_eq!(bed.asked(), [list(None)]);
}
