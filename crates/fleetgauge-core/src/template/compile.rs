//! A syntax tree to steps that only need values: names are resolved, and every placeholder is given its place.

mod expr;
mod state;

use super::context::Context;
use super::error::{Fault, Offset, did_you_mean};
use super::parse::{Branch, MAX_DEPTH, Node, Pipe, Tree};
use super::place::{Place, Places};
use super::program::{Branch as CompiledBranch, Expr, Step};
use crate::params::{ParamKind, ParamSpec};
use crate::printable::Excerpt;

use state::{Compiler, Dot, Origin, Variable, stays_apart, undefined};

/// How many nodes a template may have once `{{template}}` is replaced by what it names.
const MAX_NODES: usize = 20_000;
/// How often a loop's body is read until its end says no more about its beginning.
const MAX_PASSES: usize = 4;

/// What compiling makes of a tree.
pub(super) struct Compiled {
    pub(super) steps: Vec<Step>,
    pub(super) places: Vec<Place>,
    pub(super) slots: usize,
    /// Which of the declared parameters the template uses.
    pub(super) used: Vec<bool>,
}

/// Compiles a tree for a query that begins in `context`.
pub(super) fn compile(tree: &Tree<'_>, specs: &[ParamSpec], context: Context) -> Result<Compiled, Fault> {
    for (i, spec) in specs.iter().enumerate() {
        if specs[..i].iter().any(|earlier| earlier.name() == spec.name()) {
            return Err(Fault::new(
                0,
                format!("parameter {} is declared twice", Excerpt(spec.name())),
            ));
        }
    }
    let mut compiler = Compiler {
        specs,
        defines: &tree.defines,
        used: vec![false; specs.len()],
        called: vec![false; tree.defines.len()],
        places: Places::default(),
        variables: Vec::new(),
        slots: 0,
        nodes: 0,
        depth: 0,
        calls: Vec::new(),
        root: Dot::Params,
        exits: Vec::new(),
    };
    let mut end = Some(context);
    let steps = compiler.list(&tree.root, Dot::Params, &mut end)?;
    if let Some(end) = end {
        end.finish()?;
    }
    // What nothing calls is not checked, so it must not stand there.
    if let Some(define) = tree
        .defines
        .iter()
        .zip(&compiler.called)
        .find(|(_, called)| !**called)
        .map(|(define, _)| define)
    {
        return Err(Fault::new(
            define.at,
            format!("template {} is never called", Excerpt(&define.name)),
        ));
    }
    Ok(Compiled {
        steps,
        places: compiler.places.finish()?,
        slots: compiler.slots,
        used: compiler.used,
    })
}

// === impl Compiler ===

impl<'t, 's> Compiler<'t, 's> {
    /// Compiles nodes in the context that they begin in, and leaves there the one that they end in; none when the
    /// end is not reached.
    fn list(
        &mut self,
        nodes: &'t [Node<'s>],
        dot: Dot,
        context: &mut Option<Context>,
    ) -> Result<Vec<Step>, Fault> {
        // What renders a template recurses as deep as this does.
        self.depth += 1;
        if let (Some(first), true) = (nodes.first(), self.depth > 2 * MAX_DEPTH) {
            return Err(Fault::new(
                node_offset(first),
                format!("blocks and templates nest more than {} deep", 2 * MAX_DEPTH),
            ));
        }
        let mut steps: Vec<Step> = Vec::with_capacity(nodes.len());
        for node in nodes {
            self.nodes += 1;
            let at = node_offset(node);
            if self.nodes > MAX_NODES {
                return Err(Fault::new(
                    at,
                    format!("the template has more than {MAX_NODES} nodes"),
                ));
            }
            let Some(here) = context else {
                return Err(Fault::new(
                    at,
                    "this is never reached: {{break}} or {{continue}} stands before it",
                ));
            };
            match node {
                Node::Text { at, text } => {
                    here.text(text, *at, &mut self.places)?;
                    steps.push(Step::Text {
                        at: *at,
                        text: (*text).into(),
                    });
                }
                Node::Action(pipe) if pipe.vars.is_empty() => {
                    let (value, origin) = self.pipe(pipe, dot)?;
                    let what = match &value {
                        Expr::Param(param) => self.specs[*param].name(),
                        _ => pipe.source,
                    };
                    let what: String = what.chars().take(80).collect();
                    let fit = here.fit(pipe.at)?;
                    let id = self
                        .places
                        .add(origin.unwrap_or(ParamKind::Text), fit, pipe.at, &what);
                    here.value(id, &mut self.places);
                    steps.push(Step::Print {
                        value,
                        place: id.index(),
                    });
                }
                Node::Action(pipe) => {
                    let (value, origin) = self.pipe(pipe, dot)?;
                    let slot = self.set(pipe, origin)?;
                    steps.push(Step::Set { slot, value });
                }
                Node::If(branch) => steps.push(Step::If(self.branch(branch, dot, false, context)?)),
                Node::With(branch) => steps.push(Step::With(self.branch(branch, dot, true, context)?)),
                Node::Range(branch) => {
                    steps.push(Step::Range(self.range(branch, dot, here.clone(), context)?))
                }
                Node::Template { at, name, pipe } => {
                    steps.push(self.call(*at, name, pipe.as_ref(), dot, context)?)
                }
                Node::Break(_) | Node::Continue(_) => {
                    if let (Some(exits), Some(here)) = (self.exits.last_mut(), context.take()) {
                        exits.push(here);
                    }
                    steps.push(if matches!(node, Node::Break(_)) {
                        Step::Break
                    } else {
                        Step::Continue
                    });
                }
            }
        }
        self.depth -= 1;
        Ok(steps)
    }

    /// `{{if}}` and `{{with}}`.
    fn branch(
        &mut self,
        branch: &'t Branch<'s>,
        dot: Dot,
        is_with: bool,
        context: &mut Option<Context>,
    ) -> Result<CompiledBranch, Fault> {
        let scope = self.variables.len();
        let (value, origin) = self.pipe(&branch.pipe, dot)?;
        let slot = self.set_if_named(&branch.pipe, origin)?;
        let after_pipe = self.variables.len();
        let start = context.clone();
        let body = self.list(
            &branch.body,
            if is_with { Dot::Value(origin) } else { dot },
            context,
        )?;
        self.variables.truncate(after_pipe);
        let otherwise = self.otherwise(branch, dot, start, context)?;
        self.variables.truncate(scope);
        Ok(CompiledBranch {
            at: branch.at,
            value,
            slot,
            body,
            otherwise,
        })
    }

    fn range(
        &mut self,
        branch: &'t Branch<'s>,
        dot: Dot,
        start: Context,
        context: &mut Option<Context>,
    ) -> Result<CompiledBranch, Fault> {
        let scope = self.variables.len();
        let (value, _) = self.pipe(&branch.pipe, dot)?;
        if let [_, second, ..] = &branch.pipe.vars[..] {
            return Err(Fault::new(second.at, "a range over a number sets one variable"));
        }
        let slot = self.set_if_named(&branch.pipe, None)?;
        let after_pipe = self.variables.len();
        let (mark, mut begin) = (self.places.mark(), start.clone());
        let mut passes = 0;
        let body = loop {
            self.places.rewind(mark);
            let mut end = Some(begin.clone());
            self.exits.push(Vec::new());
            let body = self.list(&branch.body, Dot::Value(None), &mut end);
            let exits = self.exits.pop().unwrap_or_default();
            let body = body?;
            self.variables.truncate(after_pipe);
            let mut joined = Some(begin.clone());
            for exit in end.into_iter().chain(exits) {
                joined = join(
                    joined,
                    Some(exit),
                    branch.at,
                    "the beginning and the end of this loop's body",
                )?;
            }
            let Some(joined) = joined else { break body };
            if begin.is_unchanged_in(&joined) {
                break body;
            }
            passes += 1;
            if passes == MAX_PASSES {
                return Err(Fault::new(
                    branch.at,
                    "what this loop's body begins with depends on how often it runs",
                ));
            }
            begin = joined;
        };
        *context = Some(begin);
        let otherwise = self.otherwise(branch, dot, Some(start), context)?;
        self.variables.truncate(scope);
        Ok(CompiledBranch {
            at: branch.at,
            value,
            slot,
            body,
            otherwise,
        })
    }

    /// What a block has in place of its body, which begins at `start`; `context` is where the body ends, and becomes where
    /// the block does.
    fn otherwise(
        &mut self,
        branch: &'t Branch<'s>,
        dot: Dot,
        mut start: Option<Context>,
        context: &mut Option<Context>,
    ) -> Result<Vec<Step>, Fault> {
        let otherwise = self.list(&branch.otherwise, dot, &mut start)?;
        let what = "the two ways through this block";
        *context = join(context.take(), start, branch.at, what)?;
        Ok(otherwise)
    }

    /// Sets the variable that the pipe names, if it names one.
    fn set_if_named(&mut self, pipe: &Pipe<'s>, origin: Origin) -> Result<Option<usize>, Fault> {
        let is_named = !pipe.vars.is_empty();
        is_named.then(|| self.set(pipe, origin)).transpose()
    }

    /// `{{template}}`: its body, compiled for this place.
    fn call(
        &mut self,
        at: Offset,
        name: &'t str,
        pipe: Option<&'t Pipe<'s>>,
        dot: Dot,
        context: &mut Option<Context>,
    ) -> Result<Step, Fault> {
        let defines = self.defines;
        let Some(index) = defines.iter().position(|define| define.name == name) else {
            let hint = did_you_mean(name, defines.iter().map(|define| &*define.name));
            return Err(Fault::new(
                at,
                format!("template {} is not defined{hint}", Excerpt(name)),
            ));
        };
        if self.calls.contains(&name) {
            return Err(Fault::new(at, format!("template {} calls itself", Excerpt(name))));
        }
        if self.calls.len() == MAX_DEPTH / 4 {
            return Err(Fault::new(
                at,
                format!("templates call each other more than {} deep", MAX_DEPTH / 4),
            ));
        }
        let define = &defines[index];
        self.called[index] = true;
        let (value, inner) = match pipe {
            None => (None, Dot::Nothing),
            Some(pipe) if pipe.vars.is_empty() && self.is_params(pipe, dot) => (None, Dot::Params),
            Some(pipe) => {
                let (value, origin) = self.pipe(pipe, dot)?;
                if let Some(var) = pipe.vars.first() {
                    return Err(Fault::new(var.at, "{{template}} cannot declare a variable"));
                }
                (Some(value), Dot::Value(origin))
            }
        };
        let outer_variables = std::mem::take(&mut self.variables);
        let outer_exits = std::mem::take(&mut self.exits);
        let outer_root = std::mem::replace(&mut self.root, inner);
        let slot = self.slots;
        self.slots += 1;
        if let Dot::Value(origin) = inner {
            self.variables.push(Variable {
                name: "$",
                slot,
                origin,
            });
        }
        self.calls.push(name);
        let body = self.list(&define.body, inner, context);
        self.calls.pop();
        self.variables = outer_variables;
        self.exits = outer_exits;
        self.root = outer_root;
        Ok(Step::Body {
            dot: value,
            slot,
            body: body?,
        })
    }

    /// Declares or assigns the variable on the left of a pipeline; answers its slot.
    fn set(&mut self, pipe: &Pipe<'s>, origin: Origin) -> Result<usize, Fault> {
        let Some(var) = pipe.vars.first() else {
            return Err(Fault::new(pipe.at, "no variable to set"));
        };
        if var.text == "$" {
            return Err(Fault::new(var.at, "`$` cannot be set: give the variable a name"));
        }
        if !pipe.assigns {
            let slot = self.slots;
            self.slots += 1;
            self.variables.push(Variable {
                name: var.text,
                slot,
                origin,
            });
            return Ok(slot);
        }
        let Some(known) = self
            .variables
            .iter_mut()
            .rev()
            .find(|known| known.name == var.text)
        else {
            return Err(undefined(var.at, var.text));
        };
        if known.origin != origin {
            if stays_apart(known.origin) || stays_apart(origin) {
                let message = "a variable holds either a regular expression or list or something else, not both in \
                               turn: write {{or .name \"default\"}} for a default";
                return Err(Fault::new(var.at, message));
            }
            known.origin = Some(ParamKind::Text);
        }
        Ok(known.slot)
    }

    /// Whether a pipeline is the whole set of parameters: `.` or `$`.
    fn is_params(&self, pipe: &Pipe<'s>, dot: Dot) -> bool {
        match &pipe.commands[..] {
            [command] => matches!(&command[..], [operand] if self.is_params_operand(operand, dot)),
            _ => false,
        }
    }
}

fn join(a: Option<Context>, b: Option<Context>, at: Offset, what: &str) -> Result<Option<Context>, Fault> {
    match (a, b) {
        (Some(a), Some(b)) => match a.join(&b) {
            Some(joined) => Ok(Some(joined)),
            None => Err(Fault::new(
                at,
                format!(
                    "{what} end in different places of the query: one {}, the other {}",
                    a.describe(),
                    b.describe()
                ),
            )),
        },
        (a, b) => Ok(a.or(b)),
    }
}

fn node_offset(node: &Node<'_>) -> Offset {
    match node {
        Node::Text { at, .. } | Node::Template { at, .. } | Node::Break(at) | Node::Continue(at) => *at,
        Node::Action(pipe) => pipe.at,
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => branch.at,
    }
}
