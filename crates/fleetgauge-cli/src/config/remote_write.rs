//! The section `remote_write`: which servers get the samples, and the readings.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fleetgauge::document::{Node, Position, Reader};
use fleetgauge::prometheus::PrometheusSourceConfig;
use fleetgauge::prometheus::remote_write::{ProtobufMessage, RemoteWriteConfig};
use fleetgauge_core::target::TargetLabels;

use super::access::{Access, read_access};
use super::environment::Environment;
use super::prometheus::{proxy, read_headers, read_pairs, read_url};
use super::sources::{SourceKind, SourceSection};
use super::text::{read_labels, texts};

/// Which of several processes with the same configuration this is.
const REPLICA_VARIABLE: &str = "FLEETGAUGE_REPLICA";
const REPLICA: &str = "replica";

/// One server, and what it gets.
pub(crate) struct RemoteWriteSection {
    pub(crate) name: String,
    url: String,
    pub(crate) sends_scraped: bool,
    pub(crate) sends_readings: bool,
    protobuf_message: ProtobufMessage,
    every: Option<Duration>,
    timeout: Option<Duration>,
    flush_timeout: Option<Duration>,
    resend: Option<Duration>,
    external_labels: TargetLabels,
    headers: Vec<(String, String)>,
    query_params: Vec<(String, String)>,
    access: Access,
    /// The source by which what was written is read.
    pub(crate) history: Option<String>,
    /// What the file says of it: as long as that is the same, it goes on.
    pub(crate) content: String,
    position: Position,
    history_position: Option<Position>,
}

// === impl RemoteWriteSection ===

impl RemoteWriteSection {
    /// How it is written to; through the proxy of the environment where the file names none, and as the replica of the
    /// environment where the file names none.
    ///
    /// *Errors*: the proxy of the environment cannot be used.
    pub(crate) fn config(&self, environment: &Environment) -> anyhow::Result<RemoteWriteConfig> {
        let mut config = RemoteWriteConfig::new(&self.url).with_name(&self.name);
        config.protobuf_message = self.protobuf_message;
        config.every = self.every.unwrap_or(config.every);
        config.flush_timeout = self.flush_timeout.unwrap_or(config.flush_timeout);
        config.resend = self.resend.unwrap_or(config.resend);
        let replica = environment.get(REPLICA_VARIABLE);
        let replica = replica.filter(|_| !self.external_labels.contains_key(REPLICA));
        let labels = self.external_labels.iter();
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        config.external_labels = labels
            .chain(replica.map(|replica| (REPLICA.to_owned(), replica.to_owned())))
            .collect();
        let client = &mut config.client;
        for (name, value) in &self.headers {
            *client = client.clone().with_header(name, value.as_str());
        }
        for (name, value) in &self.query_params {
            *client = client.clone().with_query_param(name, value.as_str());
        }
        client.query_timeout = self.timeout.unwrap_or(client.query_timeout);
        client.auth = self.access.auth.clone();
        client.tls = self.access.tls.clone();
        client.proxy = proxy(None, self.access.proxy.as_ref(), environment)?;
        Ok(config)
    }
}

/// Reads the section.
pub(super) fn read_remote_write(
    node: &Node,
    directory: &Path,
    sources: &[SourceSection],
    reader: &mut Reader,
) -> Vec<RemoteWriteSection> {
    let nodes = reader.list(node, "a list of servers that are written to");
    let read = |node| read_remote(node, directory, reader);
    let remotes: Vec<_> = nodes.iter().filter_map(read).collect();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for remote in &remotes {
        if let Some(line) = names.insert(&remote.name, remote.position.line) {
            let message = format!(
                "there is one with the name {:?} already, on line {line}: give one of them another `name`",
                remote.name
            );
            reader.problem(remote.position, message);
        }
        if let (Some(history), Some(position)) = (&remote.history, remote.history_position) {
            let source = sources.iter().find(|source| source.name == *history);
            if !source.is_some_and(|source| matches!(source.kind, SourceKind::Prometheus(_))) {
                let message =
                    format!("history is the name of a prometheus source in sources, and {history:?} is none");
                reader.problem(position, message);
            }
            if !(remote.sends_scraped && remote.sends_readings) {
                let message = "history needs all that is in memory: leave `send` out";
                reader.problem(position, message);
            }
            if remote.external_labels.is_empty() {
                let message = "without external_labels the history has the series of all who write to that server, and their numbers \
                               among those of this daemon: give them labels that nobody else has";
                reader.warning(position, message);
            }
        }
    }
    remotes
}

fn read_remote(node: &Node, directory: &Path, reader: &mut Reader) -> Option<RemoteWriteSection> {
    let mut fields = reader.fields(node, "remote_write")?;
    let url = fields.require("url", reader);
    let url = url.and_then(|node| read_url(node, reader));
    let name = fields.take("name").and_then(|node| reader.text(node));
    let send = fields.take("send").map(|node| read_send(node, reader));
    let (sends_scraped, sends_readings) = send.unwrap_or((true, true));
    let message = fields.take("protobuf_message");
    let message = message.and_then(|node| read_protobuf_message(node, reader));
    let every = fields.positive_duration("every", reader);
    let timeout = fields.positive_duration("timeout", reader);
    let flush_timeout = fields.positive_duration("flush_timeout", reader);
    let resend = fields.take("resend").and_then(|node| reader.duration(node));
    let labels = fields.take("external_labels");
    let external_labels = labels.map(|node| read_external_labels(node, reader));
    let headers = fields.take("headers").map(|node| read_headers(node, reader));
    let params = fields.take("query_params").map(|node| read_pairs(node, reader));
    let access = read_access(&mut fields, directory, reader);
    let history = fields.take("history");
    let history_position = history.map(Node::position);
    let history = history.and_then(|node| reader.text(node)).map(str::to_owned);
    fields.finish(reader);
    let url = url?;
    // Without user and password.
    let origin = PrometheusSourceConfig::new(&url).origin();
    Some(RemoteWriteSection {
        name: name.map(str::to_owned).or(origin).unwrap_or_default(),
        url,
        sends_scraped,
        sends_readings,
        protobuf_message: message.unwrap_or_default(),
        every,
        timeout,
        flush_timeout,
        resend,
        external_labels: external_labels.unwrap_or_default(),
        headers: headers.unwrap_or_default(),
        query_params: params.unwrap_or_default(),
        access,
        history,
        content: node.content(),
        position: node.position(),
        history_position,
    })
}

/// Whether scraped samples are sent, and readings.
fn read_send(node: &Node, reader: &mut Reader) -> (bool, bool) {
    let sent = texts(node, "a list of scraped and readings", reader);
    if let Some(unknown) = sent.iter().find(|sent| !["scraped", "readings"].contains(*sent)) {
        let message = format!("what is sent is scraped or readings, and {unknown:?} is neither");
        reader.problem(node.position(), message);
    }
    (sent.contains(&"scraped"), sent.contains(&"readings"))
}

fn read_protobuf_message(node: &Node, reader: &mut Reader) -> Option<ProtobufMessage> {
    let name = reader.text(node)?;
    let message = ProtobufMessage::named(name);
    if message.is_none() {
        let known = ProtobufMessage::ALL.map(ProtobufMessage::as_str).join(" or ");
        let problem = format!("protobuf_message is {known}, and {name:?} is neither");
        reader.problem(node.position(), problem);
    }
    message
}

fn read_external_labels(node: &Node, reader: &mut Reader) -> TargetLabels {
    let labels = read_labels(node, reader);
    let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    for name in labels.keys() {
        let is_name =
            !name.is_empty() && name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
        if !is_name || name == "__name__" {
            let message = format!("{name:?} is not a name that a label of all series can have");
            reader.problem(node.position(), message);
        }
    }
    labels
}
