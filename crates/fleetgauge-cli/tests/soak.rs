//! The daemon for a long time while all goes wrong at random: no number that nobody measured, nothing left behind.
//!
//! Time is short here: 100 ms between scrapes stand for 10 s, and so do ages and what is held. `FLEETGAUGE_SOAK_MINUTES` says
//! for how long (20 s where nothing is said), `FLEETGAUGE_SOAK_SEED` what goes wrong; `cargo xtask soak` sets both. A seed
//! decides what is done, and not what the machine is just doing meanwhile.

mod daemon;
mod fault;
mod fleet;
mod guest;
mod judge;
mod pod;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use daemon::{Daemon, PATIENCE, Usage};
use fault::{Dice, Storm};
use fleet::Fleet;
use judge::Judge;
use pod::{PODS, Pod};

/// Where nothing reserved is shown in calm weather.
const WHOLE: [&str; 14] = [
    "JSON composed",
    "JSON folded",
    "JSON partial",
    "JSON rows",
    "JSON sum",
    "JSON variants",
    "federate",
    "stream composed",
    "stream folded",
    "stream partial",
    "stream rows",
    "stream sum",
    "stream variants",
    "sum(soak_page)",
];

/// Threads for what blocks are kept while they get something to do now and then, as by looking at files, as many as were needed
/// at once. One that is left behind by each of many faults is more.
const POOLED_THREADS: usize = 24;

/// Series are kept for 15 minutes: from then on the memory is level.
const LEVEL_AFTER: Duration = Duration::from_secs(18 * 60);

#[test]
fn soak() {
    let variable = |name: &str| std::env::var(name).ok();
    let minutes = variable("FLEETGAUGE_SOAK_MINUTES").map(|minutes| minutes.parse::<f64>().unwrap());
    let lasting = minutes.map_or(Duration::from_secs(20), |minutes| {
        Duration::from_secs_f64(60.0 * minutes)
    });
    let seed = variable("FLEETGAUGE_SOAK_SEED").map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime.block_on(run(lasting, seed, minutes.is_some()));
    if let Err(finding) = outcome {
        let minutes = lasting.as_secs_f64() / 60.0;
        panic!("{finding}\nagain: cargo xtask soak --minutes {minutes:.1} --seed {seed}");
    }
}

async fn run(lasting: Duration, seed: u64, tells: bool) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(seed);
    let mut pods = Vec::new();
    for number in 0..PODS {
        pods.push(Pod::start(number, dice.below(5_000) as u64).await);
    }
    let fleet = Arc::new(Fleet::new(directory.path(), pods));
    let daemon = Arc::new(Daemon::start(directory.path()));
    let judge = Arc::new(Judge {
        daemon: Arc::clone(&daemon),
        fleet: Arc::clone(&fleet),
        counts: Mutex::default(),
        findings: Mutex::default(),
        is_over: false.into(),
    });
    let of = || Arc::clone(&judge);
    let (asking, streaming, scaling) = (of(), of(), of());
    let judges = [
        tokio::task::spawn_blocking(move || asking.ask()),
        tokio::task::spawn_blocking(move || streaming.stream()),
        tokio::spawn(async move { scaling.scale().await }),
    ];
    let mut storm = Storm::new(dice, Arc::clone(&daemon), fleet);
    let outcome = weather(&judge, &mut storm, lasting, tells).await;
    judge.is_over.store(true, Ordering::Relaxed);
    storm.calm().await;
    let outcome = outcome.map_err(|finding| {
        let (done, log) = (storm.done(), daemon.log());
        format!("{finding}\n--- done:\n{done}--- the daemon's log:\n{log}")
    });
    if outcome.is_ok() {
        for judging in judges {
            judging.await.unwrap();
        }
    }
    outcome
}

async fn weather(judge: &Judge, storm: &mut Storm, lasting: Duration, tells: bool) -> Result<(), String> {
    all_is_well(judge).await?;
    let before = least(&judge.daemon, Duration::from_secs(2)).await;
    let (begun, mut resident) = (Instant::now(), Vec::new());
    let mut told = begun;
    while begun.elapsed() < lasting {
        storm.step().await;
        sound(judge)?;
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            let usage = judge.daemon.usage();
            resident.push((begun.elapsed(), usage.resident_kib));
            if tells {
                eprintln!("{:5.1} min {usage:?}", begun.elapsed().as_secs_f64() / 60.0);
            }
        }
    }
    storm.calm().await;
    all_is_well(judge).await?;
    if tells {
        eprintln!("{:#?}", judge.counts.lock().unwrap());
    }
    nothing_is_left(judge, before).await?;
    memory_is_level(before.resident_kib, judge.daemon.usage().resident_kib, &resident)
}

/// What has been found so far.
fn sound(judge: &Judge) -> Result<(), String> {
    if judge.daemon.has_ended() {
        return Err("the daemon has ended".to_owned());
    }
    let findings = judge.findings.lock().unwrap();
    findings.first().map_or(Ok(()), |first| {
        Err(format!("{} findings, the first:\n{first}", findings.len()))
    })
}

/// Waits until every door shows whole numbers, some more of each.
async fn all_is_well(judge: &Judge) -> Result<(), String> {
    let whole = || -> BTreeMap<String, u64> {
        let counts = judge.counts.lock().unwrap();
        counts
            .iter()
            .map(|(what, counts)| (what.clone(), counts.whole))
            .collect()
    };
    let (before, deadline) = (whole(), Instant::now() + PATIENCE);
    let is_lacking = |what: &&str| {
        let count = |counts: &BTreeMap<String, u64>| counts.get(*what).copied().unwrap_or(0);
        count(&whole()) < count(&before) + 5
    };
    while let Some(lacking) = WHOLE.iter().find(|what| is_lacking(what)) {
        sound(judge)?;
        if Instant::now() > deadline {
            return Err(format!("{lacking}: no whole number came in calm weather"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The least that is held at any moment of this time.
async fn least(daemon: &Daemon, during: Duration) -> Usage {
    let mut least = daemon.usage();
    let end = Instant::now() + during;
    while Instant::now() < end {
        let now = daemon.usage();
        least = Usage {
            threads: least.threads.min(now.threads),
            descriptors: least.descriptors.min(now.descriptors),
            connections: least.connections.min(now.connections),
            streams: least.streams.min(now.streams),
            resident_kib: least.resident_kib.max(now.resident_kib),
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    least
}

async fn nothing_is_left(judge: &Judge, before: Usage) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = least(&judge.daemon, Duration::from_millis(500)).await;
        let is_level = now.threads <= before.threads + POOLED_THREADS
            && now.descriptors <= before.descriptors
            && now.connections <= before.connections
            && now.streams <= before.streams;
        if is_level {
            return sound(judge);
        }
        if Instant::now() > deadline {
            return Err(format!("something is left: {before:?} before, {now:?} after"));
        }
    }
}

fn memory_is_level(before: usize, after: usize, resident: &[(Duration, usize)]) -> Result<(), String> {
    let level: Vec<usize> = resident
        .iter()
        .filter(|(at, _)| *at > LEVEL_AFTER)
        .map(|(_, kib)| *kib)
        .collect();
    let (early, late) = level.split_at(level.len() / 2);
    // Six minutes at least, which is 36 of them.
    if level.len() >= 36 {
        let middle = |some: &[usize]| {
            let mut some = some.to_vec();
            some.sort_unstable();
            some[some.len() / 2]
        };
        let (early, late) = (middle(early), middle(late));
        return (late < early + early / 20)
            .then_some(())
            .ok_or(format!("the memory grows: {early} KiB, and later {late}"));
    }
    (after < 2 * before + (64 << 10))
        .then_some(())
        .ok_or(format!("the memory grows: {before} KiB before, {after} after"))
}
