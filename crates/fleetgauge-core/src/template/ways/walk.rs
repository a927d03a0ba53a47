//! Walking one way: as a template is rendered, but that what depends on a value is decided once, and noted.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use fleetgauge_syntax::name::metric_name;

use super::way::{Segment, Way};
use crate::template::error::Offset;
use crate::template::exec::Flow;
use crate::template::func::{Func, display};
use crate::template::limit::MAX_STEPS;
use crate::template::program::{Branch, Expr, Program, Step};
use crate::template::value::{Text, Value};

/// Branches that were passed, by where they are and which of the two or three they are.
pub(super) type Branches = HashSet<(Offset, usize)>;

/// Why a way ends early: what it has come to is an error when it is rendered, whatever the values are.
pub(super) struct NeverRenders;

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

/// A way that is being walked.
pub(super) struct Walk<'t> {
    program: &'t Program,
    plan: &'t [usize],
    /// For each decision: where, what was chosen, of how many.
    pub(super) taken: Vec<(Offset, usize, usize)>,
    branches: &'t mut Branches,
    params: Vec<Decided<'t>>,
    computed: HashMap<u64, usize>,
    dot: Known<'t>,
    variables: Vec<Known<'t>>,
    /// The action that is being looked at.
    here: Offset,
    pub(super) steps: usize,
    pub(super) way: Way,
    operands: HashMap<u64, usize>,
}

// === impl Walk ===

impl<'t> Walk<'t> {
    /// Begins a way on which the first decisions go as `plan` says, and the others the first way there is.
    pub(super) fn new(program: &'t Program, plan: &'t [usize], branches: &'t mut Branches) -> Self {
        let unset = Known::Value(Value::Bool(false));
        Self {
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
            way: Way::default(),
            operands: HashMap::new(),
        }
    }

    pub(super) fn run(&mut self, steps: &'t [Step]) -> Result<Flow, NeverRenders> {
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

fn hash(value: &impl Hash) -> u64 {
    // Within one walk alone, so any seed that stays will do.
    foldhash::fast::FixedState::default().hash_one(value)
}
