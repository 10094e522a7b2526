//! The ways in which senders get their data wrong.

use serde_json::Value;

use super::draw::Draw;

#[derive(Clone, Copy)]
enum Fault {
    Missing,
    Text(&'static str),
    Number(i64),
    Null,
    EmptyList,
    /// The member stands under a name that the schema does not ask for.
    Named(&'static str),
}

use Fault::{EmptyList, Missing, Named, Null, Number, Text};

/// Where a member is named here, the fault breaks every schema that has the member. Those of events that come by GET
/// are such as a query can say.
const FAULTS: &[(&str, Fault)] = &[
    // Apps before 4.2.0.
    ("/ts", Missing),
    ("/ts", Text("2026-11-02 10:15:30")),
    ("/os", Text("iOS")),
    ("/uid", Number(0)),
    ("/page", Missing),
    ("/first", Text("Y")),
    ("/q", Text("")),
    // Apps since.
    ("/occurred_at", Missing),
    ("/occurred_at", Text("2026-11-02 10:15:30")),
    ("/occurred_at", Text("2026-02-30T10:15:30+09:00")),
    ("/platform", Text("Android")),
    ("/user_id", Number(1_048_213)),
    ("/user_id", Text("")),
    ("/anonymous_id", Text("undefined")),
    ("/session_id", Text("c2a9d7f4-3e61-4b8c")),
    ("/session/id", Text("null")),
    ("/session/number", Number(0)),
    ("/screen", Named("screen_name")),
    ("/screen/name", Text("ServiceDetail")),
    ("/device", Missing),
    ("/device/os_version", Text("Android 14")),
    ("/consent", Missing),
    ("/consent/marketing", Text("Y")),
    ("/experiments", Null),
    ("/load_ms", Number(-1)),
    ("/launch", Text("cold")),
    ("/launch_type", Missing),
    ("/is_first", Number(1)),
    ("/via/type", Text("sms")),
    ("/query", Named("q")),
    ("/result_count", Text("42건")),
    ("/results_total", Missing),
    ("/filters", Text("cleaning")),
    ("/method", Null),
    ("/terms", Null),
    ("/push_id", Text("20261102017")),
    ("/message", Missing),
    ("/sent_at", Text("2026-11-02T10:00:00")),
    ("/service", Text("이사 청소")),
    ("/address", Text("서울특별시 마포구 연남동")),
    ("/preferred_date", Text("2026.11.14")),
    ("/slots", EmptyList),
    // Shop.
    ("/product_id", Null),
    ("/name", Null),
    ("/price", Number(-1)),
    ("/currency", Text("₩")),
    ("/quantity", Number(0)),
    ("/products", EmptyList),
    ("/products/0/price", Null),
    ("/order_id", Text("110731")),
    ("/checkout_id", Text("undefined")),
    ("/total", Number(-2000)),
    ("/payment", Text("cash")),
    ("/reason", Text("")),
    // Calls.
    ("/call_id", Missing),
    ("/caller_number", Text("발신번호표시제한")),
    ("/started_at", Text("20261102101530")),
    ("/ended_at", Missing),
    ("/connected_at", Missing),
    ("/result", Text("NO_ANSWER")),
    // Cards.
    ("/approval_no", Missing),
    ("/amount", Text("35,000원")),
    ("/card_no", Text("4579-7300-0000-1204")),
    ("/card/masked_number", Text("4579730000001204")),
    ("/cancel_type", Text("PART")),
    // Campaigns.
    ("/click_id", Text("{click_id}")),
    ("/clicked_at", Text("now")),
    ("/medium", Text("cpc_all")),
    ("/cost", Text("412.5KRW")),
    ("/device_id", Text("00000000")),
    ("/attributed", Text("yes")),
    ("/app_id", Missing),
    ("/event", Text("uninstall")),
];

/// Breaks one place of the data.
pub fn break_one(data: &mut Value, draw: &mut Draw) {
    let possible: Vec<(&str, Fault)> = FAULTS
        .iter()
        .copied()
        .filter(|(pointer, _)| data.pointer(pointer).is_some())
        .collect();
    let (pointer, fault) = draw.pick(&possible);
    let replacement = match fault {
        Missing => return take(data, pointer, None),
        Named(name) => return take(data, pointer, Some(name)),
        Text(text) => text.into(),
        Number(number) => number.into(),
        Null => Value::Null,
        EmptyList => Value::Array(Vec::new()),
    };
    if let Some(value) = data.pointer_mut(pointer) {
        *value = replacement;
    }
}

/// Takes a member of the data itself away, or puts it under another name.
fn take(data: &mut Value, pointer: &str, new_name: Option<&str>) {
    let Some(members) = data.as_object_mut() else {
        return;
    };
    let taken = members.remove(pointer.trim_start_matches('/'));
    if let (Some(name), Some(value)) = (new_name, taken) {
        members.insert(name.to_owned(), value);
    }
}
