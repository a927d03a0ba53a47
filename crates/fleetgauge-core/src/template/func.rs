//! The functions that a template may call, with Go's meaning.
//!
//! `printf` is Go's `fmt`, which `gotmpl` has ported; how much it may write is bounded here first.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::error::did_you_mean;
use super::limit::MAX_VALUE_LEN;
use super::value::{Text, Value};

/// The widest `%` directive that is formatted.
const MAX_WIDTH: usize = 1000;

/// A function of the template language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Func {
    And,
    Or,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Len,
    Index,
    Slice,
    Print,
    Printf,
    Println,
}

const ALL: [(&str, Func); 15] = [
    ("and", Func::And),
    ("or", Func::Or),
    ("not", Func::Not),
    ("eq", Func::Eq),
    ("ne", Func::Ne),
    ("lt", Func::Lt),
    ("le", Func::Le),
    ("gt", Func::Gt),
    ("ge", Func::Ge),
    ("len", Func::Len),
    ("index", Func::Index),
    ("slice", Func::Slice),
    ("print", Func::Print),
    ("printf", Func::Printf),
    ("println", Func::Println),
];

// === impl Func ===

impl Func {
    /// The function of that name, or why there is none.
    pub(super) fn find(name: &str) -> Result<Self, String> {
        if let Some((_, func)) = ALL.iter().find(|(known, _)| *known == name) {
            return Ok(*func);
        }
        match name {
            "html" | "js" | "urlquery" => Err(format!(
                "{name} is not available: it escapes for another language and would corrupt the query; \
                 values are escaped for PromQL already"
            )),
            "call" => Err("call is not available: no parameter is a function".to_owned()),
            "if" | "else" | "end" | "with" | "range" | "define" | "template" | "block" | "break"
            | "continue" => Err(format!("the keyword {name} cannot stand here")),
            _ => {
                let names = ALL.map(|(known, _)| known);
                let hint = did_you_mean(name, names.into_iter());
                Err(format!(
                    "function {name:?} is not defined{hint}; a parameter is written {{{{.{name}}}}}"
                ))
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        ALL.iter()
            .find(|(_, func)| *func == self)
            .map_or("", |(name, _)| name)
    }

    /// The fewest and the most arguments.
    pub(super) fn arity(self) -> (usize, usize) {
        match self {
            Self::Not | Self::Len => (1, 1),
            Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge => (2, 2),
            Self::Eq => (2, usize::MAX),
            Self::And | Self::Or | Self::Index | Self::Printf => (1, usize::MAX),
            Self::Slice => (1, 4),
            Self::Print | Self::Println => (0, usize::MAX),
        }
    }

    /// Calls it. `and` and `or` are not called: they choose among arguments that are not all computed.
    pub(super) fn call<'v>(self, args: Vec<Value<'v>>) -> Result<Value<'v>, String> {
        Ok(match self {
            Self::Not => Value::Bool(!args[0].is_true()),
            Self::Eq => {
                let mut equal = false;
                for other in &args[1..] {
                    // Go compares all types first only as it meets them: the first match answers.
                    if equals(&args[0], other)? {
                        equal = true;
                        break;
                    }
                }
                Value::Bool(equal)
            }
            Self::Ne => Value::Bool(!equals(&args[0], &args[1])?),
            Self::Lt => Value::Bool(less(&args[0], &args[1])?),
            Self::Le => Value::Bool(less(&args[0], &args[1])? || equals(&args[0], &args[1])?),
            Self::Gt => Value::Bool(!(less(&args[0], &args[1])? || equals(&args[0], &args[1])?)),
            Self::Ge => Value::Bool(!less(&args[0], &args[1])?),
            Self::Len => match &args[0] {
                Value::Text(text) => Value::Int(text.len() as i64),
                Value::List(values) => Value::Int(values.len() as i64),
                other => return Err(format!("len of {}", other.type_name())),
            },
            Self::Index => return index(args),
            Self::Slice => return slice(args),
            Self::Print | Self::Println => print(self, &args)?,
            Self::Printf => printf(&args)?,
            Self::And | Self::Or => return Err(format!("{} is not called", self.name())),
        })
    }
}

fn mismatch(a: &Value<'_>, b: &Value<'_>) -> String {
    format!(
        "incompatible types for comparison: {} and {}",
        a.type_name(),
        b.type_name()
    )
}

/// An absent optional parameter equals nothing, so a condition on it is false.
fn equals(a: &Value<'_>, b: &Value<'_>) -> Result<bool, String> {
    match (a, b) {
        (Value::Absent(_), _) | (_, Value::Absent(_)) => Ok(false),
        (Value::Text(a), Value::Text(b)) => Ok(**a == **b),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        _ => Err(mismatch(a, b)),
    }
}

fn less(a: &Value<'_>, b: &Value<'_>) -> Result<bool, String> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Ok(**a < **b),
        (Value::Int(a), Value::Int(b)) => Ok(a < b),
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Bool(_), Value::Bool(_)) => Err("true and false have no order".to_owned()),
        _ => Err(mismatch(a, b)),
    }
}

fn position(value: &Value<'_>, len: usize) -> Result<usize, String> {
    match value {
        Value::Int(at) => usize::try_from(*at)
            .ok()
            .filter(|at| *at <= len)
            .ok_or_else(|| format!("index out of range: {at}, of a text of {len} bytes")),
        other => Err(format!("cannot index a text with {}", other.type_name())),
    }
}

/// `index "abc" 1`: a byte, as a number.
fn index(args: Vec<Value<'_>>) -> Result<Value<'_>, String> {
    match &args[..] {
        [whole] => Ok(whole.clone()),
        [Value::Text(text), at] => {
            let at = position(at, text.len())?;
            let byte = text.as_bytes().get(at);
            byte.map(|byte| Value::Int((*byte).into()))
                .ok_or_else(|| format!("index out of range: {at}, of a text of {at} bytes"))
        }
        [other, ..] => Err(format!("cannot index {}", other.type_name())),
        [] => Err("index of nothing".to_owned()),
    }
}

fn slice(args: Vec<Value<'_>>) -> Result<Value<'_>, String> {
    let Value::Text(text) = &args[0] else {
        return Err(format!("cannot slice {}", args[0].type_name()));
    };
    if args.len() > 3 {
        return Err("a text cannot be sliced with three indexes".to_owned());
    }
    let from = args.get(1).map_or(Ok(0), |at| position(at, text.len()))?;
    let to = args
        .get(2)
        .map_or(Ok(text.len()), |at| position(at, text.len()))?;
    if from > to {
        return Err(format!("slice from {from} to {to}"));
    }
    let part = text
        .get(from..to)
        .ok_or("the slice cuts a character in two: indexes count bytes")?;
    Ok(Value::Text(Text::Owned(Rc::from(part))))
}

/// The text of a value, as Go's `%v` writes it.
pub(super) fn display<'v>(value: &Value<'v>) -> Result<Text<'v>, String> {
    Ok(match value {
        Value::Text(text) => text.clone(),
        Value::Bool(value) => Text::Borrowed(if *value { "true" } else { "false" }),
        Value::Int(value) => Text::Owned(Rc::from(value.to_string())),
        // Go writes 1e+06 where Rust writes 1000000.
        Value::Float(_) => Text::Owned(Rc::from(sprintf("%g", std::slice::from_ref(value))?)),
        Value::Absent(_) => return Err(ABSENT.to_owned()),
        Value::List(_) => return Err(LIST.to_owned()),
    })
}

const ABSENT: &str = "an absent parameter has no text";
// Compiling has refused what could come here.
const LIST: &str = "a list has no text of its own";

/// Go's `fmt.Sprint` (a space between two operands of which neither is a text) and `fmt.Sprintln`.
fn print<'v>(func: Func, args: &[Value<'_>]) -> Result<Value<'v>, String> {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        let texts = i == 0 || matches!(arg, Value::Text(_)) || matches!(args[i - 1], Value::Text(_));
        if i > 0 && (func == Func::Println || !texts) {
            out.push(' ');
        }
        out.push_str(&display(arg)?);
        if out.len() > MAX_VALUE_LEN {
            return Err(format!("{} makes more than {MAX_VALUE_LEN} bytes", func.name()));
        }
    }
    if func == Func::Println {
        out.push('\n');
    }
    Ok(Value::Text(Text::Owned(Rc::from(out))))
}

/// Go's `fmt.Sprintf`, with its work bounded beforehand.
fn printf<'v>(args: &[Value<'_>]) -> Result<Value<'v>, String> {
    let too_long = || format!("printf makes more than {MAX_VALUE_LEN} bytes");
    let Some(Value::Text(format)) = args.first() else {
        return Err("the first argument of printf must be a text".to_owned());
    };
    let args = &args[1..];
    let format = check_format(format, args)?;
    let len = |arg: &Value<'_>| {
        if let Value::Text(text) = arg {
            text.len()
        } else {
            0
        }
    };
    if format.len() + args.iter().map(len).sum::<usize>() > MAX_VALUE_LEN {
        return Err(too_long());
    }
    let formatted = sprintf(&format, args)?;
    if formatted.len() > MAX_VALUE_LEN {
        return Err(too_long());
    }
    Ok(Value::Text(Text::Owned(Rc::from(formatted))))
}

fn sprintf(format: &str, args: &[Value<'_>]) -> Result<String, String> {
    let mut source = "{{printf .format".to_owned();
    let mut data = BTreeMap::from([(Arc::from("format"), gotmpl::Value::String(Arc::from(format)))]);
    for (i, arg) in args.iter().enumerate() {
        source.push_str(&format!(" .a{i}"));
        let value = match arg {
            Value::Text(text) => gotmpl::Value::String(Arc::from(&**text)),
            Value::Bool(value) => gotmpl::Value::Bool(*value),
            Value::Int(value) => gotmpl::Value::Int(*value),
            Value::Float(value) => gotmpl::Value::Float(*value),
            Value::Absent(_) => return Err(ABSENT.to_owned()),
            Value::List(_) => return Err(LIST.to_owned()),
        };
        data.insert(Arc::from(format!("a{i}")), value);
    }
    source.push_str("}}");
    gotmpl::Template::new("printf")
        .parse(&source)
        .and_then(|template| template.execute_to_string(&gotmpl::Value::Map(Arc::new(data))))
        .map_err(|error| format!("printf: {error}"))
}

/// Checks that each directive has an argument that it can format, as Go would print a complaint such as
/// `%!d(string=a)` into the query; and that none writes much: no widths beyond [`MAX_WIDTH`] or from arguments.
/// Answers the format in which `%v` of a fraction is `%g`, which is what Go means by it.
fn check_format(format: &str, args: &[Value<'_>]) -> Result<String, String> {
    let mut checked = String::with_capacity(format.len());
    let mut args_left = args.iter();
    let mut chars = format.chars().peekable();
    let mut total = 0;
    while let Some(c) = chars.next() {
        checked.push(c);
        if c != '%' {
            continue;
        }
        let (mut number, mut plus) = (0_usize, false);
        while let Some(c) = chars.next_if(|c| "+- .#*[".contains(*c) || c.is_ascii_digit()) {
            checked.push(c);
            match (c, c.to_digit(10)) {
                // What gotmpl does otherwise than Go, and what is without bounds.
                ('*' | '[' | '#' | ' ', _) => {
                    return Err(format!("printf: `{c}` in a format is not supported"));
                }
                (_, Some(digit)) => number = number.saturating_mul(10).saturating_add(digit as usize),
                (_, None) => {
                    total += std::mem::take(&mut number);
                    plus |= c == '+';
                }
            }
            if number > MAX_WIDTH || total > MAX_VALUE_LEN {
                return Err(format!(
                    "printf: a width of more than {MAX_WIDTH} is not supported"
                ));
            }
        }
        total += number;
        let verb = chars
            .next()
            .ok_or("printf: the format ends in the middle of a verb")?;
        if verb == '%' {
            checked.push(verb);
            continue;
        }
        let arg = args_left
            .next()
            .ok_or_else(|| format!("printf: no argument is left for %{verb}"))?;
        let fits = match arg {
            Value::Text(_) => matches!(verb, 's' | 'v' | 'x' | 'X') || (verb == 'q' && !plus),
            Value::Int(_) => matches!(verb, 'd' | 'v' | 'x' | 'X' | 'o' | 'b' | 'U'),
            Value::Float(_) => matches!(verb, 'e' | 'E' | 'f' | 'F' | 'g' | 'G') || (verb == 'v' && !plus),
            Value::Bool(_) => matches!(verb, 't' | 'v'),
            Value::Absent(_) | Value::List(_) => false,
        };
        if !fits {
            return Err(format!("printf: %{verb} cannot format {}", arg.type_name()));
        }
        checked.push(if verb == 'v' && matches!(arg, Value::Float(_)) {
            'g'
        } else {
            verb
        });
    }
    if args_left.next().is_some() {
        return Err("printf: there are more arguments than verbs in the format".to_owned());
    }
    Ok(checked)
}
