//! The messages that KEDA and a scaler exchange, with the service and a client of it: `proto/externalscaler.proto`. They are
//! generated, and a test generates them again.
#![allow(unreachable_pub, clippy::all, reason = "generated")]

include!("../../../proto/generated/externalscaler.rs");

/// The description of all this, for gRPC's reflection.
pub const DESCRIPTION: &[u8] = include_bytes!("../../../proto/generated/externalscaler.bin");
