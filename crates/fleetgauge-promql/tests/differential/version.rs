//! Which Prometheus is asked, and so what the data may have and the generator may write.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 2.42, kept from everything that 3 changed.
    V2,
    /// 3, with its experimental functions.
    V3,
}
