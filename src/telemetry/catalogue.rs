//! Every instrument, in one place: the documentation, the dashboards and the alerts are held to it.

use super::family::{Instrument, Kind};

macro_rules! instruments {
    ($($constant:ident $kind:ident $name:literal $unit:literal [$($label:literal),*] $description:literal;)*) => {
        $(pub const $constant: Instrument = Instrument {
            name: $name,
            unit: $unit,
            kind: Kind::$kind,
            description: $description,
            labels: &[$($label),*],
        };)*

        pub const ALL: &[Instrument] = &[$($constant),*];
    };
}

instruments! {
    EVENTS Counter "headworks.events" "{event}" ["partner", "type", "since", "status", "code"]
        "Events that were answered, by what became of them; since is the app version from which their schema counts";
    EVENTS_SIZE Counter "headworks.events.size" "By" ["partner", "type", "since"] "Bytes of the events' data";
    EVENT_DURATION Histogram "headworks.event.duration" "s" ["partner", "type", "since"]
        "From the last byte of a request to the answer, counted once for each of its events";
    VERSION_UNREADABLE Counter "headworks.events.version_unreadable" "{event}" ["partner"]
        "Events whose app version cannot be read";
    DROPPED Counter "headworks.events.dropped" "{event}" ["route"]
        "Events of which a route's plugin made no record, on purpose";
    REQUEST_DURATION Histogram "headworks.request.duration" "s" ["partner"]
        "From a request's last byte to its answer";
    REFUSED Counter "headworks.requests.refused" "{request}" ["code"]
        "Requests that were refused whole: nothing of them was taken";
    STAGE_DURATION Histogram "headworks.stage.duration" "s" ["stage"]
        "How long the stages of the way take; one request in 16 is timed";
    HTTP_DURATION Histogram "http.server.request.duration" "s"
        ["http.request.method", "http.response.status_code"]
        "From a request's head to its answer, its body's arrival included";
    HTTP_BODY_SIZE Histogram "http.server.request.body.size" "By" [] "Bodies as sent, before decompression";
    HTTP_ACTIVE Gauge "http.server.active_requests" "{request}" [] "Requests under way";
    CONNECTIONS Gauge "headworks.connections" "{connection}" [] "Open connections of the data port";
    CONNECTIONS_AT_REST Gauge "headworks.connections.at_rest" "{connection}" [] "Of them, those that wait for a request and hold no buffers";
    KEY_REQUESTS Counter "headworks.key.requests" "{request}" ["partner", "key"] "Requests by the id of their key";
    PLUGIN_CALLS Counter "headworks.plugin.calls" "{call}" ["plugin", "version", "outcome"]
        "Calls of plugins; outcome is made, rejected, failed (it said so, or a lookup table is not there), trapped (a trap, time, memory) or held (not called)";
    PLUGIN_DURATION Histogram "headworks.plugin.duration" "s" ["plugin", "version"]
        "How long calls take; those of one request in 16 are timed";
    PLUGIN_MEMORY Gauge "headworks.plugin.memory" "By" ["plugin", "version"]
        "The largest memory of its instances that wait for their next call";
    PLUGIN_COUNTER Counter "headworks.plugin.counter" "{count}" ["plugin", "counter"] "What plugins count themselves, on events that pass: not in tests, as shadows or in replays";
    PLUGIN_UNAVAILABLE Gauge "headworks.plugin.unavailable" "{route}" []
        "Routes whose plugin cannot run on this node: their events go to quarantine";
    PLUGIN_ROLLBACKS Counter "headworks.plugin.rollbacks" "{rollback}" ["plugin", "version", "cause"]
        "Versions that the gateway left by itself, since they failed more often than the one before; cause is the commonest of their failures: time, memory, limit, trap, broken, destination, start or held";
    PLUGIN_CACHE Counter "headworks.plugin.loads" "{load}" ["from"]
        "Components that became native code; from is compiler, disk or memory";
    DESTINATION_RECORDS Gauge "headworks.destination.records" "{record}" ["destination", "state"]
        "Records since the start: accepted + recovered = delivered + waiting + refused + no_place + in_flight + unaccounted";
    DESTINATION_STATE Gauge "headworks.destination.state" "1" ["destination"]
        "0 healthy, 1 draining its spool, 2 spooling";
    DESTINATION_DURATION Histogram "headworks.destination.duration" "s" ["destination"]
        "From handing a record over until it is durable; those of one request in 16 are timed";
    DESTINATION_SIZE Counter "headworks.destination.size" "By" ["destination"] "Bytes of the records' values";
    SPOOL_RECORDS Gauge "headworks.spool.records" "{record}" ["destination"] "Records that wait in a destination's spool";
    SPOOL_SIZE Gauge "headworks.spool.size" "By" ["destination"] "Bytes that wait in a destination's spool";
    SPOOL_CAPACITY Gauge "headworks.spool.capacity" "By" [] "What all spools together may hold (spool.max_bytes)";
    SPOOL_DAMAGE Gauge "headworks.spool.damage" "{region}" ["destination"]
        "Places of a spool that could not be read; their bytes are kept aside";
    QUARANTINE_EVENTS Gauge "headworks.quarantine.events" "{event}" [] "Events that wait in quarantine";
    QUARANTINE_SIZE Gauge "headworks.quarantine.size" "By" [] "Bytes of the quarantine in the store";
    QUARANTINE_AGE Gauge "headworks.quarantine.age" "s" [] "Since the oldest event in quarantine was kept";
    QUARANTINE_EXPIRING Gauge "headworks.quarantine.expiring" "{event}" []
        "Events in quarantine that retention drops before long: replay or discard them, or allow more";
    QUARANTINE_DROPPED Counter "headworks.quarantine.dropped" "{event}" []
        "Events that retention has dropped from quarantine since the start";
    SCHEMAS_UNCOMPILED Gauge "headworks.schemas.uncompiled" "{schema}" []
        "Schemas that are compiled when an event needs them";
    SCHEMAS_COMPILATIONS Counter "headworks.schemas.compilations" "{compilation}" []
        "Schemas compiled since the start, the same one again included";
    RECENT_SIZE Gauge "headworks.recent.size" "By" [] "Bytes of the recent events that are remembered";
    STORE_FAILING Gauge "headworks.registry.store_failing" "1" []
        "1 while the store cannot be read and the last state is served";
    REGISTRY_SEQUENCE Gauge "headworks.registry.sequence" "1" [] "The last registry change in force";
    TELEMETRY_DROPPED Counter "headworks.telemetry.dropped" "{item}" ["signal"]
        "Spans that had no room, and exports that the collector did not take";
    CPU_TIME Counter "process.cpu.time" "s" ["cpu.mode"] "CPU time of this process";
    MEMORY Gauge "process.memory.usage" "By" [] "Resident memory";
    THREADS Gauge "process.thread.count" "{thread}" [] "Threads of this process";
    DESCRIPTORS Gauge "process.unix.file_descriptor.count" "{file_descriptor}" [] "Open file descriptors";
    UPTIME Gauge "process.uptime" "s" [] "Since this process was started";
}
