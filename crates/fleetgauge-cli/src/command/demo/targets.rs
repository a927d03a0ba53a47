//! The fleet's targets in a file that collectors read again and again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleetgauge_sim::Fleet;

/// How often it is looked whether a pod has another name.
pub(super) const TARGETS_EVERY: Duration = Duration::from_millis(500);

/// The targets of a fleet in a file, which is never half written.
pub(super) struct TargetsFile {
    file: PathBuf,
    written: String,
}

// === impl TargetsFile ===

impl TargetsFile {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            written: String::new(),
        }
    }

    /// Writes the targets as they are now, if they have changed.
    pub(super) fn write(&mut self, fleet: &Fleet) -> std::io::Result<()> {
        let targets = fleet.targets_file_sd();
        if targets != self.written {
            let new = self.file.with_extension("new");
            std::fs::write(&new, &targets)?;
            std::fs::rename(new, &self.file)?;
            self.written = targets;
        }
        Ok(())
    }
}
