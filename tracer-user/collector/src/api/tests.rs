//! Holds the description to what is there.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::{Access, DESCRIPTION, Endpoint, ROUTES, fuzzing, parameters};

#[test]
fn the_description_is_of_the_routes_that_there_are() {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let security = operation["security"].as_array().unwrap();
            let security: Vec<_> = security
                .iter()
                .flat_map(|scheme| scheme.as_object().unwrap().keys().cloned())
                .collect();
            let has_body = operation.get("requestBody").is_some();
            described.insert((method.to_uppercase(), path.clone(), security, has_body));
        }
    }
    let routes = ROUTES.iter().map(|route| {
        let security = match route.access {
            Access::Anybody | Access::EnrolmentToken => vec![],
            Access::Agent => vec![String::from("agentCertificate")],
            Access::Reader => vec![
                String::from("readerCertificate"),
                String::from("readerToken"),
            ],
        };
        let has_body = matches!(route.endpoint, Endpoint::Enrol | Endpoint::Renew);
        let (method, path) = (route.method.to_string(), route.path.to_owned());
        (method, path, security, has_body)
    });
    assert_eq!(routes.collect::<BTreeSet<_>>(), described);
}

#[test]
fn the_description_has_the_parameters_that_are_taken() {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let described = &description["paths"]["/v1/events"]["get"]["parameters"];
    let described: Vec<_> = described
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert_eq!(described, parameters::NAMES);
}

#[test]
fn every_reference_in_the_description_leads_somewhere() {
    fn references(value: &Value, to: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::String(text) if key == "$ref" => to.push(text.clone()),
                        _ => references(value, to),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, to)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let mut found = Vec::new();
    references(&description, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
}

/// What the fuzzer does for longer, in every run of the tests: its seeds, and each of them with bytes
/// changed, cut off and repeated.
#[test]
fn no_body_or_query_makes_the_reader_panic() {
    let seeds = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fuzz/seeds/api"
    ));
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut count = 0;
    for seed in fs::read_dir(seeds).unwrap() {
        let seed = fs::read(seed.unwrap().path()).unwrap();
        count += 1;
        for _ in 0..1000 {
            let mut bytes = seed.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes.truncate(at + 1),
                    _ => bytes.extend_from_within(at..),
                }
            }
            fuzzing::body(&bytes);
            let text = String::from_utf8_lossy(&bytes);
            fuzzing::query(&text);
            fuzzing::certificate_request(&text);
        }
    }
    assert_eq!(count, 5);
}
