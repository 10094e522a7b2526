//! The OpenAPI document.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

/// What stands over the paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Headworks admin API",
        description = "Partners, keys, types, schemas, plugins and routes of a Headworks gateway, its quarantine and \
            its probes. Errors are RFC 9457 problems; `code` is stable. Every resource has an ETag and honours If-Match."
    ),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Head;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(
            "A token `hwt_…`. Roles, each including the ones before: `viewer` (reads), `publisher` (types, schemas, \
             plugins, routes), `operator` (partners, keys, quarantine, activation, `force`), `admin` (tokens)."
                .to_owned(),
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

pub(super) fn head() -> utoipa::openapi::OpenApi {
    Head::openapi()
}

/// The whole document, as `/openapi.json` serves it.
pub fn document() -> utoipa::openapi::OpenApi {
    super::resources().into_openapi()
}
