//! Targets in files, in the format of Prometheus's `file_sd`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::target::{
    self, ADDRESS, Discovered, DiscoveryError, SnapshotStream, TargetDiscovery, TargetLabels,
};

use crate::client::watch::{FileError, Status, read_file, status};
use crate::document::{Document, Node, Problems, Reader};

/// Finds targets in files, which are read again when they change.
///
/// The format is that of Prometheus's `file_sd`, in JSON or YAML: a list of groups, each with `targets` (a list
/// of `host:port`) and `labels`. The last part of a path may hold `*`, which stands for any characters.
///
/// A file that was written just now is read when two looks, a second apart, find the same, since half a list of targets
/// is a list of targets: until then its last contents stay, for ten looks at most. While a file cannot be read or
/// understood, its last good contents stay, and the error says file, line and column. A file that two looks with a `*`
/// do not find any more is gone, and its targets are; one that is named itself and is missing is an error.
///
/// *Source*: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config>.
///
/// ```no_run
/// use fleetgauge::scrape::FileDiscovery;
/// let pods = FileDiscovery::new(["/etc/fleetgauge/targets/*.json"]);
/// ```
#[derive(Debug)]
pub struct FileDiscovery {
    patterns: Vec<PathBuf>,
    name: String,
    interval: Duration,
    files: Mutex<Files>,
}

/// What is known of each file.
type Files = BTreeMap<PathBuf, Known>;

#[derive(Debug, Default)]
struct Known {
    /// When its contents were read, whatever became of them.
    status: Option<Status>,
    /// What the look before found, if that was something else.
    seen: Option<Status>,
    /// How many looks have found something else than was read.
    looks: u32,
    is_missed: bool,
    targets: Vec<Arc<TargetLabels>>,
    problem: Option<DiscoveryError>,
}

/// Where a target's file is told, as in Prometheus.
const FILE_LABEL: &str = "__meta_filepath";

/// How long a file must have stayed the same to be read, where files are not looked at more often.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// So many looks it is waited for a file that is never the same at two of them.
const MAX_LOOKS: u32 = 10;

/// Limits the size of a file of targets.
const MAX_BYTES: u64 = 64 << 20;

// === impl FileDiscovery ===

impl FileDiscovery {
    /// The targets in these files.
    pub fn new<P: Into<PathBuf>>(patterns: impl IntoIterator<Item = P>) -> Self {
        let patterns: Vec<PathBuf> = patterns.into_iter().map(Into::into).collect();
        let names: Vec<_> = patterns.iter().map(|p| p.display().to_string()).collect();
        Self {
            name: format!("file_sd {}", names.join(", ")),
            patterns,
            interval: Duration::from_secs(5),
            files: Mutex::default(),
        }
    }

    /// Sets how often the files are looked at. Default: 5 s.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }
}

impl TargetDiscovery for FileDiscovery {
    fn name(&self) -> &str {
        &self.name
    }

    fn watch(self: Arc<Self>) -> SnapshotStream {
        let settled_after = self.interval.min(SETTLED_AFTER);
        target::polled(self.interval, move || {
            let this = Arc::clone(&self);
            let look = move || {
                let this = Arc::clone(&this);
                tokio::task::spawn_blocking(move || {
                    let mut files = this.files.lock().unwrap_or_else(PoisonError::into_inner);
                    look(&this.patterns, &mut files, settled_after)
                })
            };
            async move {
                loop {
                    match look().await {
                        Ok(Some(found)) => return Ok(found),
                        Ok(None) => tokio::time::sleep(settled_after).await,
                        Err(_) => return Err(DiscoveryError::Aborted),
                    }
                }
            }
        })
    }
}

/// Looks at all files, and reads those that have changed. `None` while some of them may still be written, or replaced.
fn look(patterns: &[PathBuf], files: &mut Files, settled_after: Duration) -> Option<Discovered> {
    let mut paths = Vec::new();
    let mut problems = Vec::new();
    for pattern in patterns {
        match expand(pattern) {
            Ok(found) => paths.extend(found),
            Err(error) => {
                // What was found before stays.
                paths.extend(files.keys().filter(|path| fits(pattern, path)).cloned());
                problems.push(error);
            }
        }
    }
    paths.sort();
    paths.dedup();
    let mut is_settled = true;
    files.retain(|path, file| {
        let is_found = paths.binary_search(path).is_ok();
        let is_kept = is_found || !file.is_missed;
        file.is_missed = !is_found;
        is_settled &= is_found || !is_kept;
        is_kept
    });
    for path in paths {
        is_settled &= files
            .entry(path.clone())
            .or_default()
            .update(&path, settled_after);
    }
    if !is_settled {
        return None;
    }
    problems.extend(files.values().filter_map(|file| file.problem.clone()));
    let targets = files.values().flat_map(|file| file.targets.iter().cloned());
    Some(Discovered::new(targets.collect()).with_problems(problems))
}

// === impl Known ===

impl Known {
    /// Whether what is known is what is there, and not of before a change that goes on.
    fn update(&mut self, path: &Path, settled_after: Duration) -> bool {
        let now = match status(path) {
            Ok(now) => now,
            Err(error) => {
                self.status = None;
                self.problem = Some(unreadable(error));
                return true;
            }
        };
        if self.status.as_ref() == Some(&now) {
            self.looks = 0;
            return true;
        }
        self.looks += 1;
        let is_last = self.looks >= MAX_LOOKS;
        let is_same = self.seen.replace(now.clone()).as_ref() == Some(&now);
        if !is_same && !is_last && !now.is_older_than(settled_after) {
            return false;
        }
        let contents = read_file(path, MAX_BYTES);
        if !is_last && status(path).is_ok_and(|after| after != now) {
            return false;
        }
        match contents.map_err(unreadable).and_then(|bytes| parse(path, &bytes)) {
            Ok(targets) => {
                self.targets = targets;
                self.problem = None;
            }
            Err(error) => self.problem = Some(error),
        }
        // The status is from before the contents, so that a change in between is seen the next time.
        self.status = Some(now);
        self.looks = 0;
        true
    }
}

fn unreadable(error: FileError) -> DiscoveryError {
    let why = error
        .source
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    DiscoveryError::File {
        detail: format!("{} {}{why}", error.path.display(), error.problem),
    }
}

/// The targets of a file.
fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Arc<TargetLabels>>, DiscoveryError> {
    let file = path.display().to_string();
    let text = std::str::from_utf8(bytes).map_err(|_| DiscoveryError::Malformed {
        detail: format!("{file} does not hold UTF-8 text"),
    })?;
    let malformed = |problems: Problems| DiscoveryError::Malformed {
        detail: shortened(&problems),
    };
    let document = Document::parse(&file, text).map_err(|problem| malformed(problem.into()))?;
    let mut reader = document.reader();
    let targets = read_groups(document.root(), &file, &mut reader);
    reader.finish().map_err(malformed)?;
    Ok(targets)
}

fn shortened(problems: &Problems) -> String {
    let all = problems.iter();
    let more = all.len().saturating_sub(3);
    let mut shown: Vec<_> = all.take(3).map(ToString::to_string).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}

fn read_groups(node: &Node, file: &str, reader: &mut Reader) -> Vec<Arc<TargetLabels>> {
    let mut targets = Vec::new();
    for node in reader.list(node, "a list of groups of targets") {
        let Some(mut fields) = reader.fields(node, "a group of targets") else {
            continue;
        };
        let mut common = TargetLabels::from([(FILE_LABEL.to_owned(), file.to_owned())]);
        let addresses = fields.require("targets", reader);
        if let Some(labels) = fields.take("labels") {
            for (key, name, value) in reader.pairs(labels, "labels").unwrap_or_default() {
                if name.is_empty() {
                    reader.problem(key.position(), "a label's name is empty");
                }
                // As Prometheus: `shard: 1` is a label with the text `1`.
                if let Some(value) = reader.verbatim(value) {
                    common.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        fields.finish(reader);
        for node in addresses.map_or(&[][..], |node| reader.list(node, "a list of addresses")) {
            if let Some(address) = reader.text(node) {
                let mut target = common.clone();
                target.insert(ADDRESS.to_owned(), address.to_owned());
                targets.push(Arc::new(target));
            }
        }
    }
    targets
}

// === patterns ===

/// The files that `pattern` stands for.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, DiscoveryError> {
    if !is_pattern(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let folder = match pattern.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |error: std::io::Error| DiscoveryError::File {
        detail: format!("{} cannot be read: {error}", folder.display()),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if fits(pattern, &path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

fn is_pattern(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().contains('*'))
}

/// Whether the name of `path` is one that the last part of `pattern` stands for.
fn fits(pattern: &Path, path: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let (Some(pattern), Some(name)) = (name(pattern), name(path)) else {
        return false;
    };
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The targets as of a look, `None` while files may still be written.
    fn looked(pattern: &Path, files: &mut Files) -> Option<Vec<String>> {
        // Longer than any file of a test is old: only what two looks find the same is settled.
        let found = look(&[pattern.to_owned()], files, Duration::from_secs(86_400))?;
        let targets = found.targets.iter().map(|target| target[ADDRESS].clone());
        Some(targets.collect())
    }

    #[test]
    fn a_file_that_is_being_written_is_not_taken_and_one_that_is_replaced_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        let pattern = dir.path().join("*.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let mut files = Files::new();
        // Half of it is valid, too.
        write("- targets: [a:1");
        assert_eq!(looked(&pattern, &mut files), None);
        write("- targets: [a:1]\n");
        assert_eq!(looked(&pattern, &mut files), None);
        write("- targets: [a:1]\n- targets: [a:2]\n");
        assert_eq!(looked(&pattern, &mut files), None);
        let both = Some(vec!["a:1".to_owned(), "a:2".to_owned()]);
        assert_eq!(looked(&pattern, &mut files), both);
        assert_eq!(looked(&pattern, &mut files), both);
        // Away while it is replaced.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(looked(&pattern, &mut files), None);
        write("- targets: [a:3]\n");
        assert_eq!(looked(&pattern, &mut files), None);
        assert_eq!(looked(&pattern, &mut files), Some(vec!["a:3".to_owned()]));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(looked(&pattern, &mut files), None);
        assert_eq!(looked(&pattern, &mut files), Some(vec![]));
        // One that is written all the time is taken as it is, in the end.
        let found = (1..).find_map(|look| {
            write(&format!("- targets: [{}]\n", "a".repeat(look)));
            looked(&pattern, &mut files)
        });
        assert_eq!(found, Some(vec!["a".repeat(MAX_LOOKS as usize)]));
        // One that was there for long is taken at once.
        let found = look(&[pattern], &mut Files::new(), Duration::ZERO).unwrap();
        assert_eq!(found.targets.len(), 1);
    }

    #[test]
    fn stars_stand_for_any_characters() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(
                fits(Path::new(pattern), Path::new(name)),
                expected,
                "{pattern} {name}"
            );
        };
        check("/a/*.json", "/a/x.json", true);
        check("*.json", ".json", true);
        check("*.json", "x.jsonx", false);
        check("a*b*c", "abc", true);
        check("a*b*c", "aXbYc", true);
        check("a*b*c", "acb", false);
        check("a*a", "a", false);
        check("x", "x", true);
        check("x", "xx", false);
        check("*", "anything", true);
    }
}
