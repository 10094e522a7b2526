use serde::Deserialize;

use super::{Document, Error};

fn document() -> Document {
    Document::from_json(
        r#"{"id": "7", "price": 12.5, "count": 3, "big": 18446744073709551615, "items": [{"sku": "a"}, {"sku": "b"}],
            "nothing": null, "kind": "plain"}"#,
    )
    .expect("it is JSON")
}

#[test]
fn reads_values_of_many_types() {
    let data = document();
    assert_eq!(data.get("/id"), Ok("7".to_owned()));
    assert_eq!(data.get("/price"), Ok(12.5));
    assert_eq!(data.get("/count"), Ok(3_u8));
    assert_eq!(data.get("/count"), Ok(3.0_f64));
    assert_eq!(data.get("/big"), Ok(u64::MAX));
    assert_eq!(data.get("/items/1/sku"), Ok("b".to_owned()));
    assert_eq!(data.get::<Option<String>>("/nothing"), Ok(None));
    assert_eq!(data.get::<Option<String>>("/missing"), Ok(None));
    assert_eq!(data.get::<Option<String>>("/id"), Ok(Some("7".to_owned())));
}

#[test]
fn gives_typed_views() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Item {
        sku: String,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Plain,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        id: String,
        items: Vec<Item>,
        kind: Kind,
    }
    let data = document();
    let order: Order = data.get("").expect("it fits");
    assert_eq!(order.items.len(), 2);
    let (items, kind): (Vec<Item>, Kind) = data.get_many(["/items", "/kind"]).expect("they fit");
    assert_eq!((items, kind), (order.items, Kind::Plain));
}

#[test]
fn says_what_does_not_fit_and_where() {
    let data = document();
    let data_error = |pointer: &str, reason: &str| Error::Data {
        pointer: pointer.to_owned(),
        reason: reason.to_owned(),
    };
    assert_eq!(
        data.get::<String>("/missing"),
        Err(data_error("/missing", "nothing is there"))
    );
    assert_eq!(
        data.get::<u8>("/id"),
        Err(data_error("/id", "invalid type: string \"7\", expected u8"))
    );
    let many = data.get_many::<(String, u32, String), 3>(["/id", "/missing", "/kind"]);
    assert_eq!(many, Err(data_error("/missing", "nothing is there")));
}

#[test]
fn reads_see_the_edits_made_before() {
    let mut data = document();
    data.rename("/items", "/order/lines");
    data.set("/order/total", 37.5);
    data.set("/order/lines/-", "extra");
    data.remove("/nothing");
    data.remove("/missing");
    data.rename("/missing", "/elsewhere");
    assert_eq!(data.get("/order/total"), Ok(37.5));
    assert_eq!(data.get("/order/lines/2"), Ok("extra".to_owned()));
    assert_eq!(data.get::<Option<bool>>("/nothing"), Ok(None));
    let json: serde_json::Value =
        serde_json::from_str(&data.to_json().expect("no edit fails")).expect("JSON");
    assert_eq!(json["order"]["lines"][0]["sku"], "a");
    assert!(json.get("elsewhere").is_none());
}

#[test]
fn an_edit_that_cannot_be_made_is_told_at_every_use_from_then_on() {
    let mut data = document();
    data.set("/kind", "edited");
    data.set("/id/below", 1);
    let refused = data.to_json().expect_err("a text holds nothing");
    assert!(matches!(refused, Error::Edit(_)), "{refused}");
    data.set("/price", 1);
    assert_eq!(data.get::<String>("/id"), Err(refused.clone()));
    assert_eq!(data.copy().expect_err("it is no whole document"), refused);
    assert_eq!(data.values(&[]), Err(refused.clone()));
    assert_eq!(data.into_kept().expect_err("it is not given away"), refused);
}

#[test]
fn copies_part() {
    let mut one = document();
    one.set("/id", "8");
    let mut two = one.copy().expect("no edit fails");
    two.set("/id", 9);
    assert_eq!(one.get("/id"), Ok("8".to_owned()));
    assert_eq!(two.get("/id"), Ok(9));
}
