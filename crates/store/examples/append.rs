//! How many events a second a store keeps, each batch synced before the next; and how many a second it
//! then makes findable, and follows with a step for each batch (a report, and for one in a hundred a
//! delivery).
//!
//! `cargo run --release -p store --example append -- <store URL> [batches] [events in each]`; without a
//! URL a new SQLite file in the folder for temporary files. Prints one line for each of the three:
//! events, seconds, events a second, and the slowest and the middle batch in milliseconds.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use event_core::{Event, Kind, Logged, Message, Seq, Severity, Stand, Subject};
use store::{Mark, NewDelivery, Step, StoreUrl};

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
    let mut append = Meter::new("kept", most);
    for batch in made {
        let append = append.begin();
        let batch = batch.into_iter().map(std::sync::Arc::new).collect();
        event_core::EventLog::append(&*store, batch, Vec::new()).await?;
        append.end();
    }
    println!("{append}");
    let mut index = Meter::new("made findable", most);
    loop {
        let index = index.begin();
        if store.index_events(u32::try_from(most)?).await? == 0 {
            break;
        }
        index.end();
    }
    println!("{index}");
    let mut follow = Meter::new("followed", most);
    let mut seq = Seq(u64::try_from(first)?);
    loop {
        let read = store.after(seq, u32::try_from(most)?).await?;
        let Some(last) = read.last() else { break };
        seq = last.seq;
        let step = step(&read);
        let follow = follow.begin();
        store.commit_step(step).await?;
        follow.end();
    }
    println!("{follow}");
    Ok(())
}

/// What rules could make of it: reports of one incident, and a message now and then.
fn step(read: &[Logged]) -> Step {
    let last = &read[read.len() - 1];
    let told = read.iter().filter(|it| it.seq.0.is_multiple_of(100));
    let delivery = |it: &Logged| NewDelivery {
        key: format!("step-{}", it.seq).into(),
        output: "ops".parse().expect("a name"),
        incident: Some("0a".to_owned()),
        lane: "0a".to_owned(),
        made: it.event.time,
        due: it.event.time,
        message: Message::new(
            Stand::Update,
            "0a",
            it.event.kind.clone(),
            it.event.severity,
            it.event.title.clone(),
            it.event.time,
        ),
    };
    Step {
        reports: read.iter().map(|it| (it.event.id, "0a".to_owned())).collect(),
        deliveries: told.map(delivery).collect(),
        mark: Some(Mark { consumer: "rules".to_owned(), seq: last.seq, time: last.event.time }),
        ..Step::default()
    }
}

/// How long batches took.
struct Meter {
    what: &'static str,
    most: usize,
    took: Vec<Duration>,
}

/// One batch that is under way.
struct Batch<'a> {
    meter: &'a mut Meter,
    began: Instant,
}

// === impl Meter ===

impl Meter {
    fn new(what: &'static str, most: usize) -> Self {
        Self { what, most, took: Vec::new() }
    }

    fn begin(&mut self) -> Batch<'_> {
        Batch { meter: self, began: Instant::now() }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, most, took } = self;
        let mut took = took.clone();
        took.sort_unstable();
        let seconds = took.iter().sum::<Duration>().as_secs_f64();
        let events = took.len() * most;
        let millis = |took: Option<&Duration>| took.map_or(0.0, |it| it.as_secs_f64() * 1000.0);
        write!(
            f,
            "{events} events {what} in {seconds:.2} s: {:.0} a second; a batch of {most} took \
             {:.1} ms in the middle and {:.1} ms at most",
            events as f64 / seconds,
            millis(took.get(took.len() / 2)),
            millis(took.last()),
        )
    }
}

// === impl Batch ===

impl Batch<'_> {
    fn end(self) {
        self.meter.took.push(self.began.elapsed());
    }
}
