//! What is generated from the descriptions of gRPC services under `proto/` is what lies beside them. It is there so that a
//! build needs no compiler of them, which would take a good part of it.
//!
//! To write it anew: `UPDATE_GOLDEN=1 cargo test -p fleetgauge-server --test it generated`.

use std::fs;
use std::path::Path;

use prost::Message as _;

#[test]
fn the_messages_are_those_of_their_description() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let out = tempfile::tempdir().unwrap();
    let files = protox::compile(["externalscaler.proto"], [&proto]).unwrap();
    fs::write(out.path().join("externalscaler.bin"), files.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(files)
        .unwrap();
    for name in ["externalscaler.bin", "externalscaler.rs"] {
        let (made, kept) = (out.path().join(name), proto.join("generated").join(name));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::copy(&made, &kept).unwrap();
        }
        let is_same = fs::read(&made).unwrap() == fs::read(&kept).unwrap();
        assert!(
            is_same,
            "{name} is not what the description says: run it with UPDATE_GOLDEN=1"
        );
    }
}
