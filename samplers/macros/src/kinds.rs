//! Write numbers as on paper: tell integers from numbers by their syntax, and let the two meet in arithmetic.

use proc_macro2::{Ident, TokenStream};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Arm, BinOp, Block, Expr, ExprIndex, Lit, LitFloat, Local, Pat, Stmt, Type, UnOp, parse_quote_spanned,
};

/// What the syntax of an expression says about its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// An integer literal, or arithmetic of them: whatever its neighbour is.
    Literal,
    /// Surely an integer.
    Integer,
    /// Surely `f64`: data.
    Real,
    /// Surely a number that depends on unknowns.
    Number,
    /// A vector.
    Vector(Box<Kind>),
    /// Anything.
    Other,
}

impl Kind {
    pub fn vector(of: Self) -> Self {
        Self::Vector(Box::new(of))
    }

    /// What the elements are.
    fn element(self) -> Self {
        match self {
            Self::Vector(kind) => *kind,
            // A multivariate distribution makes a vector of what looks like a number.
            Self::Number => Self::Number,
            _ => Self::Other,
        }
    }

    /// Whether it cannot depend on unknowns.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::Vector(kind) => kind.is_constant(),
            kind => matches!(kind, Self::Literal | Self::Integer | Self::Real),
        }
    }

    /// What a declared type is.
    pub fn of_type(ty: &Type) -> Self {
        match ty {
            Type::Path(path) => {
                let Some(segment) = path.path.segments.last() else {
                    return Self::Other;
                };
                match segment.ident.to_string().as_str() {
                    "f64" => Self::Real,
                    "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => {
                        Self::Integer
                    }
                    "Vec" => match &segment.arguments {
                        syn::PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
                            Some(syn::GenericArgument::Type(ty)) => Self::vector(Self::of_type(ty)),
                            _ => Self::Other,
                        },
                        _ => Self::Other,
                    },
                    _ => Self::Other,
                }
            }
            Type::Array(array) => Self::vector(Self::of_type(&array.elem)),
            Type::Slice(slice) => Self::vector(Self::of_type(&slice.elem)),
            Type::Reference(reference) => match Self::of_type(&reference.elem) {
                vector @ Self::Vector(_) => vector,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// The kinds of the names in scope.
pub struct Kinds {
    names: Vec<(Ident, Kind)>,
    /// The path of armilla-samplers.
    library: TokenStream,
    /// The type of numbers that depend on unknowns.
    number: TokenStream,
}

impl Kinds {
    pub fn new(library: TokenStream, number: TokenStream) -> Self {
        Self {
            names: Vec::new(),
            library,
            number,
        }
    }

    /// Begins a scope; `leave` with what this returns ends it.
    pub fn enter(&self) -> usize {
        self.names.len()
    }

    pub fn leave(&mut self, mark: usize) {
        self.names.truncate(mark);
    }

    pub fn bind(&mut self, name: &Ident, kind: Kind) {
        self.names.push((name.clone(), kind));
    }

    /// Binds all names of a pattern; `kind` is that of the whole.
    pub fn bind_pattern(&mut self, pattern: &Pat, kind: Kind) {
        struct Names(Vec<Ident>);
        impl VisitMut for Names {
            fn visit_pat_ident_mut(&mut self, pattern: &mut syn::PatIdent) {
                self.0.push(pattern.ident.clone());
                visit_mut::visit_pat_ident_mut(self, pattern);
            }
        }
        match pattern {
            Pat::Ident(pattern) => self.bind(&pattern.ident, kind),
            Pat::Type(pattern) => self.bind_pattern(&pattern.pat, Kind::of_type(&pattern.ty)),
            pattern => {
                let mut names = Names(Vec::new());
                names.visit_pat_mut(&mut pattern.clone());
                for name in names.0 {
                    self.bind(&name, Kind::Other);
                }
            }
        }
    }

    /// What an index is that runs over `range`.
    pub fn of_index(range: &Expr) -> Kind {
        match range {
            Expr::Range(_) => Kind::Integer,
            Expr::Paren(paren) => Self::of_index(&paren.expr),
            Expr::MethodCall(call) if call.method == "rev" || call.method == "step_by" => {
                Self::of_index(&call.receiver)
            }
            _ => Kind::Other,
        }
    }

    pub fn of(&self, expr: &Expr) -> Kind {
        match expr {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(int) if int.suffix().is_empty() => Kind::Literal,
                Lit::Int(int) if int.suffix() == "f64" => Kind::Real,
                Lit::Int(_) => Kind::Integer,
                Lit::Float(_) => Kind::Real,
                _ => Kind::Other,
            },
            Expr::Path(path) => {
                let Some(ident) = path.path.get_ident() else {
                    return Kind::Other;
                };
                let known = self.names.iter().rev().find(|(name, _)| name == ident);
                known.map_or(Kind::Other, |(_, kind)| kind.clone())
            }
            Expr::Paren(paren) => self.of(&paren.expr),
            Expr::Group(group) => self.of(&group.expr),
            Expr::Reference(reference) => match self.of(&reference.expr) {
                vector @ Kind::Vector(_) => vector,
                _ => Kind::Other,
            },
            Expr::Unary(unary) => match unary.op {
                UnOp::Neg(_) => self.of(&unary.expr),
                // What `element` returned.
                UnOp::Deref(_) => self.of(&unary.expr),
                _ => Kind::Other,
            },
            Expr::Try(attempt) => self.of(&attempt.expr),
            Expr::Call(call) => match call.args.iter().collect::<Vec<_>>()[..] {
                [_, Expr::Reference(values), index] if is_element(&call.func) => {
                    self.of_indexed(&values.expr, index)
                }
                _ => Kind::Other,
            },
            Expr::Index(index) => self.of_indexed(&index.expr, &index.index),
            Expr::Cast(cast) => Kind::of_type(&cast.ty),
            Expr::Binary(binary) if is_arithmetic(&binary.op) => {
                match (self.of(&binary.left), self.of(&binary.right)) {
                    (left, right) if left == right => left,
                    (Kind::Number, _) | (_, Kind::Number) => Kind::Number,
                    (Kind::Literal, kind) | (kind, Kind::Literal) => kind,
                    (Kind::Integer, Kind::Real) | (Kind::Real, Kind::Integer) => Kind::Real,
                    _ => Kind::Other,
                }
            }
            Expr::MethodCall(call) if call.method == "len" => Kind::Integer,
            Expr::MethodCall(call) if call.method == "value" && call.args.is_empty() => Kind::Real,
            // exp, ln, powi: functions of numbers give numbers.
            Expr::MethodCall(call) => match self.of(&call.receiver) {
                kind @ (Kind::Real | Kind::Number) => kind,
                _ => Kind::Other,
            },
            _ => Kind::Other,
        }
    }

    fn of_indexed(&self, values: &Expr, index: &Expr) -> Kind {
        match (self.of(values), index) {
            (vector @ Kind::Vector(_), Expr::Range(_)) => vector,
            (kind, _) => kind.element(),
        }
    }

    /// Rewrites an expression of whatever type.
    pub fn rewrite(&mut self, expr: &mut Expr) {
        Rewriter::new(self).visit_expr_mut(expr);
    }

    /// Rewrites an expression that is a number, or a vector of them.
    pub fn rewrite_number(&mut self, expr: &mut Expr) {
        let mut rewriter = Rewriter::new(self);
        rewriter.wanted = true;
        rewriter.visit_expr_mut(expr);
        rewriter.finish(expr);
    }

    /// Rewrites an argument of a distribution. Vectors are handed over number by number.
    pub fn rewrite_argument(&mut self, expr: &mut Expr) -> Kind {
        self.rewrite_number(expr);
        let kind = self.of(expr);
        if let Kind::Vector(_) = kind {
            *expr = parse_quote_spanned!(expr.span()=> (#expr).iter().copied());
        }
        kind
    }

    /// Rewrites a statement of a model.
    pub fn rewrite_statement(&mut self, statement: &mut Stmt) {
        Rewriter::new(self).visit_stmt_mut(statement);
        // A number that is assigned to will depend on unknowns.
        if let Stmt::Local(Local {
            pat: Pat::Ident(pattern),
            init: Some(init),
            ..
        }) = statement
            && pattern.mutability.is_some()
            && self.of(&init.expr) == Kind::Real
        {
            *init.expr = self.to_number(&init.expr);
            self.bind(&pattern.ident, Kind::Number);
        }
    }

    fn to_number(&self, expr: &Expr) -> Expr {
        let number = &self.number;
        parse_quote_spanned!(expr.span()=> <#number as ::core::convert::From<f64>>::from(#expr))
    }
}

struct Rewriter<'k> {
    kinds: &'k mut Kinds,
    /// Whether the expression is a number.
    wanted: bool,
    /// How many closures are around: none of them can return the error of an index.
    closures: usize,
}

impl<'k> Rewriter<'k> {
    fn new(kinds: &'k mut Kinds) -> Self {
        Self {
            kinds,
            wanted: false,
            closures: 0,
        }
    }

    fn visit(&mut self, wanted: bool, expr: &mut Expr) {
        let before = std::mem::replace(&mut self.wanted, wanted);
        self.visit_expr_mut(expr);
        self.wanted = before;
    }

    /// What is still an integer, where a number is wanted, becomes one.
    fn finish(&self, expr: &mut Expr) {
        match self.kinds.of(expr) {
            Kind::Literal => float_literals(expr),
            Kind::Integer => *expr = parse_quote_spanned!(expr.span()=> (#expr as f64)),
            _ => {}
        }
    }

    /// Lets two operands meet.
    fn reconcile(&self, left: &mut Expr, right: &mut Expr) {
        let number = |kind: &Kind| matches!(kind, Kind::Real | Kind::Number);
        match (self.kinds.of(left), self.kinds.of(right)) {
            (Kind::Literal, Kind::Literal) if self.wanted => {
                float_literals(left);
                float_literals(right);
            }
            (Kind::Literal | Kind::Integer, kind) if number(&kind) => self.finish(left),
            (kind, Kind::Literal | Kind::Integer) if number(&kind) => self.finish(right),
            (Kind::Literal, Kind::Other) if self.wanted => float_literals(left),
            (Kind::Other, Kind::Literal) if self.wanted => float_literals(right),
            _ => {}
        }
    }

    /// `values[index]` of a known vector: an error, not a panic, where there is no such element.
    fn element(&self, name: &str, index: &ExprIndex) -> Option<Expr> {
        let Kind::Vector(_) = self.kinds.of(&index.expr) else {
            return None;
        };
        let library = &self.kinds.library;
        let (values, at) = (&index.expr, &index.index);
        Some(parse_quote_spanned!(index.span()=> (*#library::model::element(#name, &#values, #at)?)))
    }
}

impl VisitMut for Rewriter<'_> {
    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Paren(paren) => self.visit_expr_mut(&mut paren.expr),
            Expr::Group(group) => self.visit_expr_mut(&mut group.expr),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => self.visit_expr_mut(&mut unary.expr),
            Expr::Binary(binary) if is_arithmetic(&binary.op) => {
                self.visit_expr_mut(&mut binary.left);
                self.visit_expr_mut(&mut binary.right);
                self.reconcile(&mut binary.left, &mut binary.right);
            }
            Expr::Binary(binary) if is_comparison(&binary.op) => {
                self.visit(false, &mut binary.left);
                self.visit(false, &mut binary.right);
                self.reconcile(&mut binary.left, &mut binary.right);
                match (self.kinds.of(&binary.left), self.kinds.of(&binary.right)) {
                    (Kind::Number, Kind::Real) => *binary.right = self.kinds.to_number(&binary.right),
                    (Kind::Real, Kind::Number) => *binary.left = self.kinds.to_number(&binary.left),
                    _ => {}
                }
            }
            Expr::Binary(binary) if is_assignment(&binary.op) => {
                let number = matches!(self.kinds.of(&binary.left), Kind::Real | Kind::Number);
                self.visit(false, &mut binary.left);
                self.visit(number, &mut binary.right);
                if number {
                    self.finish(&mut binary.right);
                }
            }
            Expr::Assign(assign) => {
                let kind = self.kinds.of(&assign.left);
                let number = matches!(kind, Kind::Real | Kind::Number);
                self.visit(false, &mut assign.left);
                self.visit(number, &mut assign.right);
                if number {
                    self.finish(&mut assign.right);
                }
                if kind == Kind::Number && self.kinds.of(&assign.right) == Kind::Real {
                    *assign.right = self.kinds.to_number(&assign.right);
                }
            }
            Expr::If(branch) => {
                self.visit(false, &mut branch.cond);
                self.visit_block_mut(&mut branch.then_branch);
                if let Some((_, otherwise)) = &mut branch.else_branch {
                    self.visit_expr_mut(otherwise);
                }
            }
            Expr::Block(block) => self.visit_block_mut(&mut block.block),
            Expr::Index(index) => {
                let name = name(&index.expr);
                self.visit(false, &mut index.expr);
                self.visit(false, &mut index.index);
                if self.closures == 0
                    && let Some(element) = self.element(&name, index)
                {
                    *expr = element;
                }
            }
            Expr::Closure(closure) => {
                let mark = self.kinds.enter();
                for input in &closure.inputs {
                    self.kinds.bind_pattern(input, Kind::Other);
                }
                self.closures += 1;
                self.visit(false, &mut closure.body);
                self.closures -= 1;
                self.kinds.leave(mark);
            }
            Expr::ForLoop(each) => {
                self.visit(false, &mut each.expr);
                let mark = self.kinds.enter();
                self.kinds.bind_pattern(&each.pat, Kinds::of_index(&each.expr));
                self.wanted = false;
                self.visit_block_mut(&mut each.body);
                self.kinds.leave(mark);
            }
            expr => {
                let before = std::mem::replace(&mut self.wanted, false);
                visit_mut::visit_expr_mut(self, expr);
                self.wanted = before;
            }
        }
    }

    fn visit_block_mut(&mut self, block: &mut Block) {
        let (mark, wanted) = (self.kinds.enter(), self.wanted);
        let last = block.stmts.len().saturating_sub(1);
        for (i, statement) in block.stmts.iter_mut().enumerate() {
            match statement {
                Stmt::Expr(value, None) if wanted && i == last => {
                    self.visit(true, value);
                    self.finish(value);
                }
                statement => {
                    self.wanted = false;
                    self.visit_stmt_mut(statement);
                }
            }
        }
        self.wanted = wanted;
        self.kinds.leave(mark);
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        let mark = self.kinds.enter();
        self.kinds.bind_pattern(&arm.pat, Kind::Other);
        visit_mut::visit_arm_mut(self, arm);
        self.kinds.leave(mark);
    }

    fn visit_local_mut(&mut self, local: &mut Local) {
        let mut kind = Kind::Other;
        if let Some(init) = &mut local.init {
            let wanted = matches!(&local.pat, Pat::Type(pattern) if Kind::of_type(&pattern.ty) == Kind::Real);
            self.visit(wanted, &mut init.expr);
            if wanted {
                self.finish(&mut init.expr);
            }
            if let Some((_, otherwise)) = &mut init.diverge {
                self.visit(false, otherwise);
            }
            kind = match self.kinds.of(&init.expr) {
                Kind::Literal => Kind::Integer,
                // What is mutable may change what it is made of.
                Kind::Vector(_) if is_mutable(&local.pat) => Kind::Other,
                kind => kind,
            };
        }
        self.kinds.bind_pattern(&local.pat, kind);
    }

    // A function within a model knows nothing of its names.
    fn visit_item_mut(&mut self, _: &mut syn::Item) {}
}

/// What an error calls the values that are indexed.
fn name(values: &Expr) -> String {
    match values {
        Expr::Path(path) => path
            .path
            .segments
            .last()
            .map(|segment| segment.ident.to_string())
            .unwrap_or_default(),
        Expr::Index(index) => format!("a row of {}", name(&index.expr)),
        _ => "a vector".into(),
    }
}

fn is_mutable(pattern: &Pat) -> bool {
    matches!(pattern, Pat::Ident(pattern) if pattern.mutability.is_some())
}

/// Whether this is the function that `Rewriter::element` calls.
fn is_element(function: &Expr) -> bool {
    matches!(function, Expr::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "element"))
}

fn is_arithmetic(op: &BinOp) -> bool {
    matches!(
        op,
        BinOp::Add(_) | BinOp::Sub(_) | BinOp::Mul(_) | BinOp::Div(_) | BinOp::Rem(_)
    )
}

fn is_comparison(op: &BinOp) -> bool {
    matches!(
        op,
        BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) | BinOp::Eq(_) | BinOp::Ne(_)
    )
}

fn is_assignment(op: &BinOp) -> bool {
    matches!(
        op,
        BinOp::AddAssign(_) | BinOp::SubAssign(_) | BinOp::MulAssign(_) | BinOp::DivAssign(_)
    )
}

/// Turns the integer literals of an arithmetic of literals into floating-point ones.
fn float_literals(expr: &mut Expr) {
    match expr {
        Expr::Lit(literal) => {
            if let Lit::Int(int) = &literal.lit
                && int.suffix().is_empty()
            {
                let digits = int.base10_digits();
                literal.lit = Lit::Float(LitFloat::new(&format!("{digits}.0"), int.span()));
            }
        }
        Expr::Paren(paren) => float_literals(&mut paren.expr),
        Expr::Group(group) => float_literals(&mut group.expr),
        Expr::Unary(unary) => float_literals(&mut unary.expr),
        Expr::Binary(binary) => {
            float_literals(&mut binary.left);
            float_literals(&mut binary.right);
        }
        _ => {}
    }
}
