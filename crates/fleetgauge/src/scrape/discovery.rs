//! Where targets are found, by I/O: files, and DNS.

mod dns;
mod file;

pub use dns::DnsDiscovery;
pub use file::FileDiscovery;
