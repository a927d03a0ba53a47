//! The integration tests of this crate: one binary, since each links everything anew, and one whose allocator counts
//! for the whole process.
#![allow(clippy::unwrap_used, missing_docs)]

mod differential;
mod exposition;
mod exposition_prometheus;
mod page;
mod parse;
mod rewrite;
mod scrape_path;
mod scripts;
mod token_soup;

mod support {
    pub(crate) mod exposition_body;
    pub(crate) mod prometheus_3;
    pub(crate) mod promql_body;
    pub(crate) mod vllm_page;
}

/// A file that is not named above would never run.
#[test]
fn every_file_is_part_of_a_binary() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs") {
            let is_named = include_str!("main.rs").contains(&format!("mod {module};"));
            assert!(is_named || ["main", "memory"].contains(&module), "{name}");
        }
    }
}
