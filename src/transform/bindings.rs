//! The plugin contract (`sdk/wit`) as Rust types, and its two worlds behind one set of calls.

use wasmtime::{
    Store,
    component::{InstancePre, Resource},
};

use super::{documents::HostDocument, flat::write_attributes, host::State};
use crate::event::Validated;

wasmtime::component::bindgen!({
    world: "plugin",
    path: "sdk/wit",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: false },
    with: { "headworks:plugin/types.document": super::documents::HostDocument },
});

mod flat_world {
    wasmtime::component::bindgen!({
        world: "flat-plugin",
        path: "sdk/wit",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: false },
        with: {
            "headworks:plugin/types": crate::transform::bindings::headworks::plugin::types,
            "headworks:plugin/host": crate::transform::bindings::headworks::plugin::host,
            "headworks:plugin/tables": crate::transform::bindings::headworks::plugin::tables,
        },
    });
}

/// The one function by which the worlds are told apart.
pub(super) const TRANSFORM_FLAT: &str = "transform-flat";

type Transformed = Result<Vec<Output>, Failure>;

/// A component whose imports are linked, of either world.
pub(super) enum Linked {
    Plain(PluginPre<State>),
    Flat(flat_world::FlatPluginPre<State>),
}

impl Linked {
    pub(super) fn new(pre: InstancePre<State>) -> wasmtime::Result<Linked> {
        let is_flat = pre.component().get_export_index(None, TRANSFORM_FLAT).is_some();
        if is_flat {
            flat_world::FlatPluginPre::new(pre).map(Linked::Flat)
        } else {
            PluginPre::new(pre).map(Linked::Plain)
        }
    }

    pub(super) fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Exports> {
        match self {
            Linked::Plain(pre) => pre.instantiate(store).map(Exports::Plain),
            Linked::Flat(pre) => {
                let plugin = pre.instantiate(store)?;
                Ok(Exports::Flat(plugin, Vec::new()))
            }
        }
    }
}

/// What an instance exports.
pub(super) enum Exports {
    Plain(Plugin),
    /// With room for an event's attributes, used again and again.
    Flat(flat_world::FlatPlugin, Vec<u8>),
}

impl Exports {
    pub(super) fn configure(
        &self,
        store: &mut Store<State>,
        config: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Exports::Plain(plugin) => plugin.call_configure(store, config),
            Exports::Flat(plugin, _) => plugin.call_configure(store, config),
        }
    }

    /// `data` stands for the event's own.
    pub(super) fn transform(
        &mut self,
        store: &mut Store<State>,
        event: &Validated,
        data: Resource<HostDocument>,
    ) -> wasmtime::Result<Transformed> {
        match self {
            Exports::Plain(plugin) => {
                let decoded = event.event();
                let attributes = &decoded.attributes;
                let event = Event {
                    id: &attributes.id,
                    source: &attributes.source,
                    type_: attributes.event_type.as_str(),
                    subject: attributes.subject.as_deref(),
                    time: &attributes.time,
                    app_version: attributes.app_version.as_deref(),
                    partner: decoded.partner.as_str(),
                    schema: event.schema(),
                    data,
                };
                plugin.call_transform(store, event)
            }
            Exports::Flat(plugin, room) => {
                write_attributes(room, event);
                plugin.call_transform_flat(store, room, data)
            }
        }
    }
}
