//! The ways through a template's conditions, each as a query with stand-ins for the values.
//!
//! Whether a template is PromQL cannot be seen in its source: half of a query stands in one branch and half in
//! another. So it is walked as if it were rendered, and wherever a value decides (a condition, `and`, `or`, how
//! often a loop runs) each outcome is one way. What was decided about a value holds for the rest of the way:
//! `{{if .x}}` in two places is two ways and not four, and a value that equals one text equals no other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

use fleetgauge_syntax::name::metric_name;

use super::error::{Offset, position};
use super::exec::Flow;
use super::func::{Func, display};
use super::limit::MAX_STEPS;
use super::program::{Branch, Expr, Program, Step};
use super::value::{Text, Value};

/// How much work all ways together may be: a step and a byte of text count as one each.
const MAX_WORK: usize = 4 << 20;
/// How many further ways are tried for the branches that the first ones left out.
const MAX_MORE: usize = 512;
/// Of how many operands each is tried as a name and as a number, apart from the others.
const MAX_OPERANDS: usize = 4;

/// Ways through a template, as [`Template::ways`](super::Template::ways) finds them.
#[derive(Clone, Debug)]
pub struct Ways {
    ways: Vec<Way>,
    coverage: Coverage,
}

/// How much of a template its [`Ways`] show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Every way.
    Whole,
    /// Every branch at least once, but not in every combination.
    Branches,
    /// Not even that: the template is too long, or its conditions are too entangled.
    Part,
}

/// One way through a template.
#[derive(Clone, Debug)]
pub struct Way {
    segments: Vec<Segment>,
    /// How many operands may be a name or a number.
    operands: usize,
}

/// A query that a template renders to on one of its ways, with stand-ins for the values.
#[derive(Clone, Debug)]
pub struct Example<'t> {
    text: String,
    segments: &'t [Segment],
    /// Where each segment begins in `text`.
    starts: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Segment {
    text: Box<str>,
    at: Offset,
    /// Text of the template, not what stands for a placeholder.
    is_source: bool,
    /// Which of the way's operands it is.
    operand: Option<usize>,
}

/// Why a way ends early: what it has come to is an error when it is rendered, whatever the values are.
struct NeverRenders;

/// A value, as far as it is known.
#[derive(Clone)]
enum Known<'t> {
    Value(Value<'t>),
    Param(usize),
    /// Computed from what is not known; the same number stands for the same computation.
    Computed(u64),
}

/// What has been decided about a parameter.
#[derive(Clone, Default)]
struct Decided<'t> {
    is_true: Option<bool>,
    equals: Option<Text<'t>>,
    differs: HashSet<Box<str>>,
}

struct Walk<'t> {
    program: &'t Program,
    plan: &'t [usize],
    /// For each decision: where, what was chosen, of how many.
    taken: Vec<(Offset, usize, usize)>,
    branches: &'t mut HashSet<(Offset, usize)>,
    params: Vec<Decided<'t>>,
    computed: HashMap<u64, usize>,
    dot: Known<'t>,
    variables: Vec<Known<'t>>,
    /// The action that is being looked at.
    here: Offset,
    steps: usize,
    way: Way,
    operands: HashMap<u64, usize>,
}

// === impl Ways ===

impl Ways {
    /// See [`Template::ways`](super::Template::ways).
    pub(super) fn of(program: &Program, max: usize) -> Self {
        let mut ways = Ways {
            ways: Vec::new(),
            coverage: Coverage::Whole,
        };
        let (mut texts, mut branches) = (HashSet::new(), HashSet::new());
        let (mut plan, mut work) = (Vec::new(), 0);
        for _ in 0..max {
            let mut taken = ways.walk(program, &plan, &mut branches, &mut texts, &mut work);
            // The next plan: the last decision that could go otherwise does.
            plan.clear();
            while let Some((_, option, options)) = taken.pop() {
                if option + 1 < options {
                    plan.extend(taken.iter().map(|(_, option, _)| option));
                    plan.push(option + 1);
                    break;
                }
            }
            if plan.is_empty() {
                return ways;
            }
            if work > MAX_WORK {
                ways.coverage = Coverage::Part;
                return ways;
            }
        }
        ways.cover(program, &mut branches, &mut texts, &mut work);
        ways
    }

    /// The ways, of which no two have the same text.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Way> {
        self.ways.iter()
    }

    /// Whether these are all.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// Walks one way; answers what was decided on it.
    fn walk(
        &mut self,
        program: &Program,
        plan: &[usize],
        branches: &mut HashSet<(Offset, usize)>,
        texts: &mut HashSet<Vec<Box<str>>>,
        work: &mut usize,
    ) -> Vec<(Offset, usize, usize)> {
        let unset = Known::Value(Value::Bool(false));
        let mut walk = Walk {
            program,
            plan,
            taken: Vec::new(),
            branches,
            params: vec![Decided::default(); program.params.len()],
            computed: HashMap::new(),
            dot: unset.clone(),
            variables: vec![unset; program.slots],
            here: 0,
            steps: 0,
            way: Way {
                segments: Vec::new(),
                operands: 0,
            },
            operands: HashMap::new(),
        };
        let renders = walk.run(&program.steps).is_ok();
        let (taken, way, steps) = (walk.taken, walk.way, walk.steps);
        let text: Vec<_> = way.segments.iter().map(|segment| segment.text.clone()).collect();
        *work += steps + text.iter().map(|text| text.len()).sum::<usize>();
        if renders && texts.insert(text) {
            self.ways.push(way);
        }
        taken
    }

    /// Walks ways until each branch that can be reached was passed, those first that decide as none did before.
    fn cover(
        &mut self,
        program: &Program,
        branches: &mut HashSet<(Offset, usize)>,
        texts: &mut HashSet<Vec<Box<str>>>,
        work: &mut usize,
    ) {
        let all = all_branches(&program.steps);
        let (mut tried, mut new, mut others) =
            (HashSet::new(), VecDeque::from([Vec::new()]), VecDeque::new());
        let mut decided = HashSet::new();
        for _ in 0..MAX_MORE {
            if all.is_subset(branches) {
                self.coverage = Coverage::Branches;
                return;
            }
            self.coverage = Coverage::Part;
            let Some(plan) = new.pop_front().or_else(|| others.pop_front()) else {
                return;
            };
            if *work > MAX_WORK {
                return;
            }
            let taken = self.walk(program, &plan, branches, texts, work);
            decided.extend(taken.iter().map(|(at, option, _)| (*at, *option)));
            for (i, (at, option, options)) in taken.iter().enumerate().skip(plan.len()) {
                for other in (0..*options).filter(|other| other != option) {
                    let mut plan: Vec<_> = taken[..i].iter().map(|(_, option, _)| *option).collect();
                    plan.push(other);
                    // A template with thousands of conditions has plans of that length for each.
                    *work += plan.len();
                    match tried.insert((*at, other)) && !decided.contains(&(*at, other)) {
                        true => new.push_back(plan),
                        false => others.push_back(plan),
                    }
                }
            }
        }
    }
}

// === impl Way ===

impl Way {
    /// What the way renders to. There are several where a parameter of kind text is an operand, which may be a
    /// metric name or a number: the way is a query if one of them is.
    pub fn examples(&self) -> impl Iterator<Item = Example<'_>> {
        let apart = self.operands.min(MAX_OPERANDS);
        (0..1_usize << apart).map(|numbers| self.example(numbers))
    }

    /// The operands whose bits are set in `numbers` are numbers; what is beyond shares the last bit.
    fn example(&self, numbers: usize) -> Example<'_> {
        let mut text = String::new();
        let mut starts = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            starts.push(text.len());
            let is_number = segment
                .operand
                .is_some_and(|operand| numbers >> operand.min(MAX_OPERANDS - 1) & 1 == 1);
            text.push_str(if is_number { "1" } else { &segment.text });
        }
        Example {
            text,
            segments: &self.segments,
            starts,
        }
    }
}

// === impl Example ===

impl Example<'_> {
    /// The query.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the byte `offset` of the query comes from in the template's `source`: line and column, both from 1, the
    /// column in characters. Within what stands for a value it is the placeholder.
    #[must_use]
    pub fn position(&self, source: &str, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let at = self.starts.partition_point(|start| *start <= offset);
        let at = at.checked_sub(1).map_or(0, |i| {
            let segment = &self.segments[i];
            let within = if segment.is_source {
                offset - self.starts[i]
            } else {
                0
            };
            segment.at + within
        });
        position(source, at)
    }
}

// === impl Walk ===

impl<'t> Walk<'t> {
    fn run(&mut self, steps: &'t [Step]) -> Result<Flow, NeverRenders> {
        for step in steps {
            self.work()?;
            let flow = match step {
                Step::Text { at, text } => {
                    self.push(text, *at, true, None);
                    Flow::Next
                }
                Step::Print { value, place } => {
                    self.here = self.program.places[*place].at();
                    self.print(value, *place)?;
                    Flow::Next
                }
                Step::Set { slot, value } => {
                    self.variables[*slot] = self.eval(value)?;
                    Flow::Next
                }
                Step::If(branch) | Step::With(branch) => {
                    let value = self.eval_into(branch)?;
                    let is_true = self.is_true(&value);
                    self.branches.insert((branch.at, usize::from(!is_true)));
                    match (is_true, step) {
                        (false, _) => self.run(&branch.otherwise)?,
                        (true, Step::With(_)) => self.with_dot(value, &branch.body)?,
                        (true, _) => self.run(&branch.body)?,
                    }
                }
                Step::Range(branch) => self.range(branch)?,
                Step::Body { dot: None, body, .. } => self.run(body)?,
                Step::Body {
                    dot: Some(dot),
                    slot,
                    body,
                } => {
                    let value = self.eval(dot)?;
                    self.variables[*slot] = value.clone();
                    self.with_dot(value, body)?
                }
                Step::Break => Flow::Break,
                Step::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn work(&mut self) -> Result<(), NeverRenders> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            Err(NeverRenders)
        } else {
            Ok(())
        }
    }

    fn with_dot(&mut self, dot: Known<'t>, body: &'t [Step]) -> Result<Flow, NeverRenders> {
        let outer = std::mem::replace(&mut self.dot, dot);
        let flow = self.run(body);
        self.dot = outer;
        flow
    }

    fn range(&mut self, branch: &'t Branch) -> Result<Flow, NeverRenders> {
        self.here = branch.at;
        let rounds = match self.eval(&branch.value)? {
            Known::Value(Value::Int(rounds)) => rounds,
            // None, one, and one that follows another.
            Known::Computed(id) => self.decide(id, 3) as i64,
            _ => return Err(NeverRenders),
        };
        self.branches.insert((branch.at, usize::from(rounds <= 0)));
        if rounds <= 0 {
            return self.run(&branch.otherwise);
        }
        for round in 0..rounds {
            self.work()?;
            let round = Known::Value(Value::Int(round));
            if let Some(slot) = branch.slot {
                self.variables[slot] = round.clone();
            }
            if self.with_dot(round, &branch.body)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn eval_into(&mut self, branch: &'t Branch) -> Result<Known<'t>, NeverRenders> {
        self.here = branch.at;
        let value = self.eval(&branch.value)?;
        if let Some(slot) = branch.slot {
            self.variables[slot] = value.clone();
        }
        Ok(value)
    }

    fn eval(&mut self, expr: &'t Expr) -> Result<Known<'t>, NeverRenders> {
        Ok(Known::Value(match expr {
            Expr::Param(param) => return Ok(Known::Param(*param)),
            Expr::Dot => return Ok(self.dot.clone()),
            Expr::Variable(slot) => return Ok(self.variables[*slot].clone()),
            Expr::Text(text) => Value::Text(Text::Borrowed(text)),
            Expr::Int(value) => Value::Int(*value),
            Expr::Float(value) => Value::Float(*value),
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Call { func, args, .. } => return self.call(*func, args),
        }))
    }

    fn call(&mut self, func: Func, args: &'t [Expr]) -> Result<Known<'t>, NeverRenders> {
        self.work()?;
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let value = self.eval(arg)?;
            if matches!(func, Func::And | Func::Or) && self.is_true(&value) == (func == Func::Or) {
                return Ok(value);
            }
            values.push(value);
        }
        let truth = |value| Ok(Known::Value(Value::Bool(value)));
        match (func, &values[..]) {
            (Func::And | Func::Or, [.., last]) => return Ok(last.clone()),
            (Func::Not, [value]) => return truth(!self.is_true(value)),
            (Func::Ne, [a, b]) => return truth(!self.equal(a, b)?),
            (Func::Eq, [a, others @ ..]) => {
                for other in others {
                    if self.equal(a, other)? {
                        return truth(true);
                    }
                }
                return truth(false);
            }
            _ => {}
        }
        let mut known = Vec::with_capacity(values.len());
        for value in &values {
            match self.resolve(value) {
                Known::Value(Value::Absent(_)) => return Err(NeverRenders),
                Known::Value(value) => known.push(value),
                _ => {}
            }
        }
        if known.len() == values.len() {
            return func.call(known).map(Known::Value).map_err(|_| NeverRenders);
        }
        let ids: Vec<_> = values.iter().map(|value| self.id(value)).collect();
        Ok(Known::Computed(hash(&(func.name(), ids))))
    }

    fn equal(&mut self, a: &Known<'t>, b: &Known<'t>) -> Result<bool, NeverRenders> {
        let (a, b) = (self.resolve(a), self.resolve(b));
        match (&a, &b) {
            (Known::Value(a), Known::Value(b)) => {
                let equal = Func::Eq
                    .call(vec![a.clone(), b.clone()])
                    .map_err(|_| NeverRenders)?;
                return Ok(equal.is_true());
            }
            (Known::Param(a), Known::Param(b)) if a == b => return Ok(true),
            (Known::Param(param), Known::Value(Value::Text(text)))
            | (Known::Value(Value::Text(text)), Known::Param(param)) => {
                let decided = &self.params[*param];
                let excluded = decided.differs.contains(&**text);
                if excluded || (text.is_empty() && decided.is_true == Some(true)) {
                    return Ok(false);
                }
                let equal = self.choose(2) == 0;
                let decided = &mut self.params[*param];
                if equal {
                    decided.is_true = Some(!text.is_empty());
                    decided.equals = Some(text.clone());
                } else {
                    decided.differs.insert((**text).into());
                }
                return Ok(equal);
            }
            (Known::Param(_), Known::Value(Value::Absent(_)))
            | (Known::Value(Value::Absent(_)), Known::Param(_)) => return Ok(false),
            (Known::Param(_), Known::Value(_)) | (Known::Value(_), Known::Param(_)) => {
                return Err(NeverRenders);
            }
            _ => {}
        }
        let ids = [self.id(&a), self.id(&b)];
        Ok(self.decide(hash(&("eq", ids)), 2) == 0)
    }

    /// The value that was decided on, if one was.
    fn resolve(&self, value: &Known<'t>) -> Known<'t> {
        let Known::Param(param) = value else {
            return value.clone();
        };
        let decided = &self.params[*param];
        match (&decided.equals, decided.is_true) {
            (Some(text), _) => Known::Value(Value::Text(text.clone())),
            (None, Some(false)) if self.program.params[*param].is_required() => {
                Known::Value(Value::Text(Text::Borrowed("")))
            }
            (None, Some(false)) => Known::Value(Value::Absent(*param)),
            _ => value.clone(),
        }
    }

    fn is_true(&mut self, value: &Known<'t>) -> bool {
        match self.resolve(value) {
            Known::Value(value) => value.is_true(),
            Known::Computed(id) => self.decide(id, 2) == 0,
            Known::Param(param) => match self.params[param].is_true {
                Some(is_true) => is_true,
                None => {
                    // An empty list of a required parameter does not get here.
                    let spec = &self.program.params[param];
                    let always = spec.is_required() && spec.kind().is_list();
                    let is_true = always || self.choose(2) == 0;
                    self.params[param].is_true = Some(is_true);
                    is_true
                }
            },
        }
    }

    /// Decides once about what is computed; the same holds the next time.
    fn decide(&mut self, id: u64, options: usize) -> usize {
        if let Some(decided) = self.computed.get(&id) {
            return *decided;
        }
        let option = self.choose(options);
        self.computed.insert(id, option);
        option
    }

    fn choose(&mut self, options: usize) -> usize {
        let option = self.plan.get(self.taken.len()).copied().unwrap_or(0);
        self.taken.push((self.here, option, options));
        option
    }

    fn id(&self, value: &Known<'t>) -> u64 {
        match value {
            Known::Value(value) => hash(&format!("{value:?}")),
            Known::Param(param) => hash(&("param", param)),
            Known::Computed(id) => *id,
        }
    }

    fn print(&mut self, expr: &'t Expr, place: usize) -> Result<(), NeverRenders> {
        let value = self.eval(expr)?;
        let id = self.id(&value);
        let name = match self.resolve(&value) {
            Known::Value(Value::Absent(_)) => return Err(NeverRenders),
            Known::Value(value) => {
                let text = display(&value).map_err(|_| NeverRenders)?;
                let mut written = String::new();
                let place = &self.program.places[place];
                place.write(&text, &mut written).map_err(|_| NeverRenders)?;
                self.push(&written, place.at(), false, None);
                return Ok(());
            }
            // Longer than a name that a template would have beside it, so that the two do not meet.
            Known::Param(param) => format!("{}_value", self.program.params[param].name()),
            Known::Computed(_) => "computed_value".to_owned(),
        };
        let place = &self.program.places[place];
        let is_name = metric_name(&name).is_ok();
        let stand_in = place.stand_in(if is_name { &name } else { "a_value" });
        let operand = place.is_any_operand().then(|| {
            let next = self.operands.len();
            *self.operands.entry(id).or_insert(next)
        });
        self.way.operands = self.operands.len();
        let at = place.at();
        self.push(stand_in, at, false, operand);
        Ok(())
    }

    fn push(&mut self, text: &str, at: Offset, is_source: bool, operand: Option<usize>) {
        self.way.segments.push(Segment {
            text: text.into(),
            at,
            is_source,
            operand,
        });
    }
}

/// Each branch, by where it is and which of the two or three it is.
fn all_branches(steps: &[Step]) -> HashSet<(Offset, usize)> {
    let mut branches = HashSet::new();
    let mut lists = vec![steps];
    while let Some(steps) = lists.pop() {
        for step in steps {
            match step {
                Step::If(branch) | Step::With(branch) | Step::Range(branch) => {
                    branches.extend([(branch.at, 0), (branch.at, 1)]);
                    lists.extend([&*branch.body, &*branch.otherwise]);
                }
                Step::Body { body, .. } => lists.push(body),
                _ => {}
            }
        }
    }
    branches
}

fn hash(value: &impl Hash) -> u64 {
    // Within one walk alone, so any seed that stays will do.
    foldhash::fast::FixedState::default().hash_one(value)
}

#[cfg(test)]
mod tests {
    use super::super::Template;
    use super::*;
    use crate::params::{ParamKind, ParamSpec};

    fn compile(source: &str) -> Template {
        let kinds = [
            ("x", ParamKind::Text),
            ("y", ParamKind::Text),
            ("re", ParamKind::Regex),
            ("n", ParamKind::Number),
            ("w", ParamKind::Duration),
            ("m", ParamKind::MetricName),
            ("by", ParamKind::LabelName),
            ("pods", ParamKind::Texts),
            ("labels", ParamKind::LabelNames),
        ];
        let mut specs: Vec<_> = kinds.map(|(name, kind)| ParamSpec::optional(name, kind)).into();
        specs.push(ParamSpec::required("must", ParamKind::Text));
        Template::compile(source, &specs).unwrap_or_else(|error| panic!("{source}: {error}"))
    }

    fn texts(ways: &Ways) -> Vec<String> {
        ways.iter()
            .flat_map(Way::examples)
            .map(|example| example.text().to_owned())
            .collect()
    }

    #[track_caller]
    fn check(source: &str, expected: &[&str]) {
        let template = compile(source);
        let ways = template.ways(64);
        assert_eq!(
            (texts(&ways), ways.coverage()),
            (
                expected.iter().map(|text| (*text).to_owned()).collect(),
                Coverage::Whole
            ),
            "{source}"
        );
    }

    #[test]
    fn a_placeholder_is_a_token_of_its_kind() {
        check(
            r#"topk({{.n}}, rate({{.m}}{a="{{.x}}", b=~"{{.re}}|{{.pods}}"}[{{.w}}] @ {{.n}}))"#,
            &[r#"topk(1, rate(m_value{a="x_value", b=~"re_value|pods_value"}[5m] @ 1))"#],
        );
        check(
            "sum by ({{.by}}, {{.labels}}) (up) # {{.x}}",
            &["sum by (by_value, labels_value) (up) # x_value"],
        );
        check(r#"up{a="{{printf "%s-0" .x}}"}"#, &[r#"up{a="computed_value"}"#]);
        check(r#"up{a="{{printf "%d" 5}}"} > {{-5}}"#, &[r#"up{a="5"} > (-5)"#]);
        // A text may be either; a number and a metric cannot.
        check("{{.x}} > {{.x}}", &["x_value > x_value", "1 > 1"]);
        check("{{.x}}{} > {{.n}}", &["x_value{} > 1"]);
    }

    #[test]
    fn what_is_decided_holds_for_the_rest_of_the_way() {
        check("up{{if .x}} > 1{{end}}", &["up > 1", "up"]);
        check(
            r#"{{if .x}}sum{{else}}count_values{{end}} ({{if .x}}{{else}}"v", {{end}}up)"#,
            &["sum (up)", r#"count_values ("v", up)"#],
        );
        check(
            r#"{{if eq .x "a"}}1{{else if eq .x "b" "c"}}2{{else}}3{{end}}{{if eq .x "b"}} + up{{end}}"#,
            &["1", "2 + up", "2", "3"],
        );
        check(
            "{{$v := or .w \"1m\"}}rate(up[{{$v}}]) + rate(up[{{$v}}])",
            &["rate(up[5m]) + rate(up[5m])", "rate(up[1m]) + rate(up[1m])"],
        );
        check("{{if and .x (not .y)}}1{{else}}2{{end}}", &["2", "1"]);
        check(
            r#"up{{with .re}}{a=~"{{.}}"}{{else}}{}{{end}}"#,
            &[r#"up{a=~"re_value"}"#, "up{}"],
        );
        check("{{if .must}}1{{else}}2{{end}}", &["1", "2"]);
        check(
            "{{range $i := 3}}{{if $i}}up{{else}}down{{end}} or {{end}}up",
            &["down or up or up or up"],
        );
        check(
            r#"{{if gt (len .must) 3}}1{{else}}2{{end}}{{if gt (len .must) 3}} + 3{{end}}"#,
            &["1 + 3", "2"],
        );
        check(
            r#"{{template "m" .x}}{{define "m"}}up{a="{{.}}"}{{end}}"#,
            &[r#"up{a="x_value"}"#],
        );
    }

    #[test]
    fn what_never_renders_is_no_way() {
        // Printed where it is absent; a constant that does not fit; a comparison that Go refuses.
        check("{{if .x}}1{{else}}{{.x}}{{end}}", &["1"]);
        check(r#"{{if .x}}1{{else}}rate(up[{{"5"}}]){{end}}"#, &["1"]);
        check("{{if .x}}{{if eq .x 1}}1{{else}}3{{end}}{{else}}2{{end}}", &["2"]);
    }

    #[test]
    fn many_ways_still_pass_each_branch() {
        let branch = |i: usize| format!(" + {{{{if eq .x \"{i}\"}}}}a{i}{{{{else}}}}b{i}{{{{end}}}}");
        let chain = |i: usize| format!("{{{{if eq .x \"{i}\"}}}}a{i}{{{{else}}}}");
        let nested = |i: usize| {
            format!(
                " + {{{{if eq (len .y) {i}}}}}{{{{if eq (len .x) {i}}}}}a{i}{{{{else}}}}b{i}{{{{end}}}}{{{{else}}}}c{i}{{{{end}}}}"
            )
        };
        let flat: String = (0..100).map(branch).collect();
        let chained: String = (0..30).map(chain).collect::<String>() + "up" + &"{{end}}".repeat(30);
        let twice = format!("{chained} + {}", chained.replace(".x", ".y").replace("}a", "}c"));
        for (source, expected) in [
            (format!("1{flat}"), 200),
            (twice, 60),
            (format!("1{}", (0..20).map(nested).collect::<String>()), 60),
        ] {
            let template = compile(&source);
            let ways = template.ways(64);
            assert_eq!(ways.coverage(), Coverage::Branches, "{}", ways.iter().len());
            let all = texts(&ways).join(" ");
            let names: HashSet<_> = all
                .split(' ')
                .filter(|word| word.starts_with(['a', 'b', 'c']))
                .collect();
            assert_eq!(names.len(), expected);
        }
    }

    #[test]
    fn the_work_is_bounded() {
        let loops = "{{range 1000}}{{range 90}}{{end}}{{end}}".repeat(40);
        let source = format!("up{loops}{}", "{{if .x}}{{if .y}}{{end}}{{end}}".repeat(500));
        let many = "{{if eq .x \"$\"}}{{end}}".repeat(2000);
        for source in [source, format!("up{many}")] {
            let _ = compile(&source).ways(64);
        }
        let different: String = (0..2500)
            .map(|i| format!("{{{{if eq .x \"{i}\"}}}}{{{{end}}}}"))
            .collect();
        let ways = compile(&format!("up{different}")).ways(64);
        assert_eq!(ways.coverage(), Coverage::Part);
    }

    #[test]
    fn a_place_in_an_example_is_one_in_the_source() {
        let source = "{{- /* é */ -}}\n sum(\n  é_{{if .x}}{a=\"{{.x}}\"}{{end}}\n) + {{.n}}";
        let source = source.replace("é_", "up");
        let template = compile(&source);
        let ways = template.ways(64);
        let check = |way: usize, piece: &str, expected: (usize, usize)| {
            let way = ways.iter().nth(way).unwrap();
            let example = way.examples().next().unwrap();
            let offset = example.text().find(piece).unwrap();
            assert_eq!(example.position(template.source(), offset), expected, "{piece}");
        };
        check(0, "sum", (2, 2));
        check(0, "up", (3, 3));
        check(0, "{a", (3, 14));
        check(0, "value", (3, 20));
        check(0, "\"}", (3, 24));
        check(0, ") +", (4, 1));
        check(1, ") +", (4, 1));
        check(1, "1", (4, 7));
        let way = ways.iter().next().unwrap();
        let example = way.examples().next().unwrap();
        assert_eq!(example.position(template.source(), usize::MAX), (4, 7));
    }
}
