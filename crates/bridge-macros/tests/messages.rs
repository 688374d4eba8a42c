//! What the compiler says of an attribute that is written wrongly.

#[test]
fn mistakes_are_explained_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/messages/*.rs");
}
