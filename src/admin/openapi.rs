//! The OpenAPI document of the admin API, generated from its route table. It must not know any route.

use crate::admin::route::AdminRoute;
use serde_json::{Map, Value, json};

pub(crate) fn document(routes: &[AdminRoute]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ringside admin API",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": { "schemas": { "Error": error_schema() } },
    })
}

fn operation(route: &AdminRoute) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    if route.path.contains("{id}") {
        parameters.push(parameter("id", "path", "", true));
    }
    let query = route.query.iter();
    parameters.extend(query.map(|query| parameter(query.name, "query", query.doc, false)));
    let mut operation = json!({
        "summary": route.doc,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "Success.",
                "content": { route.content_type: {} },
            },
            "default": {
                "description": "Error.",
                "content": {
                    "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
                },
            },
        },
        "x-ringside-permission": route.permission.as_str(),
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({
            "description": body,
            "required": true,
            "content": { "application/json": { "schema": { "type": "object" } } },
        });
    }
    operation
}

fn parameter(name: &str, location: &str, description: &str, is_required: bool) -> Value {
    json!({
        "name": name,
        "in": location,
        "description": description,
        "required": is_required,
        "schema": { "type": "string" },
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "message": { "type": "string" },
                    "type": { "type": "string" },
                    "param": { "type": ["string", "null"] },
                    "code": { "type": "string" },
                },
            },
        },
    })
}
