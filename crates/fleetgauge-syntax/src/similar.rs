//! Which name was likely meant where one is not known.

/// The pack whose queries are over all engines.
const OF_ALL: &str = "inference/";

/// The candidate that `name` was likely meant to be; where it names a pack, as `vllm/queue_lenght`, one of that pack.
///
/// ```
/// use fleetgauge_syntax::similar::similar;
///
/// let names = ["sglang/queue_length", "vllm/queue_length", "vllm/avg_ttft"];
/// assert_eq!(similar("vllm/queue_lenght", names.into_iter()), Some("vllm/queue_length"));
/// assert_eq!(similar("no/thing", names.into_iter()), None);
/// ```
pub fn similar<'c>(name: &str, candidates: impl Iterator<Item = &'c str> + Clone) -> Option<&'c str> {
    // Names are short: what is long was not meant to be one, and comparing takes the product of both lengths.
    let name = name.char_indices().nth(100).map_or(name, |(end, _)| &name[..end]);
    if let Some((pack, short)) = name.split_once('/') {
        let mut of_pack = candidates
            .clone()
            .filter_map(|candidate| match candidate.split_once('/') {
                Some((its, short)) if its == pack => Some((short, candidate)),
                _ => None,
            });
        if let Some(first) = of_pack.next() {
            return most_like(short, std::iter::once(first).chain(of_pack));
        }
    }
    // A name without its pack: that of all engines is meant before that of one.
    let is_it = |candidate: &&str| candidate.split_once('/').is_some_and(|(_, short)| short == name);
    let mut of_name = candidates.clone().filter(is_it);
    let of_all = of_name.clone().find(|candidate| candidate.starts_with(OF_ALL));
    if let Some(candidate) = of_all.or_else(|| of_name.next()) {
        return Some(candidate);
    }
    most_like(name, candidates.map(|candidate| (candidate, candidate)))
}

/// The one whose first text is most like `name`, if it is like it at all.
fn most_like<'c>(name: &str, candidates: impl Iterator<Item = (&'c str, &'c str)>) -> Option<&'c str> {
    candidates
        .map(|(text, candidate)| (strsim::jaro_winkler(name, text), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn a_name_without_its_pack_is_that_of_all_engines() {
        let names = [
            "tgi/queue_length",
            "inference/queue_length",
            "vllm/queue_length",
            "vllm/avg_ttft",
        ];
        let meant = |name| similar(name, names.into_iter());
        assert_eq!(meant("queue_length"), Some("inference/queue_length"));
        assert_eq!(meant("avg_ttft"), Some("vllm/avg_ttft"));
    }

    #[test]
    fn of_a_named_pack_only_its_own_are_meant() {
        let names = [
            "vllm/queue_length",
            "vllm/avg_ttft",
            "sglang/queue_length",
            "sglang/queue_lenght_",
            "up",
        ];
        for (name, expected) in [
            ("vllm/queue_lenght", Some("vllm/queue_length")),
            ("sglang/queue_length_", Some("sglang/queue_lenght_")),
            ("vlm/queue_length", Some("vllm/queue_length")),
            ("vllm/nothing", None),
            ("upp", Some("up")),
            ("", None),
        ] {
            assert_eq!(similar(name, names.into_iter()), expected, "{name}");
        }
        assert_eq!(similar(&"x".repeat(10_000_000), names.into_iter()), None);
    }
}
