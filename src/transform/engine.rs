//! The engine: what decides a compiled form, the pool that instances come from, and the clock that interrupts them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::limits::{self, Limits};

/// All that decides a compiled form: the compiling child and the running gateway must agree on it.
pub(super) fn compile_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        // The same event gives the same bytes on every processor.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .shared_memory(false)
        .memory_init_cow(true)
        .native_unwind_info(false)
        .max_wasm_stack(limits::PLUGIN_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(24));
    config
}

/// An engine that runs what [`compile_config`] compiled. Where the process has less address space than
/// [`limits::PLUGIN_INSTANCES`] take, there is room for fewer.
pub(super) fn engine(limits: &Limits) -> wasmtime::Result<Engine> {
    let mut instances = limits::PLUGIN_INSTANCES;
    loop {
        let mut config = compile_config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits, instances)));
        match Engine::new(&config) {
            Err(error) if instances > limits::PLUGIN_INSTANCES_MIN => {
                instances /= 4;
                tracing::warn!(
                    error = format!("{error:#}"),
                    instances,
                    "the process has not the address space for all plugin instances: there is room for fewer"
                );
            }
            ended => return ended,
        }
    }
}

/// Room for so many instances; a Python component alone has 38 core instances.
fn pool(limits: &Limits, instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * 16)
        .total_memories(instances)
        .total_tables(instances * 3)
        .max_core_instances_per_component(128)
        .max_memories_per_component(4)
        .max_memories_per_module(4)
        .max_tables_per_component(64)
        .max_tables_per_module(8)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(20_000)
        .max_memory_size(limits.plugin_memory_bytes.as_usize());
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        // Without the scan a fresh instance would cost more with these than without.
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(1 << 20)
            .table_keep_resident(64 << 10);
    }
    pool
}

/// The length of one tick of the engine's epoch.
const TICK: Duration = Duration::from_millis(1);

/// Moves the engine's epoch on, a tick a millisecond, as long as plugins run; a gateway that idles is not woken.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    ticks: AtomicU64,
    /// Some plugin ran since the ticker last looked.
    used: AtomicBool,
    idle: AtomicBool,
    stop: AtomicBool,
    /// Ticks without a call, or a look at its clock, after which the ticker idles: longer than a call takes that has a core.
    quiet_ticks: u64,
}

impl Ticker {
    pub(super) fn start(engine: Engine, limits: &Limits) -> std::io::Result<Ticker> {
        let longest_ms = u64::from(limits.plugin_time_ms) * u64::from(limits::PLUGIN_START_TIME_FACTOR);
        Ticker::idling_after(engine, 1000 + 4 * longest_ms)
    }

    fn idling_after(engine: Engine, quiet_ticks: u64) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            ticks: AtomicU64::new(0),
            used: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            quiet_ticks,
        });
        let thread = thread::Builder::new().name("plugin-clock".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&engine)
        })?;
        Ok(Ticker { shared, thread })
    }

    /// A reader of the ticks, which count milliseconds while plugins run.
    pub(super) fn reader(&self) -> TickReader {
        TickReader {
            shared: Arc::clone(&self.shared),
            thread: self.thread.thread().clone(),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }
}

impl Shared {
    fn run(&self, engine: &Engine) {
        let mut quiet = 0;
        while !self.stop.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            engine.increment_epoch();
            self.ticks.fetch_add(1, Ordering::Relaxed);
            quiet += 1;
            if quiet < self.quiet_ticks {
                continue;
            }
            quiet = 0;
            if self.used.swap(false, Ordering::SeqCst) {
                continue;
            }
            self.idle.store(true, Ordering::SeqCst);
            // Whoever calls from here on sees `idle`; who called just before is seen here.
            while !self.used.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            self.idle.store(false, Ordering::SeqCst);
        }
    }
}

/// Reads the ticks without a system call.
pub(super) struct TickReader {
    shared: Arc<Shared>,
    thread: Thread,
}

impl TickReader {
    pub(super) fn now(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }

    /// To be called where a call begins, and where it goes on: one that had no core for a while may have outlasted the
    /// ticker.
    pub(super) fn wake(&self) {
        if !self.shared.used.load(Ordering::Relaxed) {
            self.shared.used.store(true, Ordering::SeqCst);
        }
        if self.shared.idle.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{atomic::Ordering, mpsc},
        thread,
        time::Duration,
    };

    use wasmtime::{Config, Engine, Instance, Module, Store, UpdateDeadline, WasmParams, WasmResults};

    use super::{TICK, Ticker, compile_config};
    use crate::transform::clock::{CallClock, FIRST_LOOK_TICKS};

    /// What the module's function `f` gives, in an engine of the gateway's settings but for `change`.
    fn run_changed<P: WasmParams, R: WasmResults>(
        change: impl Fn(&mut Config),
        module: &str,
        arguments: P,
    ) -> wasmtime::Result<R> {
        let mut config = compile_config();
        change(&mut config);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, wat::parse_str(module).expect("the text is well-formed"))?;
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let instance = Instance::new(&mut store, &module, &[])?;
        let function = instance.get_typed_func::<P, R>(&mut store, "f")?;
        function.call(&mut store, arguments)
    }

    fn run<P: WasmParams, R: WasmResults>(module: &str, arguments: P) -> R {
        run_changed(|_| {}, module, arguments).expect("it runs")
    }

    const CANONICAL_64: u64 = 0x7ff8_0000_0000_0000;
    const CANONICAL_32: u32 = 0x7fc0_0000;

    /// Processors give no-numbers of different signs, and carry different payloads on.
    #[test]
    fn a_result_that_is_no_number_has_the_same_bits_everywhere() {
        const OF_64: &str = r#"(module (func (export "f") (param i64 i64) (result i64)
            (i64.reinterpret_f64 (f64.OPERATION
                (f64.reinterpret_i64 (local.get 0)) (f64.reinterpret_i64 (local.get 1))))))"#;
        const OF_32: &str = r#"(module (func (export "f") (param i32 i32) (result i32)
            (i32.reinterpret_f32 (f32.OPERATION
                (f32.reinterpret_i32 (local.get 0)) (f32.reinterpret_i32 (local.get 1))))))"#;
        let with_payload = 0x7ff8_0000_dead_beef_u64;
        for (operation, one, two) in [
            ("div", 0.0_f64.to_bits(), 0.0_f64.to_bits()),
            ("sub", f64::INFINITY.to_bits(), f64::INFINITY.to_bits()),
            ("add", with_payload, 1.0_f64.to_bits()),
            ("mul", 1.0_f64.to_bits(), with_payload | 1 << 63),
        ] {
            let module = OF_64.replace("OPERATION", operation);
            let bits: u64 = run(&module, (one, two));
            assert_eq!(bits, CANONICAL_64, "{operation}: {bits:x}");
        }
        for (operation, one, two) in [
            ("div", 0.0_f32.to_bits(), 0.0_f32.to_bits()),
            ("add", 0x7fc0_beef, 1.0_f32.to_bits()),
        ] {
            let module = OF_32.replace("OPERATION", operation);
            let bits: u32 = run(&module, (one, two));
            assert_eq!(bits, CANONICAL_32, "{operation}: {bits:x}");
        }
        // That this tells anything: without the setting the payload stays.
        let carried: u64 = run_changed(
            |config| {
                config.cranelift_nan_canonicalization(false);
            },
            &OF_64.replace("OPERATION", "add"),
            (with_payload, 1.0_f64.to_bits()),
        )
        .expect("it runs");
        assert_eq!(carried, with_payload);
    }

    /// The instructions that may differ between processors are held to one of the results that they may have.
    #[test]
    fn relaxed_instructions_give_the_same_everywhere() {
        let lane = |expression: &str| {
            format!(
                r#"(module (func (export "f") (param f32 i32) (result i32) (i32x4.extract_lane 0 {expression})))"#
            )
        };
        let truncated = lane("(i32x4.relaxed_trunc_f32x4_s (f32x4.splat (local.get 0)))");
        for (number, expected) in [(3e9_f32, i32::MAX), (-3e9, i32::MIN), (f32::NAN, 0), (1.5, 1)] {
            let lane: i32 = run(&truncated, (number, 0));
            assert_eq!(lane, expected, "{number}");
        }
        let swizzled =
            lane("(i8x16.relaxed_swizzle (i8x16.splat (i32.const 7)) (i8x16.splat (local.get 1)))");
        for (index, expected) in [(3, 0x0707_0707), (16, 0), (0x8f, 0)] {
            let lane: i32 = run(&swizzled, (0.0_f32, index));
            assert_eq!(lane, expected, "{index}");
        }
    }

    /// A thread of low priority may wait for a core for longer than the ticker waits for the next call.
    #[test]
    fn a_loop_whose_thread_was_held_up_ends_all_the_same() {
        let engine = Engine::new(&compile_config()).expect("an engine");
        let ticker = Ticker::idling_after(engine.clone(), 20).expect("a thread can be made");
        let (ended, end) = mpsc::channel();
        let (seen, reader) = (ticker.reader(), ticker.reader());
        thread::spawn(move || {
            let endless =
                wat::parse_str(r#"(module (func (export "f") (loop (br 0))))"#).expect("well-formed");
            let module = Module::new(&engine, endless).expect("a module");
            let mut store = Store::new(&engine, CallClock::new(reader));
            let function = Instance::new(&mut store, &module, &[])
                .and_then(|instance| instance.get_typed_func::<(), ()>(&mut store, "f"))
                .expect("an instance");
            store.epoch_deadline_callback(|mut context| {
                let ticks = context.data_mut().look()?;
                Ok(UpdateDeadline::Continue(ticks))
            });
            store.set_epoch_deadline(FIRST_LOOK_TICKS);
            store.data_mut().start(Duration::from_millis(10));
            // The core is gone here, until the ticker believes that nothing runs.
            thread::sleep(10 * TICK);
            while !seen.shared.idle.load(Ordering::SeqCst) {
                thread::sleep(TICK);
            }
            let _ = ended.send(function.call(&mut store, ()).is_err());
        });
        assert_eq!(end.recv_timeout(Duration::from_secs(60)), Ok(true));
    }

    #[test]
    fn memories_are_not_shared() {
        let shared = r#"(module (memory 1 1 shared) (func (export "f") (result i32) (i32.const 1)))"#;
        let refused = run_changed::<(), i32>(|_| {}, shared, ());
        assert!(refused.is_err(), "{refused:?}");
        let alone = shared.replace(" shared", "");
        let taken: i32 = run(&alone, ());
        assert_eq!(taken, 1);
    }
}
