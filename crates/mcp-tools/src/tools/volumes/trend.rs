//! How fast something fills, told from what it held over time.
//!
//! The slope is the median of the slopes between all pairs of points (Theil and Sen), so that one
//! clean-up or one large copy does not bend it. Pure.

/// The most points that are compared with each other.
const POINTS: usize = 96;

const DAY: f64 = 86_400.0;

/// What the past says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trend {
    /// Bytes a day.
    pub(super) per_day: f64,
    /// The quarter of the slopes that is lowest ends here, bytes a day.
    pub(super) low: f64,
    /// The quarter that is highest begins here.
    pub(super) high: f64,
    /// Days between the first point and the last.
    pub(super) days: f64,
    /// The share of slopes that go the same way, 0 to 1.
    pub(super) agreement: f64,
}

/// How much a trend can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sure {
    /// Two weeks or more that mostly go one way.
    Good,
    /// A few days.
    Fair,
    /// Little data, or it goes up and down.
    Poor,
}

/// The trend of points `(unix seconds, bytes)`; nothing where there are too few.
pub(super) fn trend(points: &[(i64, f64)]) -> Option<Trend> {
    let mut points: Vec<(f64, f64)> = points
        .iter()
        .filter(|(_, used)| used.is_finite())
        .map(|(at, used)| (*at as f64, *used))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let points = thin(&points);
    let (first, last) = (points.first()?, points.last()?);
    let days = (last.0 - first.0) / DAY;
    let mut slopes = Vec::new();
    for (at, one) in points.iter().enumerate() {
        for other in points.iter().skip(at + 1) {
            let span = (other.0 - one.0) / DAY;
            if span > 0.0 {
                slopes.push((other.1 - one.1) / span);
            }
        }
    }
    if slopes.len() < 3 {
        return None;
    }
    slopes.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * (slopes.len() - 1) as f64).round();
        // Within the bounds by construction, and positive.
        slopes.get(index as usize).copied().unwrap_or_default()
    };
    let per_day = at(0.5);
    let same = slopes.iter().filter(|slope| slope.signum() == per_day.signum()).count();
    Some(Trend {
        per_day,
        low: at(0.25),
        high: at(0.75),
        days,
        agreement: same as f64 / slopes.len() as f64,
    })
}

/// As many points as can be compared, each the median of its neighbors.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let size = points.len().div_ceil(POINTS);
    let parts = points.chunks(size).filter_map(|part| {
        let mut used: Vec<f64> = part.iter().map(|(_, used)| *used).collect();
        used.sort_by(f64::total_cmp);
        Some((part.get(part.len() / 2)?.0, *used.get(used.len() / 2)?))
    });
    parts.collect()
}

// === impl Trend ===

impl Trend {
    /// How much it can be relied on.
    pub(super) fn sure(&self) -> Sure {
        match (self.days, self.agreement) {
            (days, same) if days >= 14.0 && same >= 0.8 => Sure::Good,
            (days, same) if days >= 3.0 && same >= 0.65 => Sure::Fair,
            _ => Sure::Poor,
        }
    }

    /// Days until `room` bytes are used up; nothing where it does not fill within ten years.
    pub(super) fn days_for(&self, room: f64) -> Option<f64> {
        days_at(room, self.per_day)
    }

    /// The same by the highest and the lowest of the usual slopes.
    pub(super) fn range_for(&self, room: f64) -> (Option<f64>, Option<f64>) {
        (days_at(room, self.high), days_at(room, self.low))
    }
}

fn days_at(room: f64, per_day: f64) -> Option<f64> {
    let days = room.max(0.0) / per_day;
    (per_day > 0.0 && days <= 3650.0).then_some(days)
}

impl Sure {
    /// The word that answers use.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Poor => "poor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(days: i64, per_day: f64, bend: impl Fn(i64) -> f64) -> Vec<(i64, f64)> {
        (0..days * 24)
            .map(|hour| (hour * 3600, hour as f64 / 24.0 * per_day + bend(hour)))
            .collect()
    }

    #[test]
    fn slopes_withstand_what_happens_once() {
        let steady = trend(&line(30, 100.0, |_| 0.0)).unwrap();
        assert!((steady.per_day - 100.0).abs() < 1e-6, "{steady:?}");
        assert_eq!(steady.sure(), Sure::Good);
        assert_eq!(steady.days_for(1000.0).unwrap().round() as i64, 10);
        // A clean-up of a week's growth in the middle.
        let cleaned =
            trend(&line(30, 100.0, |hour| if hour > 360 { -700.0 } else { 0.0 })).unwrap();
        assert!(cleaned.per_day > 50.0, "{cleaned:?}");
        // One point that is wrong.
        let spiked = trend(&line(30, 100.0, |hour| if hour == 300 { 1e9 } else { 0.0 })).unwrap();
        assert!((spiked.per_day - 100.0).abs() < 1.0, "{spiked:?}");
        // Up and down every day fills nothing.
        let wave = trend(&line(30, 0.0, |hour| f64::from((hour % 24) as u8) * 10.0)).unwrap();
        assert!(wave.days_for(1e6).is_none() || wave.sure() == Sure::Poor, "{wave:?}");
        let shrinking = trend(&line(30, -5.0, |_| 1e6)).unwrap();
        assert_eq!(shrinking.days_for(1.0), None);
        let short = trend(&line(1, 100.0, |_| 0.0)).unwrap();
        assert_eq!(short.sure(), Sure::Poor);
        assert_eq!(trend(&[(0, 1.0), (60, 2.0)]), None);
        assert_eq!(trend(&[]), None);
    }
}
