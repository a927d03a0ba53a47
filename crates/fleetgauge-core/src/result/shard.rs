//! Which part of all targets an answer is of, where several processes have them among them.

use std::fmt;
use std::str::FromStr;

/// What a shard says of itself beside an answer: who puts the answers of several together finds out by it whether these are all
/// shards, each once, and whether all of them know of the same targets.
///
/// As text, `0/3 6 9f3a12cd34ef5678`: its number, how many there are, and of the targets of all shards that it knows how many there are
/// and a sum of their hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardMark {
    /// Its number, from 0 on.
    pub index: u64,
    /// How many shards there are.
    pub of: u64,
    /// How many targets it knows of, its own and others.
    pub targets: u64,
    /// The sum of their hashes.
    pub hash: u64,
}

/// The header of an answer that says it.
pub const SHARD_HEADER: &str = "fleetgauge-shard";

// === impl ShardMark ===

impl ShardMark {
    /// Why the answers of these shards are not all there is, or are of something twice; `members` is how many are to be asked.
    /// `None` where no answer is of a shard, or all are well.
    pub fn disagreement<'a>(
        told: impl Iterator<Item = (&'a str, Option<Self>)> + Clone,
        members: usize,
    ) -> Option<String> {
        let mut marks = told.clone().filter_map(|(who, mark)| Some((who, mark?)));
        let (first, mark) = marks.next()?;
        let is_all = mark.of == members as u64;
        if !is_all {
            return Some(format!(
                "{first} is shard {} of {}, and {members} members are asked: each shard is to be one member",
                mark.index, mark.of
            ));
        }
        let mut seen: Vec<(&str, Self)> = Vec::new();
        for (who, mark) in told {
            let Some(mark) = mark else {
                return Some(format!(
                    "{first} is a shard, and {who} does not say that it is one"
                ));
            };
            if let Some((other, _)) = seen.iter().find(|(_, known)| known.index == mark.index) {
                return Some(format!(
                    "{other} and {who} both answer as shard {} of {}",
                    mark.index, mark.of
                ));
            }
            if let Some((other, known)) = seen.iter().find(|(_, known)| known.of != mark.of) {
                return Some(format!(
                    "{other} is a shard of {}, and {who} one of {}",
                    known.of, mark.of
                ));
            }
            let differs = |known: &Self| (known.targets, known.hash) != (mark.targets, mark.hash);
            if let Some((other, known)) = seen.iter().find(|(_, known)| differs(known)) {
                return Some(format!(
                    "{other} and {who} do not know of the same targets ({} and {}): one of them may have found out of a change before \
                     the other",
                    known.targets, mark.targets
                ));
            }
            seen.push((who, mark));
        }
        None
    }
}

impl fmt::Display for ShardMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index,
            of,
            targets,
            hash,
        } = self;
        write!(f, "{index}/{of} {targets} {hash:016x}")
    }
}

/// What is no [`ShardMark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this does not say which shard it is of")]
#[non_exhaustive]
pub struct ShardMarkError;

impl FromStr for ShardMark {
    type Err = ShardMarkError;

    fn from_str(text: &str) -> Result<Self, ShardMarkError> {
        let read = || {
            let mut parts = text.split(' ');
            let (index, of) = parts.next()?.split_once('/')?;
            let mark = Self {
                index: index.parse().ok()?,
                of: of.parse().ok()?,
                targets: parts.next()?.parse().ok()?,
                hash: u64::from_str_radix(parts.next()?, 16).ok()?,
            };
            (parts.next().is_none() && mark.index < mark.of).then_some(mark)
        };
        read().ok_or(ShardMarkError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_written() {
        let mark: ShardMark = "0/3 6 9f3a12cd34ef5678".parse().unwrap();
        assert_eq!((mark.index, mark.of, mark.targets), (0, 3, 6));
        assert_eq!(mark.to_string(), "0/3 6 9f3a12cd34ef5678");
        for text in ["", "3/3 6 0", "0/3", "0/3 6 0 0", "a/3 6 0", "0/3 6 g"] {
            assert_eq!(text.parse::<ShardMark>(), Err(ShardMarkError), "{text}");
        }
    }

    #[test]
    fn shards_disagree_where_something_would_be_missing_or_twice() {
        let check = |members: usize, marks: &[&str], expected: Option<&str>| {
            let marks: Vec<_> = marks
                .iter()
                .zip(["a", "b", "c"])
                .map(|(mark, who)| (who, mark.parse().ok()))
                .collect();
            let told = ShardMark::disagreement(marks.iter().copied(), members);
            match (&told, expected) {
                (None, None) => {}
                (Some(told), Some(expected)) => assert!(told.contains(expected), "{told}"),
                _ => panic!("{marks:?}: {told:?}"),
            }
        };
        check(2, &["", ""], None);
        check(2, &["0/2 6 1", "1/2 6 1"], None);
        // One of them does not answer, which is told elsewhere.
        check(2, &["1/2 6 1"], None);
        check(
            2,
            &["0/2 6 1", "0/2 6 1"],
            Some("a and b both answer as shard 0 of 2"),
        );
        check(
            2,
            &["0/2 6 1", "1/3 6 1"],
            Some("a is a shard of 2, and b one of 3"),
        );
        check(
            3,
            &["0/2 6 1", "1/2 6 1"],
            Some("a is shard 0 of 2, and 3 members are asked"),
        );
        check(
            2,
            &["0/2 6 1", ""],
            Some("a is a shard, and b does not say that it is one"),
        );
        check(
            2,
            &["0/2 6 1", "1/2 5 1"],
            Some("do not know of the same targets (6 and 5)"),
        );
        check(
            2,
            &["0/2 6 1", "1/2 6 2"],
            Some("do not know of the same targets"),
        );
    }
}
