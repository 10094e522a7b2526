//! Events of other companies: call tracking, card payments, campaigns.

use serde_json::{Value, json};

use super::draw::{Draw, user_id};

const CAMPAIGNS: [&str; 4] = ["autumn_aircon", "moving-week", "brand_2026", "night-deal"];

pub(super) fn call_ended(draw: &mut Draw) -> Value {
    let talked_s = draw.between(3, 900);
    let rang_s = draw.between(2, 30);
    let result = draw.pick(&[
        "answered",
        "answered",
        "answered",
        "missed",
        "busy",
        "cancelled",
        "failed",
    ]);
    let number = draw.digits(7);
    let mut data = json!({
        "call_id": format!("CB-{}-{number}", draw.date(0).replace('-', "")),
        "virtual_number": format!("0507-0000-{}", draw.digits(4)),
        "caller_number": if draw.percent(10) { format!("+82-10-0000-{}", draw.digits(4)) } else { format!("010-0000-{}", draw.digits(4)) },
        "ended_at": draw.time_s(0),
        "result": result,
    });
    if result == "answered" {
        data["started_at"] = draw.time_s(-talked_s - rang_s).into();
        data["connected_at"] = draw.time_s(-talked_s).into();
        data["callee_number"] = format!("02-0000-{}", draw.digits(4)).into();
        data["recording_url"] = format!("https://rec.callbridge.example/{number}.mp3").into();
    } else {
        data["started_at"] = draw.time_s(-rang_s).into();
    }
    if draw.percent(10) {
        data["memo"] = draw
            .pick(&["방문 견적 문의", "예약 변경", "가격 문의\n재통화 요청"])
            .into();
    }
    data
}

const MERCHANT_ID: &str = "7810024419";

pub(super) fn card_approved_v1(draw: &mut Draw) -> Value {
    json!({
        "approval_no": draw.digits(8),
        "approved_at": draw.packed_time(),
        "amount": (draw.between(50, 9000) * 100).to_string(),
        "installment": draw.pick(&["00", "00", "00", "03", "12"]),
        "card_no": format!("{}-{}**-****-{}", draw.digits(4), draw.digits(2), draw.digits(4)),
        "merchant_id": MERCHANT_ID,
        "merchant_name": "하늘마켓",
    })
}

pub(super) fn card_approved_v2(draw: &mut Draw) -> Value {
    let amount = draw.between(50, 9000) * 100;
    json!({
        "approval_no": draw.digits(8),
        "approved_at": draw.time_s(0),
        "amount": amount,
        "vat": amount / 11,
        "currency": "KRW",
        "installment_months": draw.pick(&[0, 0, 0, 3, 6, 12]),
        "card": {
            "brand": draw.pick(&["domestic", "domestic", "visa", "mastercard"]),
            "masked_number": format!("{}******{}", draw.digits(6), draw.digits(4)),
            "kind": draw.pick(&["credit", "credit", "debit"]),
        },
        "merchant": {"id": MERCHANT_ID, "name": "하늘마켓"},
        "order_id": format!("H{}", draw.packed_time()),
    })
}

pub(super) fn card_cancelled(draw: &mut Draw) -> Value {
    let mut data = json!({
        "approval_no": draw.digits(8),
        "cancel_no": draw.digits(8),
        "cancelled_at": draw.time_s(0),
        "amount": draw.between(50, 9000) * 100,
        "currency": "KRW",
        "cancel_type": "full",
        "merchant": {"id": MERCHANT_ID},
    });
    if draw.percent(30) {
        data["cancel_type"] = "partial".into();
        data["remaining_amount"] = (draw.between(1, 900) * 100).into();
    }
    data
}

/// One text, or several as an array: what a query's repeated keys become.
fn repeated(draw: &mut Draw, choices: &[String]) -> Value {
    if draw.percent(50) {
        choices[0].as_str().into()
    } else {
        choices.into()
    }
}

pub(super) fn campaign_click(draw: &mut Draw) -> Value {
    let campaign = draw.pick(&CAMPAIGNS);
    let mut data = json!({
        "click_id": draw.uuid(),
        "campaign": campaign,
        "medium": draw.pick(&["search", "display", "social", "sms", "affiliate"]),
        "clicked_at": draw.epoch_s(),
        "creative_id": draw.between(10_000, 99_999),
        "cost": f64::from(draw.below(20_000)) / 10.0,
        "is_retargeting": draw.percent(30),
        "landing": format!("https://www.haneul.example/c/{campaign}?from=ad&v=2"),
        "keyword": repeated(draw, &["에어컨 청소".to_owned(), "aircon & cleaning".to_owned()]),
    });
    if draw.percent(60) {
        data["user"] = json!({"id": user_id(draw.user())});
    }
    data
}

pub(super) fn attribution_postback(draw: &mut Draw) -> Value {
    let event = draw.pick(&["install", "reopen", "signup", "purchase"]);
    let installed_at = draw.epoch_s() - draw.between(60, 7_000_000);
    let touches = [
        format!("adlink:{}", installed_at - 40),
        format!("sms_house:{}", installed_at - 5000),
    ];
    let mut data = json!({
        "event": event,
        "app_id": "kr.haneul.home",
        "os": draw.pick(&["ios", "android"]),
        "device_id": draw.uuid(),
        "network": draw.pick(&["adlink", "adlink", "sms_house", "organic"]),
        "installed_at": installed_at,
        "attributed": draw.percent(70),
        "touch": repeated(draw, &touches),
    });
    if event == "purchase" {
        data["revenue"] = (draw.between(50, 9000) * 100).into();
        data["currency"] = "KRW".into();
    }
    if event != "install" {
        data["user"] = json!({"id": user_id(draw.user())});
        data["campaign"] = draw.pick(&CAMPAIGNS).into();
    }
    data
}
