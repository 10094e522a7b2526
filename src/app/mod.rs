//! Wiring, and the order of start and shutdown.

mod actions;
mod admin;
mod drain;
mod folder;
mod keeper;
mod metrics;
mod node;
mod plugins;
mod readiness;
mod rollback;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch, time::Instant};

use crate::{
    config::{ServerSettings, Settings, TlsSettings},
    confined::OWN_PROGRAM,
    deliver::{Destinations, Recall, RefusedHandler},
    limits::{self, SPOOL_QUARANTINE_PARTS},
    listener::{self, Listener, Proxies, Tls, TlsFiles, TlsPort},
    pipeline::{Lookups, Memory, Pipeline, Preparations, Quotas, Tables, WebhookIds},
    quarantine::{Kept, Quarantine},
    recent::Recent,
    registry::{Registry, model::State, seal::Sealer},
    spool::{Budget, Spool, SpoolOptions},
    store::Store,
    telemetry::{self, Export, Exporting, Telemetry},
    transform::{TransformSettings, Transformer},
};

/// Why the gateway did not start, or did not end well: one sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AppError(String);

fn failed(what: impl std::fmt::Display) -> impl FnOnce(String) -> AppError {
    move |cause| AppError(format!("{what}: {cause}"))
}

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
///
/// Where a part of it cannot start: an address in use, a folder that cannot be written, a store that cannot be read.
pub fn serve(settings: Settings, sockets: Sockets) -> Result<(), AppError> {
    telemetry::start_logging(&settings.telemetry.log_level, settings.telemetry.log_format)
        .map_err(|error| AppError(error.to_string()))?;
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay in use: more memory is resident than is used");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(limits::THREAD_STACK_BYTES)
        .build()
        .map_err(|error| failed("the runtime cannot start")(error.to_string()))?;
    let ended = runtime.block_on(run(settings, sockets));
    // A call that blocks, such as the search for a broker, must not hold up the end.
    runtime.shutdown_timeout(EXIT_TIME);
    ended
}

/// What threads that block have at the end.
const EXIT_TIME: Duration = Duration::from_millis(200);
/// Of the time for a shutdown, a third and at most this is kept from the requests, for what must come after them.
const SETTLE_TIME: Duration = Duration::from_secs(5);
/// What requests to the admin port have, out of that.
const ADMIN_TIME: Duration = Duration::from_secs(1);

/// Listening sockets that whoever started this process has handed over; they are used in the place of the addresses of
/// the settings.
#[derive(Debug, Default)]
pub struct Sockets {
    pub data: Option<std::net::TcpListener>,
    pub admin: Option<std::net::TcpListener>,
}

async fn run(settings: Settings, sockets: Sockets) -> Result<(), AppError> {
    let timeout = Duration::from_secs(settings.server.shutdown_timeout_s.into());
    let telemetry = Telemetry::new(settings.telemetry.label_sets);
    let settle = SETTLE_TIME.min(timeout / 3);
    let numbers = Arc::clone(telemetry.http());
    let mut data_settings = listener::Settings::new(settings.limits.clone(), timeout - settle, numbers);
    data_settings.tls = tls(&settings)?;
    data_settings.proxies = proxies(&settings.server);
    let line_listener = lines(&settings.server, &data_settings)?;
    let data_listener = match sockets.data {
        Some(socket) => Listener::take_over(socket, data_settings),
        None => Listener::bind(settings.server.listen, data_settings),
    }
    .map_err(|error| failed(format_args!("server.listen = {}", settings.server.listen))(error.to_string()))?;
    let admin_listener = admin_socket(&settings, sockets.admin).await.map_err(|error| {
        failed(format_args!(
            "server.admin_listen = {}",
            settings.server.admin_listen
        ))(error.to_string())
    })?;
    let admin_tls = admin::tls(&settings.server)?;
    let jwt = admin::jwt(&settings.server)?;
    let gateway = Gateway::start(&settings, telemetry).await?;

    let (stop_data, data_stopping) = watch::channel(false);
    let (stop_admin, admin_stopping) = watch::channel(false);
    let stopped = |mut stopping: watch::Receiver<bool>| async move {
        // An error is the sender's end: time to stop as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let admin_address = admin_listener
        .local_addr()
        .map_err(|error| AppError(error.to_string()))?;
    tracing::info!(data = %data_listener.local_addr(), admin = %admin_address, "headworks is ready");
    let lines = line_listener.map(|lines| {
        tracing::info!(lines = %lines.local_addr(), "events are taken as lines too");
        tokio::spawn(lines.serve_lines(Arc::clone(&gateway.pipeline), stopped(data_stopping.clone())))
    });
    let data = tokio::spawn(data_listener.serve(Arc::clone(&gateway.pipeline), stopped(data_stopping)));
    let admin = admin::serve(
        admin_listener,
        admin_tls,
        gateway.admin_state(&settings, jwt),
        stopped(admin_stopping),
    )?;

    ended()
        .await
        .map_err(|error| failed("signals")(error.to_string()))?;
    tracing::info!("stopping: finishing requests, then what is in flight");
    // First of all whoever asks for readiness is told, so that a balancer sends no more.
    gateway.pipeline.leave();
    tokio::time::sleep(Duration::from_secs(settings.server.shutdown_delay_s.into())).await;
    let deadline = Instant::now() + timeout;
    // A receiver is gone only where its server has ended already.
    let _ = stop_data.send(true);
    let _ = tokio::time::timeout_at(deadline - settle, data).await;
    if let Some(lines) = lines {
        let _ = tokio::time::timeout_at(deadline - settle, lines).await;
    }
    gateway.pipeline.stop();
    let _ = stop_admin.send(true);
    let _ = tokio::time::timeout(ADMIN_TIME.min(settle / 4), admin).await;
    // What is not delivered within that time stays in the spools.
    if tokio::time::timeout_at(deadline, gateway.shutdown(deadline))
        .await
        .is_err()
    {
        tracing::error!("not everything came to rest within server.shutdown_timeout_s");
    }
    tracing::info!("stopped");
    Ok(())
}

fn lines(server: &ServerSettings, data: &listener::Settings) -> Result<Option<Listener>, AppError> {
    let Some(lines) = server.lines else {
        return Ok(None);
    };
    let settings = listener::Settings {
        tls: data.tls.clone().filter(|_| lines.tls),
        ..data.clone()
    };
    Listener::bind(lines.listen, settings)
        .map(Some)
        .map_err(|error| failed(format_args!("server.lines.listen = {}", lines.listen))(error.to_string()))
}

fn proxies(server: &ServerSettings) -> Proxies {
    let settings = &server.proxies;
    Proxies::new(&settings.trusted, settings.header, settings.proxy_protocol)
}

async fn admin_socket(settings: &Settings, socket: Option<std::net::TcpListener>) -> io::Result<TcpListener> {
    match socket {
        Some(socket) => {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        }
        None => TcpListener::bind(settings.server.admin_listen).await,
    }
}

fn tls(settings: &Settings) -> Result<Option<Arc<Tls>>, AppError> {
    let Some(files) = settings.server.tls.clone() else {
        return Ok(None);
    };
    Tls::load(tls_files(files), TlsPort::Events)
        .map(Some)
        .map_err(|error| failed("server.tls")(error.to_string()))
}

fn tls_files(files: TlsSettings) -> TlsFiles {
    TlsFiles {
        certificate: files.certificate,
        key: files.key,
        client_ca: files.client_ca,
    }
}

/// SIGTERM or SIGINT.
async fn ended() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// All parts of a running gateway but its sockets.
struct Gateway {
    /// Held as long as the gateway lives.
    _data_folder: folder::DataFolder,
    registry: Registry,
    transformer: Arc<Transformer>,
    preparations: Arc<Preparations>,
    lookups: Arc<Lookups>,
    pipeline: Arc<Pipeline>,
    telemetry: Arc<Telemetry>,
    drain: drain::Drain,
    sealer: Sealer,
    quotas: Arc<Quotas>,
    /// Taken at shutdown.
    exporting: Mutex<Option<Exporting>>,
}

impl Gateway {
    async fn start(settings: &Settings, telemetry: Arc<Telemetry>) -> Result<Gateway, AppError> {
        let data_folder = folder::DataFolder::open(&settings.data_dir)?;
        let store = Store::connect(&settings.store).map_err(|error| AppError(error.to_string()))?;
        let registry = Registry::open(store.clone())
            .await
            .map_err(|error| AppError(error.to_string()))?;
        let token_path = settings.data_dir.join("admin-token");
        registry
            .ensure_admin_token(&token_path)
            .await
            .map_err(|error| failed(token_path.display())(error.to_string()))?;
        let transformer = Transformer::new(TransformSettings {
            limits: settings.limits.clone(),
            cache_dir: settings.data_dir.join("cache"),
            compiler: OWN_PROGRAM.into(),
        })
        .map_err(|problem| failed("plugins")(problem.detail))?;
        let quotas =
            Quotas::open(&settings.data_dir).map_err(|error| failed("the quotas")(error.to_string()))?;
        let quotas = Arc::new(quotas);
        keeper::keep_quotas(&quotas);
        let pipeline = start_pipeline(settings, store, &telemetry, Arc::clone(&quotas)).await?;
        let mark = settings.data_dir.join("spool/replayed");
        let drain = drain::Drain::start(Arc::clone(&pipeline), mark);
        let sealer = sealer(settings)?;
        let lookups = Lookups::new(registry.clone(), settings.limits.tables_memory_bytes);
        let preparations = Preparations::new(registry.clone(), Arc::clone(&transformer));
        let applied = Applied {
            registry: registry.clone(),
            pipeline: Arc::clone(&pipeline),
            preparations: Arc::clone(&preparations),
            lookups: Arc::clone(&lookups),
            drain: drain.clone(),
            sealer: sealer.clone(),
            telemetry: Arc::clone(&telemetry),
        };
        applied.follow().await;
        let retention = keeper::retention(&settings.quarantine);
        let figures = keeper::start(pipeline.quarantine(), &registry, retention);
        metrics::observe(
            &telemetry,
            &pipeline,
            &registry,
            &transformer,
            &figures,
            settings.spool.max_bytes.0,
        );
        let exporting = export(settings, &telemetry)?;
        let rollbacks = rollback::start(&settings.plugins, &registry, &transformer, &drain);
        plugins::observe(&telemetry, rollbacks);
        Ok(Gateway {
            _data_folder: data_folder,
            registry,
            transformer,
            preparations,
            lookups,
            pipeline,
            telemetry,
            drain,
            sealer,
            quotas,
            exporting: Mutex::new(exporting),
        })
    }

    async fn shutdown(&self, deadline: Instant) {
        self.drain.stop();
        keeper::write_quotas(&self.quotas);
        let left = deadline.saturating_duration_since(Instant::now());
        let rest = SETTLE_TIME.min(left / 2);
        self.pipeline.destinations().shutdown(left - rest).await;
        let closed = self.pipeline.quarantine().close();
        if tokio::time::timeout_at(deadline - rest / 4, closed)
            .await
            .is_err()
        {
            tracing::warn!("the store did not take what is quarantined in time; the spool keeps it");
        }
        let exporting = self.exporting.lock().take();
        if let Some(exporting) = exporting {
            let left = deadline.saturating_duration_since(Instant::now());
            exporting.stop(EXPORT_TIME.min(left)).await;
        }
    }
}

/// What a collector has at the end to take what is left.
const EXPORT_TIME: Duration = Duration::from_secs(3);

/// Sends metrics and traces where the configuration names a collector.
fn export(settings: &Settings, telemetry: &Arc<Telemetry>) -> Result<Option<Exporting>, AppError> {
    let Some(endpoint) = settings.telemetry.otlp_endpoint.clone() else {
        return Ok(None);
    };
    let path = settings.data_dir.join("spool/node");
    let node = node::id(&path).map_err(|error| failed(path.display())(error.to_string()))?;
    let headers = settings.telemetry.otlp_headers.iter();
    telemetry
        .export(Export {
            endpoint,
            headers: headers
                .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
                .collect(),
            interval: Duration::from_secs(settings.telemetry.otlp_interval_s.into()),
            trace_one_in: settings.telemetry.trace_one_in,
            instance: node.to_string(),
        })
        .map(Some)
        .map_err(|error| AppError(error.to_string()))
}

fn sealer(settings: &Settings) -> Result<Sealer, AppError> {
    match &settings.keys.sealing_key {
        Some(key) => Sealer::new(key.reveal()),
        None => Sealer::from_file(&settings.data_dir.join("sealing-key")),
    }
    .map_err(|error| failed("keys.sealing_key")(error.to_string()))
}

async fn start_pipeline(
    settings: &Settings,
    store: Store,
    telemetry: &Arc<Telemetry>,
    quotas: Arc<Quotas>,
) -> Result<Arc<Pipeline>, AppError> {
    let folder = settings.data_dir.join("spool");
    let budget = Budget::new(settings.spool.max_bytes.0);
    let spool = Spool::open(
        &folder.join("quarantine"),
        SpoolOptions {
            own_bytes: settings.spool.max_bytes.0 / SPOOL_QUARANTINE_PARTS,
            owner: Quarantine::owner,
            ..SpoolOptions::default()
        },
        Arc::clone(&budget),
    )
    .map_err(|error| failed("the quarantine's spool")(error.to_string()))?;
    let node_path = folder.join("node");
    let node = node::id(&node_path).map_err(|error| failed(node_path.display())(error.to_string()))?;
    let quarantine = Quarantine::open_as(node, spool, store)
        .await
        .map_err(|error| AppError(error.to_string()))?;
    let mut retained = BTreeMap::new();
    for claim in quarantine
        .left_claims()
        .await
        .map_err(|error| AppError(error.to_string()))?
    {
        for (destination, position) in claim.positions {
            let least = retained.entry(destination).or_insert(position);
            *least = position.min(*least);
        }
    }
    let destinations = Destinations::start(
        &settings.destinations,
        &folder.join("destinations"),
        budget,
        refused_handler(&quarantine),
        &Recall::new(&settings.limits, retained),
    )
    .map_err(|error| AppError(error.to_string()))?;
    let webhook_ids =
        WebhookIds::open(&settings.data_dir).map_err(|error| failed("the webhook ids")(error.to_string()))?;
    Ok(Pipeline::new(
        destinations,
        quarantine,
        start_recent(settings),
        Memory { webhook_ids, quotas },
        settings.limits.clone(),
        Arc::clone(telemetry),
    ))
}

/// How often partners make room for each other in the memory of recent events.
const FAIRNESS_INTERVAL: Duration = Duration::from_secs(1);

fn start_recent(settings: &Settings) -> Arc<Recent> {
    let recent = Recent::new(&settings.recent);
    let weak = Arc::downgrade(&recent);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(FAIRNESS_INTERVAL).await;
            let Some(recent) = weak.upgrade() else { return };
            recent.keep_fair();
        }
    });
    recent
}

/// What a destination refuses after its event was acknowledged goes to quarantine, as the record that it is.
fn refused_handler(quarantine: &Arc<Quarantine>) -> RefusedHandler {
    let quarantine = Arc::clone(quarantine);
    Arc::new(move |destination, record, detail| {
        let quarantine = Arc::clone(&quarantine);
        async move {
            let detail = format!("the destination {destination} refused the record: {detail}");
            let kept = match Kept::refused(destination.to_string(), record, detail) {
                Ok(kept) => kept,
                Err(error) => {
                    tracing::error!(%destination, %error, "a refused record cannot be kept");
                    return false;
                }
            };
            let (done, kept_durably) = tokio::sync::oneshot::channel();
            quarantine.keep(kept, move |result| {
                let _ = done.send(result.is_ok());
            });
            kept_durably.await.unwrap_or(false)
        }
        .boxed()
    })
}

/// What a registry state is put in force with.
#[derive(Clone)]
struct Applied {
    registry: Registry,
    pipeline: Arc<Pipeline>,
    preparations: Arc<Preparations>,
    lookups: Arc<Lookups>,
    drain: drain::Drain,
    sealer: Sealer,
    telemetry: Arc<Telemetry>,
}

impl Applied {
    /// Puts each registry state in force, in order; the registry waits for it before a change is answered.
    async fn follow(self) {
        let registry = self.registry.clone();
        registry
            .set_applier(move |state| {
                let this = self.clone();
                async move { this.apply(state).await }.boxed()
            })
            .await;
    }

    async fn apply(&self, state: Arc<State>) {
        let previous = self.pipeline.tables();
        let tables = Tables::build(
            Arc::clone(&state),
            &previous,
            &self.preparations,
            &self.lookups,
            &self.sealer,
            &self.telemetry,
        )
        .await;
        let change = drain::Change {
            before: &previous.state,
            after: &state,
            references: previous.schemas.references(),
            brings_rows: tables.lookups().brings_rows(previous.lookups()),
            has_caught_up: tables.has_caught_up(),
            is_whole: tables.has_all_lookups() && tables.has_all_plugins(),
        };
        self.pipeline.install(tables);
        self.drain.changed(&change);
    }
}
