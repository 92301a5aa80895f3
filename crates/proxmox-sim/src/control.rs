//! The control endpoint: levers over plain HTTP on loopback, for programs that do not link this crate.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::error::SimError;
use crate::holds::Moment;
use crate::levers::{Levers, TaskSpec};

/// One lever with its arguments, as `POST /levers` takes it.
#[derive(Debug, Deserialize)]
#[serde(tag = "lever", rename_all = "snake_case", deny_unknown_fields)]
enum Lever {
    KeepHeads,
    Heads,
    NodeOffline {
        target: String,
        node: String,
        on: bool,
    },
    QuorumLost {
        target: String,
        on: bool,
    },
    FailNextTask {
        target: String,
        kind: Option<String>,
        message: String,
    },
    WarnNextTask {
        target: String,
        kind: Option<String>,
        message: String,
    },
    Latency {
        target: String,
        ms: u64,
    },
    StatusNext {
        target: String,
        code: u16,
        reason: String,
        count: Option<u32>,
    },
    ExpireTickets {
        target: String,
    },
    RotateCertificate {
        target: String,
        node: String,
    },
    SlowBody {
        target: String,
        ms: Option<u64>,
    },
    TruncateBody {
        target: String,
        count: u32,
    },
    DropRequests {
        target: String,
        count: u32,
    },
    DropConnections {
        target: String,
    },
    Hold {
        target: String,
        method: String,
        path: String,
        /// Held when it was done, not when it has arrived.
        done: bool,
    },
    Held,
    Release,
    SetStorageUsage {
        target: String,
        storage: String,
        share: f64,
    },
    CorruptBackup {
        target: String,
        datastore: String,
        namespace: Option<String>,
        group: String,
    },
    AgeChunks {
        target: String,
        datastore: String,
        secs: i64,
    },
    AddTask {
        target: String,
        node: String,
        kind: String,
        id: String,
        status: Option<String>,
        log: Option<Vec<String>>,
    },
    CephCheck {
        target: String,
        code: String,
        error: bool,
        message: Option<String>,
    },
    ServiceState {
        target: String,
        node: String,
        service: String,
        state: String,
    },
    ZfsHealth {
        target: String,
        node: String,
        pool: String,
        health: String,
    },
    DiskHealth {
        target: String,
        node: String,
        disk: String,
        health: String,
        life_left: u32,
    },
    ReplicationFails {
        target: String,
        job: String,
        cause: Option<String>,
    },
    CertificateEnds {
        target: String,
        node: String,
        days: i64,
    },
    JournalLine {
        target: String,
        node: String,
        unit: String,
        text: String,
        secs_ago: i64,
    },
    OpenConsoles {
        target: String,
        whose: String,
    },
    ConsoleShows {
        target: String,
        whose: String,
        text: String,
    },
    ConsolesEnd {
        target: String,
        whose: String,
    },
    ClusterLogLine {
        target: String,
        node: String,
        user: String,
        tag: String,
        priority: u8,
        text: String,
    },
    SetOption {
        target: String,
        vmid: u32,
        key: String,
        value: Value,
    },
    NotificationsVanish {
        target: String,
        on: bool,
    },
    TrustAuthority {
        target: String,
        pem: String,
    },
    LegacyMail {
        target: String,
        name: String,
        to: String,
    },
    VzdumpConf {
        target: String,
        node: String,
        name: String,
        value: String,
    },
    LegacyTapeJob {
        target: String,
        id: String,
        store: String,
        user: Option<String>,
    },
    Clear {
        target: String,
    },
}

/// Serves `POST /levers` on `address` (loopback) until the program ends; returns the bound address.
///
/// The body is a JSON object with `lever` and that lever's arguments, such as
/// `{"lever": "node_offline", "target": "lab", "node": "cedar", "on": true}`.
///
/// # Errors
/// The address could not be bound.
pub async fn serve_control(levers: Levers, address: SocketAddr) -> Result<SocketAddr, SimError> {
    let failed = |source| SimError::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let levers = levers.clone();
            let service =
                hyper::service::service_fn(move |request| answer(levers.clone(), request));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    Ok(bound)
}

async fn answer(
    levers: Levers,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let good = request.method() == http::Method::POST && request.uri().path() == "/levers";
    let body = request.into_body().collect().await?.to_bytes();
    let (code, reply) = if good {
        match serde_json::from_slice::<Lever>(&body) {
            Err(error) => (400, json!({"error": error.to_string()})),
            Ok(lever) => match pull(&levers, lever) {
                Ok(result) => (200, json!({"ok": true, "result": result})),
                Err(error) => (400, json!({"error": error.to_string()})),
            },
        }
    } else {
        (404, json!({"error": "only POST /levers is here"}))
    };
    let mut response = Response::new(Full::new(Bytes::from(reply.to_string())));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    Ok(response)
}

fn pull(levers: &Levers, lever: Lever) -> Result<Value, SimError> {
    let done = |()| Value::Null;
    match lever {
        Lever::KeepHeads => {
            levers.keep_heads();
            Ok(Value::Null)
        }
        Lever::Heads => Ok(Value::from(levers.heads())),
        Lever::NodeOffline { target, node, on } => {
            levers.node_offline(&target, &node, on).map(done)
        }
        Lever::QuorumLost { target, on } => levers.quorum_lost(&target, on).map(done),
        Lever::FailNextTask { target, kind, message } => {
            levers.fail_next_task(&target, kind.as_deref(), &message).map(done)
        }
        Lever::WarnNextTask { target, kind, message } => {
            levers.warn_next_task(&target, kind.as_deref(), &message).map(done)
        }
        Lever::Latency { target, ms } => {
            levers.latency(&target, Duration::from_millis(ms)).map(done)
        }
        Lever::StatusNext { target, code, reason, count } => {
            levers.status_next(&target, code, &reason, count.unwrap_or(1)).map(done)
        }
        Lever::OpenConsoles { target, whose } => {
            levers.open_consoles(&target, &whose).map(Value::from)
        }
        Lever::ConsoleShows { target, whose, text } => {
            levers.console_shows(&target, &whose, &text).map(done)
        }
        Lever::ConsolesEnd { target, whose } => levers.consoles_end(&target, &whose).map(done),
        Lever::ClusterLogLine { target, node, user, tag, priority, text } => {
            levers.cluster_log_line(&target, &node, &user, &tag, priority, &text).map(done)
        }
        Lever::ExpireTickets { target } => levers.expire_tickets(&target).map(done),
        Lever::RotateCertificate { target, node } => {
            levers.rotate_certificate(&target, &node).map(Value::from)
        }
        Lever::SlowBody { target, ms } => {
            levers.slow_body(&target, ms.map(Duration::from_millis)).map(done)
        }
        Lever::TruncateBody { target, count } => levers.truncate_body(&target, count).map(done),
        Lever::DropRequests { target, count } => levers.drop_requests(&target, count).map(done),
        Lever::DropConnections { target } => levers.drop_connections(&target).map(done),
        Lever::Hold { target, method, path, done: is_done } => {
            let moment = if is_done { Moment::Done } else { Moment::Arrived };
            levers.hold(&target, &method, &path, moment).map(done)
        }
        Lever::Held => Ok(Value::from(levers.held())),
        Lever::Release => {
            levers.release();
            Ok(Value::Null)
        }
        Lever::SetStorageUsage { target, storage, share } => {
            levers.set_storage_usage(&target, &storage, share).map(done)
        }
        Lever::CorruptBackup { target, datastore, namespace, group } => {
            let namespace = namespace.unwrap_or_default();
            levers.corrupt_backup(&target, &datastore, &namespace, &group).map(done)
        }
        Lever::AgeChunks { target, datastore, secs } => {
            levers.age_chunks(&target, &datastore, secs).map(done)
        }
        Lever::AddTask { target, node, kind, id, status, log } => {
            let mut task = TaskSpec::running(&kind, &id);
            task.status = status;
            task.log = log.unwrap_or_default();
            levers.add_task(&target, &node, &task).map(Value::from)
        }
        Lever::CephCheck { target, code, error, message } => {
            levers.ceph_check(&target, &code, error, message.as_deref()).map(done)
        }
        Lever::ServiceState { target, node, service, state } => {
            levers.service_state(&target, &node, &service, &state).map(done)
        }
        Lever::ZfsHealth { target, node, pool, health } => {
            levers.zfs_health(&target, &node, &pool, &health).map(done)
        }
        Lever::DiskHealth { target, node, disk, health, life_left } => {
            levers.disk_health(&target, &node, &disk, &health, life_left).map(done)
        }
        Lever::ReplicationFails { target, job, cause } => {
            levers.replication_fails(&target, &job, cause.as_deref()).map(done)
        }
        Lever::CertificateEnds { target, node, days } => {
            levers.certificate_ends(&target, &node, days).map(done)
        }
        Lever::JournalLine { target, node, unit, text, secs_ago } => {
            levers.journal_line(&target, &node, &unit, &text, secs_ago).map(done)
        }
        Lever::SetOption { target, vmid, key, value } => {
            levers.set_option(&target, vmid, &key, value).map(done)
        }
        Lever::NotificationsVanish { target, on } => {
            levers.notifications_vanish(&target, on).map(done)
        }
        Lever::TrustAuthority { target, pem } => levers.trust_authority(&target, &pem).map(done),
        Lever::LegacyMail { target, name, to } => levers.legacy_mail(&target, &name, &to).map(done),
        Lever::VzdumpConf { target, node, name, value } => {
            levers.vzdump_conf(&target, &node, &name, &value).map(done)
        }
        Lever::LegacyTapeJob { target, id, store, user } => {
            levers.legacy_tape_job(&target, &id, &store, user.as_deref()).map(done)
        }
        Lever::Clear { target } => levers.clear(&target).map(done),
    }
}
