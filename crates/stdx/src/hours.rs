//! Hours of the week: `mon-fri/08:00-18:00@Europe/Berlin`.

use std::{cmp::Ordering, fmt, hash, str::FromStr};

use jiff::{
    Timestamp, Zoned,
    civil::{self, Weekday},
    tz::TimeZone,
};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_A_DAY: u16 = 24 * 60;

/// Some hours on some days of the week, by the clock of a time zone.
///
/// Written `mon-fri/08:00-18:00@Europe/Berlin`. The days can be left out (every day), and so can the
/// zone (the server's own). Hours that end before they begin go past midnight, and belong to the day
/// on which they begin: `fri/22:00-06:00` ends on Saturday morning. The end itself is outside.
#[derive(Clone, Debug)]
pub struct Hours {
    /// One flag per day, Monday first.
    days: [bool; 7],
    /// Minutes since midnight.
    from: u16,
    until: u16,
    zone: Option<Zone>,
}

#[derive(Clone, Debug)]
struct Zone {
    name: String,
    zone: TimeZone,
}

/// The text means no hours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` {reason}")]
pub struct InvalidHours {
    given: String,
    reason: &'static str,
}

// === impl Hours ===

impl Hours {
    /// Whether the moment is within; `now` brings the zone for hours that name none.
    pub fn contain(&self, now: &Zoned) -> bool {
        match &self.zone {
            Some(Zone { zone, .. }) => self.contain_local(&now.with_time_zone(zone.clone())),
            None => self.contain_local(now),
        }
    }

    /// The same for a moment without a zone: hours that name none are UTC's then.
    pub fn contain_timestamp(&self, now: Timestamp) -> bool {
        self.contain(&now.to_zoned(TimeZone::UTC))
    }

    /// The first moment from `now` on that is outside; `None` where there is none, or where it is
    /// further away than eight days.
    pub fn end(&self, now: &Zoned) -> Option<Zoned> {
        if !self.contain(now) {
            return Some(now.clone());
        }
        let zone = self.zone.as_ref().map_or_else(|| now.time_zone(), |it| &it.zone);
        let local = now.with_time_zone(zone.clone());
        let until = civil::time((self.until / 60) as i8, (self.until % 60) as i8, 0, 0);
        let mut day = local.date();
        for _ in 0..=8 {
            // A moment that a change of the clock leaves out is the one after the gap.
            let end = day.to_datetime(until).to_zoned(zone.clone()).ok()?;
            if end > local && !self.contain_local(&end) {
                return Some(end);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// Whether every moment of `other` is within.
    pub fn cover(&self, other: &Self) -> bool {
        let same_zone = self.zone_name() == other.zone_name();
        same_zone && {
            let (mine, theirs) = (self.week(), other.week());
            mine.iter().zip(&theirs).all(|(mine, theirs)| *mine || !*theirs)
        }
    }

    fn zone_name(&self) -> Option<&str> {
        self.zone.as_ref().map(|zone| zone.name.as_str())
    }

    fn contain_local(&self, local: &Zoned) -> bool {
        let minute =
            u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let today = index(local.weekday());
        self.contain_minute(today, minute)
    }

    fn contain_minute(&self, today: usize, minute: u16) -> bool {
        let yesterday = (today + 6) % 7;
        if self.from < self.until {
            return self.days[today] && (self.from..self.until).contains(&minute);
        }
        // Past midnight; the same minute twice is a whole day.
        (self.days[today] && minute >= self.from) || (self.days[yesterday] && minute < self.until)
    }

    /// Every minute of the week.
    fn week(&self) -> Vec<bool> {
        let minutes = (0..7).flat_map(|day| (0..MINUTES_A_DAY).map(move |minute| (day, minute)));
        minutes.map(|(day, minute)| self.contain_minute(day, minute)).collect()
    }
}

fn index(day: Weekday) -> usize {
    usize::from(day.to_monday_zero_offset().unsigned_abs())
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let mut first = true;
            let mut day = 0;
            while day < 7 {
                if !self.days[day] {
                    day += 1;
                    continue;
                }
                let end = (day..7).take_while(|day| self.days[*day]).last().unwrap_or(day);
                if !first {
                    f.write_str("+")?;
                }
                first = false;
                match end - day {
                    0 => f.write_str(DAYS[day])?,
                    _ => write!(f, "{}-{}", DAYS[day], DAYS[end])?,
                }
                day = end + 1;
            }
            f.write_str("/")?;
        }
        let from = self.from;
        // Midnight at the end is the 24th hour.
        let until = if self.until == 0 { MINUTES_A_DAY } else { self.until };
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)?;
        match self.zone_name() {
            Some(zone) => write!(f, "@{zone}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Hours {
    type Err = InvalidHours;

    fn from_str(text: &str) -> Result<Self, InvalidHours> {
        let fail = |reason| {
            let given = text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c });
            InvalidHours { given: given.collect(), reason }
        };
        let (rest, zone) = match text.split_once('@') {
            Some((rest, name)) => {
                let unknown = "names no time zone that is known here, such as Europe/Berlin or UTC";
                let zone = TimeZone::get(name).map_err(|_| fail(unknown))?;
                (rest, Some(Zone { name: name.to_owned(), zone }))
            }
            None => (text, None),
        };
        let (days, span) = match rest.split_once('/') {
            Some((days, span)) => (read_days(days).ok_or_else(|| {
                fail("names days that are none: write mon-fri, sat or mon+wed+fri before the `/`")
            })?, span),
            None => ([true; 7], rest),
        };
        let wrong = "has no hours such as 08:00-18:00";
        let (from, until) = span.split_once('-').ok_or_else(|| fail(wrong))?;
        let from = minute(from).filter(|from| *from < MINUTES_A_DAY).ok_or_else(|| fail(wrong))?;
        // 24:00 is the midnight at the end.
        let until = minute(until).ok_or_else(|| fail(wrong))? % MINUTES_A_DAY;
        Ok(Self { days, from, until, zone })
    }
}

fn read_days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let mut days = [false; 7];
    for part in text.split('+') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        days[at] = true;
        // sun-tue goes round the end of the week.
        while at != last {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    Some(days)
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (minute < 60 && hour * 60 + minute <= MINUTES_A_DAY).then_some(hour * 60 + minute)
}

impl PartialEq for Hours {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Hours {}

impl PartialOrd for Hours {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hours {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (it.days, it.from, it.until);
        key(self).cmp(&key(other)).then_with(|| self.zone_name().cmp(&other.zone_name()))
    }
}

impl hash::Hash for Hours {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        (self.days, self.from, self.until, self.zone_name()).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    #[test]
    fn hours_go_by_their_own_zone_and_past_midnight() {
        let office: Hours = "mon-fri/08:00-18:00@Europe/Berlin".parse().unwrap();
        // 2026-11-27 is a Friday; Berlin is an hour ahead of UTC.
        assert!(office.contain(&at("2026-11-27T07:00[UTC]")));
        assert!(!office.contain(&at("2026-11-27T06:59[UTC]")));
        assert!(!office.contain(&at("2026-11-27T17:00[UTC]")));
        assert!(!office.contain(&at("2026-11-28T10:00[UTC]")));
        let night: Hours = "fri/22:00-06:00".parse().unwrap();
        assert!(night.contain(&at("2026-11-28T05:59[UTC]")));
        assert!(!night.contain(&at("2026-11-27T05:59[UTC]")));
        assert!(night.contain(&at("2026-11-27T22:00[UTC]")));
        let always: Hours = "00:00-24:00".parse().unwrap();
        assert!(always.contain(&at("2026-11-28T00:00[UTC]")));
        assert!(always.cover(&office) == (office.zone_name().is_none()));
    }

    #[test]
    fn the_end_is_the_first_moment_outside() {
        let end = |hours: &str, now: &str| {
            let hours: Hours = hours.parse().unwrap();
            hours.end(&at(now)).map(|end| end.with_time_zone(TimeZone::UTC).timestamp().to_string())
        };
        let night = "22:00-07:00@Europe/Berlin";
        assert_eq!(end(night, "2026-11-28T01:00[UTC]").as_deref(), Some("2026-11-28T06:00:00Z"));
        assert_eq!(end(night, "2026-11-27T22:00[UTC]").as_deref(), Some("2026-11-28T06:00:00Z"));
        assert_eq!(end(night, "2026-11-28T12:00[UTC]").as_deref(), Some("2026-11-28T12:00:00Z"));
        // The clock goes forward in the night: by the clock on the wall it ends as ever.
        assert_eq!(end(night, "2026-03-29T00:30[UTC]").as_deref(), Some("2026-03-29T05:00:00Z"));
        // And back.
        assert_eq!(end(night, "2026-10-24T23:30[UTC]").as_deref(), Some("2026-10-25T06:00:00Z"));
        assert_eq!(
            end("fri-sun/00:00-24:00", "2026-11-28T01:00[UTC]").as_deref(),
            Some("2026-11-30T00:00:00Z")
        );
        assert_eq!(end("00:00-24:00", "2026-11-28T01:00[UTC]"), None);
    }

    #[test]
    fn garbage_is_named() {
        let wrong = [
            "",
            "8-18",
            "mon",
            "mun/08:00-18:00",
            "08:00-25:00",
            "08:61-09:00",
            "08:00-18:00@Mars/Base",
            "24:00-01:00",
        ];
        let said: Vec<String> =
            wrong.iter().map(|text| text.parse::<Hours>().unwrap_err().to_string()).collect();
        expect![[r#"
            `` has no hours such as 08:00-18:00
            `8-18` has no hours such as 08:00-18:00
            `mon` has no hours such as 08:00-18:00
            `mun/08:00-18:00` names days that are none: write mon-fri, sat or mon+wed+fri before the `/`
            `08:00-25:00` has no hours such as 08:00-18:00
            `08:61-09:00` has no hours such as 08:00-18:00
            `08:00-18:00@Mars/Base` names no time zone that is known here, such as Europe/Berlin or UTC
            `24:00-01:00` has no hours such as 08:00-18:00
        "#]]
        .assert_eq(&(said.join("\n") + "\n"));
    }

    fn any_hours() -> impl Strategy<Value = Hours> {
        (proptest::array::uniform7(any::<bool>()), 0..MINUTES_A_DAY, 0..MINUTES_A_DAY)
            .prop_filter("some day", |(days, ..)| days.contains(&true))
            .prop_map(|(days, from, until)| Hours { days, from, until, zone: None })
    }

    proptest! {
        #[test]
        fn written_form_reads_back(hours in any_hours()) {
            prop_assert_eq!(hours.to_string().parse::<Hours>(), Ok(hours));
        }

        #[test]
        fn what_ends_is_outside(hours in any_hours(), second in 0_i64..2_000_000_000) {
            let now = Timestamp::from_second(second).unwrap().to_zoned(TimeZone::UTC);
            if let Some(end) = hours.end(&now) {
                prop_assert!(end >= now && !hours.contain(&end));
            }
        }

        #[test]
        fn what_covers_holds_every_minute(one in any_hours(), other in any_hours(), day in 0_usize..7, minute in 0..MINUTES_A_DAY) {
            if one.cover(&other) && other.contain_minute(day, minute) {
                prop_assert!(one.contain_minute(day, minute));
            }
        }
    }
}
