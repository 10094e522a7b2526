//! Write [Headworks](https://github.com/headworks/headworks) transform plugins in Rust.
//!
//! A plugin is a pure function: the same event and configuration give the same outputs, on every node and on every
//! replay. It edits the document that the gateway has already parsed and checked; what it does not touch keeps its
//! bytes.
//!
//! ```
//! use headworks_plugin::{Event, Failure, Output, Plugin, plugin};
//!
//! #[derive(serde::Deserialize)]
//! struct Currency {
//!     currency: String,
//! }
//!
//! impl Plugin for Currency {
//!     type Config = Currency;
//!
//!     fn configure(config: Currency) -> Result<Self, String> {
//!         Ok(config)
//!     }
//!
//!     fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
//!         let (price, quantity): (f64, Option<u32>) = event.data.get_many(["/price", "/quantity"])?;
//!         event.data.rename("/order_no", "/order/id");
//!         event.data.set("/order/total", price * f64::from(quantity.unwrap_or(1)));
//!         event.data.set("/order/currency", self.currency.as_str());
//!         Ok(vec![event.data.into()])
//!     }
//! }
//!
//! plugin!(Currency);
//! ```
//!
//! `headworks plugin build` compiles it for `wasm32-unknown-unknown` and makes a component of it. Natively (`cargo
//! test`) the same code runs on a document kept by `serde_json`: see [`testing`].

#[cfg(any(test, all(target_family = "wasm", feature = "allocator")))]
mod allocator;
mod document;
mod event;
#[cfg(target_family = "wasm")]
mod flat;
pub mod host;
mod plugin;
pub mod tables;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod text;
mod value;

/// For the expansion of [`plugin!`] alone.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[path = "wasm.rs"]
pub mod __wasm;
#[cfg(not(target_family = "wasm"))]
#[path = "native.rs"]
mod backend;
#[cfg(target_family = "wasm")]
use self::__wasm as backend;

pub use self::{
    document::{Document, Error},
    event::{Body, Event, Failure, Output, rejected},
    plugin::{NoConfig, Plugin},
    text::Text,
    value::Value,
};

/// Exports a type that implements [`Plugin`] as this crate's plugin. To be called once, at the crate's root; natively
/// it does nothing.
#[cfg(target_family = "wasm")]
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        const _: () = {
            ::std::thread_local! {
                static PLUGIN: ::std::cell::OnceCell<$plugin> = const { ::std::cell::OnceCell::new() };
            }

            struct Exported;

            impl $crate::__wasm::Guest for Exported {
                fn configure(
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    let configured = $crate::__wasm::configure::<$plugin>(&config)?;
                    PLUGIN
                        .with(|plugin| plugin.set(configured))
                        .map_err(|_| ::std::string::String::from("an instance is configured only once"))
                }

                fn transform_flat(
                    attributes: ::std::vec::Vec<u8>,
                    data: $crate::__wasm::DocumentHandle,
                ) -> ::std::result::Result<::std::vec::Vec<$crate::__wasm::Output>, $crate::__wasm::Failure>
                {
                    PLUGIN.with(|plugin| $crate::__wasm::transform(plugin.get(), attributes, data))
                }
            }

    $crate::__wasm::bindings::export!(Exported with_types_in $crate::__wasm::bindings);
        };
    };
}

/// Exports a type that implements [`Plugin`] as this crate's plugin. To be called once, at the crate's root; natively
/// it does nothing.
#[cfg(not(target_family = "wasm"))]
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        const _: fn() = || {
            fn is_plugin<P: $crate::Plugin>() {}
            is_plugin::<$plugin>();
        };
    };
}
