use super::*;

fn complaint(text: &str) -> String {
    capture(text).expect_err("the expression is wrong").problem
}

#[test]
fn an_element_of_an_array_has_an_index_and_a_size() {
    let Ok(Capture::Element {
        address,
        index,
        size,
    }) = capture("address [candidates + 8] + selected * 12")
    else {
        panic!("an element")
    };
    assert_eq!(address.origin, Origin::Named("candidates".to_owned()));
    assert_eq!((address.through, address.plus), (vec![8], 0));
    assert_eq!((index.as_str(), size), ("selected", 12));
}

#[test]
fn conditions_that_the_kernel_lacks_are_rewritten() {
    let condition = condition("flags <= -1").expect("a condition");
    assert_eq!(
        (condition.comparison, condition.operand),
        (Comparison::Less, 0)
    );
}

#[test]
fn a_mistake_is_named_with_what_was_expected() {
    assert!(complaint("i23 rdi").contains("did you mean `i"));
    assert!(complaint("i32 [rdi + 4").contains("expected `]`"));
    assert!(complaint("bytes rdi").contains("`count`"));
    assert!(complaint("i32 array count count n").contains("expected a place"));
    assert!(complaint("length of vector rdi").contains("`size`"));
    assert!(complaint("length of vektor rdi size 8").contains("did you mean `vector`"));
    assert!(complaint("i32 array rdi count 0").contains("captures nothing"));
    assert!(complaint("i32 array rdi stride 0 count 1").contains("between 1 and"));
    assert!(complaint("i32 rdi rsi").contains("expected the end"));
    assert!(complaint("i32 rdi in eog_tokens").contains("unknown set"));
    assert!(complaint("u32 rsi >> 40").contains("begin at bit 1 to 32"));
    assert!(complaint("u64 rsi >> 1").contains("the whole word"));
    assert!(complaint("address rsi >> 8").contains("only a whole number"));
    assert!(complaint("u64 [rdi + 99999999999]").contains("not a number up to"));
    assert!(complaint("").contains("expected a type"));
}

#[test]
fn a_mistake_names_its_place_in_the_expression() {
    let at = |text| capture(text).expect_err("wrong").at;
    assert_eq!(at("i32 [rdi + 4"), 12);
    assert_eq!(at("i32 rdi in eog_tokens"), 11);
    assert_eq!(at("i32 rdi ; rsi"), 8);
}

#[test]
fn a_count_is_a_field_a_number_or_a_place() {
    let count = |text| match capture(text).expect("sound").elements() {
        Some(Elements {
            extent: Extent::Count(count),
            ..
        }) => count.clone(),
        other => panic!("no count: {other:?}"),
    };
    let rcx = Address::at(Origin::Register(Register::Rcx));
    assert_eq!(
        count("i32 array rdx count n limit 5"),
        Count::Named("n".to_owned())
    );
    assert_eq!(count("i32 array rdx count 12"), Count::Constant(12));
    assert_eq!(
        count("bytes rdx count rcx"),
        Count::Read(Type::SIZE, rcx.clone())
    );
    let i32 = Type::Integer {
        width: 4,
        signed: true,
    };
    assert_eq!(count("cstrings rdx count i32 rcx"), Count::Read(i32, rcx));
}

#[test]
fn no_value_may_be_called_what_the_language_means_otherwise() {
    for word in ["rdi", "i32", "vector", "strings", "ret"] {
        assert!(is_reserved(word), "{word}");
    }
    assert!(!is_reserved("token_count"));
}
