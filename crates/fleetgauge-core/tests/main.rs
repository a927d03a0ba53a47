//! The integration tests of this crate: one binary, since each links everything anew.
#![allow(clippy::unwrap_used, missing_docs)]

mod expected;
mod flight;
mod pipeline;
mod ranges;
mod retry;
mod store;
mod template_properties;

mod support {
    pub(crate) mod backend;
    pub(crate) mod template_body;
}

/// A file that is not named above would never run.
#[test]
fn every_file_is_part_of_a_binary() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs") {
            let is_named = include_str!("main.rs").contains(&format!("mod {module};"));
            assert!(is_named || ["main"].contains(&module), "{name}");
        }
    }
}
