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
