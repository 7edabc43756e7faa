//! Comparing two JSON documents field by field. It knows no event: snapshots of two versions of
//! tracer compare as far as their fields have the same names.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// Members that name an object in a list, best first. Lists of libraries or files have no order of
/// their own, so that one more of them must not shift all others.
const NAMING: [&str; 4] = ["role", "name", "path", "id"];

/// One field that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// Members from the root, with dots between; a list's element by its name in brackets.
    pub(crate) field: String,
    /// The value in A; none if A has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) a: Option<Value>,
    /// The value in B; none if B has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) b: Option<Value>,
}

/// The fields that differ, in alphabetical order. A field that is null counts as missing.
pub(crate) fn compare(a: &Value, b: &Value) -> Vec<Difference> {
    let mut fields: BTreeMap<String, (Option<Value>, Option<Value>)> = BTreeMap::new();
    flatten(a, String::new(), &mut |field, value| {
        fields.entry(field).or_default().0 = Some(value.clone());
    });
    flatten(b, String::new(), &mut |field, value| {
        fields.entry(field).or_default().1 = Some(value.clone());
    });
    fields
        .into_iter()
        .filter(|(_, (a, b))| a != b)
        .map(|(field, (a, b))| Difference { field, a, b })
        .collect()
}

fn flatten(value: &Value, field: String, found: &mut impl FnMut(String, &Value)) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, member) in members {
                let field =
                    if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                flatten(member, field, found);
            }
        }
        Value::Array(elements) if elements.iter().any(Value::is_object) => {
            let mut seen: BTreeMap<String, usize> = BTreeMap::new();
            for element in elements {
                let name = name_of(element);
                let nth = seen.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
                let label = if *nth == 1 { name } else { format!("{name}#{nth}") };
                flatten(element, format!("{field}[{label}]"), found);
            }
        }
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found(field, value);
        }
    }
}

/// What an element of a list is called, its folder left out: the same library may lie elsewhere
/// on the other host, and its path is compared as a field.
fn name_of(element: &Value) -> String {
    let name = NAMING.iter().find_map(|member| match element.get(member)? {
        Value::String(name) => Some(name.rsplit('/').next().unwrap_or(name).to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    name.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(a: &Value, b: &Value) -> Vec<String> {
        compare(a, b).into_iter().map(|difference| difference.field).collect()
    }

    #[test]
    fn equal_documents_do_not_differ() {
        let document = json!({"a": [1, 2], "b": {"c": null}, "d": [{"name": "x"}]});
        assert_eq!(compare(&document, &document), []);
    }

    #[test]
    fn a_difference_names_its_field_and_both_values() {
        let a = json!({"context": {"n_ctx": 4096, "n_batch": 512}});
        let b = json!({"context": {"n_ctx": 2048, "n_batch": 512}});
        assert_eq!(
            compare(&a, &b),
            [Difference {
                field: "context.n_ctx".into(),
                a: Some(json!(4096)),
                b: Some(json!(2048)),
            }]
        );
    }

    #[test]
    fn a_null_is_a_missing_field() {
        assert_eq!(compare(&json!({"x": null}), &json!({})), []);
        let found = compare(&json!({"x": null}), &json!({"x": 1}));
        assert_eq!((&found[0].a, &found[0].b), (&None, &Some(json!(1))));
    }

    #[test]
    fn one_more_library_does_not_shift_the_others() {
        let a = json!({"libraries": [
            {"path": "/usr/lib/libllama.so", "build_id": "01"},
            {"path": "/usr/lib/libggml.so", "build_id": "02"}]});
        let b = json!({"libraries": [
            {"path": "/usr/lib/libggml.so", "build_id": "02"},
            {"path": "/usr/lib/libcuda.so", "build_id": "03"},
            {"path": "/opt/libllama.so", "build_id": "01"}]});
        assert_eq!(
            fields(&a, &b),
            [
                "libraries[libcuda.so].build_id",
                "libraries[libcuda.so].path",
                "libraries[libllama.so].path"
            ]
        );
    }

    #[test]
    fn two_elements_of_one_name_stay_two() {
        let a = json!({"files": [{"role": "adapter", "scale": 1}, {"role": "adapter", "scale": 2}]});
        let b = json!({"files": [{"role": "adapter", "scale": 1}]});
        assert_eq!(fields(&a, &b), ["files[adapter#2].role", "files[adapter#2].scale"]);
    }
}
