use super::*;

fn complaint(text: &str) -> String {
    capture(text).expect_err("the expression is wrong").0
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
    assert!(complaint("i32 rdi rsi").contains("expected the end"));
    assert!(complaint("i32 rdi in eog_tokens").contains("unknown set"));
    assert!(complaint("u64 [rdi + 99999999999]").contains("not a number up to"));
    assert!(complaint("").contains("expected a type"));
}
