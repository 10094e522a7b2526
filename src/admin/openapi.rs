//! The OpenAPI document.

use std::collections::BTreeMap;

use utoipa::{
    Modify, OpenApi,
    openapi::{
        AllOf, Object, OpenApi as OpenApiDocument, RefOr, Schema,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

/// What stands over the paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Headworks admin API",
        description = "Partners, keys, types, schemas, plugins, routes and lookup tables of a Headworks gateway, its quarantine and \
            its probes. Errors are RFC 9457 problems; `code` is stable. Every resource has an ETag and honours If-Match."
    ),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Head;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApiDocument) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(
            "A token `hwt_…`, or one of the identity provider that the gateway is set to believe. Roles, each including the ones before: `viewer` (reads), `publisher` (types, schemas, \
             plugins, routes, lookup tables), `operator` (partners, keys, quarantine, activation, `force`), `admin` (tokens)."
                .to_owned(),
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

pub(super) fn head() -> OpenApiDocument {
    Head::openapi()
}

/// The whole document, as `/openapi.json` serves it.
pub fn document() -> OpenApiDocument {
    let mut document = super::resources().into_openapi();
    finish(&mut document);
    document
}

/// Writes what the macros leave out or get wrong.
pub(super) fn finish(document: &mut OpenApiDocument) {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            finish_operation(operation);
        }
    }
    if let Some(components) = &mut document.components {
        let known = components.schemas.clone();
        for schema in components.schemas.values_mut() {
            if let RefOr::T(Schema::AllOf(parts)) = schema
                && let Some(object) = merged(parts, &known)
            {
                *schema = RefOr::T(Schema::Object(object));
            }
        }
    }
}

fn finish_operation(operation: &mut Operation) {
    // A summary is one line, whatever the width of the source.
    operation.summary = operation.summary.take().map(|summary| summary.replace('\n', " "));
    let responses = &mut operation.responses.responses;
    if let Some(problem) = responses.get("4XX").cloned() {
        responses.insert("5XX".to_owned(), problem);
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        response.description = description(status).to_owned();
        if status.ends_with("XX") {
            let content = std::mem::take(&mut response.content);
            let problem = |(_, content)| ("application/problem+json".to_owned(), content);
            response.content = content.into_iter().map(problem).collect();
        }
    }
}

fn description(status: &str) -> &'static str {
    match status {
        "200" => "Done, or as it is",
        "201" => "Made",
        "204" => "Deleted",
        "503" => "Not ready",
        "4XX" => "Refused: a problem of RFC 9457",
        _ => "Failed: a problem of RFC 9457; send it again later",
    }
}

/// One object with the properties of all parts. As `allOf` they exclude each other, where a part allows no other
/// properties than its own.
fn merged(parts: &AllOf, known: &BTreeMap<String, RefOr<Schema>>) -> Option<Object> {
    let mut whole = Object::new();
    whole.description.clone_from(&parts.description);
    for part in &parts.items {
        let schema = match part {
            RefOr::Ref(reference) => known.get(reference.ref_location.rsplit('/').next()?)?,
            RefOr::T(_) => part,
        };
        let RefOr::T(Schema::Object(object)) = schema else {
            return None;
        };
        whole.required.extend(object.required.iter().cloned());
        let properties = object
            .properties
            .iter()
            .map(|(name, schema)| (name.clone(), schema.clone()));
        whole.properties.extend(properties);
    }
    Some(whole)
}
