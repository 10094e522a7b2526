//! Does what the event's `do` says: mostly what a plugin should not.

use std::{
    cell::{Cell, RefCell},
    hint::black_box,
};

use headworks_plugin::{Document, Event, Failure, Output, Plugin, host, plugin, rejected, tables};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    configure: Option<String>,
}

struct Hostile;

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
    static KEPT: RefCell<Option<Document>> = const { RefCell::new(None) };
}

impl Plugin for Hostile {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        match config.configure.as_deref() {
            Some("refuse") => Err("nothing is good enough".to_owned()),
            Some("panic") => panic!("in configure"),
            Some("loop") => endless_loop(),
            Some("lookup") => {
                let row = tables::lookup("shops", "1");
                Err(format!("looked up {}", row.is_some()))
            }
            _ => Ok(Hostile),
        }
    }

    fn transform(&self, event: Event) -> Result<Vec<Output>, Failure> {
        CALLS.set(CALLS.get() + 1);
        let what: String = event.data.get("/do")?;
        let amount: usize = event.data.get::<Option<usize>>("/amount")?.unwrap_or(0);
        match what.as_str() {
            "echo" => Ok(vec![event.data.into()]),
            "drop" => Ok(Vec::new()),
            "calls" => Ok(vec![CALLS.get().to_string().into_bytes().into()]),
            "attributes" => attributes(event),
            "every-field" => Ok(vec![
                Output::new(event.data)
                    .destination("files")
                    .topic("topic")
                    .key("key")
                    .header("one", "1")
                    .header("one", "2"),
            ]),
            "reject" => Err(rejected("not this one")),
            "break" => Err(Failure::Broken("not my day".to_owned())),
            "panic" => panic!("out of order: {amount}"),
            "loop" => endless_loop(),
            "loop-in-host" => loop_in_host(&event.data),
            "grow" => grow(),
            "keep" => keep(amount),
            "recurse" => Ok(vec![recurse(amount as u64).to_string().into_bytes().into()]),
            "outputs" => Ok((0..amount).map(|_| Output::new(Vec::new())).collect()),
            "headers" => Ok(vec![
                (0..amount).fold(Output::new(event.data), |output, number| {
                    output.header(number.to_string(), "")
                }),
            ]),
            "elsewhere" => Ok(vec![Output::new(event.data).destination("elsewhere")]),
            "bytes" => Ok(vec![vec![b'x'; amount].into()]),
            "copies" => (0..amount).map(|_| Ok(event.data.copy()?.into())).collect(),
            "documents" => documents(amount),
            "log" => {
                (0..amount).for_each(|line| host::info(format_args!("line {line}\nforged")));
                Ok(Vec::new())
            }
            "log-much" => {
                host::info("x".repeat(amount));
                Ok(Vec::new())
            }
            "count" => {
                (0..amount).for_each(|number| host::count(&format!("counter_{number}"), 1));
                Ok(Vec::new())
            }
            "keep-document" => {
                KEPT.set(Some(event.data));
                Ok(Vec::new())
            }
            "lookup" => lookup(&event.data),
            "lookup-many" => {
                let row = |number: usize| tables::lookup("shops", &number.to_string());
                let found = (0..amount).filter_map(row).count();
                Ok(vec![found.to_string().into_bytes().into()])
            }
            "keep-row" => {
                KEPT.set(tables::lookup("shops", "1"));
                Ok(Vec::new())
            }
            "use-kept-document" => Ok(KEPT.take().map(Into::into).into_iter().collect()),
            other => Err(rejected(format!("do {other:?}?"))),
        }
    }
}

plugin!(Hostile);

/// The row of the event's `table` and `key`, edited; nothing where there is none.
fn lookup(data: &Document) -> Result<Vec<Output>, Failure> {
    let (table, key): (String, String) = data.get_many(["/table", "/key"])?;
    let Some(mut row) = tables::lookup(&table, &key) else {
        return Ok(Vec::new());
    };
    row.set("/seen", true);
    Ok(vec![row.into()])
}

fn endless_loop() -> ! {
    loop {
        black_box(());
    }
}

fn loop_in_host(data: &Document) -> Result<Vec<Output>, Failure> {
    let pointers = ["/missing"; 10_000];
    loop {
        data.get_many::<Vec<Option<bool>>, 10_000>(pointers)?;
    }
}

/// Takes memory and does not touch it: that would take longer than an event may.
fn grow() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(black_box(Vec::<u8>::with_capacity(1 << 20)));
    }
}

/// Leaks memory, as a careless plugin does.
fn keep(bytes: usize) -> Result<Vec<Output>, Failure> {
    std::mem::forget(black_box(Vec::<u8>::with_capacity(bytes)));
    Ok(vec![CALLS.get().to_string().into_bytes().into()])
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    match depth {
        0 => frame[0],
        _ => black_box(recurse(depth - 1)) + frame[1],
    }
}

fn documents(amount: usize) -> Result<Vec<Output>, Failure> {
    for _ in 0..amount {
        std::mem::forget(Document::from_json("[]")?);
    }
    Ok(Vec::new())
}

fn attributes(mut event: Event) -> Result<Vec<Output>, Failure> {
    let data = &mut event.data;
    data.set("/id", event.id);
    data.set("/source", event.source);
    data.set("/type", event.event_type);
    data.set("/subject", event.subject);
    data.set("/time", event.time);
    data.set("/app_version", event.app_version);
    data.set("/partner", event.partner);
    data.set("/schema", event.schema);
    Ok(vec![event.data.into()])
}
