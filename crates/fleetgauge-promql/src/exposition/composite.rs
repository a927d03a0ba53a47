//! Composite values of OpenMetrics 2.0: a whole histogram or summary where other metrics have a number.
//!
//! `{count:5,sum:7.5,bucket:[1.0:3,+Inf:5]}`: fields in any order, each once, whose values are numbers or lists of them. There is
//! nothing within a list but numbers, so there is no depth to be bounded.

use super::fault::{Fault, Reason};
use super::limits::Limits;
use super::metric_type::MetricType;
use super::native::{Side, Written, check_count};
use super::number;
use crate::histogram::FloatHistogram;

/// A composite value, whose fields are looked at when they are asked for.
#[derive(Debug)]
pub(super) struct Composite<'a> {
    metric_type: MetricType,
    /// Where its brace opens.
    at: usize,
    /// By their place in [`FIELDS`].
    fields: [Option<Text<'a>>; FIELDS.len()],
}

/// A piece of a line, and where it begins.
#[derive(Clone, Copy, Debug)]
struct Text<'a> {
    at: usize,
    text: &'a str,
}

/// The names of the fields with the types that do not have them.
const FIELDS: [(&str, &[MetricType]); 13] = {
    use MetricType::{GaugeHistogram, Histogram, Summary};
    [
        ("count", &[GaugeHistogram]),
        ("sum", &[GaugeHistogram]),
        ("gcount", &[Histogram, Summary]),
        ("gsum", &[Histogram, Summary]),
        ("schema", &[Summary]),
        ("zero_threshold", &[Summary]),
        ("zero_count", &[Summary]),
        ("positive_spans", &[Summary]),
        ("positive_buckets", &[Summary]),
        ("negative_spans", &[Summary]),
        ("negative_buckets", &[Summary]),
        ("bucket", &[Summary]),
        ("quantile", &[Histogram, GaugeHistogram]),
    ]
};

/// The first number that does not fit into 64 bits.
const TOO_LARGE: f64 = 18_446_744_073_709_551_616.0;

// === impl Composite ===

impl<'a> Composite<'a> {
    /// Reads the value whose brace opens at `open`, and tells where it ends. *`metric_type`*: a histogram or summary.
    pub(super) fn read(line: &'a str, open: usize, metric_type: MetricType) -> Result<(Self, usize), Fault> {
        let mut fields = [None; FIELDS.len()];
        let mut at = open + 1;
        let mut goes_on = !line[at..].starts_with('}');
        while goes_on {
            let rest = &line[at..];
            let is_next = |(name, without): &(&str, &[MetricType])| {
                let value = rest.strip_prefix(name);
                value.is_some_and(|value| value.starts_with(':')) && !without.contains(&metric_type)
            };
            let field = FIELDS.iter().position(is_next);
            let field = field.ok_or_else(|| bad("expected a field that its type has").at(at))?;
            if fields[field].is_some() {
                return Err(bad(format!("`{}` is there twice", FIELDS[field].0)).at(at));
            }
            at += FIELDS[field].0.len() + 1;
            let text = value(&line[at..]).ok_or_else(|| bad("expected a number or a list").at(at))?;
            fields[field] = Some(Text { at, text });
            at += text.len();
            goes_on = match line.as_bytes().get(at) {
                Some(b',') => true,
                Some(b'}') => false,
                _ => return Err(bad("expected \",\" or \"}\"").at(at)),
            };
            at += usize::from(goes_on);
        }
        let composite = Self {
            metric_type,
            at: open,
            fields,
        };
        composite.check()?;
        Ok((composite, at + 1))
    }

    /// Whether all is there that its type must have.
    fn check(&self) -> Result<(), Fault> {
        self.count_and_sum()?;
        if self.metric_type == MetricType::Summary {
            self.need("quantile")?;
        } else if self.is_native() {
            self.need("zero_threshold")?;
            self.need("zero_count")?;
        } else {
            self.need("bucket")?;
        }
        Ok(())
    }

    pub(super) fn is_native(&self) -> bool {
        self.get("schema").is_some()
    }

    pub(super) fn has_buckets(&self) -> bool {
        self.get("bucket").is_some()
    }

    pub(super) fn count_and_sum(&self) -> Result<(f64, f64), Fault> {
        let (count, sum) = match self.is_gauge() {
            true => ("gcount", "gsum"),
            false => ("count", "sum"),
        };
        Ok((self.need(count)?.number()?, self.need(sum)?.number()?))
    }

    /// Reads the bounds and counts of classic buckets, the last one of which is up to infinity.
    pub(super) fn buckets(&self, limits: &Limits, into: &mut Vec<(f64, f64)>) -> Result<(), Fault> {
        let list = self.need("bucket")?;
        self.pairs(list, limits, into, |bound, count| match (bound, count) {
            _ if bound.is_nan() => Some("a bound is not a number"),
            _ if count < 0.0 && !self.is_gauge() => Some("a bucket counts less than nothing"),
            _ => None,
        })?;
        match into.last() {
            Some((f64::INFINITY, _)) => Ok(()),
            _ => Err(bad("the bucket up to +Inf is missing").at(list.at)),
        }
    }

    /// Reads the quantiles of a summary and their values.
    pub(super) fn quantiles(&self, limits: &Limits, into: &mut Vec<(f64, f64)>) -> Result<(), Fault> {
        self.pairs(self.need("quantile")?, limits, into, |quantile, _| {
            let is_quantile = (0.0..=1.0).contains(&quantile);
            (!is_quantile).then_some("a quantile is not between 0 and 1")
        })
    }

    /// Reads a list of pairs, whose first numbers ascend, and of which `wrong` finds nothing.
    fn pairs(
        &self,
        list: Text<'a>,
        limits: &Limits,
        into: &mut Vec<(f64, f64)>,
        wrong: impl Fn(f64, f64) -> Option<&'static str>,
    ) -> Result<(), Fault> {
        into.clear();
        let limit = limits.buckets;
        for item in list.items()? {
            let (key, value) = item.pair()?;
            let (key, value) = (key.number()?, value.number()?);
            let ascends = into.last().is_none_or(|(before, _)| *before < key);
            let order = (!ascends).then_some("the list is not in ascending order");
            if let Some(problem) = wrong(key, value).or(order) {
                return Err(bad(problem).at(item.at));
            }
            if into.len() >= limit {
                return Err(Reason::TooManyBuckets { limit }.at(item.at));
            }
            into.push((key, value));
        }
        Ok(())
    }

    /// Reads the native form.
    pub(super) fn native(&self, limits: &Limits) -> Result<FloatHistogram, Fault> {
        let schema = self.need("schema")?;
        let known = schema.text.parse().ok().filter(|known| (-4..=8).contains(known));
        let (count, sum) = self.count_and_sum()?;
        let zero_threshold = self.need("zero_threshold")?;
        let zero_count = self.need("zero_count")?.number()?;
        for count in [count, zero_count] {
            check_count(count).map_err(|reason| reason.at(self.at))?;
        }
        let is_whole = |count: f64| count == count.trunc() && count < TOO_LARGE;
        let buckets = ["positive_buckets", "negative_buckets"].into_iter();
        let is_float = !is_whole(count)
            || !is_whole(zero_count)
            || buckets
                .filter_map(|name| self.get(name))
                .any(|list| list.text.contains(['.', 'e', 'E']));
        let side = |spans, buckets| self.side(spans, buckets, is_float, limits);
        let written = Written {
            schema: known.ok_or_else(|| bad("the schema is not between -4 and 8").at(schema.at))?,
            sum,
            zero_threshold: (zero_threshold.number()).and_then(|number| match number.is_finite() {
                true => Ok(number),
                false => Err(bad("the threshold is not finite").at(zero_threshold.at)),
            })?,
            count: count as u64,
            count_float: count,
            zero_count: zero_count as u64,
            zero_count_float: zero_count,
            positive: side("positive_spans", "positive_buckets")?,
            negative: side("negative_spans", "negative_buckets")?,
        };
        let read = written.histogram(is_float, self.is_gauge());
        read.map_err(|problem| Reason::BadHistogram { problem }.at(self.at))
    }

    fn side(&self, spans: &str, buckets: &str, is_float: bool, limits: &Limits) -> Result<Side, Fault> {
        let mut side = Side::default();
        let limit = limits.buckets;
        for item in self
            .get(spans)
            .map(Text::items)
            .transpose()?
            .into_iter()
            .flatten()
        {
            let (offset, length) = item.pair()?;
            let span = offset.text.parse().ok().zip(length.text.parse().ok());
            if side.spans.len() >= limit {
                return Err(Reason::TooManyBuckets { limit }.at(item.at));
            }
            side.spans.push(span.ok_or(Reason::BadValue.at(item.at))?);
        }
        let mut before = 0;
        for item in self
            .get(buckets)
            .map(Text::items)
            .transpose()?
            .into_iter()
            .flatten()
        {
            if side.deltas.len().max(side.counts.len()) >= limit {
                return Err(Reason::TooManyBuckets { limit }.at(item.at));
            }
            if is_float {
                side.counts.push(item.number()?);
                continue;
            }
            let count = item.text.parse::<i64>().ok().filter(|count| *count >= 0);
            let count = count.ok_or(Reason::BadValue.at(item.at))?;
            side.deltas.push(count - before);
            before = count;
        }
        Ok(side)
    }

    fn is_gauge(&self) -> bool {
        self.metric_type == MetricType::GaugeHistogram
    }

    fn get(&self, name: &str) -> Option<Text<'a>> {
        let field = FIELDS.iter().position(|(known, _)| *known == name)?;
        self.fields[field]
    }

    fn need(&self, name: &str) -> Result<Text<'a>, Fault> {
        let field = self.get(name);
        field.ok_or_else(|| bad(format!("`{name}` is missing")).at(self.at))
    }
}

// === impl Text ===

impl<'a> Text<'a> {
    fn number(self) -> Result<f64, Fault> {
        match number::value(self.text.as_bytes()) {
            Ok((number, length)) if length == self.text.len() => Ok(number),
            Ok(_) => Err(Reason::BadValue.at(self.at)),
            Err(reason) => Err(reason.at(self.at)),
        }
    }

    /// What the list holds. As in Prometheus, nothing between two commas is nothing.
    fn items(self) -> Result<impl Iterator<Item = Text<'a>>, Fault> {
        let list = self
            .text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let list = list.ok_or_else(|| bad("expected a list").at(self.at))?;
        let mut at = self.at + 1;
        let items = list.split(',').map(move |text| {
            let item = Text { at, text };
            at += text.len() + 1;
            item
        });
        Ok(items.filter(|item| !item.text.is_empty()))
    }

    fn pair(self) -> Result<(Self, Self), Fault> {
        let (key, value) = (self.text.split_once(':')).ok_or_else(|| bad("expected \":\"").at(self.at))?;
        let at = self.at + key.len() + 1;
        Ok((Text { text: key, ..self }, Text { text: value, at }))
    }
}

// === helpers ===

/// The number or list that `text` begins with.
fn value(text: &str) -> Option<&str> {
    let end = match text.starts_with('[') {
        true => text
            .find([']', ' '])
            .filter(|&end| text[end..].starts_with(']'))
            .map(|end| end + 1),
        false => text.find([',', '}', '[', ']', ' ']),
    };
    text.get(..end?).filter(|value| !value.is_empty())
}

fn bad(problem: impl Into<String>) -> Reason {
    let problem = problem.into();
    Reason::BadComposite { problem }
}
