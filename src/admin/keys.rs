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
    event::PartnerName,
    problem::{Code, Problem, ProblemBody},
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
}

/// Which key is wanted.
#[derive(Serialize, ToSchema)]
pub struct NewKey {
    kind: KeyKind,
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
    let kind = read(&read_json(body).await?)?;
    let (secret, signing_secret) = if kind == KeyKind::Signing {
        let (secret, signing) = NewSecret::generate_signing()?;
        (secret, Some(signing))
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
            let key = key.ok_or_else(|| not_found("key", &id))?;
            precondition.check(Some(key.sequence))?;
            let change = Change::RevokeKey {
                partner: partner.clone(),
                id: id.clone(),
            };
            Ok((Some(change), ()))
        })
        .await?;
    no_content()
}

fn read(value: &serde_json::Value) -> Result<KeyKind, Problem> {
    let faults = Faults::default();
    let kind = Input::root(value, &faults)
        .members(&["kind"])
        .and_then(|members| {
            members
                .get("kind")
                .required()
                .choice(&["secret", "publishable", "signing"])
        });
    faults.into_result()?;
    kind.ok_or_else(|| Problem::new(Code::InputInvalid, "kind is missing"))
}
