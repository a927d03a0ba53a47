//! What goes wrong, at random by a seed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_core::Rng as _;
use rand_pcg::Pcg64Mcg;
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::daemon::{Daemon, Variant};
use super::fleet::Fleet;
use super::guest::{GUESTS, visit};
use super::pod::{BAD_MOODS, Mood, PODS};

/// Draws that a seed decides.
pub(super) struct Dice(Pcg64Mcg);

/// Does harm, and makes it good again.
pub(super) struct Storm {
    pub(super) dice: Dice,
    daemon: Arc<Daemon>,
    fleet: Arc<Fleet>,
    guests: JoinSet<()>,
    begun: Instant,
    /// When the pods are well again.
    ailing: [Option<Instant>; PODS],
    /// When the file of targets, and the configuration, are right again.
    targets: Option<Instant>,
    configuration: Option<Instant>,
    /// When the file of targets is changed next.
    next_targets: Instant,
    done: VecDeque<String>,
}

// === impl Dice ===

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Self(Pcg64Mcg::new(u128::from(seed) << 64 | 1));
        // Seeds that differ in few bits draw alike at first.
        for _ in 0..8 {
            dice.0.next_u64();
        }
        dice
    }

    /// Evenly from `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((self.0.next_u64() >> 32) as usize) % n
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below((to - from) as usize) as u64)
    }
}

// === impl Storm ===

impl Storm {
    pub(super) fn new(dice: Dice, daemon: Arc<Daemon>, fleet: Arc<Fleet>) -> Self {
        let now = Instant::now();
        Self {
            dice,
            daemon,
            fleet,
            guests: JoinSet::new(),
            begun: now,
            ailing: [None; PODS],
            targets: None,
            configuration: None,
            next_targets: now,
            done: VecDeque::new(),
        }
    }

    /// The last of what was done.
    pub(super) fn done(&self) -> String {
        self.done.iter().map(|line| format!("{line}\n")).collect()
    }

    fn note(&mut self, what: &str) {
        self.done
            .push_back(format!("{:8.3} s {what}", self.begun.elapsed().as_secs_f64()));
        if self.done.len() > 40 {
            self.done.pop_front();
        }
    }

    /// One more thing goes wrong, and what has been wrong for long enough is right again.
    pub(super) async fn step(&mut self) {
        let now = Instant::now();
        self.mend(|until| until <= now).await;
        match self.dice.below(20) {
            0..8 => self.pod(now).await,
            8..10 => self.guests(),
            10 => self.configure(now),
            11 => self.stand_still().await,
            12 => {
                self.note("SIGHUP");
                self.daemon.signal(Signal::HUP);
            }
            13..16 if now >= self.next_targets && self.targets.is_none() => self.rename(now),
            _ => {}
        }
        let pause = self.dice.millis(20, 500);
        tokio::time::sleep(pause).await;
        while self.guests.try_join_next().is_some() {}
    }

    /// All is right again, and nobody is there any more.
    pub(super) async fn calm(&mut self) {
        self.note("calm");
        self.mend(|_| true).await;
        self.fleet.name([true; PODS]);
        self.daemon.configure(Variant::Plain);
        self.guests.shutdown().await;
    }

    async fn mend(&mut self, is_due: impl Fn(Instant) -> bool) {
        for number in 0..PODS {
            if self.ailing[number].take_if(|until| is_due(*until)).is_some() {
                let pod = Arc::clone(&self.fleet.pods[number]);
                pod.set_mood(Mood::Well);
                pod.come_back().await;
                self.note(&format!("pod {number} is well"));
            }
        }
        if self.targets.take_if(|until| is_due(*until)).is_some() {
            self.note("the targets file is right");
            self.fleet.name(self.fleet.named());
        }
        if self.configuration.take_if(|until| is_due(*until)).is_some() {
            self.note("the configuration is as it was");
            self.daemon.configure(Variant::Plain);
        }
    }

    async fn pod(&mut self, now: Instant) {
        let (number, mood) = (self.dice.below(PODS), self.dice.below(BAD_MOODS.len() + 1));
        let until = now + self.dice.millis(100, 2_500);
        let pod = &self.fleet.pods[number];
        let what = match BAD_MOODS.get(mood) {
            Some(mood) => {
                pod.set_mood(*mood);
                format!("{mood:?}")
            }
            None => {
                pod.go();
                "Goes".to_owned()
            }
        };
        self.ailing[number] = Some(until);
        self.note(&format!("pod {number} {what}"));
    }

    fn guests(&mut self) {
        for _ in 0..=self.dice.below(8) {
            let (guest, stay) = (self.dice.one(&GUESTS), self.dice.millis(50, 4_000));
            let is_rude = self.dice.below(2) == 0;
            self.note(&format!("{guest:?} for {stay:?}"));
            let daemon = Arc::clone(&self.daemon);
            self.guests.spawn(visit(guest, daemon, stay, is_rude));
        }
    }

    fn configure(&mut self, now: Instant) {
        let what = self.dice.below(4);
        match what {
            0 => self.daemon.configure(Variant::OtherSource),
            1 => self.daemon.configure(Variant::More),
            2 => self.daemon.spoil(true),
            _ => self.daemon.spoil(false),
        }
        self.configuration = Some(now + self.dice.millis(300, 3_000));
        let what = ["has another source", "has a metric more", "is half", "is wrong"][what];
        self.note(&format!("the configuration {what}"));
        if self.dice.below(2) == 0 {
            let status = self.daemon.reload();
            self.note(&format!("reload: {status}"));
        }
    }

    async fn stand_still(&mut self) {
        let pause = self.dice.millis(50, 2_500);
        self.note(&format!("standstill of {pause:?}"));
        self.daemon.signal(Signal::STOP);
        tokio::time::sleep(pause).await;
        self.daemon.signal(Signal::CONT);
    }

    fn rename(&mut self, now: Instant) {
        self.next_targets = now + self.dice.millis(4_000, 15_000);
        let spoilt = ["", "- {targets: [", "- targets: 5\n", "\u{0}"];
        match self.dice.below(6) {
            0 | 1 => {
                let text = self.dice.one(&spoilt);
                self.fleet.spoil(text);
                self.targets = Some(now + self.dice.millis(1_000, 8_000));
                self.note(&format!("the targets file is {text:?}"));
            }
            2 => {
                let is_all = self.fleet.named() == [true; PODS];
                self.fleet.name([!is_all; PODS]);
                self.note(&format!("targets: all {}", !is_all));
            }
            _ => {
                let (mut named, number) = (self.fleet.named(), self.dice.below(PODS));
                named[number] = !named[number];
                self.fleet.name(named);
                self.note(&format!("targets: {named:?}"));
            }
        }
    }
}
