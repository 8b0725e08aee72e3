//! The text format that Prometheus reads (version 0.0.4): families of samples, escaped as the format wants it.
//!
//! Written here in some fifty lines: a library would keep a second copy of every number that the status knows already.

use std::fmt::{Display, Write as _};

use crate::clock::Time;

/// What a family measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Gauge,
    Counter,
    Histogram,
}

impl MetricKind {
    /// The word that the format has for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// One family of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    /// One sentence without a full stop.
    pub help: &'static str,
}

/// A text under construction.
#[derive(Debug, Default)]
pub struct Text(String);

/// The family that samples are added to.
#[derive(Debug)]
pub struct Family<'t> {
    text: &'t mut Text,
    metric: &'static Metric,
}

impl Text {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        let Metric { name, kind, help, .. } = metric;
        // Writing to a String cannot fail. The help texts have nothing to escape, and a test sees to it.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.word());
        Family { text: self, metric }
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a sample with one value for each label of the family.
    pub fn sample(&mut self, labels: &[&str], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// Adds a time, where there is one.
    pub fn time(&mut self, labels: &[&str], time: Option<Time>) {
        if let Some(time) = time {
            self.sample(labels, seconds(time));
        }
    }

    /// Adds a sample for each of `states`: 1 for the one that holds, 0 for the others.
    pub fn one_of<'s>(&mut self, label: &str, states: impl IntoIterator<Item = &'s str>, holds: &str) {
        for state in states {
            self.sample(&[label, state], u8::from(state == holds));
        }
    }

    /// Adds a histogram: counts up to each bound, the sum and the count.
    pub fn histogram(&mut self, labels: &[&str], buckets: impl Iterator<Item = (f64, u64)>, sum: f64, count: u64) {
        for (bound, count) in buckets {
            self.line("_bucket", labels, Some(&bound.to_string()), count);
        }
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: impl Display) {
        let out = &mut self.text.0;
        let names = self.metric.labels.iter().copied().chain(bound.map(|_| "le"));
        let values = labels.iter().copied().chain(bound);
        out.push_str(self.metric.name);
        out.push_str(suffix);
        for (index, (name, value)) in names.zip(values).enumerate() {
            out.push(if index == 0 { '{' } else { ',' });
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
        }
        if !labels.is_empty() || bound.is_some() {
            out.push('}');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(out, " {value}");
    }
}

fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Seconds since 1970, to the millisecond.
fn seconds(time: Time) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact until the year 285,000")]
    let milliseconds = time.timestamp_millis() as f64;
    milliseconds / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_look_as_the_format_wants_them() {
        static PLAIN: Metric = Metric { name: "a_b", kind: MetricKind::Gauge, labels: &[], help: "Plain" };
        static LABELLED: Metric =
            Metric { name: "c", kind: MetricKind::Counter, labels: &["x", "y"], help: "Labelled" };
        static TIMES: Metric = Metric { name: "d", kind: MetricKind::Histogram, labels: &["x"], help: "Times" };
        let mut text = Text::default();
        text.family(&PLAIN).time(&[], Time::from_timestamp_millis(1_500));
        let mut family = text.family(&LABELLED);
        family.sample(&["q\"\\\n", "2"], 3);
        family.one_of("z", ["on", "off"], "off");
        text.family(&TIMES).histogram(&["v"], [(0.5, 1), (1.0, 2)].into_iter(), 4.25, 3);
        let expected = "# HELP a_b Plain\n# TYPE a_b gauge\na_b 1.5\n\
                        # HELP c Labelled\n# TYPE c counter\nc{x=\"q\\\"\\\\\\n\",y=\"2\"} 3\n\
                        c{x=\"z\",y=\"on\"} 0\nc{x=\"z\",y=\"off\"} 1\n\
                        # HELP d Times\n# TYPE d histogram\n\
                        d_bucket{x=\"v\",le=\"0.5\"} 1\nd_bucket{x=\"v\",le=\"1\"} 2\nd_bucket{x=\"v\",le=\"+Inf\"} 3\n\
                        d_sum{x=\"v\"} 4.25\nd_count{x=\"v\"} 3\n";
        assert_eq!(text.finish(), expected);
    }
}
