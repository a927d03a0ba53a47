//! One of several scrapers that have all targets among them.

use std::fmt;

use fleetgauge_core::result::ShardMark;
use fleetgauge_core::target::Target;

use super::relabel::hash;

/// Which of all targets are scraped: those of one shard of several.
///
/// A target's shard is told by a hash that all processes compute alike, that of Prometheus's `hashmod`: of its pod's namespace and
/// name, so that all ports of a pod are in one shard, and what is computed by pod is whole there; of its URL where it is no pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    of: u64,
}

/// What is no [`Shard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shards are numbered from 0 up to how many there are: there is no shard {index} of {of}")]
#[non_exhaustive]
pub struct ShardError {
    /// Which one was given.
    pub index: u64,
    /// Of how many.
    pub of: u64,
}

/// The targets that a source knows of, whichever shard scrapes them: how many, and a sum of their hashes, so that two who know of the
/// same have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownTargets {
    count: u64,
    hash: u64,
}

// === impl KnownTargets ===

impl KnownTargets {
    pub(super) fn add(&mut self, target: &Target) {
        self.count += 1;
        self.hash = self
            .hash
            .wrapping_add(hash(&format!("{target};{}", target.url())));
    }
}

// === impl Shard ===

impl Shard {
    /// The one with the number `index`, counted from 0, of `of`.
    ///
    /// *Errors*: there is no such one.
    pub fn new(index: u64, of: u64) -> Result<Self, ShardError> {
        match index < of {
            true => Ok(Self { index, of }),
            false => Err(ShardError { index, of }),
        }
    }

    /// Whether it is not all there is.
    pub fn is_part(self) -> bool {
        self.of > 1
    }

    pub(super) fn has(self, target: &Target) -> bool {
        let label = |name: &str| target.labels().get(name).map_or("", String::as_str);
        let told_by = match label("pod") {
            "" => target.url(),
            pod => format!("{};{pod}", label("namespace")),
        };
        hash(&told_by) % self.of == self.index
    }

    /// What it says of itself, where it knows of these targets, its own and others.
    pub fn mark(self, known: impl IntoIterator<Item = KnownTargets>) -> ShardMark {
        let known = known.into_iter();
        let all = known.fold(KnownTargets::default(), |all, one| KnownTargets {
            count: all.count + one.count,
            hash: all.hash.wrapping_add(one.hash),
        });
        ShardMark {
            index: self.index,
            of: self.of,
            targets: all.count,
            hash: all.hash,
        }
    }
}

/// `shard 0 of 3`
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::target::{ADDRESS, TargetDefaults, TargetLabels};

    use super::*;

    fn target(address: &str, pod: Option<&str>) -> Target {
        let mut labels = TargetLabels::from([(ADDRESS.to_owned(), address.to_owned())]);
        if let Some(pod) = pod {
            labels.insert("namespace".to_owned(), "chat".to_owned());
            labels.insert("pod".to_owned(), pod.to_owned());
        }
        Target::from_labels(&labels, &TargetDefaults::default()).unwrap()
    }

    fn shard_of(target: &Target, of: u64) -> u64 {
        let having = (0..of).filter(|index| Shard::new(*index, of).unwrap().has(target));
        let having: Vec<_> = having.collect();
        assert_eq!(having.len(), 1, "{target} is in {having:?} of {of}");
        having[0]
    }

    #[test]
    fn each_target_is_in_one_shard_and_all_ports_of_a_pod_in_the_same() {
        let mut counts = [0; 3];
        for number in 0..300 {
            let name = format!("llama-{number}");
            let shard = shard_of(&target("10.0.0.1:8000", Some(&name)), 3);
            assert_eq!(shard, shard_of(&target("10.0.0.1:8001", Some(&name)), 3));
            counts[usize::try_from(shard).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| *count > 70), "{counts:?}");
        let of_address: Vec<_> = (0..9)
            .map(|number| shard_of(&target(&format!("10.0.0.{number}:8000"), None), 3))
            .collect();
        assert!(
            of_address.iter().any(|shard| *shard != of_address[0]),
            "{of_address:?}"
        );
        assert_eq!(shard_of(&target("10.0.0.1:8000", None), 1), 0);
    }

    #[test]
    fn there_is_no_shard_beyond_the_last() {
        assert!(Shard::new(2, 3).unwrap().is_part());
        assert!(!Shard::new(0, 1).unwrap().is_part());
        let error = Shard::new(3, 3).unwrap_err().to_string();
        assert!(error.ends_with("there is no shard 3 of 3"), "{error}");
        assert!(Shard::new(0, 0).is_err());
    }
}
