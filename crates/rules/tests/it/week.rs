//! A simulated week with the rules that are built in; `cargo run -p rules --example week` prints it.

#[path = "../../examples/week/story.rs"]
mod story;

use std::fmt::Write as _;

use expect_test::expect;

#[test]
fn a_week_is_a_few_messages_a_day_and_fewer_at_night() {
    let week = story::told();
    let events: u32 = week.events.values().sum();
    assert!(events > 4_500, "{events}");
    for output in ["team", "phone"] {
        let loud = week.loud_of(output);
        // Less, and something was kept from people; more, and nobody reads them.
        assert!((25..=45).contains(&loud), "{output}: {loud}");
    }
    let of_phone = week.night.iter().filter(|line| line.contains(" phone ")).count();
    assert_eq!(of_phone, 1, "what cannot wait: {:?}", week.night);
    let mut said = format!("{events} events\n");
    for ((output, what), count) in week.loud.iter().filter(|((output, _), _)| output == "team") {
        writeln!(said, "{output} {count} {what}").unwrap();
    }
    writeln!(said, "quietly {:?}", week.quiet).unwrap();
    expect![[r#"
        6794 events
        team 6 again auth.failed
        team 2 again backup.failed
        team 2 again link.down
        team 7 again replication.failed
        team 2 new auth.failed
        team 2 new backup.failed
        team 1 new certificate.expiring
        team 1 new cluster.unreachable
        team 1 new guest.crashed
        team 3 new input.mute
        team 1 new link.down
        team 1 new node.offline
        team 1 new pool.degraded
        team 1 new replication.failed
        team 1 new storage.full
        team 1 new sync.failed
        team 1 new system.mail
        team 1 new verify.failed
        quietly {"phone": 74, "team": 98}
    "#]]
    .assert_eq(&said);
}
