//! Translate the language of `model!` into one generic function that several interpreters execute.
//!
//! This crate is an implementation detail of `armilla-samplers`, whose module `model` documents the language.

mod expand;
mod kinds;
mod syntax;

use proc_macro::TokenStream;

/// What `armilla_samplers::model!` calls, with the path of that crate before the model.
#[proc_macro]
pub fn model(tokens: TokenStream) -> TokenStream {
    let model = syn::parse_macro_input!(tokens as syntax::Model);
    match expand::expand(model) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.into_compile_error().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expands a model of data x, y and n, with these statements after one unknown `a`, from line 3 on.
    fn expand(statements: &str) -> syn::Result<proc_macro2::TokenStream> {
        let text =
            format!("library; pub struct M {{ x: Vec<f64>, y: f64, n: usize }}\na ~ Flat();\n{statements}");
        expand::expand(syn::parse_str(&text)?)
    }

    /// The statement must be refused with this message, at this part of this line.
    fn refuses(statements: &str, line: usize, part: &str, message: &str) {
        let error = expand(statements).expect_err(statements);
        assert!(error.to_string().contains(message), "{error}");
        let (start, lines) = (error.span().start(), statements.lines().collect::<Vec<_>>());
        assert_eq!(start.line, line + 2, "{statements}: {error}");
        let found: String = lines[line - 1].chars().skip(start.column).collect();
        assert!(found.starts_with(part), "{statements}: {error} at {found}");
    }

    /// The expansion must have this text, once white space is left out.
    fn contains(statements: &str, text: &str) {
        let plain = |text: &str| text.split_whitespace().collect::<String>();
        let expanded = plain(&expand(statements).unwrap().to_string());
        assert!(expanded.contains(&plain(text)), "{statements}: {expanded}");
    }

    #[test]
    fn errors_point_at_what_is_wrong() {
        refuses("b ~ Normal(0, 1);\nc ~ 3;", 2, "3", "expected a distribution");
        refuses("c ~ Normal;", 1, "Normal", "expected a distribution");
        refuses("c ~ Normal(0, 1)\nd ~ Flat();", 2, "d", "expected `;`");
        refuses("c ~ Normal(0, );\nc ~ Flat();", 2, "c", "declared twice");
        refuses(
            "for j in 0..3 {\n  c[j] ~ Flat();\n}",
            2,
            "c",
            "outside of blocks",
        );
        refuses("if n > 2 {\n  keep b = a;\n}", 2, "b", "not under a condition");
        refuses("for j in 0..n {\n  keep b = a;\n}", 2, "b", "has an index");
        refuses(
            "b: sorted[2] ~ Flat();",
            1,
            "sorted",
            "there is no constraint `sorted`",
        );
        refuses(
            "b: between(0) ~ Flat();",
            1,
            "between",
            "has 2 bounds, 1 are given",
        );
        refuses("b: positive ~ Flat();", 1, "positive", "a constraint is one of");
        refuses(
            "x: ordered[2] ~ Flat();",
            1,
            "ordered",
            "only unknowns are constrained",
        );
        refuses(
            "b[1..3] ~ Flat();\nc[j in 1..3] ~ Flat();",
            2,
            "1",
            "from its first element",
        );
        refuses("c[2][3] ~ Flat();", 1, "c", "one length");
        refuses("y ~ 0.5 * Flat() + Flat();", 1, "Flat();", "has a weight");
        refuses("data b = 3;", 1, "b", "data have a type");
        refuses("if n > 2 { data b: f64 = 3; }", 1, "b", "computed once");
        refuses("let b = ;", 1, ";", "expected an expression");
    }

    #[test]
    fn a_model_begins_with_data_and_has_unknowns() {
        let error = |text| match syn::parse_str(text) {
            Ok(model) => expand::expand(model).expect_err(text).to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error("library; a ~ Flat();").contains("begins with its data"));
        assert!(error("library; struct M<T> { x: T } a ~ Flat();").contains("no generic parameters"));
        assert!(error("library; struct M { x: f64 } x ~ Flat();").contains("no unknown"));
    }

    #[test]
    fn all_errors_are_reported() {
        let error = expand("a ~ Flat();\nx: ordered[2] ~ Flat();").unwrap_err();
        assert_eq!(error.into_iter().count(), 2);
    }

    #[test]
    fn numbers_are_written_as_on_paper() {
        contains("b ~ Normal(0, 1 / 2);", "of(0.0, 1.0 / 2.0)");
        contains("b ~ Normal(2 * a, n);", "of(2.0 * a, (n as f64))");
        contains("b ~ Normal(2 * n, 1);", "of((2 * n as f64), 1.0)");
        contains("let b = 2 * a + n * a;", "let b = 2.0 * a + (n as f64) * a;");
        // Integers stay what they are where nothing says that a number is meant.
        contains("let b = 2 * n;", "let b = 2 * n;");
        contains("let b = f(2 * 3) + a;", "let b = f(2 * 3) + a;");
        contains("let b = a.powi(2);", "let b = a.powi(2);");
        contains("add (1 - a).ln();", "(1.0 - a).ln()");
        contains(
            "let b = if a > 0 { 1 } else { 2 };",
            "From<f64>>::from(0.0) { 1 } else { 2 }",
        );
        contains(
            "let mut b = 0.0; b += 2 * y;",
            "let mut b = <library::number::Dual<__WIDTH> as",
        );
        contains("for i in 0..n { let c = i * a; }", "let c = (i as f64) * a;");
    }

    #[test]
    fn constants_carry_no_derivatives() {
        contains("b ~ Normal(0, y);", "Normal::<f64>::of(0.0, y)");
        contains(
            "b ~ Normal(a, y);",
            "Normal::<library::number::Dual<__WIDTH> >::of(a, y)",
        );
    }

    #[test]
    fn elements_of_vectors_are_asked_for_with_an_error() {
        contains("let b = x[n];", "(*library::model::element(\"x\", &x, n)?)");
        contains(
            "let b = x[n] * 2;",
            "(*library::model::element(\"x\", &x, n)?) * 2.0",
        );
        // A closure cannot return the error.
        contains("let b = (0..n).map(|i| x[i]).count();", "|i| x[i]");
    }
}
