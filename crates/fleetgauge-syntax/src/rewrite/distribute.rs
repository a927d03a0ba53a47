//! Splits a query for the members of a federation.
//!
//! Each member holds series that lack the member labels (`cluster`), and has values of its own for them. The query means
//! what it means over all series together, each with its member's labels. A part of it that gives each row from series
//! of one member, and keeps the member labels, is the same wherever it is evaluated: it is *pushed* to the members. The
//! rest is evaluated here, over the union of their answers, in which each answer is a metric of its part's name and
//! carries its member's labels.
//!
//! | query | pushed | rest |
//! |---|---|---|
//! | `x`, `rate(x[5m])`, `abs(a)`, `a > 5`, `a / on (cluster, pod) b` | as it is | the part |
//! | `sum by (cluster, pod) (a)`, any aggregation that keeps the member labels | as it is | the part |
//! | `sum`, `min`, `max`, `group`, `topk`, `bottomk` | the same, with the member labels | the same over the part |
//! | `count by (pod) (a)` | `count by (pod, cluster) (a)` | `sum by (pod) (part)` |
//! | `avg by (pod) (a)` | its `sum` and its `count` | sum over sum |
//! | `quantile`, `stddev`, `count_values`, … | `a` | the aggregation |
//! | `histogram_quantile(0.9, sum by (le) (a))` | `sum by (le, cluster) (a)` | the quantile of their sum |
//! | `absent(x)`, `scalar(a)`, `sort(a)`, `a or vector(0)`, `a / on (pod) b` | `x`, `a`, `b` | as it is |
//! | `max_over_time(sum(a)[5m:1m])` | `sum by (cluster) (a)[5m:1m]` | the sums of the parts at these steps |
//!
//! A mean is never made of means. Conditions on member labels are checked here, since the members' series lack them.

use crate::Function;
use crate::name::metric_name;
use crate::tree::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, Grouping, MatchOp, Matcher, Matching,
    RangeSelector, Selector, Shift, Subquery, ValueType,
};

use super::build::{aggregate_with, binary, call, equal, labelled, relabelled, subquery};
use super::series::{BUCKET, Groups, METRIC_NAME, Rows, groups, has_samples, is_scalar, rows};

/// What each member is asked, and what is made of the answers.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each is asked of every member. There is none if the query reads no samples.
    pub pushed: Vec<Part>,
    /// What is evaluated over the parts' answers, at the time of the query and as if they were samples of that time.
    pub rest: Expr,
}

/// A query for each member.
#[derive(Clone, Debug)]
pub struct Part {
    /// The metric as which `rest` reads the answers, whatever name they have, with the labels of the members.
    pub name: String,
    /// What is asked. An instant vector; or a range vector, which answers with its samples at their times and can be
    /// asked for one time alone.
    pub expr: Expr,
}

/// Why a query cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DistributeError {
    /// `info` reads series that it does not name.
    #[error("`info` cannot be asked of several members: join the info metric with `* on (…) group_left (…)`")]
    Info,
    /// Samples as they were taken, of computed rows or of several metrics, whose names the parts' would replace.
    #[error("samples of a range can be had of several members only if they are of one metric, as `x[5m]`")]
    Samples,
    /// A range in a subquery over what no member can evaluate alone.
    #[error(
        "ranges within a subquery over several members are not supported: write one subquery, or keep the member labels inside"
    )]
    Nested,
}

/// The distance of a subquery's steps where it names none: Prometheus's own. *Unit*: milliseconds.
const DEFAULT_STEP: i64 = 60_000;

/// Carries a metric's name past the part's own.
const NAME: &str = "__metric__";

/// Splits a query for members that differ by `member_labels`.
///
/// *Errors*: [`DistributeError`]
///
/// ```
/// use fleetgauge_syntax::{parse, rewrite::distribute};
///
/// let plan = distribute(&parse("count by (model) (up == 1)")?, &["cluster"])?;
/// assert_eq!(plan.pushed[0].expr.to_string(), "count by (model, cluster) (up == 1)");
/// assert_eq!(plan.rest.to_string(), "sum by (model) (part0)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn distribute(query: &Expr, member_labels: &[&str]) -> Result<Plan, DistributeError> {
    let mut planner = Planner {
        members: member_labels,
        pushed: Vec::new(),
        steps: None,
    };
    let rest = match query.value_type() {
        ValueType::RangeVector => planner.range_answer(query)?,
        _ => planner.rest(query)?,
    };
    let finished = |expr: Expr| crate::parse(&expr.to_string()).unwrap_or(expr);
    let pushed = planner.pushed.into_iter();
    Ok(Plan {
        pushed: pushed
            .map(|part| Part {
                expr: finished(part.expr),
                ..part
            })
            .collect(),
        rest: finished(rest),
    })
}

struct Planner<'a> {
    members: &'a [&'a str],
    pushed: Vec<Part>,
    /// The steps at which the parts are needed, if not at the query's own time: a subquery's.
    steps: Option<Steps>,
}

#[derive(Clone, Copy)]
struct Steps {
    range: i64,
    step: i64,
    shift: Shift,
}

/// Which names the rows of an expression have.
#[derive(Clone, Debug, PartialEq)]
enum Names {
    None,
    Is(String),
    Any,
}

// === impl Planner ===

impl Planner<'_> {
    /// What is left of an expression when its parts are pushed.
    fn rest(&mut self, expr: &Expr) -> Result<Expr, DistributeError> {
        if !has_samples(expr) {
            return Ok(expr.clone());
        }
        if expr.value_type() == ValueType::InstantVector
            && self.is_local(expr)
            && let Some(part) = self.push(expr)
        {
            return Ok(named(part, &names(expr)));
        }
        match expr {
            Expr::Once(inner) => self.rest(inner),
            Expr::Negate(inner) => Ok(Expr::Negate(Box::new(self.rest(inner)?))),
            Expr::Binary(op) => {
                let mut op = op.clone();
                (op.left, op.right) = (self.rest(&op.left)?, self.rest(&op.right)?);
                Ok(Expr::Binary(op))
            }
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.call(call),
            Expr::Range(range) => self.range(range),
            Expr::Subquery(subquery) => self.subquery(subquery),
            Expr::Number(_) | Expr::Text(_) | Expr::Selector(_) => Ok(expr.clone()),
        }
    }

    /// Asks the members for a part; returns what reads its answers, which have its name. `None` if it has conditions on
    /// member labels that cannot be checked on its rows.
    fn push(&mut self, expr: &Expr) -> Option<Expr> {
        let (part, conditions) = self.split(expr)?;
        let part = carrying(part, &names(expr));
        Some(self.read(part, conditions))
    }

    /// Without the conditions on member labels; and those. `None` if it is not certain that all rows are under the same
    /// conditions.
    fn split(&self, expr: &Expr) -> Option<(Expr, Vec<Matcher>)> {
        let is_selector = |part: &&&Expr| matches!(part, Expr::Selector(_) | Expr::Range(_));
        let is_one = expr.walk().iter().filter(is_selector).count() == 1;
        let (mut part, mut conditions) = (expr.clone(), Vec::new());
        part.visit_selectors(&mut |selector| {
            let matchers = std::mem::take(&mut selector.matchers);
            let is_ours = |matcher: &Matcher| self.members.contains(&&*matcher.name);
            let (ours, theirs): (Vec<_>, Vec<_>) = matchers.into_iter().partition(is_ours);
            conditions.extend(ours);
            selector.matchers = theirs;
            if crate::parse(&selector.to_string()).is_err() {
                // Nothing is left that says which series: all of them.
                selector.matchers.push(Matcher {
                    op: MatchOp::Regex,
                    ..equal(METRIC_NAME, ".+")
                });
            }
        });
        (is_one || conditions.is_empty()).then_some((part, conditions))
    }

    /// Reads the answers to a part.
    fn read(&mut self, part: Expr, conditions: Vec<Matcher>) -> Expr {
        let selector = |name: &str| {
            let mut matchers = vec![equal(METRIC_NAME, name)];
            matchers.extend(conditions);
            let shift = Shift::default();
            Selector { matchers, shift }
        };
        let Some(steps) = self.steps else {
            return Expr::Selector(selector(&self.ask(part)));
        };
        let name = self.ask(subquery(part, steps.range, Some(steps.step), steps.shift));
        // Not what was there at a step before.
        let at_step = Expr::Range(RangeSelector {
            selector: selector(&name),
            range: 1,
        });
        call(Function::LastOverTime, vec![at_step])
    }

    /// The name of the part, which is asked once however often it is read.
    fn ask(&mut self, expr: Expr) -> String {
        let text = expr.to_string();
        if let Some(known) = self.pushed.iter().find(|part| part.expr.to_string() == text) {
            return known.name.clone();
        }
        let name = format!("part{}", self.pushed.len());
        self.pushed.push(Part {
            name: name.clone(),
            expr,
        });
        name
    }

    // --- what is evaluated here ---

    fn aggregate(&mut self, of: &Aggregate) -> Result<Expr, DistributeError> {
        if let Some(joined) = self.joined(of) {
            return Ok(joined);
        }
        let param = of.param.as_ref().map(|param| self.rest(param)).transpose()?;
        let expr = self.rest(&of.expr)?;
        Ok(aggregate_with(of.op, of.grouping.clone(), param, expr))
    }

    /// An aggregation of the members' aggregations; `None` if it is none of those that can be had so.
    fn joined(&mut self, of: &Aggregate) -> Option<Expr> {
        if of.param.as_ref().is_some_and(has_samples) || !self.is_local(&of.expr) {
            return None;
        }
        let grouping = &of.grouping;
        let has_name = !grouping.without && has(&grouping.labels, METRIC_NAME);
        let mut push = |op| {
            let part = aggregate_with(op, self.with_members(grouping), of.param.clone(), of.expr.clone());
            let read = self.push(&part)?;
            // The name matters where it is kept.
            Some(match has_name || groups(op) == Groups::Some {
                true => named(read, &names(&part)),
                false => read,
            })
        };
        let over = |op, parts| aggregate_with(op, grouping.clone(), of.param.clone(), parts);
        Some(match of.op {
            AggregateOp::Sum
            | AggregateOp::Min
            | AggregateOp::Max
            | AggregateOp::Group
            | AggregateOp::Topk
            | AggregateOp::Bottomk => over(of.op, push(of.op)?),
            AggregateOp::Count => over(AggregateOp::Sum, push(AggregateOp::Count)?),
            // The quotient has no name.
            AggregateOp::Avg if !has_name => {
                let sum = over(AggregateOp::Sum, push(AggregateOp::Sum)?);
                let count = over(AggregateOp::Sum, push(AggregateOp::Count)?);
                binary(BinaryOp::Div, sum, count)
            }
            AggregateOp::Avg
            | AggregateOp::Stddev
            | AggregateOp::Stdvar
            | AggregateOp::Quantile
            | AggregateOp::CountValues
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => return None,
        })
    }

    fn call(&mut self, of: &Call) -> Result<Expr, DistributeError> {
        match (of.function, of.args.first()) {
            (Function::Info, _) => return Err(DistributeError::Info),
            (Function::Absent | Function::AbsentOverTime, Some(arg)) => {
                if let Some(absent) = self.absent(arg.unwrapped()) {
                    return Ok(absent);
                }
            }
            _ => {}
        }
        let args = of.args.iter().map(|arg| self.rest(arg));
        Ok(call(of.function, args.collect::<Result<_, _>>()?))
    }

    /// What is absent has the labels that its selector names, so it is selected by the same conditions here.
    fn absent(&mut self, arg: &Expr) -> Option<Expr> {
        let selector = match arg {
            Expr::Selector(selector) => selector,
            Expr::Range(range) => &range.selector,
            _ => return None,
        };
        let (part, _) = self.split(arg)?;
        let part = match arg {
            Expr::Range(_) => call(Function::LastOverTime, vec![part]),
            _ => part,
        };
        let part = carrying(part, &names(arg));
        let conditions = selector.matchers.iter();
        let conditions = conditions.filter(|matcher| matcher.name != METRIC_NAME);
        let read = self.read(part, conditions.cloned().collect());
        Some(match read {
            Expr::Call(at_step) => call(Function::AbsentOverTime, at_step.args),
            read => call(Function::Absent, vec![read]),
        })
    }

    /// The samples themselves.
    fn range(&mut self, range: &RangeSelector) -> Result<Expr, DistributeError> {
        let expr = Expr::Range(range.clone());
        if names(&expr) == Names::Any {
            return Err(DistributeError::Samples);
        }
        let shift = range.selector.shift;
        match (self.steps, self.split(&expr)) {
            (None, Some((part, conditions))) => match self.read(part, conditions) {
                Expr::Selector(read) => Ok(Expr::Range(RangeSelector {
                    selector: Selector { shift, ..read },
                    range: range.range,
                })),
                read => Ok(read),
            },
            _ => Err(DistributeError::Nested),
        }
    }

    fn subquery(&mut self, of: &Subquery) -> Result<Expr, DistributeError> {
        let step = of.step.unwrap_or(DEFAULT_STEP);
        let steps = Steps {
            range: of.range,
            step,
            shift: of.shift,
        };
        if self.steps.replace(steps).is_some() {
            return Err(DistributeError::Nested);
        }
        let rest = self.rest(&of.expr);
        self.steps = None;
        Ok(subquery(rest?, of.range, Some(step), of.shift))
    }

    /// Samples as they were taken keep the name of their metric, which is the part's name then.
    fn range_answer(&mut self, query: &Expr) -> Result<Expr, DistributeError> {
        let Expr::Range(range) = query.unwrapped() else {
            return Err(DistributeError::Samples);
        };
        let Names::Is(name) = names(query) else {
            return Err(DistributeError::Samples);
        };
        let mut rest = self.range(range)?;
        rest.visit_selectors(&mut |selector| selector.matchers[0].value.clone_from(&name));
        self.pushed
            .iter_mut()
            .for_each(|part| part.name.clone_from(&name));
        Ok(rest)
    }

    // --- what members can do alone ---

    /// Whether each member gives its own rows of a vector, and its labels tell them apart.
    fn is_local(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Number(_) | Expr::Text(_) => false,
            Expr::Selector(_) | Expr::Range(_) => true,
            Expr::Negate(inner) | Expr::Once(inner) => self.is_local(inner),
            Expr::Subquery(subquery) => self.is_local(&subquery.expr),
            Expr::Call(call) => self.is_local_call(call),
            Expr::Aggregate(of) => {
                let label = match &of.param {
                    Some(Expr::Text(label)) => self.is_member(label),
                    Some(param) => has_samples(param),
                    None => false,
                };
                let is_whole = groups(of.op) != Groups::Some && self.keeps(&of.grouping);
                is_whole && !label && self.is_local(&of.expr)
            }
            Expr::Binary(op) => self.is_local_binary(op),
        }
    }

    fn is_local_call(&self, call: &Call) -> bool {
        let is_kind = match rows(call.function) {
            Rows::Each | Rows::EachOrNone | Rows::EachSeries | Rows::EachLongSeries => true,
            Rows::EachHistogram => !self.is_member(BUCKET),
            Rows::Relabelled => true,
            Rows::Ordered | Rows::Absence | Rows::Number | Rows::Joined => false,
        };
        let is_local = |arg: &Expr| match arg.value_type() {
            ValueType::Scalar => !has_samples(arg),
            ValueType::InstantVector | ValueType::RangeVector => self.is_local(arg),
            // Names of labels are among them.
            ValueType::Text => {
                !matches!(arg, Expr::Text(text) if self.is_member(text) || **text == *METRIC_NAME)
            }
        };
        is_kind && has_samples_of(call) && call.args.iter().all(is_local)
    }

    fn is_local_binary(&self, op: &Binary) -> bool {
        match (is_scalar(&op.left), is_scalar(&op.right)) {
            (true, true) => false,
            (true, false) => !has_samples(&op.left) && self.is_local(&op.right),
            (false, true) => !has_samples(&op.right) && self.is_local(&op.left),
            (false, false) => {
                let Matching {
                    on, labels, include, ..
                } = &op.matching;
                let keeps = match on {
                    true => self.members.iter().all(|member| has(labels, member)),
                    false => !labels.iter().any(|label| self.is_member(label)),
                };
                let includes = include.iter().any(|label| self.is_member(label));
                keeps && !includes && self.is_local(&op.left) && self.is_local(&op.right)
            }
        }
    }

    fn is_member(&self, label: &str) -> bool {
        self.members.contains(&label)
    }

    /// Whether no group has series of several members.
    fn keeps(&self, grouping: &Grouping) -> bool {
        match grouping.without {
            true => !grouping.labels.iter().any(|label| self.is_member(label)),
            false => self.members.iter().all(|member| has(&grouping.labels, member)),
        }
    }

    /// With a group for each member.
    fn with_members(&self, grouping: &Grouping) -> Grouping {
        let mut labels = grouping.labels.clone();
        if grouping.without {
            labels.retain(|label| !self.is_member(label));
        } else {
            let more = self
                .members
                .iter()
                .filter(|member| !has(&grouping.labels, member));
            labels.extend(more.map(|member| (*member).into()));
        }
        Grouping { labels, ..*grouping }
    }
}

fn has(labels: &[std::sync::Arc<str>], label: &str) -> bool {
    labels.iter().any(|one| **one == *label)
}

fn has_samples_of(call: &Call) -> bool {
    call.args.iter().any(has_samples)
}

/// With the names of the rows in a label, where they are not known.
fn carrying(part: Expr, names: &Names) -> Expr {
    match names {
        Names::Any => relabelled(part, NAME, "$1", METRIC_NAME, "(.*)"),
        Names::None | Names::Is(_) => part,
    }
}

/// The rows of a part by the names that they had.
fn named(part: Expr, names: &Names) -> Expr {
    match names {
        Names::None => labelled(part, METRIC_NAME, ""),
        Names::Is(name) => labelled(part, METRIC_NAME, name),
        Names::Any => {
            let renamed = relabelled(part, METRIC_NAME, "$1", NAME, "(.*)");
            labelled(renamed, NAME, "")
        }
    }
}

fn names(expr: &Expr) -> Names {
    match expr {
        Expr::Number(_) | Expr::Text(_) | Expr::Negate(_) => Names::None,
        Expr::Selector(selector) => name_of(selector),
        Expr::Range(range) => name_of(&range.selector),
        Expr::Subquery(subquery) => names(&subquery.expr),
        Expr::Once(inner) => names(inner),
        Expr::Call(call) if !call.function.keeps_name() => Names::None,
        Expr::Call(call) => {
            let is_name = |arg: &Expr| matches!(arg, Expr::Text(text) if **text == *METRIC_NAME);
            match call.args.first() {
                Some(arg) if !call.args.iter().any(is_name) => names(arg),
                _ => Names::Any,
            }
        }
        Expr::Aggregate(of) => match groups(of.op) {
            Groups::Some => names(&of.expr),
            Groups::Each if of.grouping.without || !has(&of.grouping.labels, METRIC_NAME) => Names::None,
            Groups::Each | Groups::EachValue => Names::Any,
        },
        Expr::Binary(op) => {
            let sides = (names(&op.left), names(&op.right));
            match op.op {
                BinaryOp::And | BinaryOp::Unless => sides.0,
                BinaryOp::Or if sides.0 == sides.1 => sides.0,
                BinaryOp::Or => Names::Any,
                op_ if !op_.is_comparison() || op.returns_bool => Names::None,
                _ if is_scalar(&op.right) => sides.0,
                _ if is_scalar(&op.left) => sides.1,
                _ if sides == (Names::None, Names::None) => Names::None,
                _ => Names::Any,
            }
        }
    }
}

fn name_of(selector: &Selector) -> Names {
    let mut matchers = selector
        .matchers
        .iter()
        .filter(|matcher| matcher.name == METRIC_NAME);
    match (matchers.next(), matchers.next()) {
        (Some(only), None) if only.op == MatchOp::Equal && metric_name(&only.value).is_ok() => {
            Names::Is(only.value.clone())
        }
        _ => Names::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is pushed, and the rest.
    fn check(query: &str, expected: &[&str]) {
        let plan = distribute(&crate::parse(query).unwrap(), &["cluster"]).unwrap();
        let mut told: Vec<_> = plan.pushed.iter().map(|part| part.expr.to_string()).collect();
        told.push(plan.rest.to_string());
        assert_eq!(told, expected, "{query}");
    }

    fn named(part: &str, name: &str) -> String {
        format!("label_replace({part}, \"__name__\", \"{name}\", \"\", \"\")")
    }

    #[test]
    fn what_keeps_the_member_labels_is_pushed_whole() {
        check("x", &["x", &named("part0", "x")]);
        let nameless = named("part0", "");
        for query in [
            "rate(x[5m])",
            "abs(x) * 2 + 1",
            "a / on (cluster, pod) b",
            "a / b",
            "sum by (cluster) (x)",
            "quantile without (pod) (0.9, x)",
            "histogram_quantile(0.9, rate(b[1m]))",
            "max_over_time(rate(x[1m])[1h:1m])",
            "timestamp(x)",
        ] {
            check(query, &[query, &nameless]);
        }
    }

    #[test]
    fn aggregations_are_joined_here() {
        check(
            "sum by (pod) (x)",
            &["sum by (pod, cluster) (x)", "sum by (pod) (part0)"],
        );
        check("max(x)", &["max by (cluster) (x)", "max(part0)"]);
        check(
            "min without (pod, cluster) (x)",
            &["min without (pod) (x)", "min without (pod, cluster) (part0)"],
        );
        check("count(x > 5)", &["count by (cluster) (x > 5)", "sum(part0)"]);
        check(
            "avg by (pod) (x)",
            &[
                "sum by (pod, cluster) (x)",
                "count by (pod, cluster) (x)",
                "sum by (pod) (part0) / sum by (pod) (part1)",
            ],
        );
        check(
            "topk(3, x)",
            &[
                "topk by (cluster) (3, x)",
                &format!("topk(3, {})", named("part0", "x")),
            ],
        );
        check(
            "sum(x) / sum(x)",
            &["sum by (cluster) (x)", "sum(part0) / sum(part0)"],
        );
        check(
            "histogram_quantile(0.9, sum by (le) (rate(b[1m])))",
            &[
                "sum by (le, cluster) (rate(b[1m]))",
                "histogram_quantile(0.9, sum by (le) (part0))",
            ],
        );
        check(
            "max(sum by (pod) (x))",
            &["sum by (pod, cluster) (x)", "max(sum by (pod) (part0))"],
        );
    }

    #[test]
    fn the_rest_is_evaluated_here() {
        let (x, nameless) = (named("part0", "x"), named("part0", ""));
        check(
            "quantile(0.9, rate(x[1m]))",
            &["rate(x[1m])", &format!("quantile(0.9, {nameless})")],
        );
        check("sort(x)", &["x", &format!("sort({x})")]);
        check("scalar(x)", &["x", &format!("scalar({x})")]);
        check("x or vector(0)", &["x", &format!("{x} or vector(0)")]);
        check(
            "x * on (pod) group_left () (x)",
            &["x", &format!("{x} * on (pod) group_left () {x}")],
        );
        check(
            "absent(x{a='b', c!='d'})",
            &[r#"x{a="b", c!="d"}"#, r#"absent(part0{a="b", c!="d"})"#],
        );
        check(
            "absent_over_time(x{a='b'}[5m])",
            &[r#"last_over_time(x{a="b"}[5m])"#, r#"absent(part0{a="b"})"#],
        );
        check("vector(time())", &["vector(time())"]);
        check("1 + 2", &["1 + 2"]);
        check("x[5m] offset 1m", &["x[5m] offset 1m", "x[5m] offset 1m"]);
        check(
            "quantile_over_time(scalar(sum(y)), x[5m] offset 1m)",
            &[
                "sum by (cluster) (y)",
                "x[5m] offset 1m",
                "quantile_over_time(scalar(sum(part0)), part1[5m] offset 1m)",
            ],
        );
        check(
            "max_over_time(sum(x)[5m:] offset 1m)",
            &[
                "sum by (cluster) (x)[5m:1m] offset 1m",
                "max_over_time(sum(last_over_time(part0[1ms]))[5m:1m] offset 1m)",
            ],
        );
    }

    #[test]
    fn conditions_on_member_labels_are_checked_here() {
        check(
            "rate(x{cluster='a', b='c'}[5m])",
            &[r#"rate(x{b="c"}[5m])"#, &named(r#"part0{cluster="a"}"#, "")],
        );
        check(
            "sum(x{cluster!='a'})",
            &["sum by (cluster) (x)", r#"sum(part0{cluster!="a"})"#],
        );
        let all = r#"label_replace({__name__=~".+"}, "__metric__", "$1", "__name__", "(.*)")"#;
        check(
            "count({cluster='a'})",
            &[
                r#"count by (cluster) ({__name__=~".+"})"#,
                r#"sum(part0{cluster="a"})"#,
            ],
        );
        check("absent({cluster='a'})", &[all, r#"absent(part0{cluster="a"})"#]);
        let (a, b) = (named(r#"part0{cluster="a"}"#, "a"), named("part1", "b"));
        check("a{cluster='a'} / b", &["a", "b", &format!("{a} / {b}")]);
    }

    #[test]
    fn all_member_labels_are_kept() {
        let plan = |query: &str| distribute(&crate::parse(query).unwrap(), &["region", "cluster"]).unwrap();
        let one = plan("sum by (cluster) (x)");
        assert_eq!(one.pushed[0].expr.to_string(), "sum by (cluster, region) (x)");
        assert_eq!(one.rest.to_string(), "sum by (cluster) (part0)");
        assert_eq!(
            plan("max without (region) (x)").pushed[0].expr.to_string(),
            "max without () (x)"
        );
        assert_eq!(plan("a / on (cluster) b").pushed.len(), 2);
    }

    #[test]
    fn what_cannot_be_split_says_so() {
        let check = |query: &str, expected| {
            let refused = distribute(&crate::parse(query).unwrap(), &["cluster"]).unwrap_err();
            assert_eq!(refused, expected, "{query}");
        };
        check("info(x)", DistributeError::Info);
        check("rate(x[5m])[1h:1m]", DistributeError::Samples);
        check("{a='b'}[5m]", DistributeError::Samples);
        check(
            "max_over_time(avg_over_time(sum(x)[5m:1m])[1h:1m])",
            DistributeError::Nested,
        );
    }
}
