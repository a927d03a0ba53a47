//! Go template source to a syntax tree.
//!
//! A port of the grammar of `text/template/parse`, for the reasons that keep this from being a wrapper: the
//! parsers at hand end a template silently at a stray `{{end}}`, accept blocks that nothing closes, and find
//! unknown functions and variables only while rendering, without a position.
//!
//! *Source*: <https://pkg.go.dev/text/template>.

use super::error::{Fault, Offset};
use super::func::Func;
use super::lex::{Token, TokenKind, lex};
use super::literal::{self, Number};
use crate::printable::Excerpt;

/// How deep blocks and parentheses may nest; what reads a tree recurses that far.
pub(super) const MAX_DEPTH: usize = 50;
/// How many commands a pipeline may have; each holds what comes before it.
const MAX_COMMANDS: usize = 10;

/// A template and the templates that it defines.
#[derive(Debug)]
pub(super) struct Tree<'s> {
    pub(super) root: Vec<Node<'s>>,
    pub(super) defines: Vec<Define<'s>>,
}

#[derive(Debug)]
pub(super) struct Define<'s> {
    pub(super) name: String,
    pub(super) at: Offset,
    pub(super) body: Vec<Node<'s>>,
}

#[derive(Debug)]
pub(super) enum Node<'s> {
    Text {
        at: Offset,
        text: &'s str,
    },
    Action(Pipe<'s>),
    If(Branch<'s>),
    With(Branch<'s>),
    Range(Branch<'s>),
    Template {
        at: Offset,
        name: String,
        pipe: Option<Pipe<'s>>,
    },
    Break(Offset),
    Continue(Offset),
}

#[derive(Debug)]
pub(super) struct Branch<'s> {
    /// Where the action opens.
    pub(super) at: Offset,
    pub(super) pipe: Pipe<'s>,
    pub(super) body: Vec<Node<'s>>,
    pub(super) otherwise: Vec<Node<'s>>,
}

#[derive(Debug)]
pub(super) struct Pipe<'s> {
    pub(super) at: Offset,
    /// The source of the pipeline, for messages.
    pub(super) source: &'s str,
    /// The variables on its left, with their `$`.
    pub(super) vars: Vec<Token<'s>>,
    /// Whether they are assigned (`=`) instead of declared (`:=`).
    pub(super) assigns: bool,
    pub(super) commands: Vec<Vec<Operand<'s>>>,
}

#[derive(Debug)]
pub(super) struct Operand<'s> {
    pub(super) at: Offset,
    pub(super) term: Term<'s>,
    /// Names that follow it: `.b` and `.c` of `.a.b.c`.
    pub(super) fields: Vec<&'s str>,
}

#[derive(Debug)]
pub(super) enum Term<'s> {
    Dot,
    Field(&'s str),
    Variable(&'s str),
    Func(Func),
    Text(String),
    Number(Number),
    Bool(bool),
    Paren(Box<Pipe<'s>>),
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    End,
    Else,
    Source,
}

/// What a list of nodes stands in, for what may be written in it.
#[derive(Clone, Copy)]
struct Scope {
    in_range: bool,
    depth: usize,
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token<'s>>,
    next: usize,
    defines: Vec<Define<'s>>,
}

/// Parses a template.
pub(super) fn parse(source: &str) -> Result<Tree<'_>, Fault> {
    let mut parser = Parser {
        source,
        tokens: lex(source)?,
        next: 0,
        defines: Vec::new(),
    };
    let top = Scope {
        in_range: false,
        depth: 0,
    };
    let (root, stop, at) = parser.list(top)?;
    let stray = match stop {
        Stop::Source => {
            return Ok(Tree {
                root,
                defines: parser.defines,
            });
        }
        Stop::End => "{{end}}",
        Stop::Else => "{{else}}",
    };
    Err(Fault::new(
        at,
        format!("{stray} without an open {{{{if}}}}, {{{{with}}}} or {{{{range}}}}"),
    ))
}

// === impl Parser ===

impl<'s> Parser<'s> {
    fn peek(&self) -> Token<'s> {
        // The last token is `End`, and nothing steps over it.
        self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token<'s> {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == TokenKind::Space {
            self.next += 1;
        }
    }

    fn unexpected<T>(&self, where_: &str) -> Result<T, Fault> {
        let token = self.peek();
        let what = match token.kind {
            TokenKind::Close => "the end of the action".to_owned(),
            TokenKind::Space => "a space".to_owned(),
            _ => Excerpt(token.text).to_string(),
        };
        Err(Fault::new(token.at, format!("unexpected {what} in {where_}")))
    }

    fn close(&mut self, where_: &str) -> Result<(), Fault> {
        self.skip_space();
        if self.peek().kind != TokenKind::Close {
            return self.unexpected(where_);
        }
        self.next += 1;
        Ok(())
    }

    /// Whether the next token is this word, which is stepped over then.
    fn word(&mut self, word: &str) -> bool {
        let token = self.peek();
        let found = token.kind == TokenKind::Word && token.text == word;
        self.next += usize::from(found);
        found
    }

    /// Reads nodes up to the `{{end}}` or `{{else` that closes them, or the end of the source. Of `{{else` only
    /// the word is stepped over, since `{{else if` goes on.
    fn list(&mut self, scope: Scope) -> Result<(Vec<Node<'s>>, Stop, Offset), Fault> {
        let mut nodes = Vec::new();
        loop {
            let token = self.take();
            match token.kind {
                TokenKind::Text => nodes.push(Node::Text {
                    at: token.at,
                    text: token.text,
                }),
                TokenKind::Open => {
                    self.skip_space();
                    if self.word("end") {
                        self.close("{{end}}")?;
                        return Ok((nodes, Stop::End, token.at));
                    }
                    if self.word("else") {
                        return Ok((nodes, Stop::Else, token.at));
                    }
                    nodes.extend(self.action(token.at, scope)?);
                }
                _ => return Ok((nodes, Stop::Source, token.at)),
            }
        }
    }

    fn action(&mut self, at: Offset, scope: Scope) -> Result<Option<Node<'s>>, Fault> {
        let token = self.peek();
        let keyword = if token.kind == TokenKind::Word {
            token.text
        } else {
            ""
        };
        let inner = Scope {
            depth: scope.depth + 1,
            ..scope
        };
        if inner.depth > MAX_DEPTH {
            return Err(Fault::new(at, format!("blocks nest more than {MAX_DEPTH} deep")));
        }
        Ok(Some(match keyword {
            "if" | "with" | "range" => self.branch(at, inner)?,
            "break" | "continue" => {
                self.next += 1;
                self.close(keyword)?;
                if !scope.in_range {
                    return Err(Fault::new(at, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                }
                if keyword == "break" {
                    Node::Break(at)
                } else {
                    Node::Continue(at)
                }
            }
            "template" => {
                self.next += 1;
                let (name, pipe) = self.template_name(keyword)?;
                Node::Template { at, name, pipe }
            }
            "block" => {
                self.next += 1;
                let (name, pipe) = self.template_name(keyword)?;
                let Some(pipe) = pipe else {
                    return Err(Fault::new(
                        at,
                        "{{block}} needs a value after its name, as in {{block \"x\" .}}",
                    ));
                };
                self.define(at, name.clone(), keyword, inner)?;
                Node::Template {
                    at,
                    name,
                    pipe: Some(pipe),
                }
            }
            "define" => {
                self.next += 1;
                if scope.depth > 0 {
                    return Err(Fault::new(at, "{{define}} may not stand inside a block"));
                }
                let (name, pipe) = self.template_name(keyword)?;
                if let Some(pipe) = pipe {
                    return Err(Fault::new(pipe.at, "{{define}} takes a name and nothing else"));
                }
                self.define(at, name, keyword, inner)?;
                return Ok(None);
            }
            _ => {
                let pipe = self.pipeline("an action", TokenKind::Close, 0, inner.depth)?;
                Node::Action(pipe)
            }
        }))
    }

    fn branch(&mut self, at: Offset, scope: Scope) -> Result<Node<'s>, Fault> {
        if scope.depth > MAX_DEPTH {
            return Err(Fault::new(at, format!("blocks nest more than {MAX_DEPTH} deep")));
        }
        let keyword = self.take().text;
        let is_range = keyword == "range";
        let body_scope = Scope {
            in_range: scope.in_range || is_range,
            ..scope
        };
        let pipe = self.pipeline(
            keyword,
            TokenKind::Close,
            if is_range { 2 } else { 1 },
            scope.depth,
        )?;
        let (body, stop, _) = self.list(body_scope)?;
        let otherwise = match stop {
            Stop::End => Vec::new(),
            Stop::Else => self.otherwise(at, keyword, scope)?,
            Stop::Source => return Err(unclosed(at, keyword)),
        };
        let branch = Branch {
            at,
            pipe,
            body,
            otherwise,
        };
        Ok(match keyword {
            "if" => Node::If(branch),
            "with" => Node::With(branch),
            _ => Node::Range(branch),
        })
    }

    /// What follows the word `else`: `}}…{{end}}`, or `if …` and `with …`, which share one `{{end}}`.
    fn otherwise(&mut self, at: Offset, keyword: &str, scope: Scope) -> Result<Vec<Node<'s>>, Fault> {
        self.skip_space();
        let next = self.peek();
        if next.kind == TokenKind::Word && next.text == keyword && keyword != "range" {
            let inner = Scope {
                depth: scope.depth + 1,
                ..scope
            };
            return Ok(vec![self.branch(next.at, inner)?]);
        }
        self.close("{{else}}")?;
        match self.list(scope)? {
            (nodes, Stop::End, _) => Ok(nodes),
            (_, Stop::Else, second) => Err(Fault::new(
                second,
                format!("a second {{{{else}}}} in one {{{{{keyword}}}}}"),
            )),
            (_, Stop::Source, _) => Err(unclosed(at, keyword)),
        }
    }

    fn define(&mut self, at: Offset, name: String, keyword: &str, scope: Scope) -> Result<(), Fault> {
        if self.defines.iter().any(|define| define.name == name) {
            return Err(Fault::new(
                at,
                format!("template {} is defined twice", Excerpt(&name)),
            ));
        }
        // Reserves the name, so that nothing inside can take it.
        let place = self.defines.len();
        self.defines.push(Define {
            name,
            at,
            body: Vec::new(),
        });
        match self.list(Scope {
            in_range: false,
            ..scope
        })? {
            (body, Stop::End, _) => self.defines[place].body = body,
            (_, Stop::Else, at) => return Err(Fault::new(at, format!("{{{{else}}}} in {{{{{keyword}}}}}"))),
            (_, Stop::Source, _) => return Err(unclosed(at, keyword)),
        }
        Ok(())
    }

    /// A quoted name, a pipeline if one follows, and the end of the action.
    fn template_name(&mut self, keyword: &str) -> Result<(String, Option<Pipe<'s>>), Fault> {
        self.skip_space();
        let token = self.take();
        let name = match token.kind {
            TokenKind::Quoted => {
                literal::quoted(token.text).map_err(|message| Fault::new(token.at, message))?
            }
            TokenKind::Raw => literal::raw(token.text),
            _ => {
                return Err(Fault::new(
                    token.at,
                    format!("{{{{{keyword}}}}} needs a name in quotes"),
                ));
            }
        };
        self.skip_space();
        if self.peek().kind == TokenKind::Close {
            self.next += 1;
            return Ok((name, None));
        }
        Ok((name, Some(self.pipeline(keyword, TokenKind::Close, 0, 1)?)))
    }

    /// Reads a pipeline and the token that ends it. `vars`: how many variables may be declared by a keyword; an
    /// action (0) may declare one too.
    fn pipeline(
        &mut self,
        where_: &str,
        end: TokenKind,
        vars: usize,
        depth: usize,
    ) -> Result<Pipe<'s>, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(
                self.peek().at,
                format!("parentheses nest more than {MAX_DEPTH} deep"),
            ));
        }
        self.skip_space();
        let at = self.peek().at;
        let (declared, assigns) = self.declaration(vars.max(1))?;
        let mut commands: Vec<Vec<Operand<'s>>> = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek();
            if token.kind == end || token.kind == TokenKind::Pipe {
                let which = if commands.is_empty() { "" } else { " after `|`" };
                return Err(Fault::new(token.at, format!("missing value for {where_}{which}")));
            }
            if commands.len() == MAX_COMMANDS {
                return Err(Fault::new(
                    token.at,
                    format!("a pipeline has more than {MAX_COMMANDS} commands"),
                ));
            }
            let command = self.command(where_, depth)?;
            if let (Some(first), false) = (command.first(), commands.is_empty())
                && !matches!(first.term, Term::Func(_))
            {
                return Err(Fault::new(first.at, "only a function can stand after `|`"));
            }
            commands.push(command);
            let token = self.take();
            match token.kind {
                TokenKind::Pipe => {}
                kind if kind == end => {
                    let source = self.source[at..token.at].trim();
                    return Ok(Pipe {
                        at,
                        source,
                        vars: declared,
                        assigns,
                        commands,
                    });
                }
                _ => {
                    self.next -= 1;
                    return self.unexpected(where_);
                }
            }
        }
    }

    /// `$x :=`, `$x =`, or `$i, $x :=`; nothing is stepped over when there is none.
    fn declaration(&mut self, most: usize) -> Result<(Vec<Token<'s>>, bool), Fault> {
        let start = self.next;
        let mut vars = Vec::new();
        while self.peek().kind == TokenKind::Variable {
            vars.push(self.take());
            self.skip_space();
            match self.peek().kind {
                TokenKind::Declare | TokenKind::Assign => {
                    let assigns = self.take().kind == TokenKind::Assign;
                    return Ok((vars, assigns));
                }
                TokenKind::Comma if vars.len() < most => {
                    self.next += 1;
                    self.skip_space();
                    if self.peek().kind != TokenKind::Variable {
                        return self.unexpected("a declaration");
                    }
                }
                TokenKind::Comma => return self.unexpected("a declaration"),
                _ => break,
            }
        }
        if vars.len() > 1 {
            return self.unexpected("a declaration");
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    /// Operands with spaces between them.
    fn command(&mut self, where_: &str, depth: usize) -> Result<Vec<Operand<'s>>, Fault> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if matches!(
                self.peek().kind,
                TokenKind::Close | TokenKind::Pipe | TokenKind::RightParen
            ) {
                return Ok(operands);
            }
            operands.push(self.operand(where_, depth)?);
            match self.peek().kind {
                TokenKind::Space | TokenKind::Close | TokenKind::Pipe | TokenKind::RightParen => {}
                _ => return self.unexpected("an operand: write a space before it"),
            }
        }
    }

    fn operand(&mut self, where_: &str, depth: usize) -> Result<Operand<'s>, Fault> {
        let Token { kind, text, at } = self.peek();
        self.next += 1;
        let refuse = |message: &str| Fault::new(at, message);
        let (term, takes_fields) = match kind {
            TokenKind::Dot => (Term::Dot, false),
            TokenKind::Field => (Term::Field(&text[1..]), true),
            TokenKind::Variable => (Term::Variable(text), true),
            TokenKind::Quoted => (Term::Text(literal::quoted(text).map_err(|e| refuse(&e))?), false),
            TokenKind::Raw => (Term::Text(literal::raw(text)), false),
            TokenKind::Char => (
                Term::Number(literal::character(text).map_err(|e| refuse(&e))?),
                false,
            ),
            TokenKind::Number => (Term::Number(literal::number(text).map_err(refuse)?), false),
            TokenKind::LeftParen => {
                let pipe = self.pipeline("parentheses", TokenKind::RightParen, 0, depth + 1)?;
                (Term::Paren(Box::new(pipe)), true)
            }
            TokenKind::Word => match text {
                "true" | "false" => (Term::Bool(text == "true"), false),
                "nil" => return Err(refuse("nil has no use here: test a parameter with {{if .name}}")),
                name => (
                    Term::Func(Func::find(name).map_err(|message| Fault::new(at, message))?),
                    true,
                ),
            },
            _ => {
                self.next -= 1;
                return self.unexpected(where_);
            }
        };
        let mut fields = Vec::new();
        while self.peek().kind == TokenKind::Field {
            if !takes_fields {
                return self.unexpected("an operand: a constant has no fields");
            }
            fields.push(&self.take().text[1..]);
        }
        Ok(Operand { at, term, fields })
    }
}

fn unclosed(at: Offset, keyword: &str) -> Fault {
    Fault::new(
        at,
        format!("{{{{{keyword}}}}} is not closed: write {{{{end}}}} after it"),
    )
}
