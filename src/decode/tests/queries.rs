//! Events by GET.

use serde_json::json;

use super::{Code, get};

#[test]
fn a_query_becomes_an_object() {
    for (query, expected) in [
        ("", "{}"),
        ("a=1&b=x+y%26", r#"{"a":"1","b":"x y&"}"#),
        ("a=1&a=2", r#"{"a":["1","2"]}"#),
        ("a[]=1", r#"{"a":["1"]}"#),
        ("a[]=1&a=2&a[]=3", r#"{"a":["1","2","3"]}"#),
        ("user[id]=7&user[name]=x", r#"{"user":{"id":"7","name":"x"}}"#),
        ("a%5Bb%5D[c][]=1", r#"{"a":{"b":{"c":["1"]}}}"#),
        ("a&b=&&", r#"{"a":"","b":""}"#),
        ("=1", r#"{"":"1"}"#),
        ("a==b=c", r#"{"a":"=b=c"}"#),
        ("é=%22", r#"{"é":"\""}"#),
        (
            "[a]=1&b]=2&c[=3&d[x]y=4&e[[z]]=5",
            r#"{"[a]":"1","b]":"2","c[":"3","d[x]y":"4","e[[z]]":"5"}"#,
        ),
        ("key=hw_x_y&key[x]=1", r#"{"key":{"x":"1"}}"#),
    ] {
        let uri = format!("/v1/events/click?{}", query.replace('é', "%C3%A9"));
        assert_eq!(get(&uri).data(), expected, "{query}");
    }
    assert_eq!(get("/v1/events/click").data(), "{}");
}

#[test]
fn contradictions_are_refused() {
    for query in [
        "a=1&a[b]=2",
        "a[b]=2&a=1",
        "a[b]=1&a[]=2",
        "a[]=1&a[b]=2",
        "a[b][c]=1&a[b]=2",
        "a[][b]=1",
        "a=%FF",
    ] {
        assert_eq!(
            get(&format!("/v1/events/a?{query}")).refused(),
            Code::QueryMalformed,
            "{query}"
        );
    }
}

#[test]
fn depth_and_members_are_bounded() {
    let nested = |depth: usize| format!("/v1/events/a?a{}=1", "[x]".repeat(depth));
    assert!(get(&nested(63)).batch().is_ok());
    for depth in [64, 65, 1000] {
        assert_eq!(get(&nested(depth)).refused(), Code::QueryMalformed);
    }
    let many = |count: usize| (0..count).map(|n| format!("a{n}=1&")).collect::<String>();
    assert!(get(&format!("/v1/events/a?{}", many(1000))).batch().is_ok());
    assert_eq!(
        get(&format!("/v1/events/a?{}", many(1001))).refused(),
        Code::QueryMalformed
    );
}

#[test]
fn attributes_stand_in_the_query_too() {
    let sent = get("/v1/events/a?ce-id=q&ce-source=%2Fq&ce-type=q.type&ce-appversion=1.2&x=1&ce-later=z")
        .with("ce-source", "/header");
    let event = sent.event();
    assert_eq!(&*event.attributes.id, "q");
    assert_eq!(event.attributes.source, "/header");
    assert_eq!(event.attributes.event_type.as_str(), "q.type");
    assert_eq!(event.attributes.app_version.as_deref(), Some("1.2"));
    assert_eq!(super::text(&event), r#"{"x":"1"}"#);
    assert_eq!(get("/v1/events/a?ce-time=now").refused(), Code::AttributeInvalid);
    assert_eq!(get("/v1/events/a%20b?x=1").rejected(), Code::TypeInvalid);
}

#[test]
fn texts_become_what_the_schema_says() {
    let schema = json!({
        "type": "object",
        "properties": {
            "count": {"type": "integer"},
            "price": {"type": ["number", "null"]},
            "flag": {"type": "boolean"},
            "name": {"type": "string"},
            "either": {"type": ["integer", "string"]},
            "list": {"type": "array", "items": {"type": "number"}},
            "loose": {"type": ["array", "string"], "items": {"type": "number"}},
            "pair": {"type": "array", "prefixItems": [{"type": "boolean"}], "items": {"type": "integer"}},
            "old": {"type": "array", "items": [{"type": "integer"}], "additionalItems": {"type": "boolean"}},
            "user": {"$ref": "#/$defs/user"},
            "level": {"enum": [1, 2, 3]},
            "yes": {"const": true},
            "any": true,
        },
        "additionalProperties": {"type": "integer"},
        "allOf": [{"properties": {"both": {"type": ["integer", "string"]}}},
                  {"properties": {"both": {"type": "integer"}}}],
        "anyOf": [{"properties": {"branch": {"type": "integer"}}},
                  {"properties": {"branch": {"type": "boolean"}, "mixed": {"type": "integer"}}},
                  {"properties": {"mixed": {"type": "string"}}}],
        "$defs": {"user": {"type": "object", "properties": {"id": {"type": "integer"},
                                                             "friend": {"$ref": "#/$defs/user"}}}},
    });
    for (query, expected) in [
        ("count=7", r#"{"count":7}"#),
        ("count=-0.5e1", r#"{"count":-0.5e1}"#),
        ("count=07", r#"{"count":"07"}"#),
        ("count=%207", r#"{"count":" 7"}"#),
        ("count=1e999", r#"{"count":"1e999"}"#),
        ("count=true", r#"{"count":"true"}"#),
        ("count=", r#"{"count":""}"#),
        ("price=12.50", r#"{"price":12.50}"#),
        ("flag=true&name=true", r#"{"flag":true,"name":"true"}"#),
        ("flag=True", r#"{"flag":"True"}"#),
        ("either=7", r#"{"either":"7"}"#),
        ("list=1", r#"{"list":[1]}"#),
        ("list=1&list=x", r#"{"list":[1,"x"]}"#),
        ("list[1]=b&list[0]=a", r#"{"list":{"1":"b","0":"a"}}"#),
        ("list[0]=5&list[1]=6", r#"{"list":[5,6]}"#),
        ("loose=1", r#"{"loose":"1"}"#),
        ("pair=true&pair=2&pair=x", r#"{"pair":[true,2,"x"]}"#),
        ("old=1&old=true", r#"{"old":[1,true]}"#),
        (
            "user[id]=1&user[friend][id]=2",
            r#"{"user":{"id":1,"friend":{"id":2}}}"#,
        ),
        ("level=2&yes=true&any=1", r#"{"level":2,"yes":true,"any":"1"}"#),
        ("unheard=5", r#"{"unheard":5}"#),
        ("both=5", r#"{"both":5}"#),
    ] {
        let sent = get(&format!("/v1/events/a?{query}")).guided(schema.clone());
        assert_eq!(sent.data(), expected, "{query}");
    }
    let mut branches = schema;
    branches["additionalProperties"] = json!(true);
    for (query, expected) in [
        ("branch=7", r#"{"branch":7}"#),
        ("branch=false", r#"{"branch":false}"#),
        ("mixed=7", r#"{"mixed":"7"}"#),
    ] {
        let sent = get(&format!("/v1/events/a?{query}")).guided(branches.clone());
        assert_eq!(sent.data(), expected, "{query}");
    }
}

#[test]
fn a_schema_that_never_ends_costs_a_bounded_time() {
    let hostile = json!({
        "$ref": "#",
        "allOf": [{"$ref": "#"}, {"$ref": "#"}],
        "anyOf": [{"$ref": "#/allOf/0"}, {"$ref": "#/allOf/1"}],
        "type": "array",
        "items": {"$ref": "#"},
    });
    let many: String = (0..500).map(|n| format!("a{n}=1&a{n}=2&")).collect();
    assert!(
        get(&format!("/v1/events/a?{many}"))
            .guided(hostile)
            .batch()
            .is_ok()
    );
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn a_form_is_converted_as_a_query_is_and_all_of_it_is_data() {
    use super::post;
    let sent = |body: &str| post("/v1/events/click", FORM, body);
    assert_eq!(
        sent("a=1&user[id]=7&tag=x&tag=y+z&key=k&ce-id=e").data(),
        r#"{"a":"1","user":{"id":"7"},"tag":["x","y z"],"key":"k","ce-id":"e"}"#
    );
    let schema = json!({"properties": {"a": {"type": "integer"}, "ok": {"type": "boolean"}}});
    assert_eq!(
        sent("a=1&ok=true&b=1").guided(schema).data(),
        r#"{"a":1,"ok":true,"b":"1"}"#
    );
    let named = post("/v1/events", FORM, "a=1")
        .with("ce-type", "click")
        .with("ce-id", "e-1")
        .event();
    assert_eq!(
        (named.attributes.event_type.as_str(), &*named.attributes.id),
        ("click", "e-1")
    );
    assert_eq!(sent("a=1&a[b]=2").refused(), Code::QueryMalformed);
    assert_eq!(sent("a=%FF").refused(), Code::QueryMalformed);
    assert_eq!(sent("").refused(), Code::NoEvents);
    let lone = post("/v1/events", FORM, "a=1");
    assert_eq!(lone.refused(), Code::ContentTypeUnknown);
}

#[test]
fn an_image_is_wanted_where_the_request_names_one() {
    for (accept, expected) in [
        ("image/avif,image/webp,image/png,image/*,*/*;q=0.8", true),
        ("IMAGE/GIF", true),
        ("*/*", false),
        ("text/html,image/avif,image/webp,*/*;q=0.8", false),
    ] {
        let head = get("/v1/events/a?x=1").with("accept", accept).head().unwrap();
        assert_eq!(head.wants_image, expected, "{accept}");
    }
    let posted = super::post("/v1/events/a", "", "1")
        .with("accept", "image/*")
        .head()
        .unwrap();
    assert!(!posted.wants_image);
}
