//! The plugin contract (`sdk/wit`) as Rust types.

wasmtime::component::bindgen!({
    world: "plugin",
    path: "sdk/wit",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: false },
    with: { "headworks:plugin/types.document": super::documents::HostDocument },
});
