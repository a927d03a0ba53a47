//! The closed loop as something to watch: users, engines, what is read and what the HPA makes of it, on one screen, while
//! things go wrong by key or by script.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::aggregation::NAMESPACE;
use super::closed_loop::{ALONE, Loop, STABILIZATION, load_of};

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Users(u32),
    HangHalf,
    Mute,
    Heal,
    KillDaemon,
    StartDaemon,
    RestartApiServer,
    End,
}

pub(crate) const KEYS: &str = "+ - users   h half of the engines hang   m no metrics   o all is well   k kill the daemon   \
                               s start it   a restart the API server   q end";

/// The load comes and goes, and everything goes wrong in turn, by seconds from the start.
pub(crate) const SCRIPT: &[(u64, Act)] = &[
    (5, Act::Users(48)),
    (30, Act::HangHalf),
    (45, Act::Heal),
    (55, Act::Mute),
    (70, Act::Heal),
    (80, Act::KillDaemon),
    (92, Act::StartDaemon),
    (105, Act::RestartApiServer),
    (130, Act::Users(8)),
    (150, Act::End),
];

/// The loop with one Deployment, and its state in words.
pub(crate) struct Show {
    world: Loop,
    users: u32,
    fault: &'static str,
    begun: Instant,
}

// === impl Act ===

impl Act {
    /// What a key means, with so many users now.
    pub(crate) fn of_key(key: char, users: u32) -> Option<Self> {
        Some(match key {
            '+' => Self::Users((users + 10).min(58)),
            '-' => Self::Users(users.saturating_sub(10)),
            'h' => Self::HangHalf,
            'm' => Self::Mute,
            'o' => Self::Heal,
            'k' => Self::KillDaemon,
            's' => Self::StartDaemon,
            'a' => Self::RestartApiServer,
            'q' => Self::End,
            _ => return None,
        })
    }
}

// === impl Show ===

impl Show {
    pub(crate) fn start() -> Self {
        let world = Loop::start();
        world.engines.set_users(ALONE, 8);
        world.deploy(ALONE);
        world
            .aggregation
            .autoscale(ALONE, &json!([load_of(ALONE)]), STABILIZATION);
        Self {
            world,
            users: 8,
            fault: "none",
            begun: Instant::now(),
        }
    }

    pub(crate) fn users(&self) -> u32 {
        self.users
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn act(&mut self, act: Act) {
        let world = &mut self.world;
        match act {
            Act::Users(users) => {
                self.users = users;
                world.engines.set_users(ALONE, users);
            }
            Act::HangHalf => {
                world.engines.hang_half();
                self.fault = "half of the engines hang";
            }
            Act::Mute => {
                world.engines.mute();
                self.fault = "no metrics";
            }
            Act::Heal => {
                world.engines.heal();
                self.fault = "none";
            }
            Act::KillDaemon => {
                world.daemon = None;
                self.fault = "the daemon is killed";
            }
            Act::StartDaemon => {
                if world.daemon.is_none() {
                    world.start_daemon();
                }
                self.fault = "none";
            }
            Act::RestartApiServer => {
                world.aggregation.cluster.kill_api_server();
                if let Err(error) = world.aggregation.cluster.start_api_server() {
                    eprintln!("{error}");
                }
            }
            Act::End => {}
        }
    }

    /// What there is now, in lines.
    pub(crate) fn screen(&self) -> String {
        let (engines, hpa) = (&self.world.engines, self.hpa());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let conditions = hpa["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let active = conditions.iter().find(|one| one["type"] == "ScalingActive");
        let mut screen = String::new();
        let mut line = |name: &str, what: String| {
            let _ = writeln!(screen, "{name:<10}{what}");
        };
        line("time", format!("{} s", self.elapsed().as_secs()));
        line("users", self.users.to_string());
        line(
            "engines",
            format!(
                "{} with {} requests, of which {} wait",
                engines.count(ALONE),
                engines.requests(ALONE),
                engines.waiting(ALONE)
            ),
        );
        line("reading", self.reading());
        let (current, desired) = (
            &hpa["status"]["currentReplicas"],
            &hpa["status"]["desiredReplicas"],
        );
        line("replicas", format!("{current}, and the HPA desires {desired}"));
        line(
            "HPA",
            active.map(|active| text(&active["message"])).unwrap_or_default(),
        );
        line("fault", self.fault.to_owned());
        screen
    }

    /// What the daemon tells, or why it does not.
    fn reading(&self) -> String {
        let Some(daemon) = &self.world.daemon else {
            return "nobody is there".to_owned();
        };
        let readings = daemon.json("metrics/variant_load")["readings"].take();
        let reading = readings
            .as_array()
            .and_then(|all| all.first())
            .cloned()
            .unwrap_or_default();
        match &reading["value"] {
            Value::Null => format!(
                "withheld, {}: {}",
                reading["reason"]["code"], reading["reason"]["text"]
            ),
            value => value.to_string(),
        }
    }

    fn hpa(&self) -> Value {
        let get = ["get", "hpa", ALONE, "--namespace", NAMESPACE, "--output", "json"];
        let printed = self.world.aggregation.cluster.kubectl(&get).unwrap_or_default();
        serde_json::from_str(&printed).unwrap_or_default()
    }

    /// Plays a script, and writes a screen each second.
    pub(crate) fn play(&mut self, script: &[(u64, Act)], into: &mut impl Write) -> io::Result<()> {
        let mut next = script.iter().peekable();
        loop {
            while let Some((_, act)) = next.next_if(|(at, _)| self.elapsed() >= Duration::from_secs(*at)) {
                if *act == Act::End {
                    return Ok(());
                }
                writeln!(into, "-- {act:?}")?;
                self.act(*act);
            }
            writeln!(into, "{}", self.screen())?;
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}
