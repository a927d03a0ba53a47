//! Pipelines and operands: what they refer to, and the kind of the parameter that their value comes from.

use super::super::error::{Fault, Offset, did_you_mean};
use super::super::func::Func;
use super::super::literal::Number;
use super::super::parse::{Operand, Pipe, Term};
use super::super::program::Expr;
use super::state::{Compiler, Dot, Origin, nothing_passed, stays_apart, undefined};
use crate::params::{ParamKind, ParamSpec};
use crate::printable::Excerpt;

impl<'t, 's> Compiler<'t, 's> {
    pub(super) fn pipe(&mut self, pipe: &'t Pipe<'s>, dot: Dot) -> Result<(Expr, Origin), Fault> {
        let mut piped = None;
        for command in &pipe.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        piped.ok_or_else(|| Fault::new(pipe.at, "missing value"))
    }

    fn command(
        &mut self,
        command: &'t [Operand<'s>],
        piped: Option<(Expr, Origin)>,
        dot: Dot,
    ) -> Result<(Expr, Origin), Fault> {
        let [first, rest @ ..] = command else {
            return Err(Fault::new(0, "missing value"));
        };
        let Term::Func(func) = first.term else {
            if let Some(extra) = rest.first() {
                return Err(Fault::new(
                    extra.at,
                    "only a function takes arguments, and what stands before this is none",
                ));
            }
            return self.operand(first, dot);
        };
        if func == Func::Index
            && piped.is_none()
            && let [
                params,
                Operand {
                    term: Term::Text(name),
                    at,
                    ..
                },
            ] = rest
            && self.is_params_operand(params, dot)
        {
            return self.param(name, *at);
        }
        let mut args = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            args.push(self.operand(operand, dot)?);
        }
        args.extend(piped);
        self.call_func(func, first, args)
    }

    fn call_func(
        &mut self,
        func: Func,
        operand: &Operand<'s>,
        args: Vec<(Expr, Origin)>,
    ) -> Result<(Expr, Origin), Fault> {
        let at = operand.at;
        if !operand.fields.is_empty() {
            return Err(Fault::new(
                at,
                format!("{} is a function and has no fields", func.name()),
            ));
        }
        let (least, most) = func.arity();
        if args.len() < least || args.len() > most {
            let wanted = match (least, most) {
                (least, most) if least == most => least.to_string(),
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) => format!("{least} to {most}"),
            };
            let message = format!("{} takes {wanted} argument(s), not {}", func.name(), args.len());
            return Err(Fault::new(at, message));
        }
        let lists = args
            .iter()
            .any(|(_, origin)| origin.is_some_and(ParamKind::is_list));
        if lists && !matches!(func, Func::And | Func::Or | Func::Not | Func::Len) {
            let message = format!(
                "{} takes single values: place the list itself, as {{{{.name}}}}",
                func.name()
            );
            return Err(Fault::new(at, message));
        }
        let mut origins = args.iter().filter_map(|(_, origin)| *origin);
        let origin = match func {
            Func::And | Func::Or | Func::Index if func != Func::Index || args.len() == 1 => {
                let first = origins.next();
                match origins.find(|other| Some(*other) != first) {
                    None => first,
                    Some(other) if !stays_apart(first) && !stays_apart(Some(other)) => Some(ParamKind::Text),
                    Some(_) => {
                        let message = format!(
                            "{} chooses between a regular expression or list and something else",
                            func.name()
                        );
                        return Err(Fault::new(at, message));
                    }
                }
            }
            Func::Slice | Func::Print | Func::Printf | Func::Println => {
                if args.iter().any(|(_, origin)| *origin == Some(ParamKind::Regex)) {
                    let message = format!(
                        "{} would make a text of a regular expression: place the parameter itself, with text around it",
                        func.name()
                    );
                    return Err(Fault::new(at, message));
                }
                origins.next().map(|_| ParamKind::Text)
            }
            _ => None,
        };
        let args = args.into_iter().map(|(arg, _)| arg).collect();
        Ok((Expr::Call { func, args, at }, origin))
    }

    fn operand(&mut self, operand: &'t Operand<'s>, dot: Dot) -> Result<(Expr, Origin), Fault> {
        let at = operand.at;
        let whole = || {
            Fault::new(
                at,
                "this is the whole set of parameters: name one, as in {{.namespace}}",
            )
        };
        let value = match &operand.term {
            Term::Field(name) => match dot {
                Dot::Params => self.param(name, at)?,
                Dot::Value(_) => {
                    let message = format!(
                        "here `.` is a value, which has no fields: write {{{{$.{name}}}}} for the parameter"
                    );
                    return Err(Fault::new(at, message));
                }
                Dot::Nothing => return Err(nothing_passed(at)),
            },
            Term::Dot => match dot {
                Dot::Params => return Err(whole()),
                Dot::Value(origin) => (Expr::Dot, origin),
                Dot::Nothing => return Err(nothing_passed(at)),
            },
            Term::Variable("$") if !matches!(self.root, Dot::Value(_)) => {
                match (self.root, &operand.fields[..]) {
                    (Dot::Params, [name]) => return self.param(name, at),
                    (Dot::Params, []) => return Err(whole()),
                    (Dot::Nothing, _) => return Err(nothing_passed(at)),
                    _ => return Err(Fault::new(at, "a parameter is a text and has no fields")),
                }
            }
            Term::Variable(name) => match self.variables.iter().rev().find(|known| known.name == *name) {
                Some(known) => (Expr::Variable(known.slot), known.origin),
                None => return Err(undefined(at, name)),
            },
            Term::Func(func) => return self.call_func(*func, operand, Vec::new()),
            Term::Text(text) => (Expr::Text(text.as_str().into()), None),
            Term::Number(Number::Int(value)) => (Expr::Int(*value), None),
            Term::Number(Number::Float(value)) => (Expr::Float(*value), None),
            Term::Bool(value) => (Expr::Bool(*value), None),
            Term::Paren(pipe) => {
                if let Some(var) = pipe.vars.first() {
                    return Err(Fault::new(
                        var.at,
                        "a variable cannot be set inside of parentheses",
                    ));
                }
                self.pipe(pipe, dot)?
            }
        };
        match operand.fields.first() {
            Some(_) => Err(Fault::new(at, "a parameter is a text and has no fields")),
            None => Ok(value),
        }
    }

    fn param(&mut self, name: &str, at: Offset) -> Result<(Expr, Origin), Fault> {
        let Some(param) = self.specs.iter().position(|spec| spec.name() == name) else {
            let hint = did_you_mean(name, self.specs.iter().map(ParamSpec::name));
            let message = format!("parameter {} is not declared{hint}: declare it", Excerpt(name));
            return Err(Fault {
                undeclared: Some(name.to_owned()),
                ..Fault::new(at, message)
            });
        };
        self.used[param] = true;
        Ok((Expr::Param(param), Some(self.specs[param].kind())))
    }
}
