//! What benches and scores print: one table of figures with their bars, or one JSON document.

use serde::Serialize;

use crate::{Options, Stop};

/// One measured number.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// The peer's number in the same run, or the limit.
    pub(crate) peer: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) bar: Option<Bar>,
    pub(crate) met: Option<bool>,
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bar {
    /// The value, at least.
    AtLeast(f64),
    /// The value, at most.
    AtMost(f64),
    /// The ratio to the peer, at least.
    RatioAtLeast(f64),
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, peer: None, ratio: None, bar: None, met: None }
    }

    /// Compares with a peer's number.
    pub(crate) fn beside(mut self, peer: Option<f64>) -> Self {
        self.peer = peer;
        self.ratio = peer.filter(|p| *p > 0.0).map(|p| self.value / p);
        self
    }

    /// Sets what it has to reach. Without a peer a ratio is missed, not met.
    pub(crate) fn bar(mut self, bar: Bar) -> Self {
        self.met = Some(match bar {
            Bar::AtLeast(n) => self.value >= n,
            Bar::AtMost(n) => self.value <= n,
            Bar::RatioAtLeast(n) => self.ratio.is_some_and(|r| r >= n),
        });
        self.bar = Some(bar);
        self
    }
}

/// Prints the figures; whether every bar was met.
pub(crate) fn print(bench: &str, figures: &[Figure], options: &Options) -> Result<bool, Stop> {
    #[derive(Serialize)]
    struct Document<'a> {
        bench: &'a str,
        figures: &'a [Figure],
    }
    let met = figures.iter().all(|f| f.met != Some(false));
    if options.json {
        let document = Document { bench, figures };
        let text = serde_json::to_string_pretty(&document)
            .map_err(|e| Stop(format!("the figures cannot be written as JSON: {e}")))?;
        println!("{text}");
        return Ok(met);
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["figure", "value", "unit", "peer", "ratio", "bar", ""]);
    for f in figures {
        table.add_row([
            f.name.clone(),
            number(f.value),
            f.unit.to_owned(),
            f.peer.map(number).unwrap_or_default(),
            f.ratio.map(|r| format!("{r:.2}×")).unwrap_or_default(),
            match f.bar {
                Some(Bar::AtLeast(n)) => format!("≥ {}", number(n)),
                Some(Bar::AtMost(n)) => format!("≤ {}", number(n)),
                Some(Bar::RatioAtLeast(n)) => format!("≥ {}×", number(n)),
                None => String::new(),
            },
            match f.met {
                Some(true) => "met".to_owned(),
                Some(false) => "MISSED".to_owned(),
                None => String::new(),
            },
        ]);
    }
    println!("{bench}\n{table}");
    Ok(met)
}

fn number(n: f64) -> String {
    if n.fract() == 0.0 && n.abs() < 1e12 {
        format!("{n:.0}")
    } else if n.abs() >= 100.0 {
        format!("{n:.1}")
    } else {
        format!("{n:.3}")
    }
}
