//! Which names mean the same in different versions of an engine: the packs know, as they ask for both.

use std::collections::HashSet;

use fleetgauge_core::params::Params;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::query_list::QueryList;
use fleetgauge_syntax::tree::{Binary, BinaryOp, Expr};

use super::fill::stand_ins;
use super::read::{metric, prefix, selectors};
use crate::pack::Pack;

/// What the packs know of names.
pub(super) struct Renames {
    /// Pairs of names of one metric, the newer one first.
    pairs: Vec<(String, String)>,
    /// The metrics that the built-in packs read.
    of_packs: HashSet<String>,
}

/// Another name of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OtherName<'a> {
    pub(super) name: &'a str,
    /// Of newer servers.
    pub(super) is_newer: bool,
}

// === impl Renames ===

impl Renames {
    /// Those that the built-in packs and `queries` know. Where both sides of an `or` are the same but for the names of
    /// their metrics, these are names of one metric, the first of newer servers.
    pub(super) fn known(queries: &[QueryTemplate]) -> Self {
        let builtins = Pack::builtins();
        // Unions are made of what is in the others, and would pair one engine's names with another's.
        let of_engines = builtins.iter().filter(|pack| pack.name() != "inference");
        let of_packs = of_engines.flat_map(Pack::queries);
        let list = QueryList::new();
        let mut pairs = Vec::new();
        let mut known = HashSet::new();
        let of_packs = of_packs.map(|query| (query, true));
        for (query, is_builtin) in of_packs.chain(queries.iter().map(|query| (query, false))) {
            let _ = list.replace(query.clone());
            let Some(registered) = list.get(&query.name) else {
                continue;
            };
            let (params, _) = stand_ins(registered.params(), &Params::new());
            let rendered = registered.render(&params).ok();
            let Some(tree) = rendered.and_then(|text| fleetgauge_syntax::parse(&text).ok()) else {
                continue;
            };
            if is_builtin {
                known.extend(names(&tree));
            }
            for part in tree.walk() {
                if let Expr::Binary(op) = part
                    && op.op == BinaryOp::Or
                {
                    add(op, &mut pairs);
                }
            }
        }
        Self {
            pairs,
            of_packs: known,
        }
    }

    /// Whether a built-in pack reads `metric`, so that it is no misspelt name.
    pub(super) fn is_known(&self, metric: &str) -> bool {
        self.of_packs.contains(metric)
    }

    /// The other names of `metric`.
    pub(super) fn of<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = OtherName<'a>> {
        self.pairs.iter().filter_map(move |(newer, older)| {
            if older == metric {
                Some(OtherName {
                    name: newer,
                    is_newer: true,
                })
            } else if newer == metric {
                Some(OtherName {
                    name: older,
                    is_newer: false,
                })
            } else {
                None
            }
        })
    }
}

fn add(op: &Binary, pairs: &mut Vec<(String, String)>) {
    let (newer, older) = (names(&op.left), names(&op.right));
    let Some(prefix) = newer.first().map(|name| prefix(name)) else {
        return;
    };
    // Names of one engine, one by one.
    let is_one_engine = |name: &String| name.starts_with(prefix);
    if newer.len() != older.len() || !newer.iter().chain(&older).all(is_one_engine) {
        return;
    }
    for pair in newer.iter().cloned().zip(older) {
        if pair.0 != pair.1 && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
}

/// The metrics that an expression reads, in the order in which they are written.
fn names(expr: &Expr) -> Vec<String> {
    let selectors = selectors(expr).into_iter();
    selectors
        .filter_map(|selector| Some(metric(selector)?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packs_know_both_names() {
        let renames = Renames::known(&[]);
        let check = |metric: &str, expected: &[(&str, bool)]| {
            let others: Vec<_> = renames.of(metric).map(|of| (of.name, of.is_newer)).collect();
            assert_eq!(others, expected, "{metric}");
        };
        check("vllm:gpu_cache_usage_perc", &[("vllm:kv_cache_usage_perc", true)]);
        check(
            "vllm:kv_cache_usage_perc",
            &[("vllm:gpu_cache_usage_perc", false)],
        );
        check("up", &[]);
    }
}
