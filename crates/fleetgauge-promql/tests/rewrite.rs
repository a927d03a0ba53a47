//! What is made of a query's tree, over expressions of the whole grammar: text, companions that tell ages, and parts
//! for the members of a federation.

mod age;
mod distribute;

use fleetgauge_syntax::parse;

use crate::differential::data;
use crate::differential::expr::Expr;
use crate::differential::generate::{self, Choices};
use crate::differential::random::Random;
use crate::differential::version::Version;

/// An expression that parses, and its text.
fn expression(random: &mut Random, version: Version) -> (Expr, String) {
    loop {
        let expr = generate::expression(&mut Choices::new(random, version));
        let text = expr.print(data::START);
        let text = text.replace("holt_winters", "double_exponential_smoothing");
        if parse(&text).is_ok() {
            return (expr, text);
        }
    }
}

#[test]
fn a_printed_tree_is_read_as_the_same_tree() {
    let tree = |query: &str| parse(query).map(|tree| format!("{:?}", tree.without_places()));
    let mut random = Random::new(1);
    for _ in 0..20_000 {
        let version = random.pick(&[Version::V2, Version::V3]);
        let (_, query) = expression(&mut random, version);
        let printed = parse(&query).unwrap().to_string();
        assert_eq!(tree(&query), tree(&printed), "{query}\n{printed}");
    }
}
