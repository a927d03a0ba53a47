//! The programs of a control plane.

use std::env;
use std::path::PathBuf;

use crate::{Error, Result};

/// Where each program is.
#[derive(Clone, Debug)]
pub(crate) struct Assets {
    folder: PathBuf,
}

// === impl Assets ===

impl Assets {
    /// Those that `KUBEBUILDER_ASSETS` names, if all are there that a cluster needs.
    pub(crate) fn find() -> Result<Self> {
        let folder = PathBuf::from(env::var_os("KUBEBUILDER_ASSETS").unwrap_or_default());
        for program in ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"] {
            if !folder.join(program).is_file() {
                return Err(Error::Assets { program });
            }
        }
        Ok(Self { folder })
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
