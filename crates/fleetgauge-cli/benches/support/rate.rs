//! Requests at a rate, and what they take of whoever answers them.

use std::time::{Duration, Instant};

/// For so long.
pub(crate) const MEASURED: Duration = Duration::from_secs(15);

/// Asks so many times a second, whether answers come or not, as those who ask do not wait for each other. Latencies are from when a
/// request was due, and could be sent.
pub(crate) async fn at_rate<C>(what: &str, pid: u32, rate: u32, clients: Vec<C>, ask: impl AsyncFn(C) -> C) {
    let count = u32::try_from(clients.len()).expect("few");
    let pause = Duration::from_secs(1) * count / rate;
    let turns = rate * u32::try_from(MEASURED.as_secs()).expect("short") / count;
    let before = cpu(pid);
    let begun = Instant::now();
    let asking = clients.into_iter().enumerate().map(async |(at, mut client)| {
        let mut took = Vec::new();
        let first = begun + pause * u32::try_from(at).expect("few") / count;
        for turn in 0..turns {
            let due = first + pause * turn;
            let is_late = due <= Instant::now();
            tokio::time::sleep_until(due.into()).await;
            // The clock of this process may wake it up a millisecond late, which is not the server's doing.
            let sent = if is_late { due } else { Instant::now() };
            client = ask(client).await;
            took.push(sent.elapsed());
        }
        took
    });
    let took = futures_util::future::join_all(asking).await;
    let mut took: Vec<_> = took.into_iter().flatten().collect();
    took.sort();
    let cores = (cpu(pid) - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!(
        "{what}: {:.0} requests a second: median {:?}, p99 {:?}, slowest {:?}; {cores:.2} cores",
        took.len() as f64 / begun.elapsed().as_secs_f64(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1],
    );
}

/// Of all threads of a process, user and system.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}
