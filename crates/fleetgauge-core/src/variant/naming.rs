//! Which workloads a pod name can come from, by the rules that the controllers name pods by.
//!
//! A name is read from its end: each rule says what the controller appended, and what remains is the
//! workload's name. Every reading that the rules allow is given, at most six, so that looking a pod up costs
//! a few hash look-ups however many workloads there are. Nothing is guessed: a name that no controller can
//! have made fits nothing, although a comparison of prefixes would find a workload for it.
//!
//! # Deployment: `{deployment}-{hash}-{5 characters}`, cut
//! The ReplicaSet is named `{deployment}-{hash}`. The hash of the pod template is 32 bits wide, printed in
//! decimal, and each digit is replaced by a letter or digit that spells no words: `0123456789` become
//! `456789bcdf`. So a hash has 1 to 10 of these ten characters, and does not begin with `4` (a leading zero)
//! unless it is `4`. The pod's name is *generated* from the base `{deployment}-{hash}-`: the base is cut to
//! 58 bytes, then 5 random characters of `bcdfghjklmnpqrstvwxz2456789` are appended. Long names therefore
//! lose the last dash, the hash or their own tail, and deployments that share their first 58 bytes share
//! their pods' names.
//!
//! *Source*: Kubernetes, `ComputeHash` in `pkg/controller/controller_utils.go`, `getNewReplicaSet` in
//! `pkg/controller/deployment/sync.go`, `String` and `SafeEncodeString` in
//! `staging/src/k8s.io/apimachinery/pkg/util/rand/rand.go`, `GenerateName` in
//! `staging/src/k8s.io/apiserver/pkg/storage/names/generate.go`.
//!
//! # StatefulSet: `{statefulset}-{ordinal}`
//! The ordinal is decimal, from 0 (or `.spec.ordinals.start`), and fits 32 bits with sign. The name is never
//! cut: one that is too long is refused by the API server.
//!
//! *Source*: Kubernetes, `getPodName` and `getParentNameAndOrdinal` in
//! `pkg/controller/statefulset/stateful_set_utils.go`.
//!
//! # LeaderWorkerSet: `{lws}-{group}` and `{lws}-{group}-{worker}`
//! Leaders are pods of a StatefulSet with the set's own name. Each leader owns a StatefulSet that is named
//! like the leader, for its workers, whose ordinals start at 1.
//!
//! *Source*: LeaderWorkerSet, `pkg/controllers/leaderworkerset_controller.go` and `pod_controller.go`
//! (<https://lws.sigs.k8s.io/docs/concepts/>).
//!
//! # Ranks: `{pod}-rank-{index}`
//! The endpoint picker takes each port of a pod for an endpoint of its own, and names it after the pod with the
//! index of the port, in decimal from 0. Its metrics have that name where one expects the pod's
//! (`model_server_pod`, `endpoint_name`, `pod_name`). No controller names pods so, but a StatefulSet `llama-rank`
//! has a pod `llama-rank-3`: what fits a name as it stands goes first.
//!
//! *Source*: Gateway API inference extension, `pkg/epp/datastore/datastore.go`; llm-d router, the same file.

use super::name::{Workload, WorkloadKind};

/// Longest base of a generated name; what is longer is cut. `MaxGeneratedNameLength` in Kubernetes.
const MAX_BASE: usize = 58;
/// How many random characters follow the base.
const RANDOM: usize = 5;
/// What random characters are taken from.
const ALPHANUMS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// For each byte, whether it is one of these.
const IS_ALPHANUM: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < ALPHANUMS.len() {
        table[ALPHANUMS[i] as usize] = true;
        i += 1;
    }
    table
};

/// One reading of a pod name; also what a workload is filed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fit<'a> {
    pub(super) rule: Rule,
    /// The workload's name, or its first 58 bytes.
    pub(super) name: &'a str,
}

/// The rule that a name is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rule {
    /// A Deployment whose whole name is in the names of its pods.
    Deployment,
    /// A Deployment of which only the first 58 bytes are.
    CutDeployment,
    StatefulSet,
    LeaderWorkerSet,
    /// No name is read by it.
    Unknown,
}

/// What `workload`, whose name is valid, is filed under.
pub(super) fn filed_under(workload: &Workload) -> Fit<'_> {
    let name = workload.name();
    let (rule, name) = match (workload.kind(), name.get(..MAX_BASE)) {
        (WorkloadKind::Deployment, Some(cut)) => (Rule::CutDeployment, cut),
        (WorkloadKind::Deployment, None) => (Rule::Deployment, name),
        (WorkloadKind::StatefulSet, _) => (Rule::StatefulSet, name),
        (WorkloadKind::LeaderWorkerSet, _) => (Rule::LeaderWorkerSet, name),
        (WorkloadKind::Other, _) => (Rule::Unknown, name),
    };
    Fit { rule, name }
}

/// All that the pod name can come from. Each workload is named by one reading at most.
pub(super) fn fits(pod: &str) -> impl Iterator<Item = Fit<'_>> {
    // Names are ASCII, so whatever is not fits nothing; from here on every byte is a character.
    let pod = if pod.is_ascii() { pod } else { "" };
    let deployments = deployments(pod).into_iter().flatten();
    deployments.chain(ordinals(pod).into_iter().flatten())
}

fn deployments(pod: &str) -> [Option<Fit<'_>>; 3] {
    let Some((base, random)) = pod.split_at_checked(pod.len().saturating_sub(RANDOM)) else {
        return [None; 3];
    };
    if base.len() > MAX_BASE || random.len() < RANDOM || !random.bytes().all(|b| IS_ALPHANUM[usize::from(b)])
    {
        return [None; 3];
    }
    let whole = |name| Fit {
        rule: Rule::Deployment,
        name,
    };
    // With the last dash there may be a whole hash before it, at any length of the name.
    let trimmed = base.strip_suffix('-');
    let before_dash = trimmed
        .and_then(|replica_set| replica_set.rsplit_once('-'))
        .filter(|(_, hash)| is_hash(hash))
        .map(|(name, _)| whole(name));
    if base.len() < MAX_BASE {
        return [before_dash, None, None];
    }
    // Cut behind the deployment's dash, within the hash, or right behind it.
    let at_cut = match trimmed {
        Some(name) => Some(whole(name)),
        None => base
            .rsplit_once('-')
            .filter(|(_, start)| is_hash(start))
            .map(|(name, _)| whole(name)),
    };
    let within_name = Fit {
        rule: Rule::CutDeployment,
        name: base,
    };
    [before_dash, at_cut, Some(within_name)]
}

fn ordinals(pod: &str) -> [Option<Fit<'_>>; 3] {
    let fit = |rule, name| Some(Fit { rule, name });
    let Some((set, last)) = split_ordinal(pod) else {
        return [None; 3];
    };
    let worker_of = split_ordinal(set).filter(|_| last != "0");
    [
        fit(Rule::StatefulSet, set),
        fit(Rule::LeaderWorkerSet, set),
        worker_of.and_then(|(set, _)| fit(Rule::LeaderWorkerSet, set)),
    ]
}

/// The pod that `name` is a rank of, if it is the name of a rank.
pub(super) fn pod_of_rank(name: &str) -> Option<&str> {
    split_ordinal(name)?.0.strip_suffix("-rank")
}

/// The name before the last dash, and the ordinal behind it.
fn split_ordinal(name: &str) -> Option<(&str, &str)> {
    let (set, ordinal) = name.rsplit_once('-')?;
    let canonical =
        ordinal.bytes().all(|b| b.is_ascii_digit()) && (ordinal == "0" || !ordinal.starts_with('0'));
    (canonical && ordinal.parse::<i32>().is_ok()).then_some((set, ordinal))
}

/// Whether this is the hash of some pod template. The start of a hash is always a hash, too, as the first
/// digits of a number are a smaller number.
fn is_hash(hash: &str) -> bool {
    let canonical = hash == "4" || !hash.starts_with('4');
    let value = hash.bytes().try_fold(0, |value: u32, b| {
        let digit = match b {
            b'4'..=b'9' => b - b'4',
            b'b'..=b'd' => b - b'b' + 6,
            b'f' => 9,
            _ => return None,
        };
        value.checked_mul(10)?.checked_add(digit.into())
    });
    canonical && !hash.is_empty() && value.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the digits 0 to 9 become in the hash of a pod template.
    const HASH_DIGITS: &[u8; 10] = b"456789bcdf";

    fn check(pod: &str, expected: &[(Rule, &str)]) {
        let found: Vec<_> = fits(pod).map(|fit| (fit.rule, fit.name)).collect();
        assert_eq!(found, expected, "{pod}");
    }

    #[test]
    fn the_alphabet_of_hashes_is_what_safe_encoding_makes_of_digits() {
        let encoded: Vec<u8> = (b'0'..=b'9')
            .map(|digit| ALPHANUMS[usize::from(digit) % ALPHANUMS.len()])
            .collect();
        assert_eq!(encoded, HASH_DIGITS);
    }

    #[test]
    fn deployments_by_hash_and_random_characters() {
        use Rule::Deployment as D;
        check("llama-8b-7d9c5b6f4-x2x9z", &[(D, "llama-8b")]);
        check("a.b-c-5-bbbbb", &[(D, "a.b-c")]);
        check("llama-4-x2x9z", &[(D, "llama")]);
        // 4294967295 is the largest hash, and 4294967296 would be none.
        check(&format!("llama-{}-x2x9z", encode("4294967295")), &[(D, "llama")]);
        for no_u32 in ["4294967296", "9999999999", "12345678901", "0123"] {
            check(&format!("llama-{}-x2x9z", encode(no_u32)), &[]);
        }
        for no_hash in ["x2x9z", "", "7d9c5b6f4g", "66b6c48dd52", "7D9C", "7d9c5b6fé"] {
            check(&format!("llama-{no_hash}-x2x9z"), &[]);
        }
        for not_random in ["x2x9", "x2x9zz", "x2x9a", "x2x91", "X2x9z", ""] {
            check(&format!("llama-7d9c5b6f4-{not_random}"), &[]);
        }
    }

    #[test]
    fn deployments_whose_names_are_cut() {
        use Rule::{CutDeployment as C, Deployment as D};
        let name = |length: usize| "n".repeat(length);
        let pod = |base: &str| format!("{base}x2x9z");
        // 57 bytes of base: not cut.
        let base = format!("{}-7d9c5b6f4-", name(46));
        check(&pod(&base), &[(D, &name(46))]);
        // 58 bytes: whole, or cut exactly behind a longer name.
        let base = format!("{}-7d9c5b6f4-", name(47));
        check(&pod(&base), &[(D, &name(47)), (D, &base[..57]), (C, &base)]);
        // The last dash is cut, then the hash, then the first dash.
        let base = format!("{}-7d9c5b6f4", name(48));
        check(&pod(&base), &[(D, &name(48)), (C, &base)]);
        let base = format!("{}-7", name(56));
        check(&pod(&base), &[(D, &name(56)), (C, &base)]);
        let base = format!("{}-", name(57));
        check(&pod(&base), &[(D, &name(57)), (C, &base)]);
        check(&pod(&name(58)), &[(C, &name(58))]);
        check(&pod(&name(59)), &[]);
    }

    #[test]
    fn sets_by_ordinal() {
        use Rule::{Deployment as D, LeaderWorkerSet as L, StatefulSet as S};
        check("x-0", &[(S, "x"), (L, "x")]);
        check("x-2147483647", &[(S, "x"), (L, "x")]);
        check("x-0-1", &[(S, "x-0"), (L, "x-0"), (L, "x")]);
        // Workers start at 1.
        check("x-1-0", &[(S, "x-1"), (L, "x-1")]);
        for no_ordinal in [
            "x-",
            "x-01",
            "x-00",
            "x-+1",
            "x--1a",
            "x-2147483648",
            "x0",
            "0",
            "",
            "x-1_",
        ] {
            check(no_ordinal, &[]);
        }
        // Digits are a hash and random characters, too.
        check(
            "x-5678-24567",
            &[(D, "x"), (S, "x-5678"), (L, "x-5678"), (L, "x")],
        );
    }

    #[test]
    fn ranks_by_their_suffix() {
        for (name, expected) in [
            ("x-rank-0", Some("x")),
            ("x-0-rank-12", Some("x-0")),
            ("x-rank-1-rank-2", Some("x-rank-1")),
            ("-rank-0", Some("")),
            ("x-rank-01", None),
            ("x-rank-", None),
            ("x-rank--1", None),
            ("x-rank", None),
            ("x-rank-0-", None),
            ("x-Rank-0", None),
            ("xrank-0", None),
            ("rank-0", None),
            ("x-rank-2147483648", None),
        ] {
            assert_eq!(pod_of_rank(name), expected, "{name}");
        }
    }

    fn encode(digits: &str) -> String {
        let encoded = digits
            .bytes()
            .map(|d| char::from(HASH_DIGITS[usize::from(d - b'0')]));
        encoded.collect()
    }
}
