//! The contract's functions as a guest calls them. Texts that the host only reads are read where they stand in the
//! guest's memory.

use wasmtime::{
    Engine, StoreContextMut,
    component::{ComponentType, Lift, Linker, LinkerInstance, Resource, ResourceType, WasmList, WasmStr},
};

use super::{
    bindings::headworks::plugin::{host, types},
    documents::HostDocument,
    host::{Change, State, from_guest, to_guest},
};

/// Each released version has the types and functions of the one before: a component is linked with those of its own.
const TYPES: [&str; 3] = [
    "headworks:plugin/types@0.1.0",
    "headworks:plugin/types@0.2.0",
    "headworks:plugin/types@0.3.0",
];
const HOST: [&str; 3] = [
    "headworks:plugin/host@0.1.0",
    "headworks:plugin/host@0.2.0",
    "headworks:plugin/host@0.3.0",
];
pub(super) const TABLES: [&str; 2] = ["headworks:plugin/tables@0.2.0", "headworks:plugin/tables@0.3.0"];
const FLAT: &str = "headworks:plugin/flat@0.3.0";

/// Room for requests is kept up to this.
const REQUEST_BYTES_KEPT: usize = 16 << 10;

type Store<'a> = StoreContextMut<'a, State>;
type Handle = Resource<HostDocument>;

/// [`types::Edit`], its pointers still in the guest's memory.
#[derive(ComponentType, Lift)]
#[component(variant)]
enum GuestEdit {
    #[component(name = "set")]
    Set((WasmStr, types::Value)),
    #[component(name = "remove")]
    Remove(WasmStr),
    #[component(name = "move")]
    Move((WasmStr, WasmStr)),
}

/// What every function of the contract begins with.
fn called<'s>(store: &'s mut Store<'_>) -> &'s mut State {
    let state = store.data_mut();
    state.host_calls = state.host_calls.wrapping_add(1);
    state
}

pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    for (types, host) in TYPES.into_iter().zip(HOST) {
        link_types(&mut linker.instance(types)?)?;
        link_host(&mut linker.instance(host)?)?;
    }
    for tables in TABLES {
        linker.instance(tables)?.func_wrap("lookup", lookup)?;
    }
    linker.instance(FLAT)?.func_wrap("exchange", exchange)?;
    Ok(linker)
}

fn link_types(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    types.resource(
        "document",
        ResourceType::host::<HostDocument>(),
        |mut store: Store<'_>, handle| {
            called(&mut store).drop_document(&Resource::new_own(handle));
            Ok(())
        },
    )?;
    types.func_wrap(
        "[static]document.from-json",
        |mut store: Store<'_>, (json,): (String,)| Ok((called(&mut store).parse(json)?,)),
    )?;
    types.func_wrap(
        "[method]document.to-json",
        |mut store: Store<'_>, (document,): (Handle,)| Ok((called(&mut store).text(&document)?,)),
    )?;
    types.func_wrap(
        "[method]document.copy",
        |mut store: Store<'_>, (document,): (Handle,)| Ok((called(&mut store).copy(&document)?,)),
    )?;
    types.func_wrap(
        "[method]document.get",
        |mut store: Store<'_>, (document, pointer): (Handle, WasmStr)| {
            called(&mut store);
            let pointer = pointer.to_str(&store)?;
            Ok((store.data().get(&document, &pointer)?,))
        },
    )?;
    types.func_wrap("[method]document.get-all", get_all)?;
    types.func_wrap("[method]document.apply", apply)?;
    types.func_wrap(
        "[method]document.set",
        |mut store: Store<'_>, (document, pointer, value): (Handle, String, types::Value)| {
            Ok((called(&mut store).set(&document, &pointer, value)?,))
        },
    )?;
    types.func_wrap(
        "[method]document.remove",
        |mut store: Store<'_>, (document, pointer): (Handle, String)| {
            Ok((called(&mut store).remove(&document, &pointer)?,))
        },
    )?;
    types.func_wrap(
        "[method]document.move",
        |mut store: Store<'_>, (document, source, target): (Handle, String, String)| {
            Ok((called(&mut store).move_value(&document, &source, &target)?,))
        },
    )
}

fn link_host(functions: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    functions.func_wrap(
        "log",
        |mut store: Store<'_>, (level, message): (host::Level, String)| {
            called(&mut store).write_log(level, &message);
            Ok(())
        },
    )?;
    functions.func_wrap(
        "count",
        |mut store: Store<'_>, (counter, amount): (String, u64)| {
            called(&mut store).count(counter, amount);
            Ok(())
        },
    )
}

fn lookup(mut store: Store<'_>, (table, key): (WasmStr, WasmStr)) -> wasmtime::Result<(Option<Handle>,)> {
    called(&mut store).clock.check()?;
    store.data_mut().lookups.begin()?;
    let table = table.to_str(&store)?;
    let key = key.to_str(&store)?;
    let (found, row) = store.data().lookups.find(&table, &key)?;
    let state = store.data_mut();
    state.lookups.note(found);
    match row {
        Some(row) => Ok((Some(state.documents.insert_row(row)?),)),
        None => Ok((None,)),
    }
}

fn get_all(
    mut store: Store<'_>,
    (document, pointers): (Handle, Vec<WasmStr>),
) -> wasmtime::Result<(Vec<Option<types::Value>>,)> {
    called(&mut store);
    let mut values = Vec::with_capacity(pointers.len());
    for pointer in &pointers {
        store.data_mut().clock.check()?;
        let pointer = pointer.to_str(&store)?;
        let entry = store.data().documents.get(&document)?;
        values.push(entry.document.get(&pointer).map(to_guest));
    }
    Ok((values,))
}

fn apply(
    mut store: Store<'_>,
    (document, edits): (Handle, Vec<GuestEdit>),
) -> wasmtime::Result<(Result<(), String>,)> {
    called(&mut store);
    let made = State::apply(
        &mut store,
        |store| store.data_mut(),
        &document,
        edits,
        |store, edit, pointers| {
            Ok(match edit {
                GuestEdit::Set((pointer, value)) => {
                    pointers.push_str(&pointer.to_str(&*store)?);
                    Change::Set(from_guest(value))
                }
                GuestEdit::Remove(pointer) => {
                    pointers.push_str(&pointer.to_str(&*store)?);
                    Change::Remove
                }
                GuestEdit::Move((source, target)) => {
                    pointers.push_str(&source.to_str(&*store)?);
                    let source_bytes = pointers.len();
                    pointers.push_str(&target.to_str(&*store)?);
                    Change::Move { source_bytes }
                }
            })
        },
    )?;
    Ok((made,))
}

fn exchange(
    mut store: Store<'_>,
    (document, request): (Handle, WasmList<u8>),
) -> wasmtime::Result<(Result<Vec<u8>, String>,)> {
    // The guest's memory cannot be read while the host's documents change.
    let mut room = std::mem::take(&mut called(&mut store).request);
    room.clear();
    room.extend_from_slice(request.as_le_slice(&store));
    let state = store.data_mut();
    let answer = state.exchange(&document, &room)?;
    room.shrink_to(REQUEST_BYTES_KEPT);
    state.request = room;
    Ok((answer,))
}
