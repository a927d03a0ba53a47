//! What the tests of the functions share, and how functions are found and called.

use fleetgauge_core::sample::Number;
use fleetgauge_syntax::tree::Extended;

use super::*;
use crate::config::EngineConfig;
use crate::label::LabelSet;
use crate::value::is_absent;

/// Times in milliseconds, and values.
pub(super) type Samples<'a> = &'a [(i64, f64)];

/// A function over the samples in a range, evaluated at its end.
pub(super) fn over(
    function: RangeFunction,
    samples: Samples<'_>,
    (start, end): (i64, i64),
    params: &[f64],
) -> Option<f64> {
    let (times, values): (Vec<_>, Vec<_>) = samples.iter().copied().unzip();
    let input = RangeInput {
        times: &times,
        values: &values,
        starts: &[],
        falls: values.windows(2).any(|pair| pair[1] < pair[0]),
        start,
        end,
        at: end,
        extended: Extended::No,
        lookback_start: start,
    };
    function(&input, params, &mut Annotations::default())
}

/// The series of these texts, `name{label="value",…}`, with one value a step.
pub(super) fn vector(series: &[(&str, &[f64])]) -> Vector {
    let mut vector = Vector::new(series.first().map_or(1, |(_, values)| values.len()));
    for (text, values) in series {
        let (name, rest) = text.split_once('{').unwrap_or((text, "}"));
        let pairs = rest
            .trim_end_matches('}')
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.trim(), value.trim_matches('"')));
        vector.push(LabelSet::from_pairs(pairs.chain([("__name__", name)])), values);
    }
    vector
}

/// Each series with its values; `_` where it has none.
pub(super) fn rows(vector: &Vector) -> Vec<String> {
    let print = |&value: &f64| match is_absent(value) {
        true => " _".to_owned(),
        false => format!(" {}", Number(value)),
    };
    let row = |(labels, values): (&LabelSet, &[f64])| {
        labels.to_string() + &values.iter().map(print).collect::<String>()
    };
    vector.rows().map(row).collect()
}

pub(super) fn budget() -> Budget {
    Budget::new(&EngineConfig::default())
}

fn try_evaluate(name: &str, args: Vec<Operand>, steps: &Steps) -> Result<Operand, EvalError> {
    let mut notes = Annotations::default();
    let mut ctx = CallContext {
        steps,
        place: 0,
        budget: &mut budget(),
        notes: &mut notes,
    };
    call(Function::named(name).expect("known"), args, &mut ctx)
}

fn range_spec(name: &str) -> Option<RangeSpec> {
    match implementation(Function::named(name).expect("known")) {
        Implementation::Range(spec) => Some(spec),
        _ => None,
    }
}

/// The function of one number called `name`.
pub(super) fn each_number(name: &str) -> fn(&mut [f64]) {
    match implementation(Function::named(name).expect("known")) {
        Implementation::EachNumber(function) => function,
        other => panic!("{name} is {other:?}"),
    }
}

/// A function that gives a vector.
pub(super) fn evaluate_at(name: &str, args: Vec<Operand>, steps: &Steps) -> Vector {
    match try_evaluate(name, args, steps) {
        Ok(Operand::Vector(vector)) => vector,
        other => panic!("{name}: {other:?}"),
    }
}

/// The same, over steps of a second that are as many as the first vector has.
pub(super) fn evaluate(name: &str, args: Vec<Operand>) -> Vector {
    let count = args.iter().find_map(|arg| match arg {
        Operand::Vector(vector) => Some(vector.width()),
        _ => None,
    });
    let steps = Steps {
        start: 0,
        step: 1000,
        count: count.unwrap_or(1),
        until: 0,
    };
    evaluate_at(name, args, &steps)
}

fn scalar(value: f64) -> Operand {
    Operand::Scalar(vec![value])
}

fn text(text: &str) -> Operand {
    Operand::Text(Arc::from(text))
}

#[test]
fn arguments_reach_their_functions() {
    let check = |name: &str, args: Vec<Operand>, expected: &[&str]| {
        assert_eq!(rows(&evaluate(name, args)), expected, "{name}");
    };
    let x = || Operand::Vector(vector(&[(r#"x{a="1"}"#, &[2.6])]));
    check("floor", vec![x()], &[r#"{a="1"} 2"#]);
    check("round", vec![x()], &[r#"{a="1"} 3"#]);
    check("round", vec![x(), scalar(2.0)], &[r#"{a="1"} 2"#]);
    check("clamp", vec![x(), scalar(3.0), scalar(4.0)], &[r#"{a="1"} 3"#]);
    check("clamp", vec![x(), scalar(4.0), scalar(3.0)], &[]);
    check("clamp_min", vec![x(), scalar(4.0)], &[r#"{a="1"} 4"#]);
    check("clamp_max", vec![x(), scalar(1.0)], &[r#"{a="1"} 1"#]);
    check("vector", vec![scalar(7.0)], &["{} 7"]);
    check("year", vec![x()], &[r#"{a="1"} 1970"#]);
    check("year", vec![], &["{} 1970"]);
    check(
        "label_replace",
        vec![x(), text("b"), text("<$1>"), text("a"), text("(.)")],
        &[r#"x{a="1", b="<1>"} 2.6"#],
    );
    check(
        "label_join",
        vec![x(), text("b"), text("-"), text("a"), text("__name__")],
        &[r#"x{a="1", b="1-x"} 2.6"#],
    );
    let buckets = || {
        let buckets: &[(&str, &[f64])] = &[(r#"x{le="1"}"#, &[5.0]), (r#"x{le="+Inf"}"#, &[5.0])];
        Operand::Vector(vector(buckets))
    };
    check("histogram_quantile", vec![scalar(0.5), buckets()], &["{} 0.5"]);
}

#[test]
fn order_is_for_one_step() {
    let rows_of = |name: &str, values: &[[&[f64]; 2]]| {
        let series = [[r#"x{a="1"}"#, r#"x{a="2"}"#]];
        let series: Vec<_> = series[0].into_iter().zip(values[0]).collect();
        rows(&evaluate(name, vec![Operand::Vector(vector(&series))]))
    };
    assert_eq!(
        rows_of("sort_desc", &[[&[1.0], &[2.0]]]),
        [r#"x{a="2"} 2"#, r#"x{a="1"} 1"#]
    );
    assert_eq!(
        rows_of("sort", &[[&[1.0], &[2.0]]]),
        [r#"x{a="1"} 1"#, r#"x{a="2"} 2"#]
    );
    assert_eq!(
        rows_of("sort_by_label_desc", &[[&[1.0], &[2.0]]]),
        [r#"x{a="2"} 2"#, r#"x{a="1"} 1"#]
    );
    let two: [&[f64]; 2] = [&[1.0, 1.0], &[2.0, 0.0]];
    assert_eq!(
        rows_of("sort_desc", &[two]),
        [r#"x{a="1"} 1 1"#, r#"x{a="2"} 2 0"#]
    );
}

#[test]
fn what_does_not_fit_is_an_error() {
    let check = |name: &str, args: Vec<Operand>, expected: &str| {
        let error = try_evaluate(name, args, &Steps::instant(0)).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    };
    check("abs", vec![scalar(1.0)], "function abs expects an instant vector");
    check("vector", vec![], "function vector expects a scalar");
    check(
        "max_of",
        vec![scalar(1.0), text("a")],
        "function max_of expects a scalar",
    );
}

#[test]
fn names_stay_where_samples_are_picked() {
    for (name, keeps_name) in [
        ("last_over_time", true),
        ("first_over_time", true),
        ("max_over_time", false),
        ("ts_of_last_over_time", false),
        ("rate", false),
    ] {
        assert_eq!(range_spec(name).map(|f| f.keeps_name), Some(keeps_name), "{name}");
    }
    assert!(range_spec("abs").is_none());
}

#[test]
fn only_rates_of_counters_are_remarked() {
    for (name, is_remarked) in [
        ("rate", true),
        ("increase", true),
        ("irate", false),
        ("delta", false),
    ] {
        let remark = range_spec(name).and_then(|f| f.remark);
        assert_eq!(remark.is_some(), is_remarked, "{name}");
    }
}

#[test]
fn a_function_is_a_number_to_the_parser_or_evaluated_as_its_signature_says() {
    for &function in Function::ALL {
        let (name, implementation) = (function.name(), implementation(function));
        let is_folded = matches!(implementation, Implementation::Folded);
        assert_eq!(function.is_of_query(), is_folded, "{name}");
        let over_range = matches!(
            implementation,
            Implementation::Range(_) | Implementation::Engine(Special::AbsentOverTime)
        );
        assert_eq!(function.takes_range(), over_range, "{name}");
    }
}
