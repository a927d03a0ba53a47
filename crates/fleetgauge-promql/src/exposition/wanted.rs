//! The metrics that a reader needs, so that a page's other lines cost next to nothing.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::metric_type::SUFFIXES;

/// A set of wanted metric names, applied while a page is scanned.
///
/// A name selects the metric of that name and, as a family's name, its `_bucket`, `_sum`, `_count`,
/// `_total`, `_created`, `_info`, `_gsum` and `_gcount`: `vllm:request_success` reads
/// `vllm:request_success_total`, and the whole of a histogram is had by its family's name. The metadata of
/// a family comes with any of its metrics.
///
/// Lines of other metrics are passed over without being examined, so what is wrong in them is not reported.
///
/// Cheap to clone; clones share the set.
///
/// ```
/// use fleetgauge_promql::exposition::Wanted;
/// let wanted = Wanted::new(["vllm:time_to_first_token_seconds", "up"]);
/// assert!(wanted.selects("vllm:time_to_first_token_seconds_bucket"));
/// assert!(!wanted.selects("vllm:time_to_first_token"));
/// ```
#[derive(Clone, Debug)]
pub struct Wanted {
    sets: Arc<Sets>,
}

#[derive(Debug)]
struct Sets {
    /// Fixed, since names from pages are only looked up, never inserted.
    names: HashSet<Box<str>, FixedState>,
    /// What may be the family of a wanted metric.
    families: HashSet<Box<str>, FixedState>,
    /// Bit `n` is set if a name whose length is `n` modulo 64 is wanted: spares most names the hash.
    lengths: u64,
}

impl Wanted {
    /// The set of these metric or family names.
    pub fn new<N: Into<Box<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        let names: HashSet<Box<str>, FixedState> = names.into_iter().map(Into::into).collect();
        let stem = |name: &str| SUFFIXES.iter().find_map(|s| name.strip_suffix(s)).map(Box::from);
        let families = names.iter().filter_map(|name| stem(name)).collect();
        let lengths = names.iter().fold(0, |bits, name| bits | length_bit(name));
        Self {
            sets: Arc::new(Sets {
                names,
                families,
                lengths,
            }),
        }
    }

    /// Whether samples of the metric `name` are wanted.
    pub fn selects(&self, name: &str) -> bool {
        self.has(name) || suffix_start(name).is_some_and(|at| self.has(&name[..at]))
    }

    /// Whether the metadata of `family` is wanted.
    pub(super) fn selects_family(&self, family: &str) -> bool {
        self.has(family)
            || self.sets.families.contains(family)
            // `# TYPE x_total counter` of the text format, where `x` is wanted.
            || suffix_start(family).is_some_and(|at| self.has(&family[..at]))
    }

    fn has(&self, name: &str) -> bool {
        self.sets.lengths & length_bit(name) != 0 && self.sets.names.contains(name)
    }
}

fn length_bit(name: &str) -> u64 {
    1 << (name.len() % 64)
}

/// Where the suffix of a family's sample starts, if the name ends in one.
fn suffix_start(name: &str) -> Option<usize> {
    let at = memchr::memrchr(b'_', name.as_bytes())?;
    SUFFIXES.contains(&&name[at..]).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_select_themselves_and_their_family() {
        let wanted = Wanted::new(["up", "ttft_seconds", "tokens_total", "only_bucket"]);
        let check = |name: &str, expected: bool| assert_eq!(wanted.selects(name), expected, "{name}");
        check("up", true);
        check("up_total", true);
        check("upper", false);
        check("u", false);
        check("", false);
        check("ttft_seconds", true);
        check("ttft_seconds_bucket", true);
        check("ttft_seconds_gcount", true);
        check("ttft_seconds_bucket_bucket", false);
        check("ttft", false);
        check("tokens", false);
        check("tokens_total", true);
        check("only_bucket", true);
        check("only_sum", false);
    }

    #[test]
    fn metadata_comes_with_any_metric_of_the_family() {
        let wanted = Wanted::new(["tokens_total", "ttft_seconds_sum", "requests"]);
        let check = |family: &str, expected: bool| {
            assert_eq!(wanted.selects_family(family), expected, "{family}");
        };
        check("tokens", true);
        check("tokens_total", true);
        check("ttft_seconds", true);
        check("ttft", false);
        check("requests_total", true);
    }
}
