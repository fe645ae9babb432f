//! What the README shows is what the repository holds.

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/compose_posterior.rs");
    assert!(
        readme.contains(&format!("```rust\n{example}```")),
        "paste examples/compose_posterior.rs into README.md"
    );
}

#[test]
fn the_readme_shows_the_model_as_it_is() {
    let (readme, example) = (
        include_str!("../README.md"),
        include_str!("../examples/hierarchical.rs"),
    );
    let start = example.find("model! {").unwrap();
    let model = &example[start..start + example[start..].find("\n}\n").unwrap() + 3];
    assert!(
        readme.contains(&format!("```rust\n{model}```")),
        "paste the model of examples/hierarchical.rs into README.md"
    );
}
