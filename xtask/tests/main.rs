//! What holds of the workspace as a whole: its crates, their files, their tests.

mod arrows;
mod binaries;
mod circles;
mod module;
