//! Who comes in and who does not, with certificates that were signed for the test. What is found out about a connection is
//! told by hand here; the door's listener tells it in the tests with a real API server.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::door::kubernetes::pods::NoPodLabels;
use crate::door::kubernetes::routes;
use crate::door::kubernetes::trust::Trust;
use crate::readiness::Readiness;
use crate::store::Store;

const METRIC: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/chat/queue";
const POD_METRIC: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/chat/pods/*/queue";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

// === impl Authority ===

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "team");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let signed = params.signed_by(&KeyPair::generate().unwrap(), &self.issuer);
        vec![signed.unwrap().der().clone()]
    }
}

/// A cluster that knows two tokens, lets `reader` and whoever asks for him see everything, and writes down what it is asked.
struct Fake {
    trust: Mutex<Result<Arc<Trust>, Unanswered>>,
    asked: Mutex<Vec<(User, Access)>>,
    tokens: Mutex<usize>,
    is_silent: Mutex<bool>,
}

impl Cluster for Fake {
    fn trust(&self) -> Result<Arc<Trust>, Unanswered> {
        lock(&self.trust).clone()
    }

    fn whose<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<User>, Unanswered>> {
        *lock(&self.tokens) += 1;
        let answer = match token {
            _ if *lock(&self.is_silent) => Err(Unanswered("it is down".to_owned())),
            "reader" | "stranger" => Ok(Some(user(token))),
            _ => Ok(None),
        };
        async { answer }.boxed()
    }

    fn may<'a>(&'a self, user: &'a User, what: &'a Access) -> BoxFuture<'a, Result<Verdict, Unanswered>> {
        lock(&self.asked).push((user.clone(), what.clone()));
        let answer = match *lock(&self.is_silent) {
            true => Err(Unanswered("it is down".to_owned())),
            false => Ok(Verdict {
                is_allowed: user.name == "reader",
                reason: String::new(),
            }),
        };
        async { answer }.boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        ..User::default()
    }
}

struct Door {
    users: Authority,
    proxies: Authority,
    cluster: Arc<Fake>,
    hand: fleetgauge_core::time::ManualClock,
    router: Router,
}

// === impl Door ===

impl Door {
    fn open() -> Self {
        let (users, proxies) = (Authority::new(), Authority::new());
        let trust = Trust::read(&config_map(&users.pem, &proxies.pem, r#"["front-proxy"]"#)).unwrap();
        let cluster = Arc::new(Fake {
            trust: Mutex::new(Ok(Arc::new(trust))),
            asked: Mutex::default(),
            tokens: Mutex::default(),
            is_silent: Mutex::default(),
        });
        let (clock, hand) = Clock::manual(fleetgauge_core::time::Timestamp::from_millis(0));
        let store = Store::new(clock);
        let readiness = Readiness::new(store.clone(), Duration::from_secs(3_600));
        let asked: Arc<dyn Cluster> = cluster.clone();
        let router = routes(store, readiness, asked, NoPodLabels);
        Self {
            users,
            proxies,
            cluster,
            hand,
            router,
        }
    }

    async fn get(
        &self,
        path: &str,
        certificates: &[CertificateDer<'static>],
        headers: &[(&str, &str)],
    ) -> (u16, String) {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer {
            address: "127.0.0.1:1".parse().unwrap(),
            has_certificate: !certificates.is_empty(),
            certificates: certificates.into(),
        });
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let status: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_status = head.status.is_success() || status["kind"] == "Status";
        assert!(is_status, "{path}: {body:?}");
        (
            head.status.as_u16(),
            status["message"].as_str().unwrap_or_default().to_owned(),
        )
    }

    /// The last that the cluster was asked, and nothing else since.
    fn asked(&self) -> (User, Access) {
        let mut asked = lock(&self.cluster.asked);
        let all: Vec<_> = asked.drain(..).collect();
        match <[_; 1]>::try_from(all) {
            Ok([only]) => only,
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn config_map(users: &str, proxies: &str, names: &str) -> BTreeMap<String, String> {
    let data = [
        ("client-ca-file", users),
        ("requestheader-client-ca-file", proxies),
        ("requestheader-allowed-names", names),
        ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#),
        ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
        ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
    ];
    data.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

const PAGES: [&str; 7] = [
    "/apis",
    "/apis/external.metrics.k8s.io",
    "/apis/external.metrics.k8s.io/v1beta1",
    "/openapi/v2",
    "/openapi/v3",
    METRIC,
    POD_METRIC,
];

#[tokio::test]
async fn whoever_is_nobody_sees_whether_the_daemon_lives_and_nothing_else() {
    let door = Door::open();
    let forged = [("X-Remote-User", "reader"), ("X-Remote-Group", "system:masters")];
    let stranger = Authority::new().sign("front-proxy", |_| {});
    let not_for_clients = door.users.sign("reader", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let expired = door
        .users
        .sign("reader", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let nameless = door.users.sign("", |_| {});
    let other_name = door.proxies.sign("another", |_| {});
    let proxy = door.proxies.sign("front-proxy", |_| {});
    let expired_proxy = door.proxies.sign("front-proxy", |params| {
        params.not_after = date_time_ymd(2020, 1, 1)
    });
    for (who, certificates, headers) in [
        ("nobody", &[][..], &[][..]),
        ("forged headers", &[], &forged),
        ("a token of nobody", &[], &[("Authorization", "Bearer nobody")]),
        ("no token", &[], &[("Authorization", "Bearer ")]),
        ("another scheme", &[], &[("Authorization", "Basic cmVhZGVy")]),
        ("a stranger's certificate", &stranger, &[]),
        ("a stranger's certificate with forged headers", &stranger, &forged),
        ("a server's certificate", &not_for_clients, &[]),
        ("an expired certificate", &expired, &forged),
        ("a certificate without a name", &nameless, &forged),
        ("another one of the front proxy's authority", &other_name, &forged),
        ("an expired front proxy", &expired_proxy, &forged),
        ("the front proxy on behalf of nobody", &proxy, &[]),
    ] {
        for page in PAGES.into_iter().chain(["/nowhere"]) {
            let (code, message) = door.get(page, certificates, headers).await;
            assert_eq!(code, 401, "{who} {page}: {message}");
        }
        for page in ["/livez", "/healthz"] {
            assert_eq!(door.get(page, certificates, headers).await.0, 200, "{who} {page}");
        }
    }
    assert!(lock(&door.cluster.asked).is_empty());
}

#[tokio::test]
async fn the_front_proxy_says_who_asks_and_others_are_who_they_are() {
    let door = Door::open();
    let forged = [("X-Remote-User", "reader"), ("X-Remote-Group", "system:masters")];
    let proxy = door.proxies.sign("front-proxy", |_| {});
    let headers = [
        ("X-Remote-User", "reader"),
        ("X-Remote-Uid", "7"),
        ("X-Remote-Group", "a"),
        ("X-Remote-Group", "b"),
        ("X-Remote-Extra-Scopes%2fOf", "one"),
        ("X-Remote-Extra-scopes%2fof", "two"),
    ];
    let (code, message) = door.get(METRIC, &proxy, &headers).await;
    assert_eq!(code, 404, "there is no such metric: {message}");
    let (asked, what) = door.asked();
    assert_eq!(asked.name, "reader");
    assert_eq!(asked.uid, "7");
    assert_eq!(asked.groups, ["a", "b", "system:authenticated"]);
    assert_eq!(asked.extra["scopes/of"], ["one", "two"]);
    let expected = Access::Resource {
        verb: "list",
        group: "external.metrics.k8s.io",
        version: "v1beta1",
        namespace: "chat".to_owned(),
        resource: "queue".to_owned(),
        name: String::new(),
        subresource: String::new(),
    };
    assert_eq!(what, expected);

    // With rights to nothing.
    let certificate = door.users.sign("stranger", |_| {});
    let another = door.proxies.sign("another", |_| {});
    let token = ("Authorization", "bearer stranger");
    for (path, certificates, headers, groups) in [
        (
            POD_METRIC,
            &certificate[..],
            &forged[..],
            &["team", "system:authenticated"][..],
        ),
        (
            POD_METRIC,
            &[],
            &[token, forged[0], forged[1]],
            &["system:authenticated"],
        ),
        // Who is not the front proxy may still have a token.
        (
            METRIC,
            &another,
            &[token, forged[0], forged[1]],
            &["system:authenticated"],
        ),
    ] {
        let (code, message) = door.get(path, certificates, headers).await;
        assert_eq!(code, 403, "{message}");
        assert!(message.starts_with("User \"stranger\" cannot "), "{message}");
        let (asked, _) = door.asked();
        assert_eq!(
            (&*asked.name, &asked.groups[..]),
            ("stranger", &owned(groups)[..])
        );
    }
    let (_, message) = door.get(POD_METRIC, &certificate, &[]).await;
    let expected = "User \"stranger\" cannot get resource \"pods/queue\" in API group \"custom.metrics.k8s.io\" in the namespace \"chat\"";
    assert_eq!(message, expected);
    let reader = door.users.sign("reader", |_| {});
    for page in &PAGES[..5] {
        assert_eq!(door.get(page, &reader, &[]).await.0, 200, "{page}");
        assert_eq!(
            door.asked().1,
            Access::Page {
                path: (*page).to_owned()
            }
        );
        assert_eq!(door.get(page, &certificate, &forged).await.0, 403, "{page}");
        lock(&door.cluster.asked).clear();
    }
    // Nobody in particular, of whom the cluster need not be asked.
    let anonymous = [
        ("X-Remote-User", "system:anonymous"),
        ("X-Remote-Group", "system:unauthenticated"),
    ];
    for page in PAGES {
        assert_eq!(door.get(page, &proxy, &anonymous).await.0, 403, "{page}");
    }
    assert!(lock(&door.cluster.asked).is_empty());
}

#[tokio::test]
async fn what_the_cluster_says_is_remembered_for_a_while() {
    let door = Door::open();
    let (reader, stranger) = (
        [("Authorization", "Bearer reader")],
        [("Authorization", "Bearer stranger")],
    );
    let nobody = [("Authorization", "Bearer nobody")];
    let ask = async |headers: &[(&str, &str)], expected: u16| {
        assert_eq!(door.get(METRIC, &[], headers).await.0, expected);
        let asked = lock(&door.cluster.asked).drain(..).count();
        (std::mem::take(&mut *lock(&door.cluster.tokens)), asked)
    };
    assert_eq!(ask(&reader, 404).await, (1, 1));
    assert_eq!(ask(&reader, 404).await, (0, 0));
    assert_eq!(ask(&stranger, 403).await, (1, 1));
    assert_eq!(ask(&stranger, 403).await, (0, 0));
    assert_eq!(ask(&nobody, 401).await, (1, 0));
    assert_eq!(ask(&nobody, 401).await, (0, 0));
    door.hand.advance(Duration::from_secs(10));
    assert_eq!(ask(&reader, 404).await, (1, 0));
    assert_eq!(ask(&nobody, 401).await, (1, 0));
    door.hand.advance(Duration::from_secs(20));
    assert_eq!(ask(&stranger, 403).await, (1, 1));
    assert_eq!(ask(&reader, 404).await, (1, 0));
    door.hand.advance(Duration::from_secs(270));
    assert_eq!(ask(&reader, 404).await, (1, 1));
}

#[tokio::test]
async fn while_the_cluster_does_not_say_nobody_new_comes_in() {
    let door = Door::open();
    let reader = [("Authorization", "Bearer reader")];
    *lock(&door.cluster.is_silent) = true;
    for _ in 0..2 {
        let (code, message) = door.get(METRIC, &[], &reader).await;
        assert_eq!(code, 503);
        assert!(message.contains("it is down"), "{message}");
    }
    *lock(&door.cluster.is_silent) = false;
    // That it said nothing is not remembered.
    assert_eq!(door.get(METRIC, &[], &reader).await.0, 404);
    *lock(&door.cluster.is_silent) = true;
    assert_eq!(
        door.get(METRIC, &[], &reader).await.0,
        404,
        "what it has said still counts"
    );
    *lock(&door.cluster.is_silent) = false;

    let certificate = door.users.sign("reader", |_| {});
    *lock(&door.cluster.trust) = Err(Unanswered("not listed yet".to_owned()));
    let (code, message) = door.get(METRIC, &certificate, &[]).await;
    assert_eq!(code, 503);
    assert!(message.contains("not listed yet"), "{message}");
    assert_eq!(
        door.get(METRIC, &certificate, &reader).await.0,
        404,
        "a token is known all the same"
    );
    // Others are believed from now on.
    let users = Authority::new();
    let trust = Trust::read(&config_map(&users.pem, &door.proxies.pem, "[]")).unwrap();
    *lock(&door.cluster.trust) = Ok(Arc::new(trust));
    assert_eq!(door.get(METRIC, &certificate, &[]).await.0, 401);
    assert_eq!(door.get(METRIC, &users.sign("reader", |_| {}), &[]).await.0, 404);
}

#[test]
fn what_is_wrong_with_the_config_map_is_said() {
    let (users, proxies) = (Authority::new().pem, Authority::new().pem);
    let both = format!("{users}{proxies}");
    let check = |data: BTreeMap<String, String>, expected: Result<(), &str>| {
        let read = Trust::read(&data).map(drop).map_err(|error| error.to_string());
        match (&read, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(expected)) if error.contains(expected) => {}
            _ => panic!("{read:?}, not {expected:?}"),
        }
    };
    check(BTreeMap::new(), Ok(()));
    check(config_map(&users, &proxies, "[]"), Ok(()));
    check(config_map(&users, &both, r#"["front-proxy"]"#), Ok(()));
    check(
        config_map(&users, &both, "[]"),
        Err("every user could say that he is another one"),
    );
    check(
        config_map(&users, &proxies, "front-proxy"),
        Err("not a list of strings"),
    );
    let broken = users.replace("BEGIN CERTIFICATE-----\n", "BEGIN CERTIFICATE-----\n!!!");
    check(config_map(&broken, &proxies, "[]"), Err("`client-ca-file`"));
}
