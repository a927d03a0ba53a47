//! Renders a compiled template whose text depends on conditions, loops or functions.
//!
//! Everything that a value cannot change was decided when the template was compiled. Work is counted, so that no
//! template and no value can keep a caller waiting or fill its memory.

use std::collections::HashSet;

use fleetgauge_syntax::name::metric_name;

use super::error::{Offset, RenderError, position};
use super::func::{Func, display};
use super::limit::{MAX_RENDERED_LEN, MAX_STEPS, MAX_VALUE_LEN};
use super::place::Place;
use super::program::{Branch, Expr, Program, Step};
use super::value::{Text, Value, Values};

/// How a list of steps ended.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

struct Exec<'v> {
    program: &'v Program,
    params: Vec<Values<'v>>,
    dot: Value<'v>,
    variables: Vec<Value<'v>>,
    steps: usize,
    out: String,
}

/// Renders `program` with the values, or none, of each declared parameter.
pub(super) fn render(program: &Program, params: Vec<Values<'_>>) -> Result<String, RenderError> {
    for (spec, values) in program.params.iter().zip(&params) {
        let param = || spec.name().to_owned();
        match values {
            [] if spec.is_required() => return Err(RenderError::MissingParam { param: param() }),
            [_, _, ..] if !spec.kind().is_list() => {
                return Err(RenderError::SeveralValues {
                    param: param(),
                    kind: spec.kind(),
                });
            }
            _ => {}
        }
        if let Some((_, long)) = values.iter().find(|(_, value)| value.len() > MAX_VALUE_LEN) {
            return Err(RenderError::ValueTooLong {
                param: param(),
                len: long.len(),
            });
        }
    }
    let nothing = Value::Bool(false);
    let mut exec = Exec {
        program,
        params,
        variables: vec![nothing.clone(); program.slots],
        dot: nothing,
        steps: 0,
        out: String::with_capacity(program.text_len + 64),
    };
    exec.run(&program.steps)?;
    if program.is_metric_name
        && let Err(reason) = metric_name(&exec.out)
    {
        return Err(RenderError::not_a_metric_name(&exec.out, reason));
    }
    Ok(exec.out)
}

// === impl Exec ===

impl<'v> Exec<'v> {
    fn run(&mut self, steps: &'v [Step]) -> Result<Flow, RenderError> {
        for step in steps {
            self.work(1)?;
            let flow = match step {
                Step::Text { text, .. } => {
                    self.out.push_str(text);
                    self.check_length()?;
                    Flow::Next
                }
                Step::Print { value, place } => {
                    self.print(value, &self.program.places[*place])?;
                    Flow::Next
                }
                Step::Set { slot, value } => {
                    self.variables[*slot] = self.eval(value)?;
                    Flow::Next
                }
                Step::If(branch) => {
                    let value = self.eval_into(branch)?;
                    self.run(if value.is_true() {
                        &branch.body
                    } else {
                        &branch.otherwise
                    })?
                }
                Step::With(branch) => {
                    let value = self.eval_into(branch)?;
                    if value.is_true() {
                        self.with_dot(value, &branch.body)?
                    } else {
                        self.run(&branch.otherwise)?
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

    fn with_dot(&mut self, dot: Value<'v>, body: &'v [Step]) -> Result<Flow, RenderError> {
        let outer = std::mem::replace(&mut self.dot, dot);
        let flow = self.run(body);
        self.dot = outer;
        flow
    }

    fn range(&mut self, branch: &'v Branch) -> Result<Flow, RenderError> {
        let rounds = match self.eval(&branch.value)? {
            Value::Int(rounds) => rounds,
            Value::Absent(param) => return Err(self.missing(param)),
            other => {
                return Err(self.fault(
                    branch.at,
                    format!("range over {}: only a number can be", other.type_name()),
                ));
            }
        };
        if rounds <= 0 {
            return self.run(&branch.otherwise);
        }
        for round in 0..rounds {
            self.work(1)?;
            if let Some(slot) = branch.slot {
                self.variables[slot] = Value::Int(round);
            }
            if self.with_dot(Value::Int(round), &branch.body)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// Evaluates the pipeline of `{{if}}` or `{{with}}`, and sets its variable.
    fn eval_into(&mut self, branch: &'v Branch) -> Result<Value<'v>, RenderError> {
        let value = self.eval(&branch.value)?;
        if let Some(slot) = branch.slot {
            self.variables[slot] = value.clone();
        }
        Ok(value)
    }

    fn eval(&mut self, expr: &'v Expr) -> Result<Value<'v>, RenderError> {
        Ok(match expr {
            Expr::Param(param) => match self.params[*param] {
                [] => Value::Absent(*param),
                values if self.program.params[*param].kind().is_list() => Value::List(values),
                [(_, value), ..] => Value::Text(Text::Borrowed(value)),
            },
            Expr::Dot => self.dot.clone(),
            Expr::Variable(slot) => self.variables[*slot].clone(),
            Expr::Text(text) => Value::Text(Text::Borrowed(text)),
            Expr::Int(value) => Value::Int(*value),
            Expr::Float(value) => Value::Float(*value),
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Call { func, args, at } => {
                self.work(1)?;
                self.call(*func, args, *at)?
            }
        })
    }

    fn call(&mut self, func: Func, args: &'v [Expr], at: Offset) -> Result<Value<'v>, RenderError> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let value = self.eval(arg)?;
            match func {
                // These two end at the argument that decides.
                Func::And | Func::Or if value.is_true() == (func == Func::Or) => return Ok(value),
                Func::And | Func::Or | Func::Not | Func::Eq | Func::Ne => {}
                _ => {
                    if let Value::Absent(param) = value {
                        return Err(self.missing(param));
                    }
                }
            }
            values.push(value);
        }
        if matches!(func, Func::And | Func::Or) {
            return Ok(values.pop().unwrap_or(Value::Bool(false)));
        }
        let value = func.call(values).map_err(|message| self.fault(at, message))?;
        if let Value::Text(text) = &value {
            self.work(text.len() / 64)?;
        }
        Ok(value)
    }

    fn print(&mut self, expr: &'v Expr, place: &'v Place) -> Result<(), RenderError> {
        let value = self.eval(expr)?;
        match value {
            Value::Absent(param) => return Err(self.missing(param)),
            Value::List(values) => return self.print_list(values, place),
            _ => {}
        }
        let text = display(&value).map_err(|message| self.fault(place.at(), message))?;
        if text.len() > MAX_VALUE_LEN {
            return Err(RenderError::ValueTooLong {
                param: place.what().to_owned(),
                len: text.len(),
            });
        }
        self.work(text.len() / 64)?;
        let written = place.write(&text, &mut self.out);
        written.map_err(|reason| place.refusal(&text, reason, &self.program.source))?;
        self.check_length()
    }

    /// Each value once, in the order in which they were first given.
    fn print_list(&mut self, values: Values<'v>, place: &'v Place) -> Result<(), RenderError> {
        let bytes: usize = values.iter().map(|(_, value)| value.len()).sum();
        if bytes > MAX_RENDERED_LEN {
            return Err(RenderError::TooLong);
        }
        self.work(values.len() + bytes / 64)?;
        let mut seen = HashSet::with_capacity(values.len());
        let distinct = values
            .iter()
            .map(|(_, value)| &**value)
            .filter(|value| seen.insert(*value));
        let written = place.write_all(distinct, &mut self.out);
        written.map_err(|(value, reason)| place.refusal(value, reason, &self.program.source))?;
        self.check_length()
    }

    fn check_length(&self) -> Result<(), RenderError> {
        if self.out.len() > MAX_RENDERED_LEN {
            Err(RenderError::TooLong)
        } else {
            Ok(())
        }
    }

    fn work(&mut self, steps: usize) -> Result<(), RenderError> {
        self.steps += steps;
        if self.steps > MAX_STEPS {
            Err(RenderError::TooMuchWork)
        } else {
            Ok(())
        }
    }

    fn missing(&self, param: usize) -> RenderError {
        RenderError::MissingParam {
            param: self.program.params[param].name().to_owned(),
        }
    }

    fn fault(&self, at: Offset, message: String) -> RenderError {
        let (line, column) = position(&self.program.source, at);
        RenderError::Exec {
            line,
            column,
            message,
        }
    }
}
