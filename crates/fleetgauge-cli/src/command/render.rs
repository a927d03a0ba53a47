//! `fleetgauge render`: a template with its parameters filled in.

use std::fmt::Write as _;

use anyhow::anyhow;
use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::similar::similar;
use fleetgauge_core::template::{RenderError, Template};

use crate::cli::{ParamArgs, Render};
use crate::failure::Usage;
use crate::output;

pub(super) fn run(args: Render) -> anyhow::Result<()> {
    let specs = declare(&args.template, &args.params, &args.kinds)?;
    let template = Template::compile(&args.template, &specs)
        .map_err(|error| pointing(&args.template, error.line(), error.column(), error.message()))?;
    let kinds = args.kinds.iter().map(|(name, _)| name.as_str());
    warn_of_unused(&template, args.params.names().chain(kinds));
    let rendered = template.render(&values(&args.params));
    let rendered = rendered.map_err(|error| not_rendered(&args.template, &error))?;
    output::print_data(&format!("{rendered}\n"))
}

/// Says why a template that was typed could not be filled in, and what to type.
pub(super) fn not_rendered(template: &str, error: &RenderError) -> anyhow::Error {
    match error {
        RenderError::MissingParam { param } => missing(param),
        RenderError::Unplaceable { line, column, .. } | RenderError::Exec { line, column, .. } => {
            pointing(template, *line, *column, &error.to_string())
        }
        RenderError::SeveralValues { param, .. } => several(param),
        _ => anyhow!("{error}"),
    }
}

/// What the caller gave, by name; a name that was given again is a list.
pub(super) fn values(args: &ParamArgs) -> Params {
    let mut params = Params::new();
    for (name, value) in args.params.iter().chain(&args.regex) {
        params.push(name, value);
    }
    params
}

/// Says which parameters were `given` and are not used. Other templates of a script may use them, so this is no error.
pub(super) fn warn_of_unused<'a>(template: &Template, given: impl Iterator<Item = &'a str> + Clone) {
    for spec in template.unused_params() {
        if given.clone().any(|name| name == spec.name()) {
            let known = template.params().iter().map(ParamSpec::name);
            warn_unused("the template", spec.name(), known);
        }
    }
}

/// Says that a parameter was given for nothing, and which of the `known` was likely meant.
pub(super) fn warn_unused<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str> + Clone) {
    let others = known.filter(|other| *other != name);
    let hint = similar(name, others)
        .map(|similar| format!("; did you mean {similar:?}?"))
        .unwrap_or_default();
    let name = Excerpt(name);
    output::note(&format!(
        "warning: {what} does not use the parameter {name}{hint}"
    ));
}

/// The parameters of a template that was typed: those that have a value, and as optional ones those that the
/// template names besides, so that its conditions can ask for them.
pub(super) fn declare(
    template: &str,
    args: &ParamArgs,
    kinds: &[(String, ParamKind)],
) -> Result<Vec<ParamSpec>, Usage> {
    let given = |list: &[(String, String)], name: &str| list.iter().any(|(given, _)| given == name);
    let mut specs: Vec<ParamSpec> = Vec::new();
    let typed = args
        .params
        .iter()
        .chain(&args.regex)
        .map(|(name, _)| name.as_str());
    let named = kinds.iter().map(|(name, _)| name.as_str());
    for name in typed.chain(named).chain(placeholders(template)) {
        if specs.iter().any(|spec| spec.name() == name) {
            continue;
        }
        let as_regex = given(&args.regex, name);
        let kind = kinds
            .iter()
            .find(|(named, _)| named == name)
            .map(|(_, kind)| *kind);
        if as_regex && kind.is_some_and(|kind| kind != ParamKind::Regex) {
            return Err(Usage(format!(
                "parameter {name:?} is given with --regex and with another --param-kind"
            )));
        }
        if as_regex && given(&args.params, name) {
            return Err(Usage(format!(
                "parameter {name:?} is given with both --param and --regex"
            )));
        }
        let kind = if as_regex {
            ParamKind::Regex
        } else {
            kind.unwrap_or(ParamKind::default_for(name))
        };
        let has_value = as_regex || given(&args.params, name);
        specs.push(if has_value {
            ParamSpec::required(name, kind)
        } else {
            ParamSpec::optional(name, kind)
        });
    }
    Ok(specs)
}

/// The names behind a dot within `{{…}}`. One too many does no harm: it declares a parameter that nothing
/// uses.
fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    let actions = template
        .split("{{")
        .skip(1)
        .map(|rest| rest.split("}}").next().unwrap_or(rest));
    actions.flat_map(|action| {
        action.match_indices('.').filter_map(|(at, _)| {
            let before = action[..at].chars().next_back();
            let continues = |c: char| c.is_alphanumeric() || c == '_';
            if before.is_some_and(|c| continues(c) || c == ')' || c == '"') {
                return None;
            }
            let rest = &action[at + 1..];
            let name = &rest[..rest.find(|c| !continues(c)).unwrap_or(rest.len())];
            (!name.is_empty() && !name.starts_with(|c: char| c.is_numeric())).then_some(name)
        })
    })
}

pub(super) fn several(param: &str) -> anyhow::Error {
    let param = Excerpt(param);
    anyhow!(
        "parameter {param} is given several times, and takes one value; only kinds texts and labels are lists"
    )
}

pub(super) fn missing(param: &str) -> anyhow::Error {
    anyhow!("parameter {param:?} is missing; give it with -p {param}=VALUE")
}

/// How much of a line is shown on either side of the place that is wrong in it. *Unit*: characters.
const AROUND: usize = 60;

/// A message with the line of the template that it is about, and a caret below the place.
pub(super) fn pointing(template: &str, line: usize, column: usize, message: &str) -> anyhow::Error {
    pointing_in("template", template, line, column, message)
}

/// The same for a text of another kind.
pub(super) fn pointing_in(
    kind: &str,
    template: &str,
    line: usize,
    column: usize,
    message: &str,
) -> anyhow::Error {
    let text = template.lines().nth(line - 1).unwrap_or_default();
    let (text, place) = around(text, column - 1);
    // Tabs are kept, so that the caret stands where the terminal puts the character above it.
    let indent: String = text
        .chars()
        .chain([' '])
        .take(place)
        .map(|c| if c == '\t' { c } else { ' ' })
        .collect();
    let number = line.to_string();
    let blank = " ".repeat(number.len());
    let mut shown = format!("{kind}: {message}\n{blank} |\n");
    let _ = write!(shown, "{number} | {text}\n{blank} | {indent}^");
    anyhow!(shown)
}

/// What is near the character `place` of a line, with `…` for what was cut off, and the place in it.
fn around(line: &str, place: usize) -> (String, usize) {
    let from = place.saturating_sub(AROUND);
    let mut rest = line.chars().skip(from);
    let near: String = rest.by_ref().take(place - from + AROUND).collect();
    let (before, after) = (
        if from > 0 { "…" } else { "" },
        if rest.next().is_some() { "…" } else { "" },
    );
    let place = place - from + usize::from(from > 0);
    (format!("{before}{near}{after}"), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_the_names_behind_a_dot() {
        let check = |template: &str, expected: &[&str]| {
            assert_eq!(placeholders(template).collect::<Vec<_>>(), expected, "{template}");
        };
        check("up", &[]);
        check("up.a {{.b}}.c", &["b"]);
        check(
            "{{if and .a (not .b)}}{{printf \"%s\" .c}}{{end}}",
            &["a", "b", "c"],
        );
        check("{{range .}}{{.}}{{end}}{{1.5}}{{.d", &["d"]);
        check("{{.a.b}}{{$x.y}}", &["a"]);
    }

    #[test]
    fn the_caret_stands_below_the_place() {
        let shown = pointing("a\n\tbc{{", 2, 4, "unclosed").to_string();
        assert_eq!(shown, "template: unclosed\n  |\n2 | \tbc{{\n  | \t  ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let check = |before: usize, after: usize, expected: [usize; 2], cut: [&str; 2]| {
            let line = format!("{}!{}", "é".repeat(before), "b".repeat(after));
            let [shown_before, shown_after] = expected;
            let shown = format!(
                "{}{}!{}{}",
                cut[0],
                "é".repeat(shown_before),
                "b".repeat(shown_after),
                cut[1]
            );
            let caret = " ".repeat(shown_before + cut[0].chars().count());
            assert_eq!(
                pointing(&line, 1, before + 1, "odd").to_string(),
                format!("template: odd\n  |\n1 | {shown}\n  | {caret}^")
            );
        };
        check(0, 0, [0, 0], ["", ""]);
        check(60, 59, [60, 59], ["", ""]);
        check(61, 59, [60, 59], ["…", ""]);
        check(60, 60, [60, 59], ["", "…"]);
        check(100_000, 100_000, [60, 59], ["…", "…"]);
    }

    #[test]
    fn the_end_of_a_long_line_is_a_place() {
        let shown = pointing(&"a".repeat(1_000), 1, 1_001, "unexpected end").to_string();
        let expected = format!("…{}\n  | {}^", "a".repeat(60), " ".repeat(61));
        assert!(shown.ends_with(&expected), "{shown}");
    }
}
