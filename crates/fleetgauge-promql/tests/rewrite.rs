//! What is made of a query's tree, over expressions of the whole grammar: text, companions that tell ages, and parts
//! for the members of a federation.

use fleetgauge_syntax::parse;

use crate::differential::data;
use crate::differential::generate::{self, Choices};
use crate::differential::random::Random;
use crate::differential::version::Version;

/// Expressions that parse, as they are printed by the generator.
fn expressions(seed: u64, count: usize) -> impl Iterator<Item = String> {
    let mut random = Random::new(seed);
    let mut made = std::iter::repeat_with(move || {
        let version = random.pick(&[Version::V2, Version::V3]);
        let expr = generate::expression(&mut Choices::new(&mut random, version));
        expr.print(data::START)
            .replace("holt_winters", "double_exponential_smoothing")
    });
    std::iter::from_fn(move || made.find(|query| parse(query).is_ok())).take(count)
}

#[test]
fn a_printed_tree_is_read_as_the_same_tree() {
    let tree = |query: &str| parse(query).map(|tree| format!("{:?}", tree.without_places()));
    for query in expressions(1, 20_000) {
        let printed = parse(&query).unwrap().to_string();
        assert_eq!(tree(&query), tree(&printed), "{query}\n{printed}");
    }
}
