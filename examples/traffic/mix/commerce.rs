//! Events of the shop.

use serde_json::{Value, json};

use super::{
    Client, Shape,
    app::identified,
    draw::{Draw, user_id},
};

/// Number, stock-keeping unit, name, category, brand and price in won.
type Product = (u32, &'static str, &'static str, &'static str, &'static str, i64);

const PRODUCTS: [Product; 8] = [
    (
        1_029_384,
        "AF-55-BK",
        "하늘 에어프라이어 5.5L",
        "kitchen/airfryer",
        "Haneul Home",
        89_000,
    ),
    (
        2_048_110,
        "FL-3P",
        "정수기 필터 3개입",
        "appliance/filter",
        "Mulsaem",
        27_900,
    ),
    (
        1_187_205,
        "VC-20-WH",
        "무선 청소기 V20",
        "appliance/vacuum",
        "Solbaram",
        329_000,
    ),
    (
        3_310_042,
        "TW-40-GR",
        "호텔 수건 40수 10장",
        "living/towel",
        "Onsaemiro",
        34_500,
    ),
    (
        3_310_977,
        "PL-02",
        "몬스테라 화분",
        "living/plant",
        "Pureun",
        42_000,
    ),
    (
        4_100_518,
        "LT-E26-4",
        "LED 전구 E26 4개입",
        "living/light",
        "Bitgaram",
        12_800,
    ),
    (
        1_544_803,
        "HM-7L",
        "초음파 가습기 7L",
        "appliance/humidifier",
        "Solbaram",
        64_900,
    ),
    (
        2_230_661,
        "KN-6",
        "식도 6종 세트 \"명인\"",
        "kitchen/knife",
        "Kalnal",
        118_000,
    ),
];

fn order_id(draw: &mut Draw) -> String {
    format!("H{}", draw.packed_time())
}

/// A product's members as every event from 5.0.0 on has them, without quantity.
fn described((number, sku, name, category, brand, price): Product) -> Value {
    json!({
        "product_id": format!("P-{number}"),
        "sku": sku,
        "name": name,
        "category": category,
        "brand": brand,
        "price": price,
    })
}

/// One to three products, and what they cost together in won.
fn basket(draw: &mut Draw) -> (Vec<(Product, i64)>, i64) {
    let lines: Vec<(Product, i64)> = (0..draw.between(1, 3))
        .map(|_| (draw.pick(&PRODUCTS), draw.between(1, 4)))
        .collect();
    let sum = lines.iter().map(|(product, quantity)| product.5 * quantity).sum();
    (lines, sum)
}

fn lines_described(lines: &[(Product, i64)]) -> Value {
    lines
        .iter()
        .map(|&(product, quantity)| {
            let mut line = described(product);
            line["quantity"] = quantity.into();
            line
        })
        .collect()
}

pub(super) fn product_viewed(draw: &mut Draw, client: &Client) -> Value {
    let product = draw.pick(&PRODUCTS);
    let mut data = if client.shape == Shape::V4_2 {
        json!({
            "product_id": product.0,
            "name": product.2,
            "category": product.3,
            "price": product.5.to_string(),
        })
    } else {
        let mut data = described(product);
        data["currency"] = "KRW".into();
        data["position"] = draw.between(1, 60).into();
        data["url"] = format!("https://www.haneul.example/p/{}", product.0).into();
        data["image_url"] = format!("https://img.haneul.example/p/{}.webp", product.0).into();
        data
    };
    data["occurred_at"] = draw.time(0).into();
    identified(data, draw, client)
}

pub(super) fn product_added(draw: &mut Draw, client: &Client) -> Value {
    let mut data = described(draw.pick(&PRODUCTS));
    data["occurred_at"] = draw.time(0).into();
    data["cart_id"] = draw.uuid().into();
    data["quantity"] = draw.between(1, 4).into();
    data["currency"] = "KRW".into();
    identified(data, draw, client)
}

pub(super) fn checkout_started(draw: &mut Draw, client: &Client) -> Value {
    let (lines, sum) = basket(draw);
    let mut data = json!({
        "user_id": user_id(client.user),
        "occurred_at": draw.time(0),
        "checkout_id": draw.uuid(),
        "value": sum,
        "shipping": if sum < 50_000 { 3000 } else { 0 },
        "currency": "KRW",
        "products": lines_described(&lines),
    });
    if draw.percent(30) {
        data["coupon"] = "HELLO5000".into();
        data["discount"] = 5000.into();
    }
    data
}

pub(super) fn order_completed(draw: &mut Draw, client: &Client) -> Value {
    let (lines, sum) = basket(draw);
    let user_id = user_id(client.user);
    if client.shape == Shape::V4_2 {
        let products: Value = lines
            .iter()
            .map(|(product, quantity)| {
                json!({"product_id": product.0, "price": product.5.to_string(), "quantity": quantity})
            })
            .collect();
        return json!({
            "user_id": user_id,
            "occurred_at": draw.time_s(0),
            "order_id": order_id(draw),
            "total": sum.to_string(),
            "payment": draw.pick(&["card", "transfer", "points"]),
            "products": products,
        });
    }
    let payment = match draw.below(10) {
        0 => json!({"method": "points", "points": sum}),
        1 | 2 => json!({"method": "transfer", "bank": draw.pick(&["하늘은행", "가온은행"])}),
        _ => {
            json!({"method": "card", "issuer": "Baram Card", "installment_months": draw.pick(&[0, 0, 0, 3, 6])})
        }
    };
    json!({
        "user_id": user_id,
        "occurred_at": draw.time(0),
        "order_id": order_id(draw),
        "checkout_id": draw.uuid(),
        "total": sum,
        "revenue": sum,
        "tax": sum / 11,
        "currency": "KRW",
        "payment": payment,
        "products": lines_described(&lines),
    })
}

pub(super) fn order_refunded(draw: &mut Draw, client: &Client) -> Value {
    let (lines, sum) = basket(draw);
    let reason = draw.pick(&["changed_mind", "damaged", "late", "wrong_item", "other"]);
    let mut data = json!({
        "user_id": user_id(client.user),
        "occurred_at": draw.time(0),
        "order_id": order_id(draw),
        "refund_id": draw.uuid(),
        "total": sum,
        "currency": "KRW",
        "reason": reason,
        "products": lines_described(&lines),
    });
    if reason == "other" {
        data["note"] = "배송지를 잘못 적었어요 😥".into();
    }
    data
}
