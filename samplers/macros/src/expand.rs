//! Write the function that interpreters of a model execute.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Error, Expr, RangeLimits, Result, Stmt, Type, Visibility};

use crate::kinds::{Kind, Kinds};
use crate::syntax::{Body, Constraint, Define, Distribution, Model, Place, Statement, Tilde, Weighted};

/// What surrounds a statement.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Nothing,
    Loop,
    Condition,
}

struct Expander {
    library: TokenStream,
    /// The type of numbers that depend on unknowns.
    number: TokenStream,
    /// The interpreter's name within the function.
    interpreter: Ident,
    kinds: Kinds,
    /// The names whose values are given.
    data: HashSet<String>,
    unknowns: HashSet<String>,
}

pub fn expand(model: Model) -> Result<TokenStream> {
    let library = model.library.to_token_stream();
    // Type parameters know no hygiene: their names must not be those of the model's types.
    let number = quote!(#library::number::Dual<__WIDTH>);
    let mut expander = Expander {
        kinds: Kinds::new(library.clone(), number.clone()),
        interpreter: Ident::new("interpreter", Span::mixed_site()),
        data: HashSet::new(),
        unknowns: HashSet::new(),
        library: library.clone(),
        number,
    };
    let Model {
        attributes,
        visibility,
        name,
        mut fields,
        statements,
        ..
    } = model;
    let derives = attributes
        .iter()
        .any(|attribute| attribute.path().is_ident("derive"));
    let derives = (!derives).then(|| quote!(#[derive(Debug, Clone)]));
    for field in &mut fields {
        if matches!(field.vis, Visibility::Inherited) {
            field.vis = visibility.clone();
        }
    }
    // Fields have names: the syntax allows no others.
    let given: Vec<(Ident, Type)> = fields
        .iter()
        .filter_map(|field| Some((field.ident.clone()?, field.ty.clone())))
        .collect();
    let names = given.iter().map(|(name, _)| name);
    let mut given_bindings = quote!(let Self { #(#names),* } = self;);
    for (name, ty) in &given {
        expander.declare(name, ty);
        given_bindings.extend(copy(name, ty));
    }

    let mut derived = Vec::new();
    let mut computations = TokenStream::new();
    let mut body = Vec::new();
    for statement in statements {
        match statement {
            Statement::Data { name, ty, mut value } => {
                match Kind::of_type(&ty) {
                    Kind::Real => expander.kinds.rewrite_number(&mut value),
                    _ => expander.kinds.rewrite(&mut value),
                }
                expander.declare(&name, &ty);
                computations.extend(quote!(let #name: #ty = #value;));
                derived.push((name, ty));
            }
            statement => body.push(statement),
        }
    }
    let derived_names: Vec<_> = derived.iter().map(|(name, _)| name).collect();
    let derived_types: Vec<_> = derived.iter().map(|(_, ty)| ty).collect();
    let derived_tuple = Ident::new("derived", Span::mixed_site());
    let mut derived_bindings = quote!(let (#(#derived_names,)*) = #derived_tuple;);
    for (name, ty) in &derived {
        derived_bindings.extend(copy(name, ty));
    }

    let body = expander.statements(body, Within::Nothing)?;
    if expander.unknowns.is_empty() {
        let message = "the model has no unknown: declare one, as in `mu ~ Normal(0, 5);`";
        return Err(Error::new(name.span(), message));
    }
    let interpreter = &expander.interpreter;
    Ok(quote! {
        #(#attributes)*
        #derives
        #visibility struct #name {
            #(#fields),*
        }

        // Models are written as on paper, with indices.
        #[allow(unused_variables, unused_parens, unused_mut, clippy::all, clippy::pedantic)]
        impl #library::model::Model for #name {
            type Derived = (#(#derived_types,)*);

            fn derive(&self) -> ::core::result::Result<Self::Derived, #library::EvalError> {
                #given_bindings
                #computations
                ::core::result::Result::Ok((#(#derived_names,)*))
            }

            #[inline(always)]
            fn run<const __WIDTH: usize, __Interpreter: #library::model::Interpreter<__WIDTH>>(
                &self,
                #derived_tuple: &Self::Derived,
                #interpreter: &mut __Interpreter,
            ) -> ::core::result::Result<(), #library::EvalError> {
                #[allow(unused_imports)]
                use #library::{distribution::Univariate as _, number::Number as _};
                #given_bindings
                #derived_bindings
                #body
                ::core::result::Result::Ok(())
            }
        }
    })
}

/// Numbers are used by value.
fn copy(name: &Ident, ty: &Type) -> Option<TokenStream> {
    let copied = match Kind::of_type(ty) {
        Kind::Real | Kind::Integer => true,
        _ => matches!(ty, Type::Path(path) if path.path.is_ident("bool")),
    };
    copied.then(|| quote!(let #name = *#name;))
}

impl Expander {
    /// Makes `name` data.
    fn declare(&mut self, name: &Ident, ty: &Type) {
        self.data.insert(name.to_string());
        self.kinds.bind(name, Kind::of_type(ty));
    }

    fn statements(&mut self, statements: Vec<Statement>, within: Within) -> Result<TokenStream> {
        let mut tokens = TokenStream::new();
        let mut errors: Option<Error> = None;
        for statement in statements {
            match self.statement(statement, within) {
                Ok(statement) => tokens.extend(statement),
                // All that is wrong is reported at once.
                Err(error) => match &mut errors {
                    Some(errors) => errors.combine(error),
                    None => errors = Some(error),
                },
            }
        }
        errors.map_or(Ok(tokens), Err)
    }

    fn body(&mut self, body: Body, within: Within) -> Result<TokenStream> {
        let mark = self.kinds.enter();
        let statements = self.statements(body.statements, within);
        self.kinds.leave(mark);
        statements
    }

    fn statement(&mut self, statement: Statement, within: Within) -> Result<TokenStream> {
        let conditional = if within == Within::Condition {
            within
        } else {
            Within::Loop
        };
        match statement {
            Statement::Tilde(tilde) if self.data.contains(&tilde.name.to_string()) => {
                self.observation(*tilde)
            }
            Statement::Tilde(tilde) => self.unknown(*tilde, within),
            Statement::Define(define) => self.define(*define, within),
            Statement::Add(mut term) => {
                self.kinds.rewrite_number(&mut term);
                let (interpreter, number) = (&self.interpreter, &self.number);
                let span = hygienic(span_of(&term));
                Ok(
                    quote_spanned!(span=> #interpreter.add(<#number as ::core::convert::From<_>>::from(#term));),
                )
            }
            Statement::Data { name, .. } => {
                let message = "data are computed once, before anything else: move this out of the block";
                Err(Error::new(name.span(), message))
            }
            Statement::For {
                pattern,
                mut range,
                body,
            } => {
                self.kinds.rewrite(&mut range);
                let mark = self.kinds.enter();
                self.kinds.bind_pattern(&pattern, Kinds::of_index(&range));
                let body = self.body(body, conditional);
                self.kinds.leave(mark);
                let body = body?;
                Ok(quote!(for #pattern in #range { #body }))
            }
            Statement::While { mut condition, body } => {
                self.kinds.rewrite(&mut condition);
                let body = self.body(body, Within::Condition)?;
                Ok(quote!(while #condition { #body }))
            }
            Statement::If {
                mut condition,
                then,
                otherwise,
            } => {
                self.kinds.rewrite(&mut condition);
                let then = self.body(then, Within::Condition)?;
                let otherwise = otherwise
                    .map(|otherwise| self.statement(*otherwise, Within::Condition))
                    .transpose()?;
                let otherwise = otherwise.map(|otherwise| quote!(else #otherwise));
                Ok(quote!(if #condition { #then } #otherwise))
            }
            Statement::Block(body) => {
                let body = self.body(body, conditional)?;
                Ok(quote!({ #body }))
            }
            Statement::Rust(mut statement) => {
                self.kinds.rewrite_statement(&mut statement);
                Ok(match *statement {
                    // A value at the end would be that of the function.
                    Stmt::Expr(value, None) => quote!(#value;),
                    statement => statement.to_token_stream(),
                })
            }
        }
    }

    /// `Normal::<number>::of(mean, sd)`, or a mixture of them, on `bounds`.
    fn distribution(&mut self, mut terms: Vec<Weighted>, bounds: Option<Bounds>) -> TokenStream {
        let library = self.library.clone();
        let mut bounds = bounds;
        let expressions = terms
            .iter_mut()
            .flat_map(|term| term.weight.iter_mut().chain(&mut term.distribution.arguments));
        let mut constant = true;
        for expression in expressions.chain(bounds.iter_mut().flat_map(|bounds| &mut bounds.values)) {
            // Whether it is constant shows before it is an iterator.
            constant &= self.kinds.rewrite_argument(expression).is_constant();
        }
        // Constants have no derivatives to carry.
        let number = if constant {
            quote!(f64)
        } else {
            self.number.clone()
        };
        let made: Vec<_> = terms
            .into_iter()
            .map(|term| (term.weight, made(term.distribution, &number)))
            .collect();
        let mut made = made.into_iter().rev();
        let (mut weight, mut distribution) = made.next().unwrap_or_default();
        for (next, term) in made {
            let rest = weight.unwrap_or_else(|| syn::parse_quote!(1.0));
            distribution =
                quote!(#library::model::Mixture::<_, _, #number>::of(#next, #term, #rest, #distribution));
            weight = Some(syn::parse_quote!((#next + #rest)));
        }
        match bounds {
            Some(Bounds { kind, values }) => quote!(#library::model::Bounded::of(
                #distribution,
                #library::bijector::Support::<#number>::#kind(#(::core::convert::Into::into(#values)),*),
            )),
            None => distribution,
        }
    }

    fn observation(&mut self, tilde: Tilde) -> Result<TokenStream> {
        let Tilde {
            name,
            place,
            constraint,
            distributions,
        } = tilde;
        if let Some(Constraint::Vector(constraint, _) | Constraint::Bounds(constraint, _)) = constraint {
            return Err(Error::new(
                constraint.span(),
                format!("`{name}` is data: only unknowns are constrained"),
            ));
        }
        let (library, interpreter) = (self.library.clone(), self.interpreter.clone());
        let span = hygienic(distributions[0].distribution.span());
        let text = name.to_string();
        // The value's span is the name's: what is no number is told there.
        let observe = |distribution: TokenStream, indices: &[Ident], value: TokenStream| {
            let value = quote_spanned!(hygienic(name.span())=> &#value);
            let place = quote!(#library::model::Place::new(#text, &[#(#indices),*]));
            quote_spanned!(span=> {
                use #library::model::{TermOfNumber as _, TermOfVector as _};
                let distribution = #distribution;
                (&#library::model::Term(&distribution)).observe(#interpreter, #place, #value)?;
            })
        };
        match place {
            Place::Whole => {
                let distribution = self.distribution(distributions, None);
                Ok(observe(distribution, &[], name.to_token_stream()))
            }
            Place::Each { index, mut range } => {
                self.kinds.rewrite(&mut range);
                let mark = self.kinds.enter();
                self.kinds.bind(&index, Kinds::of_index(&range));
                let distribution = self.distribution(distributions, None);
                let mut value = syn::parse_quote_spanned!(name.span()=> #name[#index]);
                self.kinds.rewrite(&mut value);
                self.kinds.leave(mark);
                let observe = observe(
                    distribution,
                    std::slice::from_ref(&index),
                    value.to_token_stream(),
                );
                Ok(quote!(for #index in #range { #observe }))
            }
            Place::Indices(indices) => {
                let mut value: Expr = syn::parse_quote_spanned!(name.span()=> #name);
                let (mut bindings, mut names) = (TokenStream::new(), Vec::new());
                for (i, mut index) in indices.into_iter().enumerate() {
                    self.kinds.rewrite(&mut index);
                    let at = Ident::new(
                        &format!("index_{i}"),
                        Span::mixed_site().located_at(span_of(&index)),
                    );
                    bindings.extend(quote!(let #at: usize = #index;));
                    value = syn::parse_quote_spanned!(name.span()=> #value[#at]);
                    names.push(at);
                }
                self.kinds.rewrite(&mut value);
                let distribution = self.distribution(distributions, None);
                let observe = observe(distribution, &names, value.to_token_stream());
                Ok(quote!({ #bindings #observe }))
            }
        }
    }

    fn unknown(&mut self, tilde: Tilde, within: Within) -> Result<TokenStream> {
        let Tilde {
            name,
            place,
            constraint,
            distributions,
        } = tilde;
        if within != Within::Nothing {
            let message = format!(
                "`{name}` is no data, and an unknown is declared outside of blocks; for a vector: \
                 `{name}[n] ~ …` or `{name}[j in 0..n] ~ …`"
            );
            return Err(Error::new(name.span(), message));
        }
        if !self.unknowns.insert(name.to_string()) {
            return Err(Error::new(name.span(), format!("`{name}` is declared twice")));
        }
        let (library, interpreter, number) = (
            self.library.clone(),
            self.interpreter.clone(),
            self.number.clone(),
        );
        let storage = Ident::new("storage", Span::mixed_site());
        let span = hygienic(distributions[0].distribution.span());
        let text = name.to_string();
        let mut bounds = None;
        if let Some(Constraint::Bounds(constraint, values)) = constraint {
            bounds = Some(Bounds::new(constraint, values)?);
        } else if let Some(Constraint::Vector(constraint, mut length)) = constraint {
            let kind = match constraint.to_string().as_str() {
                "ordered" => quote!(Ordered),
                "simplex" => quote!(Simplex),
                _ => return Err(unknown_constraint(&constraint)),
            };
            if !matches!(place, Place::Whole) {
                return Err(Error::new(
                    name.span(),
                    format!("write the length once: `{name}: {constraint}[n]`"),
                ));
            }
            self.kinds.rewrite(&mut length);
            let distribution = self.distribution(distributions, None);
            self.kinds.bind(&name, Kind::vector(Kind::Number));
            return Ok(quote_spanned! {span=>
                let distribution = #distribution;
                let support = #library::bijector::VectorSupport::#kind(#length);
                let #storage = #interpreter.constrained(#text, support, &distribution)?;
                let #name: &[#number] = &#storage;
            });
        }
        match place {
            Place::Whole => {
                let distribution = self.distribution(distributions, bounds);
                // The distribution decides whether this is a number or a vector.
                self.kinds.bind(&name, Kind::Number);
                Ok(quote_spanned! {span=>
                    let distribution = #distribution;
                    let #storage = {
                        use #library::model::{TermOfNumber as _, TermOfVector as _};
                        (&#library::model::Term(&distribution)).unknown(#interpreter, #text)?
                    };
                    let #name = {
                        use #library::model::{TermOfNumber as _, TermOfVector as _};
                        (&#library::model::Term(&distribution)).bind(&#storage)
                    };
                })
            }
            Place::Indices(mut lengths) => {
                let [length] = &mut lengths[..] else {
                    return Err(Error::new(
                        name.span(),
                        format!("a vector of unknowns has one length: `{name}[n]`"),
                    ));
                };
                self.kinds.rewrite(length);
                let distribution = self.distribution(distributions, bounds);
                self.kinds.bind(&name, Kind::vector(Kind::Number));
                Ok(quote_spanned! {span=>
                    let distribution = #distribution;
                    let mut #storage = #interpreter.space(#length)?;
                    for index in 0..#storage.len() {
                        #storage[index] = #interpreter.number(#library::model::Place::new(#text, &[index]), &distribution)?;
                    }
                    let #name: &[#number] = &#storage;
                })
            }
            Place::Each { index, range } => {
                let length = self.length(range)?;
                let mark = self.kinds.enter();
                self.kinds.bind(&name, Kind::vector(Kind::Number));
                self.kinds.bind(&index, Kind::Integer);
                let distribution = self.distribution(distributions, bounds);
                self.kinds.leave(mark);
                self.kinds.bind(&name, Kind::vector(Kind::Number));
                Ok(quote_spanned! {span=>
                    let mut #storage = #interpreter.space(#length)?;
                    for #index in 0..#storage.len() {
                        // What came before may be asked for.
                        let distribution = {
                            let #name: &[#number] = &#storage[..#index];
                            #distribution
                        };
                        #storage[#index] = #interpreter.number(#library::model::Place::new(#text, &[#index]), &distribution)?;
                    }
                    let #name: &[#number] = &#storage;
                })
            }
        }
    }

    /// The n of 0..n: a vector that is being defined has all elements from the first.
    fn length(&mut self, range: Expr) -> Result<Expr> {
        let message = "a vector is defined from its first element: `0..n`";
        let error = Error::new(span_of(&range), message);
        let Expr::Range(range) = range else {
            return Err(error);
        };
        let zero = matches!(range.start.as_deref(), Some(Expr::Lit(literal))
            if matches!(&literal.lit, syn::Lit::Int(int) if int.base10_digits() == "0"));
        match (range.end, range.limits) {
            (Some(mut end), RangeLimits::HalfOpen(_)) if zero => {
                self.kinds.rewrite(&mut end);
                Ok(*end)
            }
            _ => Err(error),
        }
    }

    fn define(&mut self, define: Define, within: Within) -> Result<TokenStream> {
        let Define {
            keep,
            name,
            place,
            mut value,
        } = define;
        if keep && within == Within::Condition {
            let message = "what is kept is kept with every draw: not under a condition";
            return Err(Error::new(name.span(), message));
        }
        let (library, interpreter, number) = (
            self.library.clone(),
            self.interpreter.clone(),
            self.number.clone(),
        );
        let storage = Ident::new("storage", Span::mixed_site());
        let text = name.to_string();
        let span = hygienic(span_of(&value));
        match place {
            Place::Whole if within != Within::Nothing => {
                let message = format!("what is kept in a loop has an index: `keep {name}[j] = …;`");
                Err(Error::new(name.span(), message))
            }
            Place::Whole => {
                self.kinds.rewrite_number(&mut value);
                let kind = self.kinds.of(&value);
                self.kinds.bind(&name, kind);
                Ok(quote_spanned! {span=>
                    let #name = #value;
                    #library::model::keep(#interpreter, #text, &#name);
                })
            }
            Place::Indices(indices) => {
                let mut indices = indices;
                for index in &mut indices {
                    self.kinds.rewrite(index);
                }
                self.kinds.rewrite_number(&mut value);
                Ok(quote_spanned! {span=>
                    #interpreter.keep(
                        #library::model::Place::new(#text, &[#(#indices),*]),
                        #library::number::Number::value(<#number as ::core::convert::From<_>>::from(#value)),
                    );
                })
            }
            Place::Each { index, range } => {
                let length = self.length(range)?;
                let mark = self.kinds.enter();
                self.kinds.bind(&name, Kind::vector(Kind::Number));
                self.kinds.bind(&index, Kind::Integer);
                self.kinds.rewrite_number(&mut value);
                self.kinds.leave(mark);
                self.kinds.bind(&name, Kind::vector(Kind::Number));
                let keep = keep.then(|| {
                    quote_spanned!(span=> #interpreter.keep(
                        #library::model::Place::new(#text, &[#index]),
                        #library::number::Number::value(#storage[#index]),
                    );)
                });
                Ok(quote_spanned! {span=>
                    let mut #storage = #interpreter.space(#length)?;
                    for #index in 0..#storage.len() {
                        let value = {
                            let #name: &[#number] = &#storage[..#index];
                            #value
                        };
                        #storage[#index] = <#number as ::core::convert::From<_>>::from(value);
                        #keep
                    }
                    let #name: &[#number] = &#storage;
                })
            }
        }
    }
}

/// `Normal::<number>::of(mean, sd)`
fn made(distribution: Distribution, number: &TokenStream) -> TokenStream {
    let span = distribution.span();
    let Distribution { path, arguments, .. } = distribution;
    let arguments = arguments.into_iter();
    let generic = path
        .segments
        .last()
        .is_some_and(|segment| segment.arguments.is_none());
    let generic = generic.then(|| quote!(::<#number>));
    let of = Ident::new("of", span);
    quote_spanned!(span=> #path #generic::#of(#(#arguments),*))
}

/// Where an unknown lives, if not where its distribution does.
struct Bounds {
    kind: Ident,
    values: Vec<Expr>,
}

impl Bounds {
    fn new(name: Ident, values: Vec<Expr>) -> Result<Self> {
        let (kind, count) = match name.to_string().as_str() {
            "above" => ("Above", 1),
            "below" => ("Below", 1),
            "between" => ("Between", 2),
            _ => return Err(unknown_constraint(&name)),
        };
        if values.len() != count {
            return Err(Error::new(
                name.span(),
                format!("`{name}` has {count} bounds, {} are given", values.len()),
            ));
        }
        Ok(Self {
            kind: Ident::new(kind, Span::mixed_site()),
            values,
        })
    }
}

fn unknown_constraint(name: &Ident) -> Error {
    let message = format!(
        "there is no constraint `{name}`: there are `above(a)`, `below(b)`, `between(a, b)`, `ordered[n]` and `simplex[n]`"
    );
    Error::new(name.span(), message)
}

/// Where an expression begins.
fn span_of(expr: &Expr) -> Span {
    expr.to_token_stream()
        .into_iter()
        .next()
        .map_or_else(Span::call_site, |token| token.span())
}

/// The same place in the source, where local variables are the macro's own.
fn hygienic(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}
