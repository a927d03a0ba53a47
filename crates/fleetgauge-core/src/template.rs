//! Query templates: Go's `text/template`, with values escaped for the place in the query where they land.
//!
//! A template is checked when it is compiled: syntax, names, and what fits at each placeholder. A rendered query
//! then has the structure that its template has, whatever the values are: a value is one string, one name, one
//! duration or one number, or it is refused with the reason. The language, the places and the kinds are described
//! in `docs/templates.md`.
//!
//! The front end is our own, and strict: what Go refuses while parsing is refused here with line and column, and
//! so is much of what Go finds only while rendering. It does no I/O, never panics, and bounds its work whatever
//! it is given.
//!
//! *Source*: <https://pkg.go.dev/text/template>; the idea of escaping by context is that of
//! <https://pkg.go.dev/html/template>.

mod check;
mod compile;
mod context;
mod error;
mod exec;
mod func;
mod lex;
mod limit;
mod literal;
mod parse;
mod place;
mod program;
mod value;
mod ways;

pub use self::error::{RenderError, TemplateError};
pub use self::limit::{MAX_RENDERED_LEN, MAX_SOURCE_LEN, MAX_VALUE_LEN};
pub use self::ways::{Coverage, Example, Way, Ways};

use fleetgauge_syntax::name::metric_name;

use self::context::Context;
use self::error::Fault;
use self::program::{Expr, Program, Step};
use crate::params::{ParamSpec, Params};
use crate::printable::Excerpt;

/// A checked template, ready to render.
///
/// ```
/// use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
/// use fleetgauge_core::template::Template;
///
/// let declared = [ParamSpec::required("namespace", ParamKind::Text), ParamSpec::optional("podFilter", ParamKind::Regex)];
/// let source = r#"up{namespace="{{.namespace}}"{{with .podFilter}},pod=~"{{.}}"{{end}}}"#;
/// let template = Template::compile(source, &declared)?;
///
/// let params = Params::new().with("namespace", r#"a"b"#);
/// assert_eq!(template.render(&params)?, r#"up{namespace="a\"b"}"#);
/// assert_eq!(template.render(&params.with("podFilter", "x|y"))?, r#"up{namespace="a\"b",pod=~"x|y"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Template {
    program: Program,
    /// Which of the declared parameters it uses.
    used: Box<[bool]>,
    /// For templates of text and parameters only: no walk over the steps is needed.
    fast: Option<Box<[Piece]>>,
}

/// Text and the parameter that follows it; the last piece has none.
#[derive(Clone, Debug)]
struct Piece {
    text: Box<str>,
    value: Option<(usize, usize)>,
}

/// The most placeholders that the fast path takes; their values are gathered on the stack.
const MAX_FAST: usize = 16;

// === impl Template ===

impl Template {
    /// Compiles a PromQL query template whose placeholders are the declared parameters.
    ///
    /// *Errors*: what is wrong with the template, and where.
    pub fn compile(source: &str, params: &[ParamSpec]) -> Result<Self, TemplateError> {
        Self::compile_in(source, params, false)
    }

    /// Compiles a template that renders to exactly one metric name, such as `vllm:{{.metric}}_total`.
    ///
    /// *Errors*: what is wrong with the template, and where.
    pub fn compile_metric_name(source: &str, params: &[ParamSpec]) -> Result<Self, TemplateError> {
        Self::compile_in(source, params, true)
    }

    fn compile_in(source: &str, params: &[ParamSpec], is_metric_name: bool) -> Result<Self, TemplateError> {
        let compiled = if source.len() > MAX_SOURCE_LEN {
            Err(Fault::new(
                0,
                format!("the template is longer than {MAX_SOURCE_LEN} bytes"),
            ))
        } else {
            let context = if is_metric_name {
                Context::metric_name()
            } else {
                Context::promql()
            };
            parse::parse(source).and_then(|tree| compile::compile(&tree, params, context))
        };
        let compiled = compiled.and_then(|compiled| {
            if is_metric_name && let Some(text) = constant(&compiled.steps) {
                metric_name(&text).map_err(|reason| {
                    Fault::new(0, format!("{} is not one metric name: {reason}", Excerpt(&text)))
                })?;
            }
            Ok(compiled)
        });
        let compiled = compiled.map_err(|fault| TemplateError::new(source, fault))?;
        let text_len = compiled
            .steps
            .iter()
            .map(|step| {
                if let Step::Text { text, .. } = step {
                    text.len()
                } else {
                    0
                }
            })
            .sum();
        Ok(Self {
            used: compiled.used.into(),
            fast: if is_metric_name {
                None
            } else {
                pieces(&compiled.steps, params)
            },
            program: Program {
                source: source.into(),
                params: params.into(),
                steps: compiled.steps,
                places: compiled.places,
                slots: compiled.slots,
                text_len,
                is_metric_name,
            },
        })
    }

    /// The query with its values in place.
    ///
    /// *Errors*: a value is missing, or cannot stand where the template puts it. Values that the template does not
    /// declare are ignored.
    pub fn render(&self, params: &Params) -> Result<String, RenderError> {
        if let Some(rendered) = self
            .fast
            .as_deref()
            .and_then(|pieces| self.render_fast(pieces, params))
        {
            return Ok(rendered);
        }
        self.render_slow(params)
    }

    /// The source that it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.program.source
    }

    /// The declared parameters, used or not.
    #[must_use]
    pub fn params(&self) -> &[ParamSpec] {
        &self.program.params
    }

    /// The declared parameters that the template does not use.
    pub fn unused_params(&self) -> impl Iterator<Item = &ParamSpec> {
        self.program
            .params
            .iter()
            .zip(&self.used)
            .filter(|(_, used)| !**used)
            .map(|(spec, _)| spec)
    }

    /// The ways through the template's conditions: all of them if there are at most `max`; else so many, and as
    /// many more as it takes to pass each branch once. Ways that end in an error whatever the values are, are not
    /// among them.
    #[must_use]
    pub fn ways(&self, max: usize) -> Ways {
        Ways::of(&self.program, max)
    }

    fn render_slow(&self, params: &Params) -> Result<String, RenderError> {
        exec::render(
            &self.program,
            self.program
                .params
                .iter()
                .map(|spec| params.entries(spec.name()))
                .collect(),
        )
    }

    /// Renders text and parameters; `None` when anything is amiss, which the slow path then explains.
    fn render_fast(&self, pieces: &[Piece], params: &Params) -> Option<String> {
        let mut values = [""; MAX_FAST];
        let mut len = self.program.text_len;
        for (piece, value) in pieces.iter().zip(&mut values) {
            if let Some((param, _)) = piece.value {
                *value = params.single(self.program.params[param].name())?;
                // Room for a group and some escapes; a value that needs more of them costs a second allocation.
                len += value.len() + 8;
                if value.len() > MAX_VALUE_LEN {
                    return None;
                }
            }
        }
        for (spec, used) in self.program.params.iter().zip(&self.used) {
            if !used && spec.is_required() {
                params.single(spec.name())?;
            }
        }
        let mut out = String::with_capacity(len);
        for (piece, value) in pieces.iter().zip(values) {
            out.push_str(&piece.text);
            if let Some((_, place)) = piece.value {
                self.program.places[place].write(value, &mut out).ok()?;
            }
        }
        (out.len() <= MAX_RENDERED_LEN).then_some(out)
    }
}

/// The text of a template that is nothing else.
fn constant(steps: &[Step]) -> Option<String> {
    let text = |step: &Step| match step {
        Step::Text { text, .. } => Some(text.clone()),
        _ => None,
    };
    steps.iter().map(text).collect()
}

/// The template as text and parameters of one value, when it is nothing else.
fn pieces(steps: &[Step], params: &[ParamSpec]) -> Option<Box<[Piece]>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    for step in steps {
        match step {
            // A comment in the template leaves two texts beside each other.
            Step::Text { text: next, .. } => text.push_str(next),
            Step::Print {
                value: Expr::Param(param),
                place,
            } if !params[*param].kind().is_list() => {
                pieces.push(Piece {
                    text: std::mem::take(&mut text).into(),
                    value: Some((*param, *place)),
                });
            }
            _ => return None,
        }
    }
    pieces.push(Piece {
        text: text.into(),
        value: None,
    });
    (pieces.len() <= MAX_FAST).then(|| pieces.into())
}

#[cfg(test)]
mod tests;
