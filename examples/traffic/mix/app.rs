//! Events of the apps and the web pages, in the shape of each release.

use serde_json::{Value, json};

use super::{
    Client, Shape,
    draw::{Draw, anonymous_id, user_id},
};

const SCREENS: [(&str, &str, &str); 8] = [
    ("home", "Home", "하늘"),
    ("search", "Search", "검색"),
    ("service", "Service", "에어컨 청소"),
    ("service_list", "ServiceList", "청소·이사"),
    ("product", "Product", "하늘 에어프라이어"),
    ("cart", "Cart", "장바구니"),
    ("my_bookings", "Bookings", "내 예약"),
    ("event", "Event", "가을맞이 할인"),
];
/// Model, width and height.
type Phone = (&'static str, i64, i64);

const ANDROID_PHONES: [Phone; 4] = [
    ("SM-S921N", 412, 915),
    ("SM-A546S", 384, 854),
    ("SM-F731N", 360, 880),
    ("Pixel 8", 412, 892),
];
const APPLE_PHONES: [Phone; 3] = [
    ("iPhone15,4", 393, 852),
    ("iPhone14,5", 390, 844),
    ("iPhone12,8", 375, 667),
];
const ANDROID_VERSIONS: [&str; 4] = ["11", "12", "13", "14"];
const APPLE_VERSIONS: [&str; 4] = ["15.8.3", "16.7", "17.6.1", "18.1"];
const LOCALES: [&str; 8] = [
    "ko-KR", "ko-KR", "ko-KR", "ko-KR", "ko-KR", "en-US", "ja-JP", "zh-CN",
];
const QUERIES: [&str; 10] = [
    "에어컨 청소",
    "입주 청소",
    "도배 장판",
    "이사 견적",
    "정수기 필터",
    "에어프라이어",
    "싱크대 교체",
    "方巾",
    "aircon cleaning",
    "엘지 세탁기 \"분해\" 청소",
];
const CATEGORIES: [&str; 5] = ["cleaning", "moving", "interior", "kitchen", "appliance"];
const CAMPAIGNS: [&str; 4] = ["autumn_aircon", "spring_cleaning", "night-deal", "welcome5000"];

/// Adds who it was, as every release from 4.2.0 on does.
pub(super) fn identified(mut data: Value, draw: &mut Draw, client: &Client) -> Value {
    if client.member {
        data["user_id"] = user_id(client.user).into();
    }
    if !client.member || draw.percent(50) {
        data["anonymous_id"] = anonymous_id(client.user).into();
    }
    data
}

fn legacy(draw: &mut Draw, client: &Client, mut data: Value) -> Value {
    data["ts"] = draw.epoch_ms().into();
    data["os"] = client.platform.into();
    if client.member {
        data["uid"] = (1_000_000 + client.user).into();
    }
    data
}

fn session(draw: &mut Draw) -> Value {
    json!({"id": draw.uuid(), "number": draw.between(1, 400)})
}

fn phone(draw: &mut Draw, client: &Client) -> Phone {
    match client.platform {
        "ios" => draw.pick(&APPLE_PHONES),
        _ => draw.pick(&ANDROID_PHONES),
    }
}

fn os_version(draw: &mut Draw, client: &Client) -> &'static str {
    match client.platform {
        "ios" => draw.pick(&APPLE_VERSIONS),
        _ => draw.pick(&ANDROID_VERSIONS),
    }
}

fn device(draw: &mut Draw, client: &Client) -> Value {
    json!({
        "model": phone(draw, client).0,
        "os_version": os_version(draw, client),
        "locale": draw.pick(&LOCALES),
    })
}

fn consent(draw: &mut Draw) -> Value {
    json!({"analytics": true, "marketing": draw.percent(55)})
}

fn network(draw: &mut Draw) -> Value {
    if draw.percent(60) {
        json!({"type": "wifi"})
    } else {
        json!({"type": draw.pick(&["5g", "lte"]), "carrier": draw.pick(&["Maru", "Gaon", "Nuri"])})
    }
}

pub(super) fn page_view(draw: &mut Draw, client: &Client) -> Value {
    let (name, class, title) = draw.pick(&SCREENS);
    let previous = draw.pick(&SCREENS).0;
    let data = match client.shape {
        Shape::V3_0 => {
            let data = json!({
                "page": title,
                "os_ver": os_version(draw, client),
                "lang": draw.pick(&["ko_KR", "ko_KR", "en"]),
                "stay_sec": f64::from(draw.below(6000)) / 10.0,
            });
            return legacy(draw, client, data);
        }
        Shape::V4_2 => json!({
            "session_id": draw.uuid(),
            "occurred_at": draw.time_s(0),
            "screen_name": name,
            "platform": client.platform,
            "os_version": os_version(draw, client),
            "locale": draw.pick(&LOCALES),
            "referrer": format!("/{previous}"),
            "stay_ms": draw.between(200, 600_000),
        }),
        Shape::V5_0 => json!({
            "session_id": draw.uuid(),
            "occurred_at": draw.time(0),
            "platform": client.platform,
            "screen": {"name": name, "class": format!("{class}View"), "previous": previous},
            "device": device(draw, client),
            "load_ms": draw.between(40, 4000),
        }),
        Shape::V5_9 => json!({
            "session": session(draw),
            "occurred_at": draw.time(0),
            "platform": client.platform,
            "screen": {"name": name, "previous": previous},
            "device": device(draw, client),
            "network": network(draw),
            "consent": consent(draw),
            "load_ms": draw.between(40, 4000),
        }),
        Shape::V5_10 => newest_page_view(draw, client, (name, class, title), previous),
    };
    identified(data, draw, client)
}

fn newest_page_view(
    draw: &mut Draw,
    client: &Client,
    (name, class, title): (&str, &str, &str),
    previous: &str,
) -> Value {
    let mut device = device(draw, client);
    let (model, width, height) = phone(draw, client);
    device["model"] = model.into();
    device["timezone"] = draw.pick(&["Asia/Seoul", "Asia/Seoul", "Asia/Tokyo"]).into();
    device["width"] = width.into();
    device["height"] = height.into();
    let mut experiments = Vec::new();
    for id in ["quote_form", "home_tabs", "price_badge"] {
        if draw.percent(50) {
            let variant = draw.pick(&["control", "a", "b", "c"]);
            experiments.push(json!({"id": id, "variant": variant}));
        }
    }
    let mut data = json!({
        "occurred_at": draw.time(0),
        "sequence": draw.between(1, 300),
        "session": session(draw),
        "platform": client.platform,
        "screen": {"name": name, "class": class, "title": title, "previous": previous},
        "device": device,
        "network": network(draw),
        "consent": consent(draw),
        "experiments": experiments,
        "region": draw.pick(&["KR-11", "KR-26", "KR-41", "KR-50"]),
        "load_ms": draw.between(40, 4000),
        "is_first_view": draw.percent(8),
    });
    if client.platform == "web" {
        data["url"] = format!("https://www.haneul.example/s/{}", draw.below(10_000)).into();
        data["referrer"] = draw
            .pick(&["https://search.example/", "https://www.haneul.example/"])
            .into();
    }
    data
}

pub(super) fn opened(draw: &mut Draw, client: &Client) -> Value {
    if client.shape == Shape::V3_0 {
        let data = json!({"first": draw.below(2), "via": draw.pick(&["icon", "push", "link"])});
        return legacy(draw, client, data);
    }
    let mut data = json!({
        "anonymous_id": anonymous_id(client.user),
        "occurred_at": draw.time(0),
        "platform": client.platform,
    });
    if client.member {
        data["user_id"] = user_id(client.user).into();
    }
    if client.shape == Shape::V4_2 {
        data["session_id"] = draw.uuid().into();
        data["is_first"] = draw.percent(4).into();
        data["launch_type"] = draw.pick(&["cold", "warm"]).into();
        data["via"] = draw.pick(&["icon", "push", "link"]).into();
        return data;
    }
    data["device"] = device(draw, client);
    data["launch"] =
        json!({"type": draw.pick(&["cold", "warm", "hot"]), "duration_ms": draw.between(90, 5000)});
    data["via"] = if draw.percent(20) {
        json!({"type": "deep_link", "url": format!("haneul://services/{}", draw.below(10_000))})
    } else {
        json!({"type": draw.pick(&["icon", "push", "widget"])})
    };
    if client.shape == Shape::V5_10 {
        let days = draw.between(0, 900);
        data["session"] = session(draw);
        data["consent"] = consent(draw);
        data["install"] = json!({"installed_at": draw.time_s(-days * 86_400), "days_since": days});
    } else {
        data["session_id"] = draw.uuid().into();
        data["is_first"] = draw.percent(4).into();
    }
    data
}

pub(super) fn search(draw: &mut Draw, client: &Client) -> Value {
    let query = draw.pick(&QUERIES);
    let found = draw.between(0, 500);
    if client.shape == Shape::V3_0 {
        return legacy(draw, client, json!({"q": query, "cnt": found}));
    }
    let mut data = json!({
        "occurred_at": draw.time(0),
        "platform": client.platform,
        "query": query,
    });
    let category = draw.pick(&CATEGORIES);
    if client.shape == Shape::V5_10 {
        data["session"] = session(draw);
        data["filters"] = if draw.percent(40) {
            json!([{"name": "category", "value": category}, {"name": "price_max", "value": draw.between(1, 50) * 10_000}])
        } else {
            json!([])
        };
        data["results"] = (1..=found.min(3))
            .map(|position| json!({"item_id": format!("S-{}", draw.digits(4)), "position": position}))
            .collect();
        data["results_total"] = found.into();
        return identified(data, draw, client);
    }
    data["session_id"] = draw.uuid().into();
    data["result_count"] = found.into();
    match client.shape {
        Shape::V4_2 => data["category"] = category.into(),
        _ => data["filters"] = json!({"category": category, "sort": draw.pick(&["popular", "nearby"])}),
    }
    identified(data, draw, client)
}

pub(super) fn signup_completed(draw: &mut Draw, client: &Client) -> Value {
    let mut data = json!({
        "user_id": user_id(client.user),
        "anonymous_id": anonymous_id(client.user),
        "occurred_at": draw.time(0),
        "platform": client.platform,
    });
    let marketing = draw.percent(50);
    if client.shape == Shape::V4_2 {
        data["method"] = draw.pick(&["phone", "email", "social"]).into();
        data["terms"] = if marketing {
            json!(["service", "privacy", "marketing"])
        } else {
            json!(["service", "privacy"])
        };
        data["birth_year"] = draw.between(1950, 2008).into();
        return data;
    }
    data["method"] = if draw.percent(60) {
        json!({"type": "social", "provider": draw.pick(&["kakao", "naver", "google", "apple"])})
    } else {
        json!({"type": "phone"})
    };
    data["terms"] = json!({"service": true, "privacy": true, "marketing": marketing});
    data
}

pub(super) fn push_opened(draw: &mut Draw, client: &Client) -> Value {
    let campaign = draw.pick(&CAMPAIGNS);
    let mut data = json!({
        "user_id": user_id(client.user),
        "occurred_at": draw.time(0),
        "platform": client.platform,
    });
    if client.shape == Shape::V4_2 {
        data["push_id"] = draw.between(20_261_102_000, 20_261_102_999).into();
        data["campaign"] = campaign.into();
        return data;
    }
    let delay_s = draw.between(2, 86_400);
    data["sent_at"] = draw.time_s(-delay_s).into();
    data["action"] = draw.pick(&["open", "open", "button_1", "button_2"]).into();
    data["message"] = json!({"id": draw.uuid(), "campaign": campaign, "template": draw.between(1, 400)});
    data
}

pub(super) fn quote_requested(draw: &mut Draw, client: &Client) -> Value {
    let (sido, sigungu) = draw.pick(&[
        ("서울특별시", "마포구"),
        ("서울특별시", "송파구"),
        ("부산광역시", "해운대구"),
        ("경기도", "성남시 분당구"),
        ("제주특별자치도", "제주시"),
    ]);
    let ahead_days = draw.between(1, 40);
    let mut data = json!({
        "user_id": user_id(client.user),
        "occurred_at": draw.time(0),
        "platform": client.platform,
        "request_id": draw.uuid(),
        "service": draw.pick(&["svc.aircon_cleaning", "svc.move_in_cleaning", "svc.wallpaper", "svc.moving"]),
        "address": {"sido": sido, "sigungu": sigungu},
        "area_m2": f64::from(180 + draw.below(1600)) / 10.0,
    });
    if client.shape == Shape::V5_10 {
        data["slots"] = json!([
            {"date": draw.date(ahead_days), "from": "09:30", "to": "12:00"},
            {"date": draw.date(ahead_days + 1)},
        ]);
        data["budget"] = json!({"min": 50_000, "max": draw.between(1, 30) * 100_000, "currency": "KRW"});
    } else {
        data["preferred_date"] = draw.date(ahead_days).into();
        data["preferred_time"] = draw.pick(&["09:00", "13:30", "18:00"]).into();
        data["contact_phone"] = format!("010-0000-{}", draw.digits(4)).into();
    }
    data
}
