//! The catalogue of codes: for each its public title, its HTTP status, and whether sending again can help. Codes are
//! stable; each has a page under `docs/errors/` (a test fails where one is missing).

use serde::{Deserialize, Serialize};

/// Whether the same request may succeed later without a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Sending the same again gives the same answer.
    No,
    /// Send the same again after the time in `Retry-After`, or with back-off.
    Later,
}

macro_rules! codes {
    ($($(#[$documentation:meta])* $variant:ident $code:literal $status:literal $retry:ident $title:literal;)*) => {
        /// A stable, public code of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum Code {
            $($(#[$documentation])* #[serde(rename = $code)] $variant,)*
        }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code,)* }
            }

            /// The HTTP status of a request that fails with this code alone.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }

            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            pub fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry,)* }
            }
        }
    };
}

codes! {
    // The request.
    NoEvents "no-events" 400 No "The request holds no event";
    JsonMalformed "json-malformed" 400 No "The body is not JSON";
    JsonDuplicateMember "json-duplicate-member" 400 No "A member stands twice in one object";
    JsonTooDeep "json-too-deep" 400 No "The JSON is nested too deeply";
    JsonNumberOutOfRange "json-number-out-of-range" 400 No "A number is beyond a double's range";
    JsonLoneSurrogate "json-lone-surrogate" 400 No "A string holds a lone surrogate";
    Utf8Invalid "utf8-invalid" 400 No "The body is not UTF-8";
    BodyMalformed "body-malformed" 400 No "The body cannot be read";
    EventMalformed "event-malformed" 400 No "The event's attributes are not in order";
    AttributeInvalid "attribute-invalid" 400 No "An attribute is not in order";
    QueryMalformed "query-malformed" 400 No "The query string contradicts itself or cannot be read";
    TypeMissing "type-missing" 400 No "The event has no type";
    TypeInvalid "type-invalid" 400 No "The event's type is no type name";
    DataMissing "data-missing" 400 No "The event has no data";
    HttpMalformed "http-malformed" 400 No "The request is not well-formed HTTP";
    KeyMissing "key-missing" 401 No "The request carries no key";
    KeyInvalid "key-invalid" 401 No "The key is not valid";
    KeyConflict "key-conflict" 401 No "Two places hold different keys";
    SignatureInvalid "signature-invalid" 401 No "The signature is not valid";
    KeyForbidden "key-forbidden" 403 No "The key may not do this";
    PathUnknown "path-unknown" 404 No "There is nothing at this path";
    MethodNotAllowed "method-not-allowed" 405 No "This path does not take this method";
    RequestTimeout "request-timeout" 408 Later "The request came too slowly";
    BodyTooLarge "body-too-large" 413 No "The body is too large";
    EventTooLarge "event-too-large" 413 No "The event is too large";
    TooManyEvents "too-many-events" 413 No "The request holds too many events";
    UriTooLong "uri-too-long" 414 No "The URI is too long";
    ContentTypeUnknown "content-type-unknown" 415 No "The content type is not known";
    ContentEncodingUnknown "content-encoding-unknown" 415 No "The content encoding is not known";
    AllRejected "all-rejected" 422 No "Every event was rejected";
    RateLimited "rate-limited" 429 Later "The partner's rate limit is reached";
    HeadersTooLarge "headers-too-large" 431 No "The header section is too large";
    Internal "internal" 500 Later "The gateway failed";
    Overloaded "overloaded" 503 Later "The gateway is overloaded";
    ShuttingDown "shutting-down" 503 Later "The gateway is shutting down";
    NoDurablePlace "no-durable-place" 503 Later "No durable place is left";

    // An event.
    SchemaViolation "schema-violation" 422 No "The event breaks its schema";
    SchemaUnknown "schema-unknown" 422 No "No schema is registered for the type";
    VersionUnknown "version-unknown" 422 No "The app version is below every schema of the type";
    VersionUnreadable "version-unreadable" 422 No "The app version cannot be read";
    UpgradeFailed "upgrade-failed" 422 No "The event cannot be brought to the latest version's form";
    RouteUnknown "route-unknown" 422 No "No route takes the event";
    PluginRejected "plugin-rejected" 422 No "The plugin refused the event";
    PluginFailed "plugin-failed" 422 No "The plugin failed";
    PluginUnavailable "plugin-unavailable" 422 No "The route's plugin has no active version that can run";
    DeliveryRefused "delivery-refused" 422 No "A destination refused the record for good";

    // The admin API.
    TokenMissing "token-missing" 401 No "The request carries no token";
    TokenInvalid "token-invalid" 401 No "The token is not valid";
    CertificateMissing "certificate-missing" 401 No "The connection shows no client certificate";
    IdentityProviderUnavailable "identity-provider-unavailable" 503 Later "The identity provider's keys cannot be read";
    RoleInsufficient "role-insufficient" 403 No "The token's role may not do this";
    NotFound "not-found" 404 No "There is no such resource";
    Conflict "conflict" 409 No "The resource is in the way of this change";
    PreconditionFailed "precondition-failed" 412 No "The resource has changed since it was read";
    InputInvalid "input-invalid" 422 No "The request's body or parameters are not in order";
    SchemaInvalid "schema-invalid" 422 No "The schema cannot be used";
    UpgradeRefused "upgrade-refused" 422 No "The upgrade does not lead to the newer schema";
    SchemaIncompatible "schema-incompatible" 409 No "The schema refuses what it must accept";
    SchemaReferenced "schema-referenced" 409 No "Other schemas refer to the schema";
    CompatibilityUnknown "compatibility-unknown" 409 No "Compatibility could not be proved";
    ComponentInvalid "component-invalid" 422 No "The upload is no plugin of this contract";
    ComponentImportForbidden "component-import-forbidden" 422 No "The component imports what no plugin may";
    ComponentTooCostly "component-too-costly" 422 No "The component is too costly to compile";
    ConfigurationRefused "configuration-refused" 422 No "The plugin refuses the route's configuration";
    TableInvalid "table-invalid" 422 No "The lookup table cannot be used";
    TableInUse "table-in-use" 409 No "Routes name the lookup table";
    StoreUnavailable "store-unavailable" 503 Later "The store cannot be reached";
}

impl std::fmt::Display for Code {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Code, UnknownCode> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| UnknownCode(text.chars().take(80).collect()))
    }
}

/// A text that is no code of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no code")]
pub struct UnknownCode(String);

/// One fault in a body, with a pointer into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Fault {
    /// JSON Pointer into the request's body.
    pub pointer: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyword: Option<String>,
}

/// A refusal of a whole request, as RFC 9457 shows it to whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    pub code: Code,
    /// For the sender: what is wrong and what to do. Never a secret, a payload or an internal name.
    pub detail: String,
    pub errors: Vec<Fault>,
    /// Seconds for `Retry-After`, where waiting helps.
    pub retry_after_s: Option<u32>,
    /// How a refused schema compares with its neighbours.
    pub compatibility: Option<Box<serde_json::Value>>,
    /// For `Allow`: the methods that the path takes.
    pub allow: Option<&'static str>,
    /// For `RateLimit`: which limit was reached.
    pub rate: Option<Box<RateState>>,
}

/// A rate limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateState {
    /// What is counted.
    pub name: &'static str,
    /// What may come at once …
    pub quota: u64,
    /// … within so many seconds.
    pub window_s: u64,
    /// Until there is room again.
    pub reset_s: u32,
}

/// The body of `application/problem+json`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProblemBody {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub code: Code,
    pub request_id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub compatibility: Option<Box<serde_json::Value>>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: match code.retry() {
                Retry::Later => Some(1),
                Retry::No => None,
            },
            compatibility: None,
            allow: None,
            rate: None,
        }
    }

    /// 405; `allow` lists the methods that the path takes (`"GET, POST, OPTIONS"`).
    pub fn method_not_allowed(allow: &'static str) -> Problem {
        Problem {
            allow: Some(allow),
            ..Problem::new(Code::MethodNotAllowed, format!("this path takes {allow}"))
        }
    }

    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Fault>) -> Problem {
        self.errors = errors;
        self
    }

    pub fn status(&self) -> u16 {
        self.code.status()
    }

    pub fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            kind: format!("https://headworks.dev/errors/{}", self.code),
            title: self.code.title().to_owned(),
            status: self.status(),
            detail: self.detail.clone(),
            code: self.code,
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
            compatibility: self.compatibility.clone(),
        }
    }
}
