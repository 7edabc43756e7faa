//! What a validly signed statement may say of the files, and what not.

use super::*;

fn manifest_error(payload: &Value) -> ManifestError {
    match statement_error(payload) {
        StatementError::Manifest(error) => error,
        other => panic!("{payload}: {other:?}"),
    }
}

#[test]
fn a_root_that_is_not_the_resources_is_refused() {
    let mut payload = files(&[resource("a", 1), resource("b", 2)]);
    payload["predicate"]["resources"]
        .as_array_mut()
        .unwrap()
        .reverse();
    assert!(matches!(
        manifest_error(&payload),
        ManifestError::Root { .. }
    ));
}

#[test]
fn no_resources_are_no_model() {
    assert_eq!(manifest_error(&files(&[])), ManifestError::Empty);
}

#[test]
fn a_name_that_is_not_a_path_inside_the_model_is_refused() {
    let long = "x".repeat(5000);
    for (name, why) in [
        ("../secret", NameError::Outside),
        ("a/../../secret", NameError::Outside),
        ("..", NameError::Outside),
        ("/etc/passwd", NameError::Absolute),
        ("a//b", NameError::NotCanonical),
        ("a/", NameError::NotCanonical),
        ("./a", NameError::NotCanonical),
        ("a/./b", NameError::NotCanonical),
        ("a\0b", NameError::Zero),
        ("", NameError::Length),
        (&long, NameError::Length),
    ] {
        let error = manifest_error(&files(&[resource(name, 1)]));
        assert!(
            matches!(error, ManifestError::Name { why: found, .. } if found == why),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_listed_twice_or_is_also_a_folder_is_refused() {
    for second in [1, 2] {
        let twice = manifest_error(&files(&[resource("a", 1), resource("a", second)]));
        assert_eq!(twice, ManifestError::Twice("a".into()));
    }
    let both = manifest_error(&files(&[resource("a", 1), resource("a/b", 2)]));
    assert_eq!(both, ManifestError::FileAndFolder("a".into()));
    // `.` is the name of a model's only file.
    let dot = manifest_error(&files(&[resource(".", 1), resource("a", 2)]));
    assert!(matches!(dot, ManifestError::Name { .. }));
}

#[test]
fn shards_with_gaps_overlaps_or_odd_sizes_are_refused() {
    let odd: [&[&str]; 9] = [
        &["w:1000:2000"],
        &["w:0:1000", "w:2000:3000"],
        &["w:0:1000", "w:500:1500"],
        &["w:0:500", "w:500:1000"],
        &["w:0:2000"],
        &["w:0:0"],
        &["w:1000:0"],
        &["w:0:1000", "w:1000:1000"],
        &["w:0:1000", "w:1000:1999", "w:1999:2500"],
    ];
    for names in odd {
        let resources: Vec<Value> = names.iter().map(|name| resource(name, 1)).collect();
        let error = manifest_error(&shards(&resources));
        assert!(
            matches!(error, ManifestError::Shards { .. }),
            "{names:?}: {error}"
        );
    }
    let twice = manifest_error(&shards(&[resource("w:0:1000", 1), resource("w:0:1000", 2)]));
    assert_eq!(twice, ManifestError::Twice("w".into()));
    for name in [
        "w",
        "w:0",
        "w:-1:5",
        "w:+0:5",
        "w:00:5",
        "w:0x0:5",
        "w:0:18446744073709551616",
        "w: 0:5",
        ":0:5",
    ] {
        let error = manifest_error(&shards(&[resource(name, 1)]));
        assert!(
            matches!(error, ManifestError::Name { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_shard_size_that_is_no_number_of_bytes_is_refused() {
    let mut payload = shards(&[resource("w:0:1000", 1)]);
    for size in [
        json!(0),
        json!(-1),
        json!(0.5),
        json!(1e300),
        json!(-1000.0),
        Value::Null,
    ] {
        payload["predicate"]["serialization"]["shard_size"] = size.clone();
        let error = statement_error(&payload);
        assert!(
            matches!(error, StatementError::ShardSize),
            "{size}: {error}"
        );
    }
    let text = payload.to_string().replace("null", "NaN");
    let pair = pair();
    let error = verified(&envelope(&pair, IN_TOTO, text.as_bytes()), &trust(&pair)).unwrap_err();
    assert!(
        matches!(error, BundleError::Statement(StatementError::Form(_))),
        "{error}"
    );
}

#[test]
fn a_digest_of_another_algorithm_or_length_is_refused() {
    let with = |field: &str, value: Value| {
        let mut odd = resource("a", 1);
        odd[field] = value;
        statement_error(&files(&[odd]))
    };
    for algorithm in ["sha1", "blake3", "SHA256", "sha256-sharded-1000", ""] {
        let error = with("algorithm", json!(algorithm));
        assert!(matches!(error, StatementError::Algorithm { .. }), "{error}");
    }
    let hex = digest(1).hex();
    for odd in ["", &hex[..62], &format!("{hex}00"), &hex.replace('1', "g")] {
        let error = with("digest", json!(odd));
        assert!(matches!(error, StatementError::Digest { .. }), "{error}");
    }
    let mut other = shards(&[resource("w:0:1000", 1)]);
    other["predicate"]["resources"][0]["algorithm"] = json!("sha256-sharded-999");
    assert!(matches!(
        statement_error(&other),
        StatementError::Algorithm { .. }
    ));
    let mut unknown = files(&[resource("a", 1)]);
    unknown["predicate"]["serialization"]["hash_type"] = json!("md5");
    assert!(matches!(
        statement_error(&unknown),
        StatementError::HashType(_)
    ));
    unknown["predicate"]["serialization"]["hash_type"] = json!("sha256");
    unknown["predicate"]["serialization"]["method"] = json!("tensors");
    assert!(matches!(
        statement_error(&unknown),
        StatementError::Method(_)
    ));
}
