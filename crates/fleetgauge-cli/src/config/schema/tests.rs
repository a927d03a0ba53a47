//! The schema says what `check` says: of each file in `tests/schema`, in which every field occurs, each field is taken
//! away, each value replaced and an unknown field put into each mapping, and both are asked. The tables of
//! `docs/configuration.md` are written from the schema.
//!
//! To write the tables: `UPDATE_GOLDEN=1 cargo test -p fleetgauge-cli --bins schema`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleetgauge::composed::{ComposedConfig, Input};
use fleetgauge::document::{Document, Problem};
use fleetgauge::federated::FederatedConfig;
use fleetgauge::pack::Pack;
use fleetgauge::prometheus::PrometheusSourceConfig;
use fleetgauge::prometheus::remote_write::RemoteWriteConfig;
use fleetgauge::scrape::ScrapeConfig;
use fleetgauge_core::time::parse_seconds;
use fleetgauge_server::metric::MetricSpec;
use serde_json::{Map, Value, json};

use super::SCHEMA;
use crate::config::{DEFAULT_ADDRESS, file};

/// What an editor makes of a YAML file.
#[path = "../../../tests/support/yaml.rs"]
#[allow(dead_code, reason = "what integration tests need beside it")]
mod yaml;

const UNKNOWN: &str = "zzzzzzzzzz";

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

// === the schema, walked beside a file ===

/// The schemas of mappings that may stand where `schema` is, with their names.
fn shapes<'s>(root: &'s Value, schema: &'s Value, instance: &Value, found: &mut Vec<&'s Value>) {
    if let Some(name) = schema["$ref"].as_str() {
        shapes(root, root.pointer(&name[1..]).unwrap(), instance, found);
    }
    if schema.get("if").is_some() {
        let branch = if instance.get("name").is_some() {
            "then"
        } else {
            "else"
        };
        shapes(root, &schema[branch], instance, found);
    }
    for way in ["oneOf", "allOf"] {
        for schema in schema[way].as_array().into_iter().flatten() {
            shapes(root, schema, instance, found);
        }
    }
    if schema["type"] == "object" || schema["type"] == "array" || schema["type"] == json!(["array", "null"]) {
        found.push(schema);
    }
}

/// Calls `see` with the place of each value of `instance`, and the shapes that may stand there.
fn walk<'s>(
    root: &'s Value,
    schema: &'s Value,
    instance: &Value,
    place: &str,
    see: &mut impl FnMut(&str, &Value, &[&'s Value]),
) {
    let mut found = Vec::new();
    shapes(root, schema, instance, &mut found);
    see(place, instance, &found);
    match instance {
        Value::Object(fields) => {
            for (name, value) in fields {
                let schema = found.iter().find_map(|shape| {
                    let own = shape["properties"].get(name);
                    own.or_else(|| shape.get("additionalProperties").filter(|more| more.is_object()))
                });
                let schema = schema.unwrap_or_else(|| panic!("{place}/{name} is not in the schema"));
                walk(root, schema, value, &format!("{place}/{name}"), see);
            }
        }
        Value::Array(items) => {
            let schema = found.iter().find_map(|shape| shape.get("items")).unwrap();
            for (at, value) in items.iter().enumerate() {
                walk(root, schema, value, &format!("{place}/{at}"), see);
            }
        }
        _ => {}
    }
}

/// The mappings with fields of ours.
fn closed<'s>(found: &[&'s Value]) -> Option<&'s Map<String, Value>> {
    let mut closed = found
        .iter()
        .filter(|shape| shape["additionalProperties"] == false);
    closed.find_map(|shape| shape["properties"].as_object())
}

// === what check says ===

/// What `check` finds wrong with a file; `builtin` are the packs beside its own.
fn check(file: &Value, builtin: Vec<Pack>) -> Vec<String> {
    let document = Document::parse("file", &file.to_string()).unwrap();
    let problems = if document.root().has_field("name") {
        let read = Pack::from_document(&document).map(drop);
        read.map_err(|problems| problems.iter().cloned().collect::<Vec<Problem>>())
    } else {
        file::read_config(&document, Path::new(""), builtin).map(drop)
    };
    let problems = problems.err().unwrap_or_default();
    let problems = problems.iter().filter(|problem| !problem.is_warning);
    problems.map(|problem| problem.message.clone()).collect()
}

/// Whether it is about the form, and not about what is meant.
fn is_about_form(problem: &str) -> bool {
    let words = [
        "expected ",
        "unknown ",
        " is missing in ",
        " has one field",
        "is one of",
    ];
    words.iter().any(|words| problem.contains(words))
}

/// The files in which every field occurs.
fn examples() -> Vec<(String, Value)> {
    let files = fs::read_dir(folder("tests/schema"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let examples = files.map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, yaml::document(&fs::read_to_string(path).unwrap()))
    });
    examples.collect()
}

#[test]
fn schema_and_check_know_the_same_fields() {
    let root = schema();
    let mut seen: BTreeSet<(usize, String)> = BTreeSet::new();
    let key = |fields: &Map<String, Value>| std::ptr::from_ref(fields) as usize;
    for (file, example) in examples() {
        walk(&root, &root, &example, "", &mut |place, instance, found| {
            let (Some(fields), Some(own)) = (closed(found), instance.as_object()) else {
                return;
            };
            seen.extend(own.keys().map(|name| (key(fields), name.clone())));
            let mut changed = example.clone();
            changed.pointer_mut(place).unwrap()[UNKNOWN] = 1.into();
            let told = check(&changed, Vec::new());
            let lists = told
                .iter()
                .filter(|line| line.contains(UNKNOWN) || line.contains(" has one field"));
            let mut lists =
                lists.filter_map(|line| line.split_once("it may have ").or(line.split_once("one of ")));
            let (_, list) = lists.next().unwrap_or_else(|| panic!("{file}{place}: {told:?}"));
            let known: BTreeSet<_> = list.split(", ").collect();
            let expected: BTreeSet<_> = fields.keys().map(String::as_str).collect();
            assert_eq!(known, expected, "{file}{place}");
        });
    }
    // And each of them stands in one of the examples.
    let mut count = 0;
    for (name, definition) in root["$defs"].as_object().unwrap() {
        let mut found = Vec::new();
        shapes(&root, definition, &Value::Null, &mut found);
        let Some(fields) = closed(&found) else { continue };
        for field in fields.keys() {
            assert!(
                seen.contains(&(key(fields), field.clone())),
                "no example has {name}.{field}"
            );
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn schema_and_check_take_and_refuse_the_same_forms() {
    let root = schema();
    let validator = jsonschema::validator_for(&root).unwrap();
    let values = [
        json!(5),
        json!(0.5),
        json!(UNKNOWN),
        json!(""),
        json!(true),
        json!(null),
        json!([]),
        json!({}),
        json!([UNKNOWN]),
        json!([7]),
        json!({UNKNOWN: 1}),
        json!("5m"),
    ];
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for (file, example) in examples() {
        assert!(
            validator.is_valid(&example),
            "{file}: {:?}",
            validator.validate(&example).err()
        );
        assert_eq!(check(&example, Vec::new()), Vec::<String>::new(), "{file}");
        walk(&root, &root, &example, "", &mut |place, _, _| {
            let Some((parent, name)) = place.rsplit_once('/') else {
                return;
            };
            let mut change = |what: String, changed: Value| {
                let (is_valid, told) = (validator.is_valid(&changed), check(&changed, Vec::new()));
                refused += usize::from(!is_valid);
                if told.is_empty() && !is_valid {
                    wrong.push(format!(
                        "check takes it, and the schema does not: {file}{place} {what}"
                    ));
                } else if is_valid && told.iter().any(|problem| is_about_form(problem)) {
                    wrong.push(format!(
                        "the schema takes it, and check does not: {file}{place} {what}: {told:?}"
                    ));
                }
            };
            for value in &values {
                let mut changed = example.clone();
                *changed.pointer_mut(place).unwrap() = value.clone();
                change(format!("is {value}"), changed);
            }
            let mut changed = example.clone();
            if let Value::Object(fields) = changed.pointer_mut(parent).unwrap() {
                fields.remove(name);
                change("is not there".to_owned(), changed);
            }
        });
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused > 1000, "{refused}");
}

// === the documentation ===

/// What `schema` says of `name`: of itself, or of what it refers to.
fn said<'s>(root: &'s Value, schema: &'s Value, name: &str) -> Option<&'s Value> {
    schema.get(name).or_else(|| {
        let referred = root.pointer(&schema.get("$ref")?.as_str()?[1..])?;
        said(root, referred, name)
    })
}

/// The type of a value, in words.
fn type_of(root: &Value, schema: &Value) -> String {
    let said = |name: &str| said(root, schema, name);
    if let Some(title) = said("title") {
        return title.as_str().unwrap().to_owned();
    }
    if let Some(values) = said("enum") {
        let values = values.as_array().unwrap().iter();
        return values
            .map(|value| format!("`{}`", value.as_str().unwrap()))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(ways) = said("oneOf").filter(|ways| ways[0].get("required").is_none()) {
        let mut ways: Vec<_> = ways
            .as_array()
            .unwrap()
            .iter()
            .map(|way| type_of(root, way))
            .collect();
        ways.dedup();
        return ways.join(" or ");
    }
    match said("type").map(|kind| kind.as_str().unwrap_or("array")) {
        Some("array") => format!("list of {}s", type_of(root, said("items").unwrap())),
        Some("object") if said("additionalProperties").is_some_and(|more| *more == false) => {
            "mapping".to_owned()
        }
        Some("object") => format!(
            "{}s by name",
            type_of(root, said("additionalProperties").unwrap())
        ),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("number") => "number".to_owned(),
        _ => "text".to_owned(),
    }
}

/// The fields of a definition as a table.
fn table(root: &Value, definition: &Value) -> String {
    let mut found = Vec::new();
    shapes(root, definition, &Value::Null, &mut found);
    let required = found.iter().find_map(|shape| shape["required"].as_array());
    let mut text = "| field | type | default | what |\n|---|---|---|---|\n".to_owned();
    let is_required = |name: &str| required.is_some_and(|required| required.contains(&name.into()));
    let (mut fields, others): (Vec<_>, Vec<_>) = closed(&found)
        .unwrap()
        .iter()
        .partition(|(name, _)| is_required(name));
    fields.extend(others);
    for (name, schema) in fields {
        let default = match said(root, schema, "default") {
            _ if is_required(name) => "required".to_owned(),

            None => String::new(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(other) => format!("`{other}`"),
        };
        let what = said(root, schema, "description").and_then(Value::as_str).unwrap();
        text += &format!("| `{name}` | {} | {default} | {what} |\n", type_of(root, schema));
    }
    text
}

#[test]
fn every_field_is_documented() {
    const BEGIN: &str = "<!-- fields: ";
    const END: &str = "<!-- end of fields -->";
    let file = folder("../../docs/configuration.md");
    let text = fs::read_to_string(&file).unwrap();
    let root = schema();
    let (mut written, mut documented) = (String::new(), BTreeSet::new());
    let mut parts = text.split(BEGIN);
    written += parts.next().unwrap();
    for part in parts {
        let (name, rest) = part.split_once(" -->\n").unwrap();
        let (_, rest) = rest.split_once(END).unwrap();
        assert!(documented.insert(name), "{name} is there twice");
        written += &format!(
            "{BEGIN}{name} -->\n{}{END}{rest}",
            table(&root, &root["$defs"][name])
        );
    }
    for (name, definition) in root["$defs"].as_object().unwrap() {
        let mut found = Vec::new();
        shapes(&root, definition, &Value::Null, &mut found);
        let is_told = documented.contains(&**name);
        assert!(
            is_told || closed(&found).is_none(),
            "the fields of {name} are not in {}",
            file.display()
        );
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &written).unwrap();
    } else {
        assert!(
            written == text,
            "the tables are not those of the schema: run it with UPDATE_GOLDEN=1\n{written}"
        );
    }
}

/// Every YAML block of the documentation that is a configuration or a pack, save those with an ellipsis.
#[test]
fn what_is_documented_is_taken_by_the_schema() {
    let root = schema();
    let validator = jsonschema::validator_for(&root).unwrap();
    let mut seen = 0;
    let pages = fs::read_dir(folder("../../docs")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    for path in pages.filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
        let text = fs::read_to_string(&path).unwrap();
        for block in text
            .split("```yaml\n")
            .skip(1)
            .map(|block| block.split("```").next().unwrap())
        {
            let example = yaml::document(block);
            let is_ours = [
                "sources",
                "prometheus",
                "queries",
                "metrics",
                "variants",
                "server",
                "defaults",
                "log",
            ];
            if !is_ours.iter().any(|name| example.get(name).is_some()) {
                continue;
            }
            let errors: Vec<_> = validator
                .iter_errors(&example)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{}: {errors:?}\n{block}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen}");
}

/// Each by itself, as somebody would paste it.
#[test]
fn the_examples_of_the_configuration_are_in_order() {
    let text = fs::read_to_string(folder("../../docs/configuration.md")).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    let blocks: Vec<&str> = blocks.map(|block| block.split("```").next().unwrap()).collect();
    let builtin = Pack::builtins();
    for block in &blocks {
        let told = check(&yaml::document(block), builtin.clone());
        assert!(told.is_empty(), "{told:?}\n{block}");
    }
    assert!(blocks.len() > 10, "{}", blocks.len());
}

#[test]
fn what_check_refuses_in_form_is_refused_by_the_schema() {
    let root = schema();
    let validator = jsonschema::validator_for(&root).unwrap();
    let golden = |file: &str| {
        yaml::document(&fs::read_to_string(folder("tests/golden").join(format!("{file}.yaml"))).unwrap())
    };
    for file in ["bad-config", "bad-policy-config", "bad-sources", "secrets"] {
        assert!(!validator.is_valid(&golden(file)), "{file}");
    }
    for file in [
        "good-config",
        "good-sources",
        "query-config",
        "good-pack",
        "good-policy-pack",
    ] {
        let example = golden(file);
        let errors: Vec<_> = validator
            .iter_errors(&example)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
    }
}

#[test]
fn the_defaults_are_those_of_the_code() {
    let schema = schema();
    let default = |place: &str| {
        let (section, field) = place.split_once('.').unwrap();
        schema["$defs"][section]["properties"][field]["default"].clone()
    };
    let prometheus = PrometheusSourceConfig::new("http://a");
    let scrape = ScrapeConfig::new("pods");
    let composed = ComposedConfig::new("fleet");
    let federated = FederatedConfig::new("all");
    let metric = MetricSpec::new("a".parse().unwrap(), "pods", "a").unwrap();
    let remote = RemoteWriteConfig::new("http://a");
    let durations: [(&str, Duration); 16] = [
        ("prometheus.timeout", prometheus.query_timeout),
        ("prometheus.ttl", prometheus.default_ttl),
        ("prometheus.max_stale", prometheus.max_stale),
        ("scrape.interval", scrape.interval),
        ("scrape.ttl", scrape.default_ttl),
        ("scrape.query_timeout", scrape.query_timeout),
        ("composed.ttl", composed.default_ttl),
        ("composed.timeout", composed.query_timeout),
        ("federated.ttl", federated.default_ttl),
        ("federated.timeout", federated.query_timeout),
        ("input.step", Input::new("a", "b", "c").step),
        ("metric.every", metric.every),
        ("remote_write.every", remote.every),
        ("remote_write.timeout", remote.client.query_timeout),
        ("remote_write.flush_timeout", remote.flush_timeout),
        ("remote_write.resend", remote.resend),
    ];
    for (place, expected) in durations {
        let told = default(place);
        let told = told.as_str().and_then(|text| parse_seconds(text).ok());
        assert_eq!(told, Some(expected), "{place}");
    }
    assert_eq!(default("prometheus.max_concurrency"), prometheus.max_concurrency);
    assert_eq!(
        default("remote_write.protobuf_message"),
        remote.protobuf_message.as_str()
    );
    assert_eq!(default("scrape.metrics_path"), *scrape.defaults.metrics_path);
    assert_eq!(default("door.listen"), *DEFAULT_ADDRESS.to_string());
}
