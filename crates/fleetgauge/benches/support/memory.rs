//! What a process holds, as Linux tells it.

/// The memory of a process by one `kind` of count: `VmRSS` for all that is resident, `RssAnon` for what is not a
/// mapped file.
///
/// *Unit*: bytes.
pub(crate) fn resident_bytes(kind: &str, pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let of_kind = |line: &&str| line.split(':').next() == Some(kind);
    let line = status.lines().find(of_kind).expect("a count of that kind");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    kib << 10
}
