use super::*;

fn refusal(text: &str) -> String {
    Policy::parse(text).unwrap_err().to_string()
}

const RULE: &str = r#"
[[rule]]
name = "customer-id"
pattern = 'CUST-\d{8}'
keywords = ["customer"]
examples = ["customer CUST-00012345"]
counter_examples = ["customer CUST-1"]
"#;

#[test]
fn by_default_arguments_environment_and_errors_are_searched_and_content_is_dropped() {
    let policy = Policy::default();
    let scan = Treatment::Scan(Scan::default());
    for field in [
        Field::Arguments,
        Field::Environment { name: "A" },
        Field::ErrorText,
    ] {
        assert_eq!(*policy.treatment(field), scan, "{field:?}");
    }
    for field in [Field::Text, Field::TokenIds] {
        assert_eq!(*policy.treatment(field), Treatment::Act(Action::Drop));
    }
    assert_eq!(*policy.treatment(Field::Path), Treatment::Act(Action::Keep));
}

#[test]
fn an_unknown_word_is_refused_with_its_line_and_the_nearest_known_one() {
    for (text, message) in [
        (
            "[fields]\nenviroment = \"keep\"",
            "line 2: unknown field `enviroment`; did you mean `environment`?",
        ),
        (
            "[fields]\n\npath = \"kep\"",
            "line 3: unknown action `kep`; did you mean `keep`?",
        ),
        (
            "[field]\npath = \"keep\"",
            "line 1: unknown section `field`; did you mean `fields`?",
        ),
        (
            "[fields]\ntext = { action = \"scan\", mod = \"plain\" }",
            "line 2: unknown key `mod`; did you mean `mode`?",
        ),
        (
            "[fields]\ntext = { action = \"scan\", mode = \"lexicon\" }",
            "line 2: unknown mode `lexicon`; did you mean `lexical`?",
        ),
        (
            "[actions]\nemail = { action = \"mask\", keep_last = 4 }",
            "line 2: unknown key `keep_last`; did you mean `action`?",
        ),
        (
            "[actions]\nemial = \"mask\"",
            "line 2: unknown kind, group or rule `emial`; did you mean `email`?",
        ),
        (
            "[fields]\ntext = { action = \"scan\", groups = [\"credential\"] }",
            "line 2: unknown group `credential`; did you mean `credentials`?",
        ),
    ] {
        assert_eq!(refusal(text), message, "{text}");
    }
    let typo = RULE.replace("pattern", "patern");
    assert_eq!(
        refusal(&typo),
        "line 4: unknown key `patern`; did you mean `pattern`?"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_what_to_do() {
    for (text, part) in [
        (
            "[fields]\npath = 3",
            "line 2: an action is integer; write it as a string",
        ),
        (
            "fields = 3",
            "line 1: [fields] is integer; write it as a table",
        ),
        ("[fields]\npath = {}", "has no `action`"),
        (
            "[actions]\ncard = { action = \"partial\", keep_last = 9 }",
            "from 0 to 8",
        ),
        (
            "[actions]\ncard = { action = \"partial\" }",
            "keep_first or keep_last",
        ),
        (
            "[fields]\ntext = { action = \"scan\", groups = [] }",
            "leave `groups` out",
        ),
        ("[fields", "line 1: not valid TOML"),
        (
            "[fields]\ntoken_ids = \"keep\"",
            "token_ids = \"follow\" and text = \"keep\"",
        ),
        (
            "[fields]\ntoken_ids = \"granted\"",
            "token_ids = \"follow\"",
        ),
    ] {
        assert!(refusal(text).contains(part), "{text}: {}", refusal(text));
    }
}

#[test]
fn token_ids_are_treated_as_the_text_that_they_stand_for() {
    let policy = Policy::parse("[fields]\ntext = \"scan\"").unwrap();
    assert_eq!(
        policy.treatment(Field::TokenIds),
        policy.treatment(Field::Text)
    );
    let policy = Policy::parse("[fields]\ntext = \"keep\"\ntoken_ids = \"drop\"").unwrap();
    assert_eq!(
        *policy.treatment(Field::TokenIds),
        Treatment::Act(Action::Drop)
    );
}

#[test]
fn what_a_rule_found_is_treated_by_rule_then_kind_then_group() {
    let policy = Policy::parse(
        "[actions]\npersonal = \"pseudonym\"\ncard = { action = \"partial\", keep_last = 4 }",
    )
    .unwrap();
    assert_eq!(policy.action("email", Group::Personal), Action::Pseudonym);
    assert_eq!(
        policy.action("card", Group::Personal),
        Action::Partial { first: 0, last: 4 }
    );
    assert_eq!(policy.action("jwt", Group::Credentials), Action::Mask);
}

#[test]
fn a_rule_that_can_never_fire_is_refused() {
    for (change, part) in [
        (
            ("examples = [\"customer CUST-00012345\"]\n", ""),
            "has no example",
        ),
        (
            ("CUST-00012345", "CUST-0"),
            "nothing is found in its example 1",
        ),
        (("CUST-1", "CUST-12345678"), "counter-example"),
        (("\\d{8}", "\\d{8"), "pattern"),
        (
            ("[\"customer\"]", "[\"kunde\"]"),
            "nothing is found in its example 1",
        ),
        (
            ("counter_examples", "group = \"places\"\ncounter_examples"),
            "",
        ),
    ] {
        let text = RULE.replace(change.0, change.1);
        match Policy::parse(&text) {
            Ok(_) => assert_eq!(part, "", "{text}"),
            Err(error) => assert!(error.to_string().contains(part), "{error}"),
        }
    }
    let unscanned = RULE.replace("name =", "group = \"places\"\nname =")
        + "[fields]\narguments = \"drop\"\nenvironment = \"drop\"\nerror_text = \"drop\"";
    assert!(refusal(&unscanned).contains("no field is scanned for its group `places`"));
    let twice = RULE.repeat(2);
    assert!(refusal(&twice).contains("two rules are named `customer-id`"));
}

#[test]
fn the_digest_is_of_the_meaning_not_of_the_file() {
    let written_out = Policy::parse("# comment\n[fields]\npath = \"keep\"").unwrap();
    assert_eq!(written_out.digest(), Policy::default().digest());
    let other = Policy::parse("[fields]\npath = \"drop\"").unwrap();
    assert_ne!(other.digest(), Policy::default().digest());
}

#[test]
fn a_printed_policy_reads_back_as_itself() {
    let text = format!(
        "[fields]\narguments = \"keep\"\ntoken_ids = \"drop\"\n\
         path = {{ action = \"partial\", keep_first = 2 }}\n\
         text = {{ action = \"scan\", mode = \"lexical\", groups = [\"personal\"] }}\n\
         [actions]\nemail = \"hash\"\n{RULE}"
    );
    let policy = Policy::parse(&text).unwrap();
    let mut again = Policy::parse(&policy.to_string()).unwrap();
    assert_eq!(again.to_string(), policy.to_string());
    assert_eq!(again.digest(), policy.digest());
    again
        .rules
        .iter_mut()
        .for_each(|rule| rule.line = policy.rules[0].line);
    assert_eq!(again, policy);
}

#[test]
fn two_policies_differ_in_what_they_treat_differently() {
    let left = Policy::default();
    let text = format!("[fields]\ntext = \"scan\"\n[actions]\nemail = \"keep\"\n{RULE}");
    let right = Policy::parse(&text).unwrap();
    let places: Vec<_> = left
        .differences(&right)
        .into_iter()
        .map(|found| found.place)
        .collect();
    assert_eq!(
        places,
        [
            "fields.text",
            "fields.token_ids",
            "actions.email",
            "rule customer-id"
        ]
    );
    assert_eq!(right.differences(&right), []);
}
