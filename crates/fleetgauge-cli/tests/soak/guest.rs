//! Clients of all kinds, that come and go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_server::door::keda::proto::external_scaler_client::ExternalScalerClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;

use super::daemon::Daemon;
use super::judge::scaled_object;

#[derive(Clone, Copy, Debug)]
pub(super) enum Guest {
    /// Connects, and says nothing.
    Silent,
    HalfRequest,
    /// Asks for pages again and again, and reads none.
    Deaf,
    /// Reads a stream of events byte by byte.
    SlowStream,
    /// Asks for a stream of events, and reads nothing.
    DeafStream,
    Nonsense,
    /// Asks KEDA's door to be told.
    Scaler,
}

pub(super) const GUESTS: [Guest; 7] = [
    Guest::Silent,
    Guest::HalfRequest,
    Guest::Deaf,
    Guest::SlowStream,
    Guest::DeafStream,
    Guest::Nonsense,
    Guest::Scaler,
];

/// Comes, stays so long at most, and leaves, by a reset if it is rude.
pub(super) async fn visit(guest: Guest, daemon: Arc<Daemon>, stay: Duration, is_rude: bool) {
    let visiting = async {
        match guest {
            Guest::Scaler => scaler(daemon.keda).await,
            _ => client(guest, &daemon, is_rude).await.map_or((), |_| ()),
        }
        std::future::pending::<()>().await;
    };
    // What becomes of it does not matter to anybody else.
    let _ = tokio::time::timeout(stay, visiting).await;
}

async fn client(guest: Guest, daemon: &Daemon, is_rude: bool) -> std::io::Result<TcpStream> {
    let address = if is_rude { daemon.keda } else { daemon.server };
    let mut stream = TcpStream::connect(address).await?;
    if is_rude {
        stream.set_zero_linger()?;
    }
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    match guest {
        Guest::HalfRequest => stream.write_all(b"GET /api/fleetgauge/v1/metr").await?,
        Guest::Nonsense => stream.write_all(b"\x16\x03nonsense\r\n\r\n").await?,
        Guest::Deaf => {
            for _ in 0..200 {
                let path = ask("/api/fleetgauge/v1/metrics");
                stream.write_all(path.as_bytes()).await?;
            }
        }
        Guest::SlowStream | Guest::DeafStream => {
            stream
                .write_all(ask("/api/fleetgauge/v1/stream").as_bytes())
                .await?;
        }
        Guest::Silent | Guest::Scaler => {}
    }
    if matches!(guest, Guest::SlowStream) {
        loop {
            stream.read_u8().await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    // Held until the visit is over.
    std::future::pending::<()>().await;
    Ok(stream)
}

async fn scaler(address: SocketAddr) {
    let Ok(endpoint) = Channel::from_shared(format!("http://{address}")) else {
        return;
    };
    let Ok(channel) = endpoint.connect().await else {
        return;
    };
    let mut client = ExternalScalerClient::new(channel);
    if let Ok(told) = client.stream_is_active(scaled_object()).await {
        let mut told = told.into_inner();
        while let Ok(Some(_)) = told.message().await {}
    }
}
