//! However lists overlap, each beginning and end is told once.

use super::*;
use proptest::prelude::*;

const BASE: i64 = 1_795_348_800;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(BASE + second).unwrap()
}

/// A task of a node that begins at `start` and ends at `end`.
#[derive(Clone, Debug)]
struct Plan {
    node: u8,
    pid: u32,
    start: i64,
    end: i64,
}

impl Plan {
    fn upid(&self) -> Upid {
        let Self { node, pid, start, .. } = self;
        let text =
            format!("UPID:pve{node}:{pid:08X}:0001BB02:{:08X}:qmstart:104:root@pam:", BASE + start);
        text.parse().unwrap()
    }

    fn row(&self, now: i64) -> Option<TaskRow> {
        let end = (self.end <= now).then(|| (at(self.end), TaskStatus::Ok));
        (self.start <= now).then(|| TaskRow { upid: self.upid(), end })
    }
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let one = (0..3_u8, 0..2000_i64, 0..900_i64);
    proptest::collection::vec(one, 0..40).prop_map(|plans| {
        let with_pid = plans.into_iter().zip(1..);
        with_pid
            .map(|((node, start, length), pid)| Plan { node, pid, start, end: start + length })
            .collect()
    })
}

fn told(steps: &[Step], began: &mut Vec<String>, ended: &mut Vec<String>) {
    for step in steps {
        match step {
            Step::Began(upid) => began.push(upid.to_string()),
            Step::Ended { upid, .. } => ended.push(upid.to_string()),
        }
    }
}

proptest! {
    #[test]
    fn each_end_is_told_once_however_lists_overlap(
        plans in plans(), mut looks in proptest::collection::vec(0..3000_i64, 1..12), twice in any::<bool>(),
    ) {
        looks.sort_unstable();
        looks.push(4000);
        let mut known = Known { since: Some(at(-1)), ..Known::default() };
        let (mut began, mut ended) = (Vec::new(), Vec::new());
        for now in looks {
            let mut rows: Vec<TaskRow> = plans
                .iter()
                // A list by beginning, and what runs; what ended unseen is asked for by name.
                .filter(|plan| {
                    let listed = known.floor(plan.upid().node()).is_none_or(|floor| at(plan.start) >= floor);
                    listed || plan.end > now || known.running.contains(plan.upid().as_str())
                })
                .filter_map(|plan| plan.row(now))
                .collect();
            if twice {
                rows.extend(rows.clone());
            }
            let steps = read_tasks(&known, &rows);
            told(&steps, &mut began, &mut ended);
            for step in &steps {
                known.apply(step);
            }
            known.settle();
            prop_assert!(read_tasks(&known, &rows).is_empty(), "the same list again is no news");
        }
        let mut expected: Vec<String> = plans.iter().map(|plan| plan.upid().to_string()).collect();
        expected.sort();
        ended.sort();
        prop_assert_eq!(ended, expected);
        let count = began.len();
        began.sort();
        began.dedup();
        prop_assert_eq!(began.len(), count);
        prop_assert!(known.running.is_empty());
    }
}

#[test]
fn what_ended_unseen_is_missed_and_a_full_list_has_a_gap() {
    let plan = |pid, start, end| Plan { node: 1, pid, start, end };
    let rows =
        |plans: &[Plan], now| plans.iter().filter_map(|plan| plan.row(now)).collect::<Vec<_>>();
    let mut known = Known { since: Some(at(0)), ..Known::default() };
    let long = plan(1, 10, 5000);
    for step in read_tasks(&known, &rows(std::slice::from_ref(&long), 20)) {
        known.apply(&step);
    }
    assert_eq!(known.busy(), ["104".parse().unwrap()].into());
    // A burst pushed it out of the list.
    let burst: Vec<Plan> = (0..25).map(|at| plan(100 + at, 6000 + i64::from(at), 6050)).collect();
    let burst = rows(&burst, 6100);
    assert_eq!(known.missing(&burst), [long.upid()]);
    assert_eq!(known.gaps(&burst), ["pve1".parse().unwrap()].into());
    for step in read_tasks(&known, &burst) {
        known.apply(&step);
    }
    known.settle();
    assert!(known.gaps(&burst).is_empty(), "they are known now");
}
