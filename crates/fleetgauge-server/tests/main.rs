//! What the daemon does with metrics, and what its doors answer.
#![allow(clippy::unwrap_used)]

mod absence;
mod api;
mod keda;
mod listener;
mod prometheus;
mod prometheus_hostile;
mod prometheus_same;
mod scheduler;
mod series;

mod support {
    pub(crate) mod door;
    // The world in which answers are absent is that of the tests of the sources.
    #[allow(dead_code)]
    #[path = "../../../fleetgauge/tests/support/fleet.rs"]
    pub(crate) mod fleet;
    #[path = "../../../fleetgauge/tests/support/scrape.rs"]
    pub(crate) mod scrape;
}

/// A file that is not named above would never run.
#[test]
fn every_file_is_part_of_a_binary() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs") {
            let is_named = include_str!("main.rs").contains(&format!("mod {module};"));
            assert!(is_named || module == "main", "{name}");
        }
    }
}
