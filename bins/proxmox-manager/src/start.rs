//! The time before a manager has its store: it waits for a database, or for another manager to end.

use std::sync::Arc;

use assembly::{Estate, Wait, web};
use store::Lease;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::notify::Service;

/// How the waiting ended.
pub(crate) enum Took {
    /// The store is this manager's.
    Store(Lease),
    /// It was told to end.
    Nothing,
    /// It was told to read its settings anew, and has nothing yet.
    Notice,
}

/// Takes the store, as soon as it is there and this manager may have it. While it is not there, whoever
/// asks over HTTP is told that nothing is served yet.
///
/// # Errors
/// It cannot be had, and waiting does not mend that.
pub(crate) async fn take_store(
    estate: &Estate,
    service: &Arc<Service>,
    stop: &CancellationToken,
    hangup: &mut Signal,
) -> anyhow::Result<Took> {
    let (said, mut saying) = watch::channel(None);
    let pause = stop.child_token();
    let ended = pause.child_token();
    let taking = async {
        let waits = |wait: Wait| drop(said.send_replace(Some(wait)));
        let taken = assembly::take_store(estate, &pause, waits).await;
        ended.cancel();
        taken
    };
    let telling = async {
        let (mut beats, mut answers) = (None, None);
        while let Some(Ok(())) = ended.run_until_cancelled(saying.changed()).await {
            let wait = saying.borrow_and_update().clone();
            let Some(wait) = wait else { continue };
            tell(&wait, service);
            beats.get_or_insert_with(|| beat(service));
            if answers.is_none() && matches!(wait, Wait::Away(_)) {
                answers = answer(estate, &ended).await;
            }
        }
        // The address is free again when this is over.
        if let Some(answers) = answers {
            let _ = answers.await;
        }
    };
    let noticing = async {
        // In this order: what was asked for by then counts for whoever takes the store.
        tokio::select! {
            biased;
            _ = hangup.recv() => true,
            () = ended.cancelled() => false,
        }
    };
    let noticing = async {
        let noticed = noticing.await;
        pause.cancel();
        noticed
    };
    let (taken, (), noticed) = tokio::join!(taking, telling, noticing);
    match taken? {
        Some(lease) if noticed => {
            lease.give_back().await;
            Ok(Took::Notice)
        }
        Some(lease) => Ok(Took::Store(lease)),
        None if stop.is_cancelled() => Ok(Took::Nothing),
        None => Ok(Took::Notice),
    }
}

/// Says what is waited for, in the log and to the service manager.
fn tell(wait: &Wait, service: &Service) {
    let status = match wait {
        Wait::Away(why) => {
            tracing::warn!("waits for the store: {why}");
            format!("waits for the store: {why}")
        }
        Wait::Taken(why) => {
            tracing::warn!("stands by: {why}");
            "stands by: another manager has the store".to_owned()
        }
        _ => "waits".to_owned(),
    };
    // A status is one line.
    service.tell(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
}

/// Shows the watchdog that it lives, for as long as this is kept.
fn beat(service: &Arc<Service>) -> Option<AbortOnDropHandle<()>> {
    let every = service.heartbeat()?;
    let service = Arc::clone(service);
    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            service.tell("WATCHDOG=1");
        }
    })))
}

/// Answers probes until the waiting ends, where the settings want HTTP. That nobody can be answered is no
/// reason not to wait.
async fn answer(estate: &Estate, ended: &CancellationToken) -> Option<AbortOnDropHandle<()>> {
    if !estate.loaded.settings.manager.http {
        return None;
    }
    let address = Some(estate.loaded.settings.http.listen);
    let wanted = web::Wanted { address, ..web::Wanted::default() };
    match web::bind(estate, &wanted, None).await {
        Ok(web) => Some(AbortOnDropHandle::new(tokio::spawn(web.bound.wait(ended.clone())))),
        Err(error) => {
            tracing::warn!("nobody is told over HTTP that it waits: {error:#}");
            None
        }
    }
}
