//! When a CronJob is due: five fields of cron, or `@daily` and its like
//! (`cron.ParseStandard` of github.com/robfig/cron/v3). Parsers of other crates take more than that (`L`, `W`,
//! `#`, seconds), take `*/2` for a day of its own beside the day of the week, and say other words.

use jiff::civil::{Date, time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Where time zones are described (tzdata).
const ZONES: &str = "/usr/share/zoneinfo";

/// How far ahead is looked for a day that matches; the 29th of February may be eight years away.
const MOST_DAYS: usize = 366 * 9;

/// When something is due again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At these minutes.
    Fields(Fields),
    /// After so many seconds, each time.
    Every(i64),
}

/// The fields of cron, each as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must be one of the month's and of the week's: one of the two says nothing.
    both: bool,
}

/// Why a text is no schedule, in the words of the parser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoSchedule(String);

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The values of a field, and the names of some.
struct Bounds {
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const BOUNDS: [Bounds; 5] = [
    Bounds { least: 0, most: 59, names: &[] },
    Bounds { least: 0, most: 23, names: &[] },
    Bounds { least: 1, most: 31, names: &[] },
    Bounds { least: 1, most: 12, names: &MONTHS },
    Bounds { least: 0, most: 6, names: &WEEKDAYS },
];

impl Schedule {
    /// Reads a schedule.
    pub fn parse(text: &str) -> Result<Self, NoSchedule> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NoSchedule("empty spec string".to_owned()));
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            text => text,
        };
        if let Some(span) = text.strip_prefix("@every ") {
            let unreadable = || NoSchedule(format!("failed to parse duration {text}"));
            let seconds = seconds_of(span).ok_or_else(unreadable)?;
            return Ok(Self::Every(seconds.max(1)));
        }
        if text.starts_with('@') {
            return Err(NoSchedule(format!("unrecognized descriptor: {text}")));
        }
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts[..] else {
            return Err(NoSchedule(format!(
                "expected exactly 5 fields, found {}: [{}]",
                parts.len(),
                parts.join(" ")
            )));
        };
        let says_nothing = |field: &str| field.starts_with(['*', '?']);
        let [minute, hour, day, month, weekday] = &BOUNDS;
        Ok(Self::Fields(Fields {
            minutes: field(minutes, minute)?,
            hours: field(hours, hour)?,
            days: field(days, day)?,
            months: field(months, month)?,
            weekdays: field(weekdays, weekday)?,
            both: says_nothing(days) || says_nothing(weekdays),
        }))
    }

    /// The first time after `after` at which it is due; none if there is none in years.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(seconds) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(SignedDuration::from_secs(*seconds)).ok()
            }
            Self::Fields(fields) => fields.next(after, zone),
        }
    }

    /// The last time after `after` and not after `now` at which it was due, and whether there were more.
    #[must_use]
    pub fn last_due(&self, after: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let first = self.next(after, zone).filter(|due| *due <= now)?;
        // A minute is the least that is between two but of `@every`; so this is soon done.
        let from = match self {
            Self::Every(seconds) => {
                let whole = (now.as_second() - first.as_second()) / seconds * seconds;
                return Timestamp::from_second(first.as_second() + whole).ok();
            }
            Self::Fields(_) => [60, 3600, 86_400, 31 * 86_400]
                .into_iter()
                .filter_map(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok())
                .find(|from| self.next(*from, zone).is_some_and(|due| due <= now))
                .map_or(after, |from| from.max(after)),
        };
        let mut last = first;
        let mut next = self.next(from, zone);
        while let Some(due) = next.filter(|due| *due <= now) {
            last = due;
            next = self.next(due, zone);
        }
        Some(last)
    }
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = after.to_zoned(zone.clone()).date();
        for _ in 0..MOST_DAYS {
            if self.has_day(date) {
                let hours = (0..24).filter(|hour| has(self.hours, *hour));
                let minutes = |hour| {
                    (0..60)
                        .filter(|minute| has(self.minutes, *minute))
                        .map(move |minute| (hour, minute))
                };
                for (hour, minute) in hours.flat_map(minutes) {
                    let (hour, minute) = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?);
                    let at = date.to_datetime(time(hour, minute, 0, 0));
                    let at = at.to_zoned(zone.clone()).ok()?.timestamp();
                    if at > after {
                        return Some(at);
                    }
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let number = |number: i8| u32::try_from(number).unwrap_or(0);
        let day = has(self.days, number(date.day()));
        let weekday = has(self.weekdays, number(date.weekday().to_sunday_zero_offset()));
        has(self.months, number(date.month()))
            && if self.both { day && weekday } else { day || weekday }
    }
}

fn has(set: u64, number: u32) -> bool {
    set >> number & 1 == 1
}

/// The set of a field: ranges with commas between.
fn field(text: &str, bounds: &Bounds) -> Result<u64, NoSchedule> {
    let mut set = 0;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        set |= range(part, bounds)?;
    }
    Ok(set)
}

/// `*`, `5`, `1-5`, `*/15`, `10-30/5`, `5/15`.
fn range(text: &str, bounds: &Bounds) -> Result<u64, NoSchedule> {
    let fault = |what: String| NoSchedule(what);
    let (span, step) = match text.split('/').collect::<Vec<_>>()[..] {
        [span] => (span, None),
        [span, step] => (span, Some(number(step, &[])?)),
        _ => return Err(fault(format!("too many slashes: {text}"))),
    };
    let (first, mut last) = match span.split('-').collect::<Vec<_>>()[..] {
        ["*" | "?"] => (bounds.least, bounds.most),
        [one] => {
            let one = number(one, bounds.names)?;
            (one, one)
        }
        [first, last] => (number(first, bounds.names)?, number(last, bounds.names)?),
        _ => return Err(fault(format!("too many hyphens: {text}"))),
    };
    // `5/15` is from 5 on.
    if step.is_some() && !span.contains('-') {
        last = bounds.most;
    }
    let Bounds { least, most, .. } = bounds;
    if first < *least {
        return Err(fault(format!("beginning of range ({first}) below minimum ({least}): {text}")));
    }
    if last > *most {
        return Err(fault(format!("end of range ({last}) above maximum ({most}): {text}")));
    }
    if first > last {
        return Err(fault(format!(
            "beginning of range ({first}) beyond end of range ({last}): {text}"
        )));
    }
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(fault(format!("step of range should be a positive number: {text}")));
    }
    let in_step = (first..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    Ok(in_step.fold(0, |set, number| set | 1 << number))
}

fn number(text: &str, names: &[&str]) -> Result<u32, NoSchedule> {
    let lower = text.to_lowercase();
    if let Some(place) = names.iter().position(|name| *name == lower) {
        // Months are counted from 1, days of the week from 0.
        return Ok(u32::try_from(place).unwrap_or(0) + u32::from(names.len() == 12));
    }
    text.parse().map_err(|_| {
        NoSchedule(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
        ))
    })
}

/// The seconds of a duration as Go writes it: `1h30m`, `90s`.
fn seconds_of(text: &str) -> Option<i64> {
    let mut seconds = 0_i64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit())?;
        let count: i64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        let factor = match unit {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(count.checked_mul(factor)?)?;
        rest = &rest[end + 1..];
    }
    Some(seconds)
}

/// The time zone of this name; none where the machine knows none such.
#[must_use]
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "UTC" | "Etc/UTC") {
        return Some(TimeZone::UTC);
    }
    let valid = |part: &str| {
        !part.is_empty()
            && part.chars().all(|char| char.is_ascii_alphanumeric() || "_+-".contains(char))
    };
    if !name.split('/').all(valid) {
        return None;
    }
    let data = std::fs::read(std::path::Path::new(ZONES).join(name)).ok()?;
    TimeZone::tzif(name, &data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, after: &str) -> String {
        let schedule = Schedule::parse(text).unwrap();
        schedule.next(after.parse().unwrap(), &TimeZone::UTC).unwrap().to_string()
    }

    #[test]
    fn a_schedule_is_due_when_cron_says_so() {
        for (text, after, due) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:59:30Z", "2026-01-01T01:00:00Z"),
            ("5/20 * * * *", "2026-01-01T00:05:00Z", "2026-01-01T00:25:00Z"),
            ("30 6-16/4 * * mon-fri", "2026-01-02T15:00:00Z", "2026-01-05T06:30:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            // Of two that say something, either is enough.
            ("0 0 13 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 */2 * fri", "2026-01-01T00:00:00Z", "2026-01-09T00:00:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ("@every 1m30s", "2026-01-01T00:00:00.5Z", "2026-01-01T00:01:30Z"),
        ] {
            assert_eq!(next(text, after), due, "{text}");
        }
        assert_eq!(
            Schedule::parse("0 0 31 2 *").unwrap().next(Timestamp::UNIX_EPOCH, &TimeZone::UTC),
            None
        );
    }

    #[test]
    fn of_many_times_that_were_missed_the_last_is_due() {
        let last = |text: &str, after: &str, now: &str| {
            let (after, now) = (after.parse().unwrap(), now.parse().unwrap());
            let due = Schedule::parse(text).unwrap().last_due(after, now, &TimeZone::UTC);
            due.map(|due| due.to_string())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            last("* * * * *", "2020-01-01T00:00:00Z", "2026-01-01T00:00:30Z"),
            some("2026-01-01T00:00:00Z")
        );
        assert_eq!(
            last("0 3 1 * *", "2020-01-01T00:00:00Z", "2026-02-01T00:00:30Z"),
            some("2026-01-01T03:00:00Z")
        );
        assert_eq!(
            last("@every 7s", "2020-01-01T00:00:00Z", "2020-01-01T00:00:20Z"),
            some("2020-01-01T00:00:14Z")
        );
        assert_eq!(last("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:00:59Z"), None);
    }

    #[test]
    fn what_is_no_schedule_is_told_in_the_parsers_words() {
        for (text, says) in [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            (
                "a * * * *",
                "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax",
            ),
            ("@often", "unrecognized descriptor: @often"),
            ("@every x", "failed to parse duration @every x"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ] {
            assert_eq!(Schedule::parse(text).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn a_zone_is_one_of_the_machines() {
        assert_eq!(time_zone("UTC"), Some(TimeZone::UTC));
        for name in ["../passwd", "/etc/passwd", "No/Such", "Europe/", ".."] {
            assert_eq!(time_zone(name), None, "{name}");
        }
        if let Some(zone) = time_zone("Europe/Berlin") {
            let due = Schedule::parse("0 12 * * *").unwrap();
            let due = due.next("2026-07-01T00:00:00Z".parse().unwrap(), &zone).unwrap();
            assert_eq!(due.to_string(), "2026-07-01T10:00:00Z");
        }
    }
}
