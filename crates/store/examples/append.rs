//! How many events a second a store keeps, each batch synced before the next.
//!
//! `cargo run --release -p store --example append -- <store URL> [batches] [events in each]`; without a
//! URL a new SQLite file in the folder for temporary files. Prints one line: events, seconds, events a
//! second, and the slowest and the middle batch in milliseconds.

use std::error::Error;
use std::time::{Duration, Instant};

use event_core::{Event, Kind, Severity, Subject};
use store::StoreUrl;

fn event(number: usize) -> Event {
    let source = "syslog".parse().expect("a name");
    let time = jiff::Timestamp::from_second(1_795_000_000).expect("a time");
    let subject = Subject {
        cluster: Some("lab".parse().expect("a name")),
        node: Some("alder".parse().expect("a name")),
        ..Subject::default()
    };
    let line = format!("<28>1 alder pvestatd 2811 - storage 'vault' is not online ({number})");
    Event::builder(&source, "syslog", format!("alder/{number}"), Kind::StorageError, time)
        .severity(Severity::Warning)
        .subject(subject)
        .title("storage 'vault' is not online")
        .raw(line.as_bytes())
        .build(time)
}

#[expect(clippy::print_stdout, reason = "what it measured is all that it says")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let temporary = std::env::temp_dir().join(format!("append-{}.db", std::process::id()));
    let url = arguments.next().unwrap_or_else(|| format!("sqlite://{}", temporary.display()));
    let batches: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let most: usize = arguments.next().map_or(Ok(512), |text| text.parse())?;
    let store = store::open(&url.parse::<StoreUrl>()?).await?;
    // Made beforehand: what is measured is the store.
    let first = usize::try_from(store.head().await?.0)?;
    let made: Vec<Vec<Event>> = (0..batches)
        .map(|batch| (0..most).map(|at| event(first + batch * most + at)).collect())
        .collect();
    let mut took: Vec<Duration> = Vec::with_capacity(batches);
    let began = Instant::now();
    for batch in made {
        let before = Instant::now();
        event_core::EventLog::append(&*store, batch, Vec::new()).await?;
        took.push(before.elapsed());
    }
    let (seconds, events) = (began.elapsed().as_secs_f64(), batches * most);
    took.sort_unstable();
    let millis = |took: Option<&Duration>| took.map_or(0.0, |it| it.as_secs_f64() * 1000.0);
    let rate = events as f64 / seconds;
    println!(
        "{events} events in {seconds:.2} s: {rate:.0} a second; a batch of {most} took {:.1} ms in \
         the middle and {:.1} ms at most",
        millis(took.get(took.len() / 2)),
        millis(took.last()),
    );
    Ok(())
}
