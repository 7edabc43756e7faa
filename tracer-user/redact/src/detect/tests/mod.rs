mod encodings;
mod fresh;
mod hostile;

use super::*;

fn found(text: &str) -> Vec<(&'static str, &str)> {
    let findings = Detectors::builtin()
        .scan(text.as_bytes(), &Limits::default())
        .expect("the text is short");
    findings
        .into_iter()
        .map(|finding| (finding.kind.name(), &text[finding.range]))
        .collect()
}

#[test]
fn every_built_in_rule_finds_its_own_example() {
    let count = Detectors::builtin()
        .lint()
        .expect("every rule does what it says");
    assert!(count > 100, "{count}");
}

#[test]
fn personal_data_in_a_sentence_is_found() {
    assert_eq!(
        found("mail jo@example.org or call +44 20 7723 7248 about card 4111 1111 1111 1111"),
        [
            ("email", "jo@example.org"),
            ("phone", "+44 20 7723 7248"),
            ("card", "4111 1111 1111 1111"),
        ]
    );
    assert_eq!(
        found("born May 30, 1953, ssn 124-81-1034 at 79.63.176.45"),
        [
            ("birth_date", "May 30, 1953"),
            ("national_id", "124-81-1034"),
            ("ip_address", "79.63.176.45"),
        ]
    );
}

#[test]
fn what_a_model_runtime_prints_is_left_alone() {
    for text in [
        "token_ids: [15496, 995, 318, 50256, 1212, 318, 257, 1332]",
        "logits[0..4] = -1.2345678901234567 3.1415926535897931",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "0x00007f1c3a2b4c5d in ggml_compute_forward",
        "uuid 550e8400-e29b-41d4-a716-446655440000",
        "llama_decode: n_tokens = 512, n_past = 1024, t = 13.604 ms",
        "version 12.3.0.4 released 2026-03-21 10:11:12",
        "order 457555462 customer 123456781 total 49.99",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn places_are_found_where_nothing_else_is_meant() {
    assert_eq!(
        found("open ~/models/q4.gguf on gpu-07.prod.internal:8080 or C:\\Users\\ann\\x.txt"),
        [
            ("path", "~/models/q4.gguf"),
            ("host", "gpu-07.prod.internal:8080"),
            ("path", "C:\\Users\\ann\\x.txt"),
        ]
    );
    assert_eq!(
        found("hostname: worker-3, cwd=/srv/llm/run"),
        [("host", "worker-3"), ("path", "/srv/llm/run")]
    );
    for text in [
        "POST /v1/chat/completions and/or 3/4",
        "ggml_backend.cpu.info(x) of model.layers.0.attn",
        "tokens/s 12.3, model.org is a field",
    ] {
        let values: Vec<_> = found(text);
        assert!(values.len() <= 1, "{text}: {values:?}");
    }
}

#[test]
fn secrets_on_command_lines_and_in_statements_are_found() {
    for (text, value) in [
        ("run mysql -u root -ptr0ub4dor shop", "tr0ub4dor"),
        ("tool --db-password swordfish --verbose", "swordfish"),
        (
            "curl -u \":d2LkV78zLx!t\" https://localhost",
            ":d2LkV78zLx!t",
        ),
        (
            "alter user x identified with sha256_password by 'Sq1pass'",
            "Sq1pass",
        ),
        ("<add key=\"DbPassword\" value=\"Presti9!\"/>", "Presti9!"),
        (
            "chartmogul: a1b2c3d4e5f6g7h8i9j0k1l2",
            "a1b2c3d4e5f6g7h8i9j0k1l2",
        ),
        (
            "\u{1b}[31msk-615ef152bf865a131f88b23571dc4ee6\u{1b}[0m",
            "sk-615ef152bf865a131f88b23571dc4ee6",
        ),
        ("office at SW1A 1AA, London", "SW1A 1AA"),
        ("mac AA-BB-CC-DD-EE-FF", "AA-BB-CC-DD-EE-FF"),
    ] {
        let values: Vec<_> = found(text);
        assert!(
            values.iter().any(|(_, found)| *found == value),
            "{text}: {values:?}"
        );
    }
    for text in [
        "an Apple M2 8GB board",
        "run mysql -u root -p shop",
        "zip -r a.zip b",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn a_value_on_the_line_below_its_name_is_found() {
    for (text, value) in [
        ("Password:\nhunter2Moon\n", "hunter2Moon"),
        ("Password\nhunter2Moon\n", "hunter2Moon"),
        ("my API key\nZXC2JK3HV4TY5UIO6PLK", "ZXC2JK3HV4TY5UIO6PLK"),
        ("API key:\n  8f3kd92kfjw0x1ab72", "8f3kd92kfjw0x1ab72"),
    ] {
        let values = found(text);
        assert!(
            values.iter().any(|(_, found)| *found == value),
            "{text}: {values:?}"
        );
    }
    for text in [
        "the attention key\nblk.12.attn_k.weight\n",
        "API key\nmissing\n",
        "password\nusername\n",
        "Token\n12345\n",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

fn own_rule() -> OwnRule {
    OwnRule {
        name: "customer".to_owned(),
        pattern: r"CUST-\d{8}".to_owned(),
        capture: 0,
        keywords: vec!["customer".to_owned()],
        validators: Vec::new(),
        group: Group::Personal,
        examples: vec!["customer CUST-00012345".to_owned()],
        counter_examples: vec!["CUST-1".to_owned()],
    }
}

#[test]
fn an_own_rule_finds_what_it_says_and_has_its_own_name() {
    let detectors = Detectors::with_rules(vec![own_rule()]).expect("the rule is sound");
    let findings = detectors
        .scan(
            b"the customer's number is CUST-00012345",
            &Limits::default(),
        )
        .expect("the text is short");
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].range, 25..38);
    assert_eq!(detectors.rule_name(findings[0].rule), "customer");
}

#[test]
fn an_own_rule_that_cannot_fire_is_refused() {
    let silent = OwnRule {
        examples: vec!["account CUST-00012345".to_owned()],
        ..own_rule()
    };
    assert!(matches!(
        Detectors::with_rules(vec![silent]),
        Err(RuleError::Example { place: 1, .. })
    ));
    let empty = OwnRule {
        pattern: "x*".to_owned(),
        ..own_rule()
    };
    assert!(matches!(
        Detectors::with_rules(vec![empty]),
        Err(RuleError::Empty { .. })
    ));
}

#[test]
fn findings_are_sorted_and_do_not_overlap() {
    let text = "password: jo@example.org https://u:p4ss@h.example/ Bearer abcdEFGH1234abcdEFGH1234";
    let findings = Detectors::builtin()
        .scan(text.as_bytes(), &Limits::default())
        .expect("the text is short");
    assert!(
        findings
            .windows(2)
            .all(|pair| pair[0].range.end <= pair[1].range.start)
    );
    assert!(!findings.is_empty());
}

#[test]
fn a_text_beyond_a_limit_is_an_error() {
    let limits = Limits {
        max_text: 4,
        ..Limits::default()
    };
    assert_eq!(
        Detectors::builtin().scan(b"12345", &limits),
        Err(ScanError::TooLong {
            length: 5,
            limit: 4
        })
    );
}
