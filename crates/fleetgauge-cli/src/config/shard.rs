//! The section `shard`: which of all targets this process scrapes, where others scrape the rest.

use anyhow::Context as _;
use fleetgauge::document::{Node, Reader};
use fleetgauge::scrape::Shard;

use super::environment::Environment;

/// The number of the shard, where the file does not say: what differs from process to process cannot stand in a file that all of
/// them have.
const SHARD_INDEX: &str = "FLEETGAUGE_SHARD_INDEX";

/// Which shard of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardSection {
    index: Option<u64>,
    of: u64,
}

// === impl ShardSection ===

impl ShardSection {
    /// The shard; the environment goes before the file.
    ///
    /// *Errors*: its number is given nowhere, or there is no such one.
    pub(crate) fn shard(self, environment: &Environment) -> anyhow::Result<Shard> {
        let index = match environment.get(SHARD_INDEX) {
            Some(text) => {
                let index = text.parse();
                Some(
                    index
                        .with_context(|| format!("{SHARD_INDEX} is {text:?}; it takes a number from 0 on"))?,
                )
            }
            None => self.index,
        };
        let index = index.with_context(|| {
            format!(
                "which shard this is, is said neither by shard.index nor by {SHARD_INDEX} in the environment"
            )
        })?;
        Ok(Shard::new(index, self.of)?)
    }

    /// Whether the environment, where it says which shard this is, names one that there is. The file may be looked at elsewhere
    /// than where the shards are.
    ///
    /// *Errors*: it does not.
    pub(crate) fn check(self, environment: &Environment) -> anyhow::Result<()> {
        match environment.get(SHARD_INDEX) {
            Some(_) => self.shard(environment).map(drop),
            None => Ok(()),
        }
    }

    /// Whether it is not all there is.
    pub(super) fn is_part(self) -> bool {
        self.of > 1
    }
}

pub(super) fn read_shard(node: &Node, reader: &mut Reader) -> Option<ShardSection> {
    let mut fields = reader.fields(node, "shard")?;
    let index = fields.take("index").map(|node| read_index(node, reader));
    let of_node = fields.require("of", reader);
    let of = of_node.and_then(|node| reader.count(node));
    fields.finish(reader);
    let (of, index) = (of?, index.flatten());
    if let Err(error) = Shard::new(index.unwrap_or(0), of) {
        reader.problem(node.position(), error.to_string());
        return None;
    }
    Some(ShardSection { index, of })
}

fn read_index(node: &Node, reader: &mut Reader) -> Option<u64> {
    let number = reader.number(node)?;
    if number < 0.0 || number.fract() != 0.0 || number > f64::from(u32::MAX) {
        reader.problem(node.position(), "shards are numbered by whole numbers, from 0 on");
        return None;
    }
    Some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_which_shard_goes_before_the_file() {
        let check = |index: Option<u64>, variable: &str, expected: &str| {
            let environment = Environment::of([(SHARD_INDEX, variable)]);
            let shard = ShardSection { index, of: 3 }.shard(&environment);
            let shard = shard.map_or_else(|error| format!("{error:#}"), |shard| shard.to_string());
            assert!(shard.contains(expected), "{shard}");
        };
        check(Some(0), "", "shard 0 of 3");
        check(Some(0), "2", "shard 2 of 3");
        check(None, "1", "shard 1 of 3");
        check(None, "", "neither by shard.index nor by FLEETGAUGE_SHARD_INDEX");
        check(Some(0), "3", "there is no shard 3 of 3");
        check(Some(0), "fleetgauge-1", "it takes a number");
    }
}
