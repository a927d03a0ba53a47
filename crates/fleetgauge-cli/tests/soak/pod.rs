//! A pod whose only number says whose page it is and which one, so that a sum tells what went into it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// So many pods have their own bits in a sum, which a double holds exactly.
pub(super) const PODS: usize = 4;
/// Their names, two of each variant.
pub(super) const NAMES: [&str; PODS] = [
    "a-7d4b9c6f5-bcdfg",
    "a-7d4b9c6f5-xk2vp",
    "b-7d4b9c6f5-bcdfg",
    "b-7d4b9c6f5-xk2vp",
];
/// The bits of each: the mark 01, which two pages of one pod would make 10, and above it the number of its page.
const BITS: usize = 13;
const PAGES: u64 = 1 << (BITS - 2);
/// Until the numbers of pages begin anew, more time passes.
const REMEMBERED: Duration = Duration::from_secs(20);

/// What a pod does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// Answers about when the daemon gives up.
    Slow,
    Fails,
    Hangs,
    Resets,
    /// The page ends in the middle of the number, before the end that was announced.
    Cuts,
    /// The same where nothing announces the end.
    CutsUnnoticed,
}

pub(super) const BAD_MOODS: [Mood; 6] = [
    Mood::Slow,
    Mood::Fails,
    Mood::Hangs,
    Mood::Resets,
    Mood::Cuts,
    Mood::CutsUnnoticed,
];

pub(super) struct Pod {
    pub(super) number: usize,
    pub(super) address: SocketAddr,
    state: Mutex<State>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    mood: Mood,
    page: u64,
    /// The pages that were sent whole, and when they were made.
    served: VecDeque<(u64, Instant)>,
    count: u64,
}

// === impl Pod ===

impl Pod {
    /// One that listens at an address that nobody else is likely to take while it does not.
    pub(super) async fn start(number: usize, first_page: u64) -> Arc<Self> {
        let [.., a, b] = std::process::id().to_be_bytes();
        let address = SocketAddr::from(([127, 64 + (number as u8), a, b.max(2)], 0));
        let listener = TcpListener::bind(address).await.unwrap();
        let state = State {
            mood: Mood::Well,
            page: first_page,
            served: VecDeque::new(),
            count: 0,
        };
        let pod = Arc::new(Self {
            number,
            address: listener.local_addr().unwrap(),
            state: Mutex::new(state),
            listening: Mutex::default(),
        });
        pod.listen(listener);
        pod
    }

    fn listen(self: &Arc<Self>, listener: TcpListener) {
        let pod = Arc::clone(self);
        let listening = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let pod = Arc::clone(&pod);
                // Whoever leaves in the middle is no matter.
                connections.spawn(async move { pod.answer(stream).await.ok() });
                while connections.try_join_next().is_some() {}
            }
        });
        *self.listening.lock().unwrap() = Some(listening);
    }

    /// Nobody listens any more, and what was open is cut.
    pub(super) fn go(&self) {
        if let Some(listening) = self.listening.lock().unwrap().take() {
            listening.abort();
        }
    }

    /// Listens where it did before.
    pub(super) async fn come_back(self: &Arc<Self>) {
        if self.listening.lock().unwrap().is_none() {
            // The task that was aborted may hold the port for a moment.
            let listener = loop {
                match TcpListener::bind(self.address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            self.listen(listener);
        }
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// How many pages it has sent whole.
    pub(super) fn count(&self) -> u64 {
        self.state.lock().unwrap().count
    }

    /// When the page was made that it sent last under this number, of those not made after `until`.
    pub(super) fn served(&self, page: u64, until: Instant) -> Option<Instant> {
        let state = self.state.lock().unwrap();
        let mut served = state.served.iter().rev();
        let found = served.find(|(known, at)| *known % PAGES == page && *at <= until);
        found.map(|(_, at)| *at)
    }

    async fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let (mood, page) = self.next();
        let value = (((page % PAGES) << 2) | 1) << (BITS * self.number);
        let noise: String = (0..20)
            .map(|i| format!("soak_noise{{i=\"{i}\",turn=\"{}\"}} {page}\n", page / 256))
            .collect();
        let body = format!("{noise}soak_page {value}\n");
        let length = format!("Content-Length: {}\r\n", body.len());
        let cut = &body[..body.len() - 2];
        let (status, length, body) = match mood {
            Mood::Well | Mood::Slow => ("200 OK", &*length, &*body),
            Mood::Fails => ("500 Oh", "", ""),
            Mood::Cuts => ("200 OK", &*length, cut),
            Mood::CutsUnnoticed => ("200 OK", "", cut),
            Mood::Hangs => {
                while stream.read_buf(&mut head).await? > 0 {}
                return Ok(());
            }
            Mood::Resets => return stream.set_zero_linger(),
        };
        if mood == Mood::Slow {
            tokio::time::sleep(Duration::from_millis(page % 16 * 10)).await;
        }
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n{length}");
        let whole = format!("{head}Connection: close\r\n\r\n{body}");
        stream.write_all(whole.as_bytes()).await?;
        stream.shutdown().await
    }

    /// Makes a page. It is remembered if it is to be sent whole.
    fn next(&self) -> (Mood, u64) {
        let mut state = self.state.lock().unwrap();
        state.page += 1;
        let (mood, page, now) = (state.mood, state.page, Instant::now());
        if matches!(mood, Mood::Well | Mood::Slow) {
            state.served.push_back((page, now));
            state.count += 1;
            while state.served.front().is_some_and(|(_, at)| now - *at > REMEMBERED) {
                state.served.pop_front();
            }
        }
        (mood, page)
    }
}

/// Which page of which pod went into a sum.
pub(super) fn pages(sum: f64) -> Result<[Option<u64>; PODS], String> {
    let whole = sum as u64;
    if whole as f64 != sum || whole >> (BITS * PODS) != 0 {
        return Err(format!("{sum} is not a sum of pages"));
    }
    let mut pages = [None; PODS];
    for (number, page) in pages.iter_mut().enumerate() {
        let part = whole >> (BITS * number) & ((1 << BITS) - 1);
        *page = match (part, part & 3) {
            (0, _) => None,
            (_, 1) => Some(part >> 2),
            _ => return Err(format!("{sum} has pod {number} in it, but not once")),
        };
    }
    Ok(pages)
}
