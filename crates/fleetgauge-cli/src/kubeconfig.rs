//! Whether a kubeconfig can be used, as far as this binary and files tell, and who may be meant beside its user.

use std::path::Path;

/// Why this binary knows no cluster.
pub(crate) const LEFT_OUT: Option<&str> = if cfg!(feature = "kubernetes") {
    None
} else {
    Some(
        "this fleetgauge was built without Kubernetes; build it with the feature kubernetes, which it has by default",
    )
};

/// Whose rights are examined: a service account's, by namespace and name, or those of whoever asks.
pub(crate) type Account = Option<(String, String)>;

/// Reads it, and the files that it names.
///
/// *Errors*: what is wrong with them.
#[cfg(feature = "kubernetes")]
pub(crate) fn check(kubeconfig: &Path) -> anyhow::Result<()> {
    let access = fleetgauge_kube::access::Access::Kubeconfig(vec![kubeconfig.to_owned()]);
    Ok(access.check()?)
}

/// [`LEFT_OUT`] is told already.
#[cfg(not(feature = "kubernetes"))]
#[expect(clippy::unnecessary_wraps, reason = "it is the other one's signature")]
pub(crate) fn check(_kubeconfig: &Path) -> anyhow::Result<()> {
    Ok(())
}
