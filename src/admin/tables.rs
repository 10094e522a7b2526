//! `/v1/tables`: lookup tables, which plugins read.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::State as Extract};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, json, no_content, not_found, put_status, resource},
    body::{Names, known, named, read_within},
    caller::{Caller, Publisher, Viewer},
    listing::{Listing, Query, page_of},
    precondition::{Precondition, Put, decide_put},
};
use crate::{
    event::TableName,
    limits::{ByteSize, TABLE_KEY_BYTES, TABLE_UPLOAD_TIME_S, TABLE_UPLOADS_AT_ONCE},
    lookup::{self, TableSet},
    problem::{Code, Problem, ProblemBody},
    registry::{
        model::{Change, Digest, Plugin, Role, State, Table, TableFormat},
        now,
    },
};

/// The member or column that is the key where nobody says which.
const KEY_DEFAULT: &str = "key";
/// The interface through which a plugin looks something up.
const INTERFACE: &str = "headworks:plugin/tables@";

/// A lookup table, without its rows.
#[derive(Serialize, ToSchema)]
pub struct TableView {
    #[schema(value_type = String)]
    name: TableName,
    /// Goes up with each change of the rows.
    version: u64,
    format: TableFormat,
    /// The member or column whose value a row is found by.
    key: String,
    rows: u64,
    /// Bytes of the data as sent.
    size: u64,
    /// What each node needs for it.
    memory_bytes: u64,
    /// SHA-256 of the data as sent.
    #[schema(value_type = String)]
    digest: Digest,
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    by: String,
    /// The version that this node serves; absent where it has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<u64>,
    /// Why this node serves another version, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// One row of a table, as plugins get it.
#[derive(Serialize, ToSchema)]
pub struct TableRow {
    #[schema(value_type = String)]
    table: TableName,
    version: u64,
    key: String,
    #[schema(value_type = Object)]
    row: Box<RawValue>,
}

fn view(admin: &AdminState, set: &TableSet, name: &TableName, table: &Table) -> TableView {
    let in_force = set.held(name).map(|held| held.version);
    let detail = (in_force != Some(table.version)).then(|| {
        let fault = admin.lookups.fault(name, table.version);
        fault.map_or_else(|| "it is being loaded".to_owned(), |fault| fault.to_string())
    });
    TableView {
        name: name.clone(),
        version: table.version,
        format: table.format,
        key: table.key.clone(),
        rows: table.rows,
        size: table.size,
        memory_bytes: table.memory_bytes,
        digest: table.digest,
        created: table.created,
        by: table.by.clone(),
        in_force,
        detail,
    }
}

/// List lookup tables, by name.
#[utoipa::path(get, path = "/v1/tables", tag = "tables", operation_id = "list_tables",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<TableView>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    let page = page_of(query)?;
    let state = admin.registry.state();
    let set = (admin.actions.lookup_tables)();
    page.of_map(&state.tables, |name, known| {
        Some(view(&admin, &set, name, &known.value))
    })
    .answer()
}

/// A lookup table, without its rows.
#[utoipa::path(get, path = "/v1/tables/{table}", tag = "tables", operation_id = "get_table",
    params(("table" = String, Path)),
    responses((status = 200, body = TableView), (status = "4XX", body = ProblemBody)))]
pub async fn get(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
) -> Answer {
    let name: TableName = known("table", &name)?;
    let state = admin.registry.state();
    let known = state
        .tables
        .get(&name)
        .ok_or_else(|| not_found("table", name.as_str()))?;
    let set = (admin.actions.lookup_tables)();
    resource(
        StatusCode::OK,
        known.sequence,
        &view(&admin, &set, &name, &known.value),
    )
}

/// One row of a lookup table, as plugins on this node get it.
#[utoipa::path(get, path = "/v1/tables/{table}/row", tag = "tables", operation_id = "get_table_row",
    params(("table" = String, Path), ("key" = String, Query)),
    responses((status = 200, body = TableRow), (status = "4XX", body = ProblemBody)))]
pub async fn row(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    query.allow(&["key"]);
    let key = query.text("key");
    if key.is_none() {
        query.fault("key", "must say which row");
    }
    query.finish()?;
    let name: TableName = known("table", &name)?;
    if !admin.registry.state().tables.contains_key(&name) {
        return Err(not_found("table", name.as_str()).into());
    }
    let set = (admin.actions.lookup_tables)();
    let table = set
        .find(name.as_str())
        .map_err(|reason| Problem::new(Code::NotFound, reason))?;
    let key = key.unwrap_or_default();
    let row = table
        .rows
        .get(&key)
        .ok_or_else(|| not_found(&format!("row in {} under the key", table.label), &key))?;
    let row = RawValue::from_string(row.to_owned()).map_err(|error| {
        tracing::error!(table = %name, %error, "a row of a table is no JSON");
        Problem::new(Code::Internal, "the row cannot be shown")
    })?;
    let shown = TableRow {
        table: name,
        version: table.version,
        key,
        row,
    };
    json(StatusCode::OK, &shown)
}

/// Put a lookup table: all of its rows, in the place of those before.
///
/// The body is NDJSON, an object a line, or CSV with a row of names
/// before the others. `key` names the member or column whose value a row is found by; without it that is `key`. One
/// line at fault, or a key that stands there twice, refuses the whole.
#[utoipa::path(put, path = "/v1/tables/{table}", tag = "tables", operation_id = "put_table",
    params(("table" = String, Path), ("key" = Option<String>, Query), ("If-Match" = Option<String>, Header)),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 200, body = TableView), (status = 201, body = TableView),
        (status = "4XX", body = ProblemBody)))]
pub async fn put(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    query: Query,
    precondition: Precondition,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    static UPLOADS: Semaphore = Semaphore::const_new(TABLE_UPLOADS_AT_ONCE);
    query.allow(&["key"]);
    let key = query.text("key").unwrap_or_else(|| KEY_DEFAULT.to_owned());
    if key.len() > TABLE_KEY_BYTES {
        query.fault("key", &format!("must have at most {TABLE_KEY_BYTES} bytes"));
    }
    query.finish()?;
    let name: TableName = named(&name)?;
    let format = format_of(&headers)?;
    let _turn = UPLOADS
        .acquire()
        .await
        .map_err(|_| Problem::new(Code::ShuttingDown, "the gateway is shutting down"))?;
    let bytes_max = admin.limits.table_bytes;
    let data = read_within(body, bytes_max, Duration::from_secs(TABLE_UPLOAD_TIME_S)).await?;
    let (rows, table) = examine(data.clone(), format, key, bytes_max, caller.name.clone()).await?;
    let rows = Arc::new(rows);
    let state = admin.registry.state();
    check_room(&state, &name, &table, admin.lookups.memory_max())?;
    // Also where the table is there already: it mends what the store has lost.
    admin.registry.put_blob(data).await?;
    let memory_max = admin.lookups.memory_max();
    let offer = admin.lookups.offer(&table, rows);
    let committed = admin
        .registry
        .commit(&caller.name, {
            let name = name.clone();
            move |state| decide(state, &name, &table, &precondition, memory_max)
        })
        .await?;
    drop(offer);
    let put = committed.outcome;
    let table = committed
        .state
        .tables
        .get(&name)
        .ok_or_else(|| not_found("table", name.as_str()))?;
    let set = (admin.actions.lookup_tables)();
    resource(
        put_status(put.created),
        put.sequence(committed.state.sequence),
        &view(&admin, &set, &name, &table.value),
    )
}

fn decide(
    state: &State,
    name: &TableName,
    table: &Table,
    precondition: &Precondition,
    memory_max: ByteSize,
) -> Result<(Option<Change>, Put), Problem> {
    check_room(state, name, table, memory_max)?;
    let known = state.tables.get(name);
    let wanted = match known {
        Some(known) if known.value.holds_the_same(table) => known.value.clone(),
        _ => Table {
            version: state.next_table_version(name),
            ..table.clone()
        },
    };
    decide_put(known, precondition, &wanted, || Change::PutTable {
        name: name.clone(),
        table: wanted.clone(),
    })
}

fn format_of(headers: &HeaderMap) -> Result<TableFormat, Problem> {
    let sent = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = sent
        .and_then(|sent| sent.split(';').next())
        .unwrap_or_default()
        .trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(TableFormat::Ndjson),
        "text/csv" => Ok(TableFormat::Csv),
        _ => Err(Problem::new(
            Code::ContentTypeUnknown,
            "say what the table is with the header Content-Type: application/x-ndjson or text/csv",
        )),
    }
}

/// Reads the rows; the version is given when they are registered.
async fn examine(
    data: Bytes,
    format: TableFormat,
    key: String,
    bytes_max: ByteSize,
    by: String,
) -> Result<(lookup::Rows, Table), Problem> {
    let reading = tokio::task::spawn_blocking(move || {
        let rows = lookup::read(&data, format, &key, bytes_max)?;
        let table = Table {
            version: 0,
            digest: Digest::of(&data),
            format,
            key,
            rows: rows.len() as u64,
            size: data.len() as u64,
            memory_bytes: rows.memory_bytes(),
            created: now(),
            by,
        };
        Ok((rows, table))
    });
    reading.await.unwrap_or_else(|error| {
        tracing::error!(%error, "reading a table broke off");
        Err(Problem::new(Code::Internal, "the table could not be read"))
    })
}

/// Every node must have room for all tables; one that has less says so in its readiness.
fn check_room(state: &State, name: &TableName, table: &Table, max: ByteSize) -> Result<(), Problem> {
    let others = state.tables.iter().filter(|(other, _)| *other != name);
    let others: u64 = others.map(|(_, known)| known.value.memory_bytes).sum();
    if others.saturating_add(table.memory_bytes) <= max.0 {
        return Ok(());
    }
    Err(Problem::new(
        Code::TableInvalid,
        format!(
            "the table needs {} of memory, and the others have {} of the {max} that all may have \
             (limits.tables_memory_bytes)",
            ByteSize(table.memory_bytes),
            ByteSize(others)
        ),
    ))
}

/// Delete a lookup table.
///
/// Refused where a route runs a plugin that looks tables up and
/// names this one in its configuration; `force` (role operator) deletes it all the same. Events that look it up wait in
/// quarantine.
#[utoipa::path(delete, path = "/v1/tables/{table}", tag = "tables", operation_id = "delete_table",
    params(("table" = String, Path), ("force" = Option<bool>, Query), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    query: Query,
    precondition: Precondition,
) -> Answer {
    query.allow(&["force"]);
    let force = query.flag("force");
    query.finish()?;
    if force {
        caller.require(Role::Operator, "force")?;
    }
    let name: TableName = known("table", &name)?;
    admin
        .registry
        .commit(&caller.name, move |state| {
            precondition.check_known(state.tables.get(&name), "table", name.as_str())?;
            let routes = routes_that_name(state, &name);
            if !routes.is_empty() && !force {
                return Err(Problem::new(
                    Code::TableInUse,
                    format!(
                        "the table is named by the configuration of {}, whose plugin looks tables up: without it their \
                         events would wait in quarantine. Change them first, or give force=true (role operator)",
                        routes.join(", ")
                    ),
                ));
            }
            let change = Change::DeleteTable {
                name: name.clone(),
                forced: !routes.is_empty(),
            };
            Ok((Some(change), ()))
        })
        .await?;
    no_content()
}

/// Routes whose plugin may look the table up, as far as their configuration tells.
fn routes_that_name(state: &State, table: &TableName) -> Vec<String> {
    let looks_up = |plugin: &Plugin| {
        let rest = plugin.split().map(|(_, rest)| rest);
        let versions = plugin.active_version().into_iter().chain(rest);
        versions
            .flat_map(|version| &version.imports)
            .any(|import| import.starts_with(INTERFACE))
    };
    let is_named = |config: &Value| holds_text(config, table.as_str());
    state
        .routes
        .iter()
        .filter(|(_, route)| {
            let plugin = route
                .value
                .plugin
                .as_ref()
                .and_then(|plugin| state.plugins.get(plugin));
            plugin.is_some_and(|plugin| looks_up(&plugin.value))
                && route.value.config.as_ref().is_some_and(is_named)
        })
        .map(|(name, _)| format!("the route {name}"))
        .collect()
}

fn holds_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(known) => known == text,
        Value::Array(elements) => elements.iter().any(|element| holds_text(element, text)),
        Value::Object(members) => members.values().any(|member| holds_text(member, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
