//! `/v1/tokens`.

use axum::{body::Body, extract::State as Extract};
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, no_content, resource},
    body::{Names, read_json},
    caller::{Admin, Caller},
    input::{Faults, Input},
    jwt::SUBJECT_PREFIX,
    listing::{Listing, Query, page_of},
    precondition::Precondition,
};
use crate::{
    problem::{Code, Problem, ProblemBody},
    registry::{
        model::{Change, Role, Token},
        now,
        secret::{NewSecret, TOKEN_PREFIX},
    },
};

const NAME_CHARACTERS_MAX: usize = 100;

/// What a token shows of itself.
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    id: String,
    name: String,
    role: Role,
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
}

/// Which token is wanted.
#[derive(Serialize, ToSchema)]
pub struct NewToken {
    /// Stands in the log of changes.
    name: String,
    role: Role,
    /// RFC 3339; a token without it is good until it is deleted.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
}

/// A token that was just made: the only time that it is shown.
#[derive(Serialize, ToSchema)]
pub struct CreatedToken {
    id: String,
    name: String,
    role: Role,
    /// `hwt_…`
    token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
}

/// List tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", operation_id = "list_tokens",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<TokenView>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Admin>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    let page = page_of(query)?;
    let state = admin.registry.state();
    let listing = page.of_map(&state.tokens, |id, token| {
        Some(TokenView {
            id: id.clone(),
            name: token.value.name.clone(),
            role: token.value.role,
            created: token.value.created,
            expires: token.value.expires,
        })
    });
    listing.answer()
}

/// Make a token.
///
/// It is shown in this answer and never again.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", operation_id = "create_token",
    request_body = NewToken,
    responses((status = 201, body = CreatedToken), (status = "4XX", body = ProblemBody)))]
pub async fn create(caller: Caller<Admin>, Extract(admin): Extract<AdminState>, body: Body) -> Answer {
    let wanted = read(&read_json(body).await?)?;
    let secret = NewSecret::generate(TOKEN_PREFIX)?;
    let token = Token {
        id: secret.id.clone(),
        name: wanted.name.clone(),
        role: wanted.role,
        sha256: secret.sha256,
        created: now(),
        expires: wanted.expires,
    };
    let committed = admin
        .registry
        .commit(&caller.name, move |_| {
            Ok((Some(Change::CreateToken { token: token.clone() }), ()))
        })
        .await?;
    let created = CreatedToken {
        id: secret.id,
        name: wanted.name,
        role: wanted.role,
        token: secret.text,
        expires: wanted.expires,
    };
    resource(StatusCode::CREATED, committed.state.sequence, &created)
}

/// Delete a token.
///
/// It stops at once. The last token of role admin stays.
#[utoipa::path(delete, path = "/v1/tokens/{token_id}", tag = "tokens", operation_id = "delete_token",
    params(("token_id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    caller: Caller<Admin>,
    Extract(admin): Extract<AdminState>,
    Names(id): Names<String>,
    precondition: Precondition,
) -> Answer {
    admin
        .registry
        .commit(&caller.name, move |state| {
            precondition.check_known(state.tokens.get(&id), "token", &id)?;
            let mut without = state.clone();
            without.tokens.remove(&id);
            if state.has_admin(now()) && !without.has_admin(now()) {
                return Err(Problem::new(
                    Code::Conflict,
                    "this is the last token of role admin; make another before you delete it",
                ));
            }
            Ok((Some(Change::DeleteToken { id: id.clone() }), ()))
        })
        .await?;
    no_content()
}

fn read(value: &serde_json::Value) -> Result<NewToken, Problem> {
    let faults = Faults::default();
    let mut wanted = NewToken {
        name: String::new(),
        role: Role::Viewer,
        expires: None,
    };
    if let Some(members) = Input::root(value, &faults).members(&["name", "role", "expires"]) {
        let name = members.get("name").required().filled_text(NAME_CHARACTERS_MAX);
        wanted.name = name.unwrap_or_default().to_owned();
        if wanted.name.starts_with(SUBJECT_PREFIX) {
            let fault = format!(
                "must not begin with {SUBJECT_PREFIX}, as subjects of an identity provider do in the log"
            );
            members.get("name").fault(fault);
        }
        let role = members.get("role").required();
        let roles = ["viewer", "publisher", "operator", "admin"];
        wanted.role = role.choice(&roles).unwrap_or(Role::Viewer);
        let expires = members.get("expires");
        wanted.expires = expires.parsed();
        if wanted.expires.is_some_and(|time| time <= now()) {
            expires.fault("is past");
        }
    }
    faults.into_result()?;
    Ok(wanted)
}
