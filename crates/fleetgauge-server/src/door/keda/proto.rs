//! The messages that KEDA and a scaler exchange, with the service and a client of it: `proto/externalscaler.proto`.
#![allow(unreachable_pub, clippy::all, reason = "generated")]

tonic::include_proto!("externalscaler");

/// The description of all this, for gRPC's reflection.
pub const DESCRIPTION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/externalscaler.bin"));
