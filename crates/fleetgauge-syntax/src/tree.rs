//! The tree of a query: what was written, with every name resolved and every type checked.

use std::sync::Arc;

use crate::function::Function;
pub use crate::value_type::ValueType;

/// An expression. Its types fit: [`parse`](crate::parse) checks them. `M` is what a matcher is: as it is written, or as
/// an evaluator compiles it.
#[derive(Clone, Debug)]
pub enum Expr<M = Matcher> {
    /// A number, or a duration in seconds.
    Number(f64),
    /// A string.
    Text(Arc<str>),
    /// The newest samples of series.
    Selector(Selector<M>),
    /// A range of samples of series.
    Range(RangeSelector<M>),
    /// An expression at several steps.
    Subquery(Box<Subquery<M>>),
    /// A function.
    Call(Call<M>),
    /// An aggregation.
    Aggregate(Box<Aggregate<M>>),
    /// `-` in front.
    Negate(Box<Expr<M>>),
    /// An operator between two operands.
    Binary(Box<Binary<M>>),
    /// An expression that has the same value at every step, because `@` holds all of its selectors.
    Once(Box<Expr<M>>),
}

/// `name{matchers} offset … @ …`
#[derive(Clone, Debug)]
pub struct Selector<M = Matcher> {
    /// All of them hold.
    pub matchers: Vec<M>,
    /// Of which time.
    pub shift: Shift,
    /// Whether also samples beyond those of that time or range count.
    pub extended: Extended,
    /// Where it begins; 0 where it is not of a text. *Unit*: bytes.
    pub place: usize,
}

/// `selector[range]`
#[derive(Clone, Debug)]
pub struct RangeSelector<M = Matcher> {
    /// Of which series.
    pub selector: Selector<M>,
    /// How far back it looks. *Unit*: milliseconds.
    pub range: i64,
}

/// `expr[range:step]`
#[derive(Clone, Debug)]
pub struct Subquery<M = Matcher> {
    /// What is evaluated at each of the steps.
    pub expr: Expr<M>,
    /// How far back it looks. *Unit*: milliseconds.
    pub range: i64,
    /// The distance of its steps. *Unit*: milliseconds; `None` is the engine's default.
    pub step: Option<i64>,
    /// Of which time.
    pub shift: Shift,
}

/// One condition on one label: `name op "value"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// How its value is compared.
    pub op: MatchOp,
    /// With what; a regular expression of RE2 for those that take one.
    pub value: String,
    /// Where the value begins, or the name if it is all there is. *Unit*: bytes.
    pub place: usize,
}

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`: the whole value fits the regular expression.
    Regex,
    /// `!~`
    NotRegex,
}

/// Where a selector or subquery looks, relative to the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// How far back. *Unit*: milliseconds.
    pub offset: i64,
    /// The time that stands in for the step's.
    pub at: Option<At>,
}

/// Whether samples beyond the borders of a range count, or beyond the time of an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extended {
    /// They do not.
    #[default]
    No,
    /// `anchored`: the value at the left border is that of the sample before it.
    Anchored,
    /// `smoothed`: values at the borders, or at the time, lie on the line between the samples around them.
    Smoothed,
}

/// `@`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// *Unit*: milliseconds since the Unix epoch.
    Time(i64),
    /// The first step of the query.
    Start,
    /// The last step of the query.
    End,
}

/// `function(args)`
#[derive(Clone, Debug)]
pub struct Call<M = Matcher> {
    /// Which one.
    pub function: Function,
    /// As many as it takes, of its types.
    pub args: Vec<Expr<M>>,
    /// Where it begins. *Unit*: bytes.
    pub place: usize,
    /// Where each argument begins. *Unit*: bytes.
    pub places: Vec<usize>,
}

/// `op by (labels) (param, expr)`
#[derive(Clone, Debug)]
pub struct Aggregate<M = Matcher> {
    /// Which one.
    pub op: AggregateOp,
    /// What some take before the vector.
    pub param: Option<Expr<M>>,
    /// Where it stands.
    pub places: AggregatePlaces,
    /// The vector.
    pub expr: Expr<M>,
    /// Which series are one group.
    pub grouping: Grouping,
}

/// Where an aggregation and its arguments begin. *Unit*: bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AggregatePlaces {
    /// Its name.
    pub start: usize,
    /// The parameter; the vector, if there is none.
    pub param: usize,
    /// The vector.
    pub expr: usize,
}

/// `by (labels)` or `without (labels)`; neither is `by ()`.
#[derive(Clone, Debug, Default)]
pub struct Grouping {
    /// `without` and not `by`.
    pub without: bool,
    /// The names in the parentheses.
    pub labels: Vec<Arc<str>>,
}

/// An aggregation, by its name.
#[allow(
    missing_docs,
    reason = "Prometheus describes them, under the names of the variants"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

/// `left op right`
#[derive(Clone, Debug)]
pub struct Binary<M = Matcher> {
    /// Which one.
    pub op: BinaryOp,
    /// The first operand.
    pub left: Expr<M>,
    /// The second operand.
    pub right: Expr<M>,
    /// `bool`: a comparison gives 0 or 1 instead of filtering.
    pub returns_bool: bool,
    /// Between vectors.
    pub matching: Matching,
    /// Where it begins in the text. *Unit*: bytes.
    pub place: usize,
}

/// Which series of two vectors belong together.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// `on` and not `ignoring`.
    pub on: bool,
    /// The names in its parentheses.
    pub labels: Vec<Arc<str>>,
    /// `group_left` or `group_right`.
    pub group: Group,
    /// The labels in the parentheses of `group_left` or `group_right`.
    pub include: Vec<Arc<str>>,
    /// `fill`, `fill_left` and `fill_right`
    pub fill: Fill,
}

/// What stands in for a sample that a side lacks where the other has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fill {
    /// For the first operand's.
    pub left: Option<f64>,
    /// For the second operand's.
    pub right: Option<f64>,
}

/// Which side may have several series for one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// None: one series belongs to one.
    #[default]
    Neither,
    /// `group_left`
    Left,
    /// `group_right`
    Right,
}

/// A binary operator.
#[allow(
    missing_docs,
    reason = "Prometheus describes them, under the names of the variants"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    /// `</`: what remains of a histogram below a value
    TrimAbove,
    /// `>/`: what remains of a histogram above a value
    TrimBelow,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
}

// === impl Expr ===

impl<M> Expr<M> {
    /// The same tree with other matchers, as an evaluator compiles them.
    ///
    /// *Errors*: the first of `f`.
    pub fn try_map<N, E, F>(self, f: &mut F) -> Result<Expr<N>, E>
    where
        F: FnMut(M) -> Result<N, E>,
    {
        let boxed = |expr: Box<Self>, f: &mut F| expr.try_map(f).map(Box::new);
        Ok(match self {
            Self::Number(value) => Expr::Number(value),
            Self::Text(text) => Expr::Text(text),
            Self::Selector(selector) => Expr::Selector(selector.try_map(f)?),
            Self::Range(range) => Expr::Range(RangeSelector {
                selector: range.selector.try_map(f)?,
                range: range.range,
            }),
            Self::Subquery(subquery) => Expr::Subquery(Box::new(Subquery {
                expr: subquery.expr.try_map(f)?,
                range: subquery.range,
                step: subquery.step,
                shift: subquery.shift,
            })),
            Self::Call(call) => Expr::Call(Call {
                function: call.function,
                args: call
                    .args
                    .into_iter()
                    .map(|arg| arg.try_map(f))
                    .collect::<Result<_, _>>()?,
                place: call.place,
                places: call.places,
            }),
            Self::Aggregate(aggregate) => Expr::Aggregate(Box::new(Aggregate {
                op: aggregate.op,
                param: aggregate.param.map(|param| param.try_map(f)).transpose()?,
                places: aggregate.places,
                expr: aggregate.expr.try_map(f)?,
                grouping: aggregate.grouping,
            })),
            Self::Negate(inner) => Expr::Negate(boxed(inner, f)?),
            Self::Binary(binary) => Expr::Binary(Box::new(Binary {
                op: binary.op,
                left: binary.left.try_map(f)?,
                right: binary.right.try_map(f)?,
                returns_bool: binary.returns_bool,
                matching: binary.matching,
                place: binary.place,
            })),
            Self::Once(inner) => Expr::Once(boxed(inner, f)?),
        })
    }

    /// This expression and all below it, each before those that it is made of.
    pub fn walk(&self) -> Vec<&Self> {
        let (mut all, mut open) = (Vec::new(), vec![self]);
        while let Some(expr) = open.pop() {
            all.push(expr);
            open.extend(expr.children().into_iter().rev());
        }
        all
    }

    /// What it is made of, in the order in which it is written.
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Selector(_) | Self::Range(_) => Vec::new(),
            Self::Subquery(subquery) => vec![&subquery.expr],
            Self::Call(call) => call.args.iter().collect(),
            Self::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
            Self::Negate(inner) | Self::Once(inner) => vec![inner],
            Self::Binary(binary) => vec![&binary.left, &binary.right],
        }
    }

    fn children_mut(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Selector(_) | Self::Range(_) => Vec::new(),
            Self::Subquery(subquery) => vec![&mut subquery.expr],
            Self::Call(call) => call.args.iter_mut().collect(),
            Self::Aggregate(aggregate) => aggregate.param.iter_mut().chain([&mut aggregate.expr]).collect(),
            Self::Negate(inner) | Self::Once(inner) => vec![inner],
            Self::Binary(binary) => vec![&mut binary.left, &mut binary.right],
        }
    }

    /// Without [`Once`](Self::Once) around it.
    pub fn unwrapped(&self) -> &Self {
        match self {
            Self::Once(inner) => inner.unwrapped(),
            other => other,
        }
    }

    /// Whether the order of the result means something (`sort`, `topk`).
    pub fn is_ordered(&self) -> bool {
        match self {
            Self::Call(call) => {
                call.function.signature().is_ordered || call.args.iter().any(Self::is_ordered)
            }
            Self::Aggregate(aggregate) => matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk),
            Self::Binary(binary) => binary.left.is_ordered() || binary.right.is_ordered(),
            Self::Negate(inner) | Self::Once(inner) => inner.is_ordered(),
            Self::Number(_) | Self::Text(_) | Self::Selector(_) | Self::Range(_) | Self::Subquery(_) => false,
        }
    }

    /// Whether any selector in it is `anchored` or `smoothed`: which samples it stands on does not follow from its ranges.
    pub fn is_extended(&self) -> bool {
        self.walk().into_iter().any(|part| match part {
            Self::Selector(selector) => selector.extended != Extended::No,
            Self::Range(range) => range.selector.extended != Extended::No,
            _ => false,
        })
    }

    /// Whether its value at a step depends on samples up to that step alone: not on what comes later (a negative
    /// `offset`), and not on a time that is fixed or moves with the range (`@`, `start()`).
    pub fn is_causal(&self) -> bool {
        let is_past = |shift: Shift| shift.at.is_none() && shift.offset >= 0;
        // What is smoothed changes when the next sample comes.
        let reads_past =
            |selector: &Selector<M>| is_past(selector.shift) && selector.extended != Extended::Smoothed;
        match self {
            Self::Number(_) | Self::Text(_) => true,
            Self::Selector(selector) => reads_past(selector),
            Self::Range(range) => reads_past(&range.selector),
            Self::Subquery(subquery) => is_past(subquery.shift) && subquery.expr.is_causal(),
            Self::Call(call) => !call.function.is_of_query() && call.args.iter().all(Self::is_causal),
            Self::Aggregate(aggregate) => {
                aggregate.param.as_ref().is_none_or(Self::is_causal) && aggregate.expr.is_causal()
            }
            Self::Binary(binary) => binary.left.is_causal() && binary.right.is_causal(),
            Self::Negate(inner) | Self::Once(inner) => inner.is_causal(),
        }
    }

    /// What it evaluates to.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::Text(_) => ValueType::Text,
            Self::Selector(_) | Self::Aggregate(_) => ValueType::InstantVector,
            Self::Range(_) | Self::Subquery(_) => ValueType::RangeVector,
            Self::Call(call) => call.function.returns(),
            Self::Negate(inner) | Self::Once(inner) => inner.value_type(),
            Self::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::InstantVector,
            },
        }
    }
}

impl Expr {
    /// The same as if it was written nowhere: what differs by nothing else than its places becomes the same.
    #[must_use]
    pub fn without_places(mut self) -> Self {
        self.visit_mut(&mut |expr| match expr {
            Self::Call(call) => {
                call.place = 0;
                call.places.fill(0);
            }
            Self::Aggregate(aggregate) => aggregate.places = AggregatePlaces::default(),
            Self::Binary(binary) => binary.place = 0,
            _ => {}
        });
        self.visit_selectors(&mut |selector| {
            selector.place = 0;
            selector.matchers.iter_mut().for_each(|matcher| matcher.place = 0);
        });
        self
    }

    pub(crate) fn visit_selectors(&mut self, visit: &mut impl FnMut(&mut Selector)) {
        self.visit_mut(&mut |expr| match expr {
            Self::Selector(selector) => visit(selector),
            Self::Range(range) => visit(&mut range.selector),
            _ => {}
        });
    }

    /// This expression and all below it.
    pub(crate) fn visit_mut(&mut self, visit: &mut impl FnMut(&mut Self)) {
        let mut open = vec![self];
        while let Some(expr) = open.pop() {
            visit(expr);
            open.extend(expr.children_mut());
        }
    }
}

impl Selector {
    /// Whether both select the same series, as far as their matchers are written alike.
    pub fn is_same(&self, other: &Self) -> bool {
        let parts = |matcher: &Matcher| (matcher.name.clone(), matcher.op, matcher.value.clone());
        self.matchers
            .iter()
            .map(parts)
            .eq(other.matchers.iter().map(parts))
    }
}

impl<M> Selector<M> {
    /// Of the series that fit, as they are now; of no text.
    pub fn new(matchers: Vec<M>) -> Self {
        Self {
            matchers,
            shift: Shift::default(),
            extended: Extended::No,
            place: 0,
        }
    }

    fn try_map<N, E, F>(self, f: &mut F) -> Result<Selector<N>, E>
    where
        F: FnMut(M) -> Result<N, E>,
    {
        Ok(Selector {
            matchers: self.matchers.into_iter().map(f).collect::<Result<_, _>>()?,
            shift: self.shift,
            extended: self.extended,
            place: self.place,
        })
    }
}

// === impl Fill ===

impl Fill {
    /// Whether a sample of one side alone has a result.
    pub fn is_any(self) -> bool {
        self.left.is_some() || self.right.is_some()
    }
}

// === impl Extended ===

impl Extended {
    /// As it is written in a query, if it is.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::No => None,
            Self::Anchored => Some("anchored"),
            Self::Smoothed => Some("smoothed"),
        }
    }

    /// The names of the functions that take such a range, sorted; `None` is all.
    pub(crate) fn functions(self) -> Option<&'static [&'static str]> {
        match self {
            Self::No => None,
            Self::Anchored => Some(&["changes", "delta", "increase", "rate", "resets"]),
            Self::Smoothed => Some(&["delta", "increase", "rate"]),
        }
    }
}

// === impl operators ===

impl MatchOp {
    /// As it is written in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    /// Whether it compares with a regular expression.
    pub fn is_regex(self) -> bool {
        matches!(self, Self::Regex | Self::NotRegex)
    }

    /// Whether it takes what fits, and not what does not.
    pub fn is_positive(self) -> bool {
        matches!(self, Self::Equal | Self::Regex)
    }
}

impl AggregateOp {
    /// The names of all, in the order of Prometheus's documentation.
    pub fn names() -> impl Iterator<Item = &'static str> {
        AGGREGATES.iter().map(|(name, _)| *name)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = AGGREGATES.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|&(_, op)| op)
    }

    /// As it is written in a query.
    pub fn name(self) -> &'static str {
        let mut all = AGGREGATES.iter();
        all.find(|&&(_, op)| op == self).map_or("", |(name, _)| name)
    }

    /// What its parameter must be, if it takes one.
    pub(crate) fn param(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => {
                Some(ValueType::Scalar)
            }
            Self::CountValues => Some(ValueType::Text),
            Self::Sum
            | Self::Avg
            | Self::Min
            | Self::Max
            | Self::Count
            | Self::Group
            | Self::Stddev
            | Self::Stdvar => None,
        }
    }
}

const AGGREGATES: [(&str, AggregateOp); 14] = [
    ("sum", AggregateOp::Sum),
    ("avg", AggregateOp::Avg),
    ("min", AggregateOp::Min),
    ("max", AggregateOp::Max),
    ("count", AggregateOp::Count),
    ("group", AggregateOp::Group),
    ("stddev", AggregateOp::Stddev),
    ("stdvar", AggregateOp::Stdvar),
    ("topk", AggregateOp::Topk),
    ("bottomk", AggregateOp::Bottomk),
    ("quantile", AggregateOp::Quantile),
    ("count_values", AggregateOp::CountValues),
    ("limitk", AggregateOp::Limitk),
    ("limit_ratio", AggregateOp::LimitRatio),
];

impl BinaryOp {
    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual
        )
    }

    /// Whether it cuts histograms, and leaves numbers out.
    pub fn is_trim(self) -> bool {
        matches!(self, Self::TrimAbove | Self::TrimBelow)
    }

    /// Whether it is `and`, `or` or `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// As it is written in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::TrimAbove => "</",
            Self::TrimBelow => ">/",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// How tightly it binds: tighter is more.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual
            | Self::TrimAbove
            | Self::TrimBelow => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }
}
