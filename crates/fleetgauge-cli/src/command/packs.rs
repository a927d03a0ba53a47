//! `fleetgauge packs`: what can be asked without writing a query.

use std::fmt::Write as _;

use anyhow::{anyhow, bail};
use fleetgauge::pack::Pack;
use fleetgauge_core::params::{ParamKind, ParamSpec};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::similar::similar;

use crate::cli::{Packs, PacksFormat};
use crate::config;
use crate::failure::Usage;
use crate::output::{self, json, table};

pub(super) fn run(args: &Packs) -> anyhow::Result<()> {
    let own = config::read_if_given(args.config.as_deref())?.packs;
    let Some(name) = &args.name else {
        return all(own, args.output);
    };
    let (pack_name, query_name) = match name.split_once('/') {
        Some((pack, query)) => (pack, Some(query)),
        None => (name.as_str(), None),
    };
    let pack = find_pack(pack_name, own)?;
    let query = match query_name {
        Some(query) => Some(find_query(&pack, query)?),
        None => None,
    };
    match (args.output, query) {
        (PacksFormat::Json, None) => print_json(vec![json::PackEntry::new(&pack, pack.queries())]),
        (PacksFormat::Json, Some(query)) => print_json(vec![json::PackEntry::new(&pack, [query])]),
        (PacksFormat::Yaml, _) => match Pack::builtin_text(pack.name()) {
            Some(text) => output::print_line(text),
            None => bail!(Usage(format!(
                "-o yaml prints a built-in pack; {} is one of your own files",
                pack.name()
            ))),
        },
        (PacksFormat::Table, None) => output::print_line(&one(&pack)),
        (PacksFormat::Table, Some(query)) => output::print_line(&details(query)),
    }
}

fn all(own: Vec<Pack>, format: PacksFormat) -> anyhow::Result<()> {
    let packs = with_builtins(own);
    match format {
        PacksFormat::Json => print_json(
            packs
                .iter()
                .map(|pack| json::PackEntry::new(pack, pack.queries()))
                .collect(),
        ),
        PacksFormat::Yaml => bail!(Usage(
            "-o yaml prints one pack: name it, as in `fleetgauge packs vllm -o yaml`".into()
        )),
        PacksFormat::Table => {
            let mut table = table::new(&["pack", "queries", "description"]);
            for pack in &packs {
                table.add_row([
                    pack.name(),
                    &pack.queries().len().to_string(),
                    first_sentence(pack.description()),
                ]);
            }
            table::align_right(&mut table, 1);
            output::print_line(&table::render(&mut table))
        }
    }
}

/// A pack's queries.
fn one(pack: &Pack) -> String {
    let mut table = table::new(&["query", "parameters", "unit", "description"]);
    for query in pack.queries() {
        let params: Vec<_> = query.params.iter().map(param).collect();
        table.add_row([&*query.name, &params.join(" "), &query.unit, &query.description]);
    }
    format!("{}\n\n{}", pack.description(), table::render(&mut table))
}

/// One query, whole.
fn details(query: &QueryTemplate) -> String {
    let mut text = format!("{}\n{}\n\nunit: {}\n", query.name, query.description, query.unit);
    for (field, duration) in [("ttl", query.ttl), ("timeout", query.timeout)] {
        if let Some(duration) = duration {
            let _ = writeln!(text, "{field}: {duration:?}");
        }
    }
    text.push_str("parameters:\n");
    for param in &query.params {
        let required = if param.is_required() { "" } else { ", optional" };
        let _ = writeln!(text, "  {}: {}{required}", param.name(), param.kind());
    }
    let _ = write!(text, "\n{}", query.template);
    text
}

/// `namespace`, `q:number`, `[podFilter:regex]`.
fn param(param: &ParamSpec) -> String {
    let kind = match param.kind() {
        ParamKind::Text => String::new(),
        kind => format!(":{kind}"),
    };
    let name = param.name();
    if param.is_required() {
        format!("{name}{kind}")
    } else {
        format!("[{name}{kind}]")
    }
}

fn first_sentence(text: &str) -> &str {
    text.split_inclusive(". ")
        .next()
        .unwrap_or(text)
        .trim_end_matches([' ', '.'])
}

fn print_json(packs: Vec<json::PackEntry<'_>>) -> anyhow::Result<()> {
    output::print(&json::to_line(&json::Packs { packs })?)
}

/// The built-in packs, and behind them those of the configuration.
fn with_builtins(own: Vec<Pack>) -> Vec<Pack> {
    Pack::builtins().into_iter().chain(own).collect()
}

/// The pack `name`, built in or of the configuration.
fn find_pack(name: &str, own: Vec<Pack>) -> anyhow::Result<Pack> {
    let mut packs = with_builtins(own);
    if let Some(at) = packs.iter().position(|pack| pack.name() == name) {
        return Ok(packs.swap_remove(at));
    }
    let names: Vec<_> = packs.iter().map(Pack::name).collect();
    Err(match similar(name, names.iter().copied()) {
        Some(similar) => anyhow!("there is no pack {name:?}; did you mean {similar:?}?"),
        None => anyhow!("there is no pack {name:?}; there are {}", names.join(", ")),
    })
}

fn find_query<'p>(pack: &'p Pack, name: &str) -> anyhow::Result<&'p QueryTemplate> {
    pack.query(name).ok_or_else(|| {
        let short = |query: &'p QueryTemplate| {
            query
                .name
                .split_once('/')
                .map_or(&*query.name, |(_, short)| short)
        };
        let pack_name = pack.name();
        match similar(name, pack.queries().iter().map(short)) {
            Some(similar) => {
                anyhow!("there is no query {name:?} in the pack {pack_name}; did you mean {similar:?}?")
            }
            None => anyhow!(
                "there is no query {name:?} in the pack {pack_name}; see `fleetgauge packs {pack_name}`"
            ),
        }
    })
}
