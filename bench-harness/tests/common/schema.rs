//! `summary.schema.json`, as far as it goes: types, constants, lists of words, required fields, and that no field is there
//! that it does not describe. `scripts/report` asks an independent validator.

use serde_json::Value;

/// The schema.
pub(crate) fn schema() -> Value {
    let text = include_str!("../../summary.schema.json");
    serde_json::from_str(text).unwrap()
}

/// Everything that is wrong with a summary.
pub(crate) fn faults(summary: &Value) -> Vec<String> {
    faults_by(&schema(), summary)
}

/// The schema of a suite's file.
pub(crate) fn suite_schema() -> Value {
    let text = include_str!("../../suite.schema.json");
    serde_json::from_str(text).unwrap()
}

/// Everything that is wrong with a file, by its schema.
pub(crate) fn faults_by(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(schema, schema, value, "summary", &mut faults);
    faults
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    if let Some(place) = schema["$ref"].as_str() {
        let part = root.pointer(place.trim_start_matches('#')).expect(place);
        return check(root, part, value, path, faults);
    }
    let mut fault = |what: &str| faults.push(format!("{path}: {what}: {value}"));
    if schema.get("const").is_some_and(|only| only != value) {
        fault("not the constant");
    }
    let words = schema["enum"].as_array();
    if words.is_some_and(|words| !words.contains(value)) {
        fault("not one of the words");
    }
    let types = match &schema["type"] {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        one => Vec::from_iter(one.as_str()),
    };
    if !types.is_empty() && !types.iter().any(|name| is_a(value, name)) {
        fault("of another type");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            fault(&format!("without {name}"));
        }
    }
    let items = value.as_array().into_iter().flatten();
    for (index, item) in items.enumerate() {
        check(
            root,
            &schema["items"],
            item,
            &format!("{path}[{index}]"),
            faults,
        );
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match schema["properties"].get(name) {
            Some(part) => check(root, part, field, &path, faults),
            None => faults.push(format!("{path}: not described")),
        }
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("a type that this does not know: {other}"),
    }
}

/// Fields without a description.
pub(crate) fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
    let parts = ["properties", "$defs"].map(|key| schema[key].as_object());
    for (name, part) in parts.into_iter().flatten().flatten() {
        let path = format!("{path}.{name}");
        if part["description"].as_str().is_none_or(str::is_empty) {
            found.push(path.clone());
        }
        undescribed(part, &path, found);
        undescribed(&part["items"], &path, found);
    }
}
