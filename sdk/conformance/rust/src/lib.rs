//! What every SDK must do alike, in Rust: each sample of `../cases` names what is to be done.

use headworks_plugin::{Document, Event, Failure, Output, Plugin, Value, host, plugin, rejected, tables};
use serde_json::{Value as Json, json};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Conformance {
    greeting: String,
}

impl Plugin for Conformance {
    type Config = Conformance;

    fn configure(config: Conformance) -> Result<Self, String> {
        if config.greeting.is_empty() {
            return Err("greeting is empty".to_owned());
        }
        Ok(config)
    }

    fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
        let what: String = event.data.get("/do")?;
        match what.as_str() {
            "edits" => edits(event),
            "untouched-bytes" => {
                event.data.set("/added", 1);
                Ok(vec![text(&event.data)?])
            }
            "attributes" => attributes(event),
            "output-fields" => Ok(vec![
                Output::new("plain, not JSON: 한 🙂".as_bytes().to_vec())
                    .destination("files")
                    .topic("orders")
                    .key("A-1")
                    .header("one", "1")
                    .header("one", "2"),
                event.data.into(),
            ]),
            "drop" => Ok(Vec::new()),
            "reject" => Err(rejected("not this one")),
            "missing" => {
                let _: f64 = event.data.get("/price")?;
                Ok(Vec::new())
            }
            "split" => split(event),
            "copy" => copy(event),
            "lookup" => lookup(event),
            "pointers" => pointers(event),
            "null-and-missing" => {
                let found: (Option<Json>, Option<Json>) = event.data.get_many(["/empty", "/absent"])?;
                let there: Json = serde_json::from_str(&event.data.to_json()?).map_err(broken)?;
                let name = |found: Option<Json>, member: &str| match found {
                    None if there.get(member).is_some() => "null",
                    None => "missing",
                    Some(_) => "a value",
                };
                let found = [name(found.0, "empty"), name(found.1, "absent")];
                event.data.set_serialize("/found", &found)?;
                Ok(vec![event.data.into()])
            }
            "large-numbers" => {
                let found: (i64, i64, u64) = event.data.get_many(["/beyond_double", "/most", "/unsigned"])?;
                event.data.set_serialize("/again", &Vec::<()>::new())?;
                event.data.set("/again/-", found.0);
                event.data.set("/again/-", found.1);
                event.data.set("/again/-", found.2);
                Ok(vec![text(&event.data)?])
            }
            "new-document" => {
                let mut made = Document::from_serialize(&json!({"made": [1, "two", null, {"three": 3.5}]}))?;
                made.set("/malformed", Document::from_json("{").is_err());
                Ok(vec![made.into()])
            }
            "many-documents" => {
                let mut last = None;
                for number in 0..500 {
                    last = Some(Document::from_serialize(&json!({ "n": number }))?);
                }
                Ok(last.map(Output::from).into_iter().collect())
            }
            // The type system knows what was given away.
            "given-away" => {
                event.data.set("/refused", true);
                Ok(vec![event.data.into()])
            }
            "configured" => {
                event.data.set("/greeting", self.greeting.as_str());
                Ok(vec![event.data.into()])
            }
            "panic" => panic!("out of order"),
            "log" => {
                host::info("a line");
                host::count("lines", 2);
                Ok(Vec::new())
            }
            "mistyped" => {
                let _: f64 = event.data.get("/price")?;
                Ok(Vec::new())
            }
            "edit-refused" => {
                event.data.set("/price/of/text", 1);
                Ok(vec![event.data.into()])
            }
            "edit-refused-again" => edit_refused_again(event),
            "edit-refused-caught" => {
                event.data.set("/price/of/text", 1);
                let _ = event.data.to_json();
                event.data.set("/n", 2);
                Ok(vec![event.data.into()])
            }
            other => Err(Failure::Broken(format!("nobody knows {other}"))),
        }
    }
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::Broken(error.to_string())
}

fn text(document: &Document) -> Result<Output, Failure> {
    Ok(document.to_json()?.into_bytes().into())
}

fn edits(mut event: Event) -> Result<Vec<Output>, Failure> {
    let (price, _note): (f64, String) = event.data.get_many(["/price", "/note"])?;
    let data = &mut event.data;
    data.rename("/order_no", "/order/id");
    data.set("/order/total", price * 2.5);
    data.set("/order/gift", false);
    data.set_serialize("/order/tags", &["a", "b"])?;
    data.set("/order/nothing", Value::Null);
    data.remove("/note");
    data.remove("/was/never/there");
    data.rename("/nor/was/this", "/here");
    data.set("/items/-", 3);
    Ok(vec![event.data.into()])
}

fn attributes(mut event: Event) -> Result<Vec<Output>, Failure> {
    let seen: [&str; 8] = [
        &event.id,
        &event.source,
        &event.event_type,
        event.subject.as_deref().unwrap_or_default(),
        &event.time,
        event.app_version.as_deref().unwrap_or_default(),
        &event.partner,
        &event.schema,
    ];
    event.data.set_serialize("/seen", &seen)?;
    Ok(vec![event.data.into()])
}

fn split(event: Event) -> Result<Vec<Output>, Failure> {
    #[derive(serde::Deserialize, serde::Serialize)]
    struct Item {
        sku: String,
        n: i64,
    }
    let items: Vec<Item> = event.data.get("/items")?;
    let of = items.len();
    let outputs = items.iter().enumerate().map(|(index, item)| {
        let mut document = Document::from_serialize(item)?;
        document.set("/index", index);
        document.set("/of", of);
        Ok(Output::new(document).topic("items").key(item.sku.as_str()))
    });
    outputs.collect()
}

fn lookup(mut event: Event) -> Result<Vec<Output>, Failure> {
    let row = |key: &str| tables::lookup("shops", key);
    let mut one = row("1").ok_or_else(|| rejected("there is no row"))?;
    one.set("/seen", true);
    let other: Option<String> = row("2").map(|row| row.get("/name")).transpose()?;
    event.data.set("/absent", row("none").is_none());
    event.data.set("/other", other);
    Ok(vec![one.into(), event.data.into()])
}

fn copy(mut event: Event) -> Result<Vec<Output>, Failure> {
    let mut copy = event.data.copy()?;
    copy.set("/n", 2);
    event.data.set("/original", true);
    Ok(vec![copy.into(), event.data.into()])
}

fn edit_refused_again(mut event: Event) -> Result<Vec<Output>, Failure> {
    let data = &mut event.data;
    data.set("/price/of/text", 1);
    let first = data.to_json().is_err();
    data.set("/n", 2);
    let refused = [
        first,
        data.get::<Option<String>>("/price").is_err(),
        data.values(&["/price", "/n"]).is_err(),
        data.copy().is_err(),
        data.to_json().is_err(),
    ];
    Ok(vec![
        Document::from_serialize(&json!({ "refused": refused }))?.into(),
    ])
}

fn pointers(mut event: Event) -> Result<Vec<Output>, Failure> {
    let (empty, second): (String, String) = event.data.get_many(["/", "/list/1"])?;
    let data = &mut event.data;
    data.rename("/a~1b/c~0d", "/moved");
    data.remove("/");
    data.remove("/list/1");
    data.set("/empty", empty);
    data.set("/second", second);
    Ok(vec![event.data.into()])
}

plugin!(Conformance);
