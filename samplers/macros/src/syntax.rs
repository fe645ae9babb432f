//! Parse the language: a struct of data, then statements of Rust and of statistics.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, BinOp, Error, Expr, Field, Pat, Path, Result, Stmt, Token, Type, Visibility, token};

/// `$crate; pub struct Name { data } statements`.
pub struct Model {
    /// The path of armilla-samplers where the macro is used.
    pub library: Ident,
    pub attributes: Vec<Attribute>,
    pub visibility: Visibility,
    pub name: Ident,
    pub fields: Vec<Field>,
    pub statements: Vec<Statement>,
}

pub enum Statement {
    /// `name… ~ Distribution(arguments);`
    Tilde(Box<Tilde>),
    /// `keep name… = value;`, or `let name[j in 0..n] = value;`, which is not kept.
    Define(Box<Define>),
    /// `add term;`
    Add(Box<Expr>),
    /// `data name: Type = value;`
    Data {
        name: Ident,
        ty: Box<Type>,
        value: Box<Expr>,
    },
    For {
        pattern: Pat,
        range: Box<Expr>,
        body: Body,
    },
    While {
        condition: Box<Expr>,
        body: Body,
    },
    If {
        condition: Box<Expr>,
        then: Body,
        otherwise: Option<Box<Statement>>,
    },
    Block(Body),
    Rust(Box<Stmt>),
}

/// Statements in braces.
pub struct Body {
    pub statements: Vec<Statement>,
}

pub struct Tilde {
    pub name: Ident,
    pub place: Place,
    pub constraint: Option<Constraint>,
    /// One, or the terms of a mixture.
    pub distributions: Vec<Weighted>,
}

pub enum Constraint {
    /// `: ordered[2]`
    Vector(Ident, Box<Expr>),
    /// `: between(0, 1)`
    Bounds(Ident, Vec<Expr>),
}

/// `Normal(0, 1)`, or `0.5 * Normal(0, 1)`.
pub struct Weighted {
    pub weight: Option<Expr>,
    pub distribution: Distribution,
}

pub struct Define {
    pub keep: bool,
    pub name: Ident,
    pub place: Place,
    pub value: Expr,
}

/// What follows a name.
pub enum Place {
    /// Nothing.
    Whole,
    /// `[j in 0..n]`: once for every j.
    Each { index: Ident, range: Expr },
    /// `[i][j]`
    Indices(Vec<Expr>),
}

pub struct Distribution {
    pub path: Path,
    pub parentheses: token::Paren,
    pub arguments: Punctuated<Expr, Token![,]>,
}

impl Distribution {
    /// Where an error about the distribution belongs.
    pub fn span(&self) -> Span {
        match self.path.segments.last() {
            Some(segment) => segment.ident.span(),
            None => self.parentheses.span.join(),
        }
    }
}

impl Parse for Model {
    fn parse(input: ParseStream) -> Result<Self> {
        let library = Ident::parse_any(input)?;
        input.parse::<Token![;]>()?;
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        if !input.peek(Token![struct]) {
            return Err(input.error(
                "a model begins with its data, as in `pub struct Line { x: Vec<f64>, y: Vec<f64> }`",
            ));
        }
        input.parse::<Token![struct]>()?;
        let name = input.parse()?;
        if input.peek(Token![<]) {
            return Err(input.error("the data of a model have no generic parameters"));
        }
        let fields;
        syn::braced!(fields in input);
        let fields = Punctuated::<Field, Token![,]>::parse_terminated_with(&fields, Field::parse_named)?;
        let mut statements = Vec::new();
        while !input.is_empty() {
            statements.push(input.parse()?);
        }
        Ok(Self {
            library,
            attributes,
            visibility,
            name,
            fields: fields.into_iter().collect(),
            statements,
        })
    }
}

impl Parse for Body {
    fn parse(input: ParseStream) -> Result<Self> {
        let content;
        syn::braced!(content in input);
        let mut statements = Vec::new();
        while !content.is_empty() {
            statements.push(content.parse()?);
        }
        Ok(Self { statements })
    }
}

impl Parse for Statement {
    fn parse(input: ParseStream) -> Result<Self> {
        if is_tilde(input) {
            return Ok(Self::Tilde(Box::new(input.parse()?)));
        }
        if word(input, "keep") || is_let_each(input) {
            return Ok(Self::Define(Box::new(input.parse()?)));
        }
        if word(input, "data") {
            return parse_data(input);
        }
        if is_add(input) {
            input.parse::<Ident>()?;
            let term = input.parse()?;
            input.parse::<Token![;]>()?;
            return Ok(Self::Add(Box::new(term)));
        }
        if input.peek(Token![for]) {
            input.parse::<Token![for]>()?;
            let pattern = Pat::parse_multi_with_leading_vert(input)?;
            input.parse::<Token![in]>()?;
            let range = Box::new(Expr::parse_without_eager_brace(input)?);
            let body = input.parse()?;
            return Ok(Self::For { pattern, range, body });
        }
        if input.peek(Token![while]) {
            input.parse::<Token![while]>()?;
            let condition = Box::new(Expr::parse_without_eager_brace(input)?);
            let body = input.parse()?;
            return Ok(Self::While { condition, body });
        }
        if input.peek(Token![if]) {
            return parse_if(input);
        }
        if input.peek(token::Brace) {
            return Ok(Self::Block(input.parse()?));
        }
        Ok(Self::Rust(Box::new(input.parse()?)))
    }
}

impl Parse for Tilde {
    fn parse(input: ParseStream) -> Result<Self> {
        let name: Ident = input.parse()?;
        let place = input.parse()?;
        let mut constraint = None;
        if input.peek(Token![:]) {
            input.parse::<Token![:]>()?;
            let kind: Ident = input.parse()?;
            let content;
            constraint = Some(if input.peek(token::Bracket) {
                syn::bracketed!(content in input);
                Constraint::Vector(kind, content.parse()?)
            } else if input.peek(token::Paren) {
                syn::parenthesized!(content in input);
                let bounds = Punctuated::<Expr, Token![,]>::parse_terminated(&content)?;
                Constraint::Bounds(kind, bounds.into_iter().collect())
            } else {
                let message = "a constraint is one of `above(a)`, `below(b)`, `between(a, b)`, `ordered[n]`, `simplex[n]`";
                return Err(Error::new(kind.span(), message));
            });
        }
        input.parse::<Token![~]>()?;
        let start = input.span();
        let mut distributions = Vec::new();
        flatten(
            input.parse().map_err(|_| Error::new(start, EXPECTED))?,
            &mut distributions,
        )?;
        if let [
            Weighted {
                weight: Some(weight), ..
            },
        ] = &distributions[..]
        {
            return Err(Error::new_spanned(weight, "a mixture has two terms or more"));
        }
        semicolon(input)?;
        Ok(Self {
            name,
            place,
            constraint,
            distributions,
        })
    }
}

impl Parse for Define {
    fn parse(input: ParseStream) -> Result<Self> {
        let keep = !input.peek(Token![let]);
        Ident::parse_any(input)?;
        let name = input.parse()?;
        let place = input.parse()?;
        input.parse::<Token![=]>()?;
        let value = input.parse()?;
        semicolon(input)?;
        Ok(Self {
            keep,
            name,
            place,
            value,
        })
    }
}

impl Parse for Place {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut indices = Vec::new();
        while input.peek(token::Bracket) {
            let content;
            syn::bracketed!(content in input);
            if content.peek2(Token![in]) {
                let index = content.parse()?;
                content.parse::<Token![in]>()?;
                let range = content.parse()?;
                if !content.is_empty() || !indices.is_empty() || input.peek(token::Bracket) {
                    return Err(content.error("there is one index at most that runs over a range"));
                }
                return Ok(Self::Each { index, range });
            }
            indices.push(content.parse()?);
            if !content.is_empty() {
                return Err(content.error("an index is one expression: write `x[i][j]`"));
            }
        }
        Ok(if indices.is_empty() {
            Self::Whole
        } else {
            Self::Indices(indices)
        })
    }
}

const EXPECTED: &str = "expected a distribution, as in `mu ~ Normal(0, 5);`";

/// The terms of a sum.
fn flatten(expr: Expr, terms: &mut Vec<Weighted>) -> Result<()> {
    match expr {
        Expr::Binary(binary) if matches!(binary.op, BinOp::Add(_)) => {
            flatten(*binary.left, terms)?;
            flatten(*binary.right, terms)?;
        }
        Expr::Binary(binary) if matches!(binary.op, BinOp::Mul(_)) => {
            let distribution = distribution(*binary.right)?;
            terms.push(Weighted {
                weight: Some(*binary.left),
                distribution,
            });
        }
        expr => terms.push(Weighted {
            weight: None,
            distribution: distribution(expr)?,
        }),
    }
    let plain = terms.iter().position(|term| term.weight.is_none());
    match plain {
        Some(i) if terms.len() > 1 => {
            let message = "a term of a mixture has a weight: `0.3 * Normal(0, 1) + 0.7 * Normal(0, 5)`";
            Err(Error::new(terms[i].distribution.span(), message))
        }
        _ => Ok(()),
    }
}

fn distribution(expr: Expr) -> Result<Distribution> {
    let error = Error::new_spanned(&expr, EXPECTED);
    let Expr::Call(call) = expr else {
        return Err(error);
    };
    let Expr::Path(path) = *call.func else {
        return Err(error);
    };
    Ok(Distribution {
        path: path.path,
        parentheses: call.paren_token,
        arguments: call.args,
    })
}

fn semicolon(input: ParseStream) -> Result<()> {
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
        return Ok(());
    }
    Err(input.error("expected `;` at the end of the statement"))
}

fn parse_data(input: ParseStream) -> Result<Statement> {
    input.parse::<Ident>()?;
    let name: Ident = input.parse()?;
    if !input.peek(Token![:]) {
        let message = format!("data have a type, as in `data {name}: Vec<f64> = …;`");
        return Err(Error::new(name.span(), message));
    }
    input.parse::<Token![:]>()?;
    let ty = input.parse()?;
    input.parse::<Token![=]>()?;
    let value = input.parse()?;
    semicolon(input)?;
    Ok(Statement::Data { name, ty, value })
}

fn parse_if(input: ParseStream) -> Result<Statement> {
    input.parse::<Token![if]>()?;
    let condition = Box::new(Expr::parse_without_eager_brace(input)?);
    let then = input.parse()?;
    let mut otherwise = None;
    if input.peek(Token![else]) {
        input.parse::<Token![else]>()?;
        otherwise = Some(Box::new(if input.peek(Token![if]) {
            parse_if(input)?
        } else {
            Statement::Block(input.parse()?)
        }));
    }
    Ok(Statement::If {
        condition,
        then,
        otherwise,
    })
}

/// Whether a statement `name ~`, `name[…] ~` or `name: constraint[…] ~` comes.
fn is_tilde(input: ParseStream) -> bool {
    let ahead = input.fork();
    if ahead.parse::<Ident>().is_err() {
        return false;
    }
    while ahead.peek(token::Bracket) {
        if ahead.parse::<proc_macro2::TokenTree>().is_err() {
            return false;
        }
    }
    // No statement of Rust begins with a name and a colon.
    ahead.peek(Token![~]) || (ahead.peek(Token![:]) && !ahead.peek(Token![::]))
}

/// Whether `word` comes, and then a name: two words in a row begin no statement of Rust.
fn word(input: ParseStream, word: &str) -> bool {
    let ahead = input.fork();
    ahead.parse::<Ident>().is_ok_and(|ident| ident == word) && ahead.peek(syn::Ident)
}

/// Whether `let name[j in …` comes.
fn is_let_each(input: ParseStream) -> bool {
    input.peek(Token![let]) && input.peek2(syn::Ident) && input.peek3(token::Bracket)
}

/// Whether `add` comes, and then what neither assigns to nor selects from a variable of that name.
fn is_add(input: ParseStream) -> bool {
    let ahead = input.fork();
    let rust = |ahead: ParseStream| {
        ahead.peek(Token![.]) || ahead.peek(Token![=]) || ahead.peek(Token![::]) || ahead.peek(token::Bracket)
    };
    ahead.parse::<Ident>().is_ok_and(|ident| ident == "add") && !rust(&ahead)
}
