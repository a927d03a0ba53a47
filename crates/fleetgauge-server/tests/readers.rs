//! Readers of a door that do not read, and connections that take the place of others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use fleetgauge_server::door::listener::{ConnectionCounts, Cut, Limits, Listener, Tls};
use fleetgauge_testkit::Certificates;
use fleetgauge_testkit::tls::Server;
use futures_util::stream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// More than any buffer between a door and its reader takes.
const LARGE: usize = 64 << 20;

const ASK: &[u8] = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";

struct Door {
    address: SocketAddr,
    counts: ConnectionCounts,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Door {
    async fn open(limits: Limits, tls: Option<Tls>) -> Self {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), tls, limits);
        let listener = listener.await.unwrap();
        let (address, counts) = (listener.address().unwrap(), listener.counts());
        let large = Bytes::from(vec![b'x'; LARGE]);
        // Says something now and nothing more.
        let open = || async {
            let said = stream::iter([Ok::<_, std::io::Error>("open\n")]);
            Body::from_stream(futures_util::StreamExt::chain(said, stream::pending()))
        };
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/open", get(open))
            .route("/large", get(move || async move { large.clone() }));
        let stop = CancellationToken::new();
        let served = tokio::spawn(listener.serve(router, stop.clone()));
        Self {
            address,
            counts,
            stop,
            served,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Looks until it is so.
    async fn until(&self, what: &str, is: impl Fn(&ConnectionCounts) -> bool) {
        let looks = async {
            while !is(&self.counts) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(60), looks).await;
        assert!(came.is_ok(), "never {what}: {:?}", self.counts);
    }

    async fn close(self) {
        self.stop.cancel();
        self.served.await.unwrap();
        assert_eq!(self.counts.open(), 0);
    }
}

/// How many bytes come until the end.
async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> usize {
    let mut buffer = vec![0; 1 << 20];
    let mut all = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        all += read;
    }
    all
}

/// Asks for what is small, over a connection that stays open.
async fn is_here(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answer = Vec::new();
    let mut buffer = [0; 1_024];
    while asked.is_ok() && !answer.ends_with(b"here") {
        match stream.read(&mut buffer).await {
            Ok(read @ 1..) => answer.extend_from_slice(&buffer[..read]),
            _ => return false,
        }
    }
    asked.is_ok()
}

/// What a client of HTTP/2 says first.
fn begin_http2() -> Vec<u8> {
    let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    begin.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    begin
}

/// The frame that asks for `path` on a stream.
fn get_frame(stream: u32, path: &str) -> Vec<u8> {
    // `:method: GET`, `:scheme: http`, then the path and the authority.
    let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    head.extend(path.bytes());
    head.extend([0x01, 1, b'x']);
    let mut frame = vec![0, 0, u8::try_from(head.len()).unwrap(), 1, 5];
    frame.extend(stream.to_be_bytes());
    frame.extend(head);
    frame
}

fn impatient() -> Limits {
    let mut limits = Limits::default();
    limits.read_within = Duration::from_secs(2);
    limits
}

async fn encrypted(door: &Door, certificates: &Certificates) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(certificates.ca()).unwrap();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, door.connect().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_cut_and_one_that_reads_is_not() {
    let door = Door::open(impatient(), None).await;
    let mut slow = door.connect().await;
    slow.write_all(ASK).await.unwrap();
    let mut open = door.connect().await;
    open.write_all(b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut quick = door.connect().await;
    let ask = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    quick.write_all(ask).await.unwrap();
    assert!(read_all(&mut quick).await > LARGE);
    door.until("cut", |counts| counts.cut(Cut::SlowReader) == 1).await;
    door.until("ended", |counts| counts.open() == 1).await;
    assert!(read_all(&mut slow).await < LARGE);
    // Whoever has read all that there was so far is not slow.
    let mut begin = [0; 15];
    open.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    assert_eq!(door.counts.cut(Cut::SlowReader), 1);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_cut_under_tls_too() {
    let certificates = Certificates::generate().unwrap();
    let tls = Tls::new(Arc::new(certificates.server_config(Server::Valid).unwrap()));
    let door = Door::open(impatient(), Some(tls)).await;
    let mut slow = encrypted(&door, &certificates).await;
    slow.write_all(ASK).await.unwrap();
    door.until("cut", |counts| {
        counts.cut(Cut::SlowReader) == 1 && counts.open() == 0
    })
    .await;
    let mut other = encrypted(&door, &certificates).await;
    assert!(is_here(&mut other).await);
    drop((slow, other));
    door.close().await;
}

/// Of HTTP/2 a reader may take bytes from the connection, and leave no room for those of its answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_opens_no_window_is_cut() {
    let door = Door::open(impatient(), None).await;
    let mut slow = door.connect().await;
    let mut asked = begin_http2();
    asked.extend(get_frame(1, "/large"));
    slow.write_all(&asked).await.unwrap();
    let read = read_all(&mut slow).await;
    assert!((65_535..LARGE).contains(&read), "{read}");
    door.until("cut", |counts| counts.cut(Cut::SlowReader) == 1).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_read_is_bounded_and_the_oldest_go_first() {
    let mut limits = Limits::default();
    limits.max_unread = 2 * LARGE;
    let door = Door::open(limits, None).await;
    let mut slow = Vec::new();
    for waiting in 0..4_u64 {
        let mut reader = door.connect().await;
        reader.write_all(ASK).await.unwrap();
        // It is on its way.
        let mut begin = [0; 1_024];
        reader.read_exact(&mut begin).await.unwrap();
        slow.push(reader);
        let cut = waiting.saturating_sub(1);
        door.until("cut", |counts| counts.cut(Cut::Unread) == cut).await;
    }
    for (at, reader) in slow.iter_mut().enumerate() {
        if at < 2 {
            assert!(read_all(reader).await < LARGE, "{at}");
        } else {
            let mut rest = vec![0; LARGE - 1_024];
            reader.read_exact(&mut rest).await.unwrap();
        }
    }
    assert_eq!(door.counts.cut(Cut::Unread), 2);
    drop(slow);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_door_makes_room_and_those_that_are_answered_stay() {
    let mut limits = Limits::default();
    limits.max_connections = 32;
    limits.idle_for = Duration::from_millis(50);
    let door = Door::open(limits, None).await;
    let mut open = door.connect().await;
    open.write_all(b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut begin = [0; 15];
    open.read_exact(&mut begin).await.unwrap();
    // Three times as many as there may be, each of which is answered and stays.
    let mut all = Vec::new();
    for at in 0..96 {
        let mut one = door.connect().await;
        assert!(is_here(&mut one).await, "{at}");
        all.push(one);
    }
    assert!(door.counts.cut(Cut::Idle) >= 65, "{:?}", door.counts);
    assert!(door.counts.open() <= 32);
    let mut newest = all.pop().unwrap();
    assert!(is_here(&mut newest).await);
    let mut more = [0; 1_024];
    loop {
        match open.try_read(&mut more) {
            Ok(read) => assert!(read > 0, "the stream has ended"),
            Err(error) => break assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    drop((all, newest, open));
    door.close().await;
}

/// Streams that are taken back as soon as they are asked for cost the others nothing, and their connection in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_resets_ends_its_connection_and_holds_nobody_up() {
    let door = Door::open(Limits::default(), None).await;
    let storm = |stream: TcpStream| async {
        let (mut reader, mut writer) = stream.into_split();
        let cut = tokio::spawn(async move { read_all(&mut reader).await });
        let mut said = writer.write_all(&begin_http2()).await.is_ok();
        let mut stream = 1_u32;
        while said && stream < 200_000 {
            let mut frames = Vec::new();
            for _ in 0..100 {
                frames.extend(get_frame(stream, "/large"));
                // CANCEL
                frames.extend([0, 0, 4, 3, 0]);
                frames.extend(stream.to_be_bytes());
                frames.extend([0, 0, 0, 8]);
                stream += 2;
            }
            said = writer.write_all(&frames).await.is_ok();
        }
        cut.await.unwrap();
        stream
    };
    let mut other = door.connect().await;
    let storms = (0..4).map(|_| async { storm(door.connect().await).await });
    let asking = async {
        for _ in 0..100 {
            assert!(is_here(&mut other).await);
        }
    };
    let (streams, ()) = tokio::join!(futures_util::future::join_all(storms), asking);
    assert!(streams.iter().all(|stream| *stream < 200_000), "{streams:?}");
    drop(other);
    door.close().await;
}
