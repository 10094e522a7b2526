//! `/v1/partners/{partner}/keys`.

use axum::{body::Body, extract::State as Extract};
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, no_content, not_found, resource},
    body::{Names, known, read_json},
    caller::{Caller, Operator, Viewer},
    input::{Faults, Input},
    listing::{Listing, Query, page_of},
    precondition::Precondition,
};
use crate::{
    event::{EventType, PartnerName},
    limits::EVENT_TYPE_BYTES,
    problem::{Problem, ProblemBody},
    registry::{
        model::{Change, Key, KeyKind},
        now,
        secret::{KEY_PREFIX, NewSecret},
    },
};

/// What a key shows of itself.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    id: String,
    kind: KeyKind,
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
    /// Types that it may send; absent: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    /// To the second, as this node has seen since its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used: Option<Timestamp>,
}

/// Which key is wanted.
#[derive(Serialize, ToSchema)]
pub struct NewKey {
    kind: KeyKind,
    /// From then on it is no key; absent: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
    /// Types that it may send, `order.*` a prefix; absent: any.
    #[schema(value_type = Option<Vec<String>>)]
    types: Vec<String>,
    /// For kind `signing`: what a sender signs with that makes its secret itself. Absent: one is made.
    #[schema(value_type = Option<String>)]
    secret: Option<String>,
}

/// A key that was just made: the only time that its secret is shown.
#[derive(Serialize, ToSchema)]
pub struct CreatedKey {
    id: String,
    kind: KeyKind,
    /// `hw_…`; for kinds `secret` and `publishable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// `whsec_…`; for kind `signing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// List a partner's live keys, without their secrets.
#[utoipa::path(get, path = "/v1/partners/{partner}/keys", tag = "partners", operation_id = "list_keys",
    params(("partner" = String, Path), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<KeyView>), (status = "4XX", body = ProblemBody)))]
pub async fn list(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names(partner): Names<String>,
    query: Query,
) -> Answer {
    let page = page_of(query)?;
    let state = admin.registry.state();
    if !state.partners.contains_key(partner.as_str()) {
        return Err(not_found("partner", &partner).into());
    }
    let listing = page.of_map(&state.keys, |id, key| {
        (key.value.partner.as_str() == partner).then(|| KeyView {
            id: id.clone(),
            kind: key.value.kind,
            created: key.value.created,
            expires: key.value.expires,
            types: key.value.types.clone(),
            last_used: (admin.actions.key_used)(id),
        })
    });
    listing.answer()
}

/// Make a key.
///
/// Its secret is shown in this answer and never again.
#[utoipa::path(post, path = "/v1/partners/{partner}/keys", tag = "partners", operation_id = "create_key",
    params(("partner" = String, Path)), request_body = NewKey,
    responses((status = 201, body = CreatedKey), (status = "4XX", body = ProblemBody)))]
pub async fn create(
    caller: Caller<Operator>,
    Extract(admin): Extract<AdminState>,
    Names(partner): Names<String>,
    body: Body,
) -> Answer {
    let partner: PartnerName = known("partner", &partner)?;
    let wanted = read(&read_json(body).await?)?;
    let kind = wanted.kind;
    let (secret, signing_secret) = if kind == KeyKind::Signing {
        let (secret, signing) = NewSecret::generate_signing(wanted.secret)?;
        let sealed = admin.sealer.seal(&secret.id, &signing)?;
        (secret, Some(sealed))
    } else {
        (NewSecret::generate(KEY_PREFIX)?, None)
    };
    let key = Key {
        id: secret.id.clone(),
        partner,
        kind,
        sha256: secret.sha256,
        signing_secret,
        created: now(),
        expires: wanted.expires,
        types: wanted.types,
    };
    let committed = admin
        .registry
        .commit(&caller.name, move |state| {
            if !state.partners.contains_key(&key.partner) {
                return Err(not_found("partner", key.partner.as_str()));
            }
            Ok((Some(Change::CreateKey { key: key.clone() }), ()))
        })
        .await?;
    let (key, secret_text) = match kind {
        KeyKind::Signing => (None, Some(secret.text)),
        KeyKind::Secret | KeyKind::Publishable => (Some(secret.text), None),
    };
    let created = CreatedKey {
        id: secret.id,
        kind,
        key,
        secret: secret_text,
    };
    resource(StatusCode::CREATED, committed.state.sequence, &created)
}

/// Revoke a key.
///
/// It stops within 5 s on every node.
#[utoipa::path(delete, path = "/v1/partners/{partner}/keys/{key_id}", tag = "partners", operation_id = "revoke_key",
    params(("partner" = String, Path), ("key_id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn revoke(
    caller: Caller<Operator>,
    Extract(admin): Extract<AdminState>,
    Names((partner, id)): Names<(String, String)>,
    precondition: Precondition,
) -> Answer {
    let partner: PartnerName = known("partner", &partner)?;
    admin
        .registry
        .commit(&caller.name, move |state| {
            let key = state.keys.get(&id).filter(|key| key.value.partner == partner);
            precondition.check_known(key, "key", &id)?;
            let change = Change::RevokeKey {
                partner: partner.clone(),
                id: id.clone(),
            };
            Ok((Some(change), ()))
        })
        .await?;
    no_content()
}

const TYPES_MAX: usize = 100;
const SECRET_CHARACTERS_MIN: usize = 8;
const SECRET_CHARACTERS_MAX: usize = 200;

fn read(value: &serde_json::Value) -> Result<NewKey, Problem> {
    let faults = Faults::default();
    let mut wanted = NewKey {
        kind: KeyKind::Secret,
        expires: None,
        types: Vec::new(),
        secret: None,
    };
    if let Some(members) = Input::root(value, &faults).members(&["kind", "expires", "types", "secret"]) {
        let kind = members.get("kind").required();
        wanted.kind = kind
            .choice(&["secret", "publishable", "signing"])
            .unwrap_or(KeyKind::Secret);
        let expires = members.get("expires");
        wanted.expires = expires.parsed();
        if wanted.expires.is_some_and(|time| time <= now()) {
            expires.fault("is past");
        }
        for pattern in members.get("types").elements(TYPES_MAX) {
            wanted.types.extend(type_pattern(&pattern));
        }
        let secret = members.get("secret");
        wanted.secret = secret.filled_text(SECRET_CHARACTERS_MAX).map(str::to_owned);
        if secret.is_present() && wanted.kind != KeyKind::Signing {
            secret.fault("is only for kind signing: the other kinds' secrets are made here");
        }
        if let Some(text) = &wanted.secret
            && text.chars().count() < SECRET_CHARACTERS_MIN
        {
            secret.fault(format!("must have at least {SECRET_CHARACTERS_MIN} characters"));
        }
    }
    faults.into_result()?;
    Ok(wanted)
}

/// A type, or a prefix of types such as `order.*`.
fn type_pattern(input: &Input<'_>) -> Option<String> {
    let text = input.filled_text(EVENT_TYPE_BYTES)?;
    let name = text.strip_suffix('*').unwrap_or(text);
    if !name.is_empty() && name.parse::<EventType>().is_err() && name != "." {
        input.fault("must be an event type, or a prefix of types such as \"order.*\"");
        return None;
    }
    Some(text.to_owned())
}
