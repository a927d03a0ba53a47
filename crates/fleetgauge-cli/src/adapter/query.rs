//! A rule's query, for all pods and namespaces at once.

use std::sync::Arc;

use fleetgauge::document::{Node, Reader};
use fleetgauge_core::printable::Excerpt;
use fleetgauge_syntax::Function;
use fleetgauge_syntax::tree::{AggregateOp, Expr, Grouping, MatchOp, Matcher, Selector, ValueType};

/// Stands where the adapter puts the matchers of a request.
const MARK: &str = "__matchers_of_a_request__";

/// Where a rule is from, and so what asks for its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// HPAs of type `Pods`.
    Rules,
    /// HPAs of type `External`.
    ExternalRules,
}

/// The labels by which objects are known.
#[derive(Debug)]
pub(super) struct Labels {
    pub(super) namespace: Option<String>,
    pub(super) pod: Option<String>,
    /// Whether what an HPA asks for is of its own namespace.
    pub(super) is_namespaced: bool,
}

/// A query, and what is to be done with its rows.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) promql: String,
    /// Labels, and what they are to be called.
    pub(super) renamed: Vec<(String, &'static str)>,
    /// Whether the sum of its rows is what they are of all of them.
    pub(super) is_sum: bool,
    /// The labels of its rows, where the query says.
    labels: Option<Vec<String>>,
}

/// What every row must keep, so that it can be told whose it is.
struct Kept<'a> {
    /// `None` where all namespaces are meant at once.
    namespace: Option<&'a str>,
    /// `None` where rows are not of pods.
    pod: Option<&'a str>,
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            namespace: None,
            pod: None,
            is_namespaced: true,
        }
    }
}

/// Translates `metricsQuery` for one series; `None` where that cannot be, which is noted.
pub(super) fn translate(
    node: &Node,
    series: &str,
    section: Section,
    labels: &Labels,
    reader: &mut Reader,
) -> Option<Translated> {
    let text = reader.text(node)?;
    let namespace = labels.namespace.as_deref().unwrap_or("namespace");
    let kept = match section {
        Section::Rules => Kept {
            namespace: Some(namespace),
            pod: Some(labels.pod.as_deref()?),
        },
        Section::ExternalRules => Kept {
            namespace: labels.is_namespaced.then_some(namespace),
            pod: None,
        },
    };
    let refused = |why: String| format!("its query cannot be asked for all at once: {why}");
    let translated = rewritten(text, series, &kept);
    let expr = match translated {
        Ok(expr) => expr,
        Err(why) => {
            reader.problem(node.position(), refused(why));
            return None;
        }
    };
    let mut promql = expr.to_string();
    if promql.contains("{{") {
        reader.problem(
            node.position(),
            refused("{{ would begin something in a template of ours".to_owned()),
        );
        return None;
    }
    let outer = match &expr {
        Expr::Aggregate(aggregate) => Some(aggregate),
        _ => None,
    };
    let by = outer.filter(|aggregate| !aggregate.grouping.without && !takes_rows(aggregate.op));
    let by: Option<Vec<String>> = by.map(|aggregate| {
        aggregate
            .grouping
            .labels
            .iter()
            .map(|label| (**label).to_owned())
            .collect()
    });
    let mut renamed = Vec::new();
    for (label, name) in [(kept.namespace, "namespace"), (kept.pod, "pod")] {
        let Some(label) = label.filter(|label| *label != name) else {
            continue;
        };
        // A row may have both, as `namespace` of the exporter beside `exported_namespace`; it would then have the label twice.
        match by
            .as_ref()
            .is_some_and(|by| by.iter().all(|other| *other != *name))
        {
            true => renamed.push((label.to_owned(), name)),
            false => promql = format!(r#"label_replace({promql}, "{name}", "$1", "{label}", "(.*)")"#),
        }
    }
    // Rows with a namespace are that one's alone, and these are everybody's.
    if kept.namespace.is_none()
        && by
            .as_ref()
            .is_none_or(|by| by.iter().any(|label| label == "namespace"))
    {
        renamed.push(("namespace".to_owned(), "of_namespace"));
    }
    let is_sum = outer.is_some_and(|aggregate| matches!(aggregate.op, AggregateOp::Sum | AggregateOp::Count));
    let own = |label: &String| Some(label.as_str()) != kept.namespace;
    let labels = by.map(|by| by.into_iter().filter(own).collect());
    Some(Translated {
        promql,
        renamed,
        is_sum: is_sum && section == Section::ExternalRules,
        labels,
    })
}

fn rewritten(template: &str, series: &str, kept: &Kept<'_>) -> Result<Expr, String> {
    let group_by: Vec<_> = match kept.pod {
        Some(pod) => kept.namespace.into_iter().chain([pod]).collect(),
        None => Vec::new(),
    };
    let mark = format!("{MARK}=\"\"");
    let values = [
        ("Series", series),
        ("LabelMatchers", &mark),
        ("GroupBy", &group_by.join(", ")),
    ];
    let text = expand(template, &values)
        .map_err(|action| format!("{} is not known before a request is", Excerpt(&action)))?;
    let mut expr = fleetgauge_syntax::parse(&text).map_err(|error| format!("it is not PromQL: {error}"))?;
    if !is_marked(&expr) {
        return Err("it does not say where <<.LabelMatchers>> go".to_owned());
    }
    keep(&mut expr, kept)?;
    Ok(expr)
}

/// A template with the values of its actions.
///
/// *Errors*: the first action that is not one of them alone.
pub(super) fn expand(template: &str, values: &[(&str, &str)]) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("<<") {
        let (action, after) = after.split_once(">>").ok_or_else(|| format!("<<{after}"))?;
        let field = action.trim().strip_prefix('.');
        let value = values.iter().find(|(name, _)| field == Some(*name));
        let (_, value) = value.ok_or_else(|| format!("<<{action}>>"))?;
        text.push_str(before);
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// Whether an expression reads what a request selects.
fn is_marked(expr: &Expr) -> bool {
    expr.walk().into_iter().any(|expr| match expr {
        Expr::Selector(selector) => has_mark(selector),
        Expr::Range(range) => has_mark(&range.selector),
        _ => false,
    })
}

fn has_mark(selector: &Selector) -> bool {
    selector.matchers.iter().any(|matcher| matcher.name == MARK)
}

/// Puts in the place of the mark what must be there of all series, and keeps their labels through all that is computed of them.
///
/// *Errors*: that cannot be seen.
fn keep(expr: &mut Expr, kept: &Kept<'_>) -> Result<(), String> {
    match expr {
        Expr::Number(_) | Expr::Text(_) => {}
        Expr::Selector(selector) => select(selector, kept),
        Expr::Range(range) => select(&mut range.selector, kept),
        Expr::Subquery(subquery) => keep(&mut subquery.expr, kept)?,
        Expr::Negate(inner) | Expr::Once(inner) => keep(inner, kept)?,
        Expr::Call(call) => {
            let is_written = |label: Option<&str>| matches!(&call.args[..], [_, Expr::Text(written), ..] if label == Some(written));
            let loses = match call.function {
                Function::LabelReplace | Function::LabelJoin => {
                    is_written(kept.namespace) || is_written(kept.pod)
                }
                Function::Absent | Function::AbsentOverTime | Function::Scalar | Function::Info => true,
                _ => false,
            };
            if loses && call.args.iter().any(is_marked) {
                return Err(format!("{} may lose whose a row is", call.function.name()));
            }
            call.args.iter_mut().try_for_each(|arg| keep(arg, kept))?;
        }
        Expr::Aggregate(aggregate) => {
            if aggregate.param.as_ref().is_some_and(is_marked) {
                return Err("a parameter of an aggregation is selected by the request".to_owned());
            }
            if is_marked(&aggregate.expr) {
                group(aggregate.op, &mut aggregate.grouping, kept)?;
            }
            keep(&mut aggregate.expr, kept)?;
        }
        Expr::Binary(binary) => {
            let sides = [&binary.left, &binary.right];
            let [left, right] = sides.map(is_marked);
            let are_vectors = sides
                .iter()
                .all(|side| side.value_type() == ValueType::InstantVector);
            if are_vectors && (left || right) {
                if left != right {
                    return Err(
                        "one side of an operator is selected by the request, and the other is not".to_owned(),
                    );
                }
                if binary.matching.on || !binary.matching.labels.is_empty() {
                    return Err("it joins series by labels of its own choice (on, ignoring)".to_owned());
                }
            }
            keep(&mut binary.left, kept)?;
            keep(&mut binary.right, kept)?;
        }
    }
    Ok(())
}

fn select(selector: &mut Selector, kept: &Kept<'_>) {
    let Some(at) = selector.matchers.iter().position(|matcher| matcher.name == MARK) else {
        return;
    };
    let mark = selector.matchers.remove(at);
    let labels = kept.namespace.into_iter().chain(kept.pod);
    let are_there = labels.map(|name| Matcher {
        name: name.to_owned(),
        op: MatchOp::NotEqual,
        ..mark.clone()
    });
    let are_there: Vec<_> = are_there.collect();
    selector.matchers.splice(at..at, are_there);
}

fn group(op: AggregateOp, grouping: &mut Grouping, kept: &Kept<'_>) -> Result<(), String> {
    let has = |label: &str| grouping.labels.iter().any(|of| **of == *label);
    if kept.pod.is_some() && takes_rows(op) {
        return Err("it chooses among the pods of a request".to_owned());
    }
    if grouping.without {
        let lost = kept
            .namespace
            .into_iter()
            .chain(kept.pod)
            .find(|label| has(label));
        return match lost {
            Some(label) => Err(format!("it aggregates {} away", Excerpt(label))),
            None => Ok(()),
        };
    }
    if let Some(pod) = kept.pod.filter(|pod| !has(pod)) {
        return Err(format!(
            "it aggregates {} away, so it has no row for each pod",
            Excerpt(pod)
        ));
    }
    // The request is for one namespace, and so is each sum.
    if let Some(namespace) = kept.namespace.filter(|namespace| !has(namespace)) {
        grouping.labels.insert(0, Arc::from(namespace));
    }
    Ok(())
}

/// Whether an aggregation gives rows as they are, and not one for each group.
fn takes_rows(op: AggregateOp) -> bool {
    matches!(
        op,
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio
    )
}

// === impl Translated ===

impl Translated {
    /// By which labels rows can be told apart; `None` where the query does not say which they have.
    pub(super) fn selectable(&self) -> Option<&[String]> {
        self.labels.as_deref()
    }
}
