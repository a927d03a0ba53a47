//! Splits a query for the members of a federation.
//!
//! Each member holds series that lack the member labels (`cluster`), and has values of its own for them. The query means
//! what it means over all series together, each with its member's labels. A part of it that gives each row from series
//! of one member, and keeps the member labels, is the same wherever it is evaluated: it is *pushed* to the members. The
//! rest is evaluated here, over the union of their answers, in which a part's name stands for its rows: they keep the
//! metric names that they have, and get their member's labels.
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
//! | `max_over_time(sum(a)[5m:1m])` | `sum by (cluster) (a)`, at the steps of the subquery | as it is |
//! | `quantile_over_time(scalar(a), x[5m])` | `a`, and the samples of `x` | as it is |
//!
//! A mean is never made of means. Conditions on member labels are checked here, since the members' series lack them.

use std::fmt;

use crate::Function;
use crate::tree::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Expr, Grouping, MatchOp, Matcher, Matching,
    RangeSelector, Selector, Shift, ValueType,
};

use super::build::{aggregate_with, binary, call, equal, subquery};
use super::series::{BUCKET, Groups, METRIC_NAME, Rows, groups, has_samples, is_scalar, rows};

/// What each member is asked, and what is made of the answers.
///
/// Printed, it is a line a part, and the rest: `part0 = sum by (cluster) (x)`, `sum(part0)`.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each is asked of every member. There is none if the query reads no samples.
    pub pushed: Vec<Part>,
    /// What is evaluated over the parts' answers. A selector of a part (`part0{cluster="a"}`) reads them at just the
    /// times at which it is evaluated, and may have conditions on the labels of the members.
    pub rest: Expr,
}

/// A query for each member.
#[derive(Clone, Debug)]
pub struct Part {
    /// What `rest` calls the answers. Their rows keep the metric names that they have.
    pub name: String,
    /// What is asked: an instant vector; or the samples of a selector, `x[5m]`, of which `rest` reads as long a range
    /// at as many times as it names.
    pub expr: Expr,
}

/// Why a query cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DistributeError {
    /// `info` reads series that it does not name.
    #[error("`info` cannot be asked of several members: join the info metric with `* on (…) group_left (…)`")]
    Info,
    /// It is a range vector, and no value of it could be told from another one.
    #[error(
        "a range vector is not one value a series: put it into a function, such as `last_over_time` or `rate`"
    )]
    Range,
    /// What members answer of a range ends at its borders.
    #[error("`anchored` and `smoothed` read samples beyond a range, which members are not asked for")]
    Extended,
    /// Members are asked for other times than the query.
    #[error("`{0}()` is of the times of the query, and members may be asked for others")]
    OfQuery(&'static str),
}

/// The distance of a subquery's steps where it names none: Prometheus's own. *Unit*: milliseconds.
const DEFAULT_STEP: i64 = 60_000;

/// Splits a query for members that differ by `member_labels`.
///
/// *Errors*: [`DistributeError`]
///
/// ```
/// use fleetgauge_syntax::{parse, rewrite::distribute};
///
/// let plan = distribute(&parse("count by (model) (up == 1)")?, &["cluster"])?;
/// assert_eq!(
///     plan.to_string(),
///     "part0 = count by (model, cluster) (up == 1)\nsum by (model) (part0)",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn distribute(query: &Expr, member_labels: &[&str]) -> Result<Plan, DistributeError> {
    if query.value_type() == ValueType::RangeVector {
        return Err(DistributeError::Range);
    }
    if query.is_extended() {
        return Err(DistributeError::Extended);
    }
    let of_query = query.walk().into_iter().find_map(|part| match part {
        Expr::Call(call) if call.function.is_of_query() => Some(call.function.name()),
        _ => None,
    });
    if let Some(function) = of_query {
        return Err(DistributeError::OfQuery(function));
    }
    let mut planner = Planner {
        members: member_labels,
        pushed: Vec::new(),
    };
    let rest = planner.rest(query)?;
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

/// As the parser makes it.
fn finished(expr: Expr) -> Expr {
    crate::parse(&expr.to_string()).unwrap_or(expr)
}

struct Planner<'a> {
    members: &'a [&'a str],
    pushed: Vec<Part>,
}

// === impl Plan ===

impl Plan {
    /// The same for a query from `start` to `end`, for `@ start()` and `@ end()`: a part may be asked for other times
    /// than the query.
    ///
    /// *Unit*: milliseconds since the Unix epoch.
    #[must_use]
    pub fn between(mut self, start: i64, end: i64) -> Self {
        let anchor = |shift: &mut Shift| {
            shift.at = shift.at.map(|at| match at {
                At::Time(at) => At::Time(at),
                At::Start => At::Time(start),
                At::End => At::Time(end),
            });
        };
        let parts = self.pushed.iter_mut().map(|part| &mut part.expr);
        for expr in parts.chain([&mut self.rest]) {
            expr.visit_mut(&mut |expr| match expr {
                Expr::Selector(selector) => anchor(&mut selector.shift),
                Expr::Range(range) => anchor(&mut range.selector.shift),
                Expr::Subquery(subquery) => anchor(&mut subquery.shift),
                _ => {}
            });
        }
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Part { name, expr } in &self.pushed {
            writeln!(f, "{name} = {expr}")?;
        }
        self.rest.fmt(f)
    }
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
            return Ok(part);
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
            Expr::Range(range) => Ok(self.samples(range)),
            Expr::Subquery(of) => {
                let step = of.step.unwrap_or(DEFAULT_STEP);
                Ok(subquery(self.rest(&of.expr)?, of.range, Some(step), of.shift))
            }
            Expr::Number(_) | Expr::Text(_) | Expr::Selector(_) => Ok(expr.clone()),
        }
    }

    /// Asks the members for a part; returns what reads its answers. `None` if it has conditions on member labels that
    /// cannot be checked on its rows.
    fn push(&mut self, expr: &Expr) -> Option<Expr> {
        let (part, conditions) = self.split(expr)?;
        Some(Expr::Selector(self.read(part, conditions)))
    }

    /// Without the conditions on member labels; and those. `None` if not all rows are under the same conditions.
    fn split(&self, expr: &Expr) -> Option<(Expr, Vec<Matcher>)> {
        let (mut part, mut all) = (expr.clone(), Vec::new());
        part.visit_selectors(&mut |selector| all.push(self.split_selector(selector)));
        let conditions = all.pop()?;
        all.iter()
            .all(|other| *other == conditions)
            .then_some((part, conditions))
    }

    /// Takes the conditions on member labels out of a selector.
    fn split_selector(&self, selector: &mut Selector) -> Vec<Matcher> {
        let matchers = std::mem::take(&mut selector.matchers);
        let (ours, theirs): (Vec<_>, Vec<_>) = matchers
            .into_iter()
            .partition(|matcher| self.is_member(&matcher.name));
        selector.matchers = theirs;
        if crate::parse(&Expr::Selector(selector.clone()).to_string()).is_err() {
            // Nothing is left that says which series: all of them.
            selector.matchers.push(Matcher {
                op: MatchOp::Regex,
                ..equal(METRIC_NAME, ".+")
            });
        }
        let unplaced = |matcher| Matcher { place: 0, ..matcher };
        ours.into_iter().map(unplaced).collect()
    }

    /// Reads the answers to a part, which is asked once however often it is read.
    fn read(&mut self, part: Expr, conditions: Vec<Matcher>) -> Selector {
        let text = part.to_string();
        let known = self.pushed.iter().find(|known| known.expr.to_string() == text);
        let name = match known {
            Some(known) => known.name.clone(),
            None => {
                let name = format!("part{}", self.pushed.len());
                self.pushed.push(Part {
                    name: name.clone(),
                    expr: part,
                });
                name
            }
        };
        let mut matchers = vec![equal(METRIC_NAME, &name)];
        matchers.extend(conditions);
        Selector::new(matchers)
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
            let grouping = self.with_members(grouping);
            self.push(&aggregate_with(op, grouping, of.param.clone(), of.expr.clone()))
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
        let mut args: Vec<Expr> = Vec::with_capacity(of.args.len());
        match (of.function, of.args.first().map(Expr::unwrapped)) {
            (Function::Info, _) => return Err(DistributeError::Info),
            (Function::Absent, Some(Expr::Selector(selector))) => {
                return Ok(self.absent(Expr::Selector(selector.clone()), selector));
            }
            (Function::AbsentOverTime, Some(Expr::Range(range))) => {
                let newest = call(Function::LastOverTime, vec![Expr::Range(range.clone())]);
                return Ok(self.absent(newest, &range.selector));
            }
            // A selector that the argument has become would give its conditions as labels.
            (Function::Absent, Some(arg)) => {
                let rest = self.rest(arg)?;
                args.push(aggregate_with(
                    AggregateOp::Group,
                    Grouping::default(),
                    None,
                    rest,
                ));
            }
            _ => {
                for arg in &of.args {
                    args.push(self.rest(arg)?);
                }
            }
        }
        Ok(call(of.function, args))
    }

    /// What is absent has the labels that its selector names, so it is selected by the same conditions here.
    fn absent(&mut self, mut part: Expr, selector: &Selector) -> Expr {
        part.visit_selectors(&mut |selector| drop(self.split_selector(selector)));
        let conditions = selector.matchers.iter();
        let conditions = conditions.filter(|matcher| matcher.name != METRIC_NAME);
        let read = self.read(part, conditions.cloned().collect());
        call(Function::Absent, vec![Expr::Selector(read)])
    }

    /// The samples themselves.
    fn samples(&mut self, range: &RangeSelector) -> Expr {
        let mut of_members = range.selector.clone();
        let conditions = self.split_selector(&mut of_members);
        let shift = std::mem::take(&mut of_members.shift);
        let part = Expr::Range(RangeSelector {
            selector: of_members,
            range: range.range,
        });
        Expr::Range(RangeSelector {
            selector: Selector {
                shift,
                ..self.read(part, conditions)
            },
            range: range.range,
        })
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
            ValueType::Text => !matches!(arg, Expr::Text(text) if self.is_member(text)),
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
                // A side is not filled where another member has it.
                keeps
                    && !includes
                    && !op.matching.fill.is_any()
                    && self.is_local(&op.left)
                    && self.is_local(&op.right)
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

    #[test]
    fn what_keeps_the_member_labels_is_pushed_whole() {
        for query in [
            "x",
            "rate(x[5m])",
            "abs(x) * 2 + 1",
            "a / on (cluster, pod) b",
            "a / b",
            "sum by (cluster) (x)",
            "quantile without (pod) (0.9, x)",
            "histogram_quantile(0.9, rate(b[1m]))",
            "max_over_time(rate(x[1m])[1h:1m])",
            "timestamp(x)",
            r#"label_replace(x, "metric", "$1", "__name__", "(.*)")"#,
        ] {
            check(query, &[query, "part0"]);
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
        check("avg by (__name__) (x)", &["x", "avg by (__name__) (part0)"]);
        check("topk(3, x)", &["topk by (cluster) (3, x)", "topk(3, part0)"]);
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
        check(
            "quantile(0.9, rate(x[1m]))",
            &["rate(x[1m])", "quantile(0.9, part0)"],
        );
        check("sort(x)", &["x", "sort(part0)"]);
        check("scalar(x)", &["x", "scalar(part0)"]);
        check("x or vector(0)", &["x", "part0 or vector(0)"]);
        check(
            "x * on (pod) group_left () (x)",
            &["x", "part0 * on (pod) group_left () part0"],
        );
        check(
            r#"label_replace(x, "cluster", "all", "", "")"#,
            &["x", r#"label_replace(part0, "cluster", "all", "", "")"#],
        );
        check("vector(time())", &["vector(time())"]);
        check("1 + 2", &["1 + 2"]);
        check(
            "quantile_over_time(scalar(sum(y)), x[5m] offset 1m)",
            &[
                "sum by (cluster) (y)",
                "x[5m]",
                "quantile_over_time(scalar(sum(part0)), part1[5m] offset 1m)",
            ],
        );
        check(
            "max_over_time(sum(x)[5m:] offset 1m)",
            &[
                "sum by (cluster) (x)",
                "max_over_time(sum(part0)[5m:1m] offset 1m)",
            ],
        );
        check(
            "max_over_time(avg_over_time(sum(x)[5m:1m])[1h:1m])",
            &[
                "sum by (cluster) (x)",
                "max_over_time(avg_over_time(sum(part0)[5m:1m])[1h:1m])",
            ],
        );
    }

    #[test]
    fn absence_is_told_with_the_labels_that_the_query_names() {
        check(
            "absent(x{a='b', c!='d'})",
            &[r#"x{a="b", c!="d"}"#, r#"absent(part0{a="b", c!="d"})"#],
        );
        check(
            "absent_over_time(x{a='b'}[5m])",
            &[r#"last_over_time(x{a="b"}[5m])"#, r#"absent(part0{a="b"})"#],
        );
        check(
            "absent({cluster='a'})",
            &[r#"{__name__=~".+"}"#, r#"absent(part0{cluster="a"})"#],
        );
        // Only of a selector.
        check(
            "absent(x{cluster='a'} > 5)",
            &["x > 5", r#"absent(group(part0{cluster="a"}))"#],
        );
    }

    #[test]
    fn conditions_on_member_labels_are_checked_here() {
        check(
            "rate(x{cluster='a', b='c'}[5m])",
            &[r#"rate(x{b="c"}[5m])"#, r#"part0{cluster="a"}"#],
        );
        check(
            "sum(x{cluster!='a'})",
            &["sum by (cluster) (x)", r#"sum(part0{cluster!="a"})"#],
        );
        check(
            "count({cluster='a'})",
            &[
                r#"count by (cluster) ({__name__=~".+"})"#,
                r#"sum(part0{cluster="a"})"#,
            ],
        );
        check(
            "a{cluster='a'} / b{cluster='a'}",
            &["a / b", r#"part0{cluster="a"}"#],
        );
        check("a{cluster='a'} / b", &["a", "b", r#"part0{cluster="a"} / part1"#]);
        check(
            "a{cluster='a'} / on (pod) a{cluster='b'}",
            &["a", r#"part0{cluster="a"} / on (pod) part0{cluster="b"}"#],
        );
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
    fn start_and_end_are_those_of_the_query() {
        let query =
            "max_over_time(sum(x @ start())[5m:1m] @ end()) + quantile_over_time(scalar(y), z[1m] @ end())";
        let plan = distribute(&crate::parse(query).unwrap(), &["cluster"]).unwrap();
        assert_eq!(
            plan.between(1_000, 2_500).to_string(),
            "part0 = sum by (cluster) (x @ 1.000)\npart1 = y\npart2 = z[1m]\n\
             max_over_time(sum(part0)[5m:1m] @ 2.500) + quantile_over_time(scalar(part1), part2[1m] @ 2.500)"
        );
    }

    #[test]
    fn what_cannot_be_split_says_so() {
        let check = |query: &str, expected| {
            let refused = distribute(&crate::parse(query).unwrap(), &["cluster"]).unwrap_err();
            assert_eq!(refused, expected, "{query}");
        };
        check("info(x)", DistributeError::Info);
        check("abs(info(x))", DistributeError::Info);
        check("x[5m]", DistributeError::Range);
        check("rate(x[5m])[1h:1m]", DistributeError::Range);
    }
}
