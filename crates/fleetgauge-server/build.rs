//! Compiles the descriptions of gRPC services under `proto/`, without a `protoc`.

use std::path::PathBuf;
use std::{env, error, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let files = protox::compile(["externalscaler.proto"], ["proto"])?;
    fs::write(out.join("externalscaler.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(files)?;
    Ok(())
}
