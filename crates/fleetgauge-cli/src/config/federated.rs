//! A source of several clusters as one.

use std::collections::BTreeMap;

use fleetgauge::document::{Node, Position, Reader};
use fleetgauge::federated::{FederatedConfig, FederatedError, Member, Require};

use super::text::{read_labels, texts};

/// Several sources as one.
pub(crate) struct FederatedSection {
    pub(crate) config: FederatedConfig,
    /// Where each member stands in the file.
    members: BTreeMap<String, Position>,
}

// === impl FederatedSection ===

impl FederatedSection {
    /// Where the member stands that is not in order.
    pub(super) fn place_of(&self, error: &FederatedError) -> Option<&Position> {
        let member = match error {
            FederatedError::Member { member, .. } | FederatedError::UnknownSource { member, .. } => member,
            _ => return None,
        };
        self.members.get(member)
    }
}

pub(super) fn read_federated(name: &str, node: &Node, reader: &mut Reader) -> Option<FederatedSection> {
    let mut fields = reader.fields(node, "federated")?;
    let mut config = FederatedConfig::new(name);
    let mut places = BTreeMap::new();
    let members = fields.require("members", reader);
    let members = members.and_then(|node| reader.pairs(node, "names and members"));
    for (key, member, node) in members.unwrap_or_default() {
        places.insert(member.to_owned(), key.position());
        config.members.extend(read_member(member, node, reader));
    }
    if let Some(node) = fields.take("require") {
        config.require = read_require(node, reader).unwrap_or_default();
    }
    let ttl = fields.positive_duration("ttl", reader);
    config.default_ttl = ttl.unwrap_or(config.default_ttl);
    let timeout = fields.positive_duration("timeout", reader);
    config.query_timeout = timeout.unwrap_or(config.query_timeout);
    fields.finish(reader);
    Some(FederatedSection {
        config,
        members: places,
    })
}

fn read_member(name: &str, node: &Node, reader: &mut Reader) -> Option<Member> {
    let mut fields = reader.fields(node, "a member")?;
    let sources = fields.require("sources", reader);
    let labels = fields.take("labels").map(|node| read_labels(node, reader));
    let timeout = fields.positive_duration("timeout", reader);
    fields.finish(reader);
    let sources = texts(
        sources?,
        "a list of sources, which are replicas of each other",
        reader,
    );
    let (first, replicas) = sources.split_first()?;
    let mut member = Member::new(name, *first);
    for replica in replicas {
        member = member.with_replica(*replica);
    }
    for (name, value) in labels.unwrap_or_default() {
        member = member.with_label(name, value);
    }
    member.timeout = timeout;
    Some(member)
}

/// `all`, `majority`, `any` or a number.
fn read_require(node: &Node, reader: &mut Reader) -> Option<Require> {
    match reader.verbatim(node)? {
        "all" => Some(Require::All),
        "majority" => Some(Require::Majority),
        "any" => Some(Require::Any),
        number => match number.parse() {
            Ok(number) => Some(Require::AtLeast(number)),
            Err(_) => {
                reader.problem(
                    node.position(),
                    "require is all, majority, any or a number of members",
                );
                None
            }
        },
    }
}
