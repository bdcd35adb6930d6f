//! Plots as the server draws them: bars and lines in SVG, without a script. This file computes where everything stands;
//! `templates/plot.html` writes it down, and `plot.css` gives it colours that follow light and dark.

/// The room of a plot, in its own units; the page scales it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 30.0;
/// Lines across, besides that of zero.
const TICKS_MAX: f64 = 5.0;
/// Words below, at most.
const LABELS_MAX: usize = 12;
/// The room of one row of a plot of rows: the words, and the bar below them.
const ROW: f64 = 44.0;

/// More places than this, and what stands there is drawn in one piece, without words for each: they would weigh more than the page, and nobody
/// points at so thin a bar. The table has the numbers.
const WORDS_MAX: usize = 31;

/// What is measured, and how its numbers are written.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// What the numbers count, in a word or two.
    pub unit: &'static str,
    /// How one is written.
    pub written: fn(f64) -> String,
    /// The smallest step between two lines across: 1 for what is counted in whole numbers, so that no two lines are called alike.
    pub step_min: f64,
}

/// One kind of bar, or one line.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is called.
    pub name: &'static str,
    /// A value for each place; none where there is none.
    pub values: Vec<Option<f64>>,
}

/// A rectangle.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "where it stands, its colour, and what it says when it is pointed at")]
pub struct Bar {
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
    pub colour: usize,
    pub told: String,
}

/// Many bars of one colour in one piece.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the way around all of them, and the colour")]
pub struct Shape {
    pub path: String,
    pub colour: usize,
}

/// A line through points.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "where it runs, its colour, and its points with what they say; many points are marked in one piece")]
pub struct Line {
    pub points: String,
    pub colour: usize,
    pub dots: Vec<(String, String, String)>,
    pub marks: String,
}

/// A text at its place.
#[derive(Debug, Clone)]
pub struct Words {
    /// From the left.
    pub x: String,
    /// From the top.
    pub y: String,
    /// The words.
    pub text: String,
    /// Left out where there is little room.
    pub minor: bool,
}

/// A plot, ready to be written.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the parts of the template, named as there")]
pub struct Plot {
    pub id: &'static str,
    pub title: String,
    pub told: String,
    pub width: f64,
    pub height: f64,
    pub bars: Vec<Bar>,
    pub shapes: Vec<Shape>,
    pub lines: Vec<Line>,
    /// Lines across, with their numbers.
    pub ticks: Vec<Words>,
    pub labels: Vec<Words>,
    /// The names of the series, where there are several.
    pub legend: Vec<&'static str>,
    pub left: f64,
    pub right: f64,
}

/// A title and what is shown below it.
#[derive(Debug, Clone)]
pub struct About {
    /// For links and for programs that read pages out.
    pub id: &'static str,
    /// What is shown.
    pub title: String,
    /// The names of the places, in order.
    pub places: Vec<String>,
    /// What is measured.
    pub measure: Measure,
}

/// Bars beside each other, the series on top of each other.
pub fn bars(about: About, series: &[Series]) -> Plot {
    let totals = (0..about.places.len()).map(|place| series.iter().filter_map(|one| one.values.get(place).copied().flatten()).sum());
    let scale = Scale::up_to(totals.fold(0.0, f64::max), about.measure.step_min);
    let step = (WIDTH - LEFT - RIGHT) / about.places.len().max(1) as f64;
    let mut bars = Vec::new();
    for (place, name) in about.places.iter().enumerate() {
        let mut below = 0.0;
        for (colour, one) in series.iter().enumerate() {
            let value = one.values.get(place).copied().flatten().unwrap_or_default();
            if value > 0.0 {
                bars.push(Bar {
                    x: at(LEFT + step * (place as f64 + 0.12)),
                    y: at(scale.y(below + value)),
                    width: at(step * 0.76),
                    height: at(scale.y(below) - scale.y(below + value)),
                    colour: colour + 1,
                    told: told(name, one.name, &(about.measure.written)(value)),
                });
                below += value;
            }
        }
    }
    if about.places.len() <= WORDS_MAX {
        return Plot { bars, ..standing(about, series, &scale) };
    }
    let shapes = (1..=series.len()).map(|colour| Shape { path: around(bars.iter().filter(|bar| bar.colour == colour)), colour });
    Plot { shapes: shapes.filter(|shape| !shape.path.is_empty()).collect(), ..standing(about, series, &scale) }
}

fn around<'a>(bars: impl Iterator<Item = &'a Bar>) -> String {
    bars.map(|Bar { x, y, width, height, .. }| format!("M{x} {y}h{width}v{height}h-{width}z")).collect()
}

/// Lines, each through the places for which it has a value.
pub fn lines(about: About, series: &[Series]) -> Plot {
    let scale =
        Scale::up_to(series.iter().flat_map(|one| one.values.iter().flatten().copied()).fold(0.0, f64::max), about.measure.step_min);
    let step = (WIDTH - LEFT - RIGHT) / about.places.len().max(1) as f64;
    let mut drawn = Vec::new();
    for (colour, one) in series.iter().enumerate() {
        let dots: Vec<_> = one
            .values
            .iter()
            .zip(&about.places)
            .enumerate()
            .filter_map(|(place, (value, name))| {
                let value = (*value)?;
                let words = told(name, one.name, &(about.measure.written)(value));
                Some((at(LEFT + step * (place as f64 + 0.5)), at(scale.y(value)), words))
            })
            .collect();
        let points = dots.iter().map(|(x, y, _)| format!("{x},{y}")).collect::<Vec<_>>().join(" ");
        let line = Line { points, colour: colour + 1, dots, marks: String::new() };
        drawn.push(if about.places.len() <= WORDS_MAX { line } else { line.without_words() });
    }
    Plot { lines: drawn, ..standing(about, series, &scale) }
}

impl Line {
    /// The points as marks of no length, which round ends make dots.
    fn without_words(self) -> Self {
        let marks = self.dots.iter().map(|(x, y, _)| format!("M{x} {y}h0")).collect();
        Self { dots: vec![], marks, ..self }
    }
}

/// Bars below each other, each under its words: for places whose names are long.
pub fn rows(about: About, series: &[Series]) -> Plot {
    let total = |place: usize| series.iter().filter_map(|one| one.values.get(place).copied().flatten()).sum::<f64>();
    let most = (0..about.places.len()).map(total).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let (mut bars, mut labels) = (Vec::new(), Vec::new());
    for (place, name) in about.places.iter().enumerate() {
        let top = ROW * place as f64;
        let number = (about.measure.written)(total(place));
        labels.push(Words { x: at(0.0), y: at(top + 17.0), text: format!("{name}: {number}"), minor: false });
        let mut x = 0.0;
        for (colour, one) in series.iter().enumerate() {
            let value = one.values.get(place).copied().flatten().unwrap_or_default();
            let width = value / most * WIDTH;
            if width > 0.0 {
                let words = told(name, one.name, &(about.measure.written)(value));
                bars.push(Bar { x: at(x), y: at(top + 24.0), width: at(width), height: at(13.0), colour: colour + 1, told: words });
                x += width;
            }
        }
    }
    let height = ROW * about.places.len() as f64;
    Plot { bars, labels, height, left: 0.0, right: WIDTH, ..empty(about, series) }
}

/// The frame of a plot whose places stand side by side.
fn standing(about: About, series: &[Series], scale: &Scale) -> Plot {
    let ticks = scale.ticks();
    let ticks = ticks.into_iter().map(|value| Words {
        x: at(LEFT - 8.0),
        y: at(scale.y(value)),
        text: (about.measure.written)(value),
        minor: false,
    });
    let step = (WIDTH - LEFT - RIGHT) / about.places.len().max(1) as f64;
    let every = about.places.len().div_ceil(LABELS_MAX).max(1);
    let labels = about.places.iter().enumerate().filter(|(place, _)| place % every == 0).enumerate().map(|(shown, (place, name))| Words {
        x: at(LEFT + step * (place as f64 + 0.5)),
        y: at(HEIGHT - BOTTOM + 20.0),
        text: name.clone(),
        minor: shown % 3 != 0,
    });
    Plot { ticks: ticks.collect(), labels: labels.collect(), ..empty(about, series) }
}

fn empty(about: About, series: &[Series]) -> Plot {
    let names: Vec<&'static str> = series.iter().map(|one| one.name).collect();
    let of = if names.len() > 1 { format!(": {}", names.join(", ")) } else { String::new() };
    let range = match (about.places.first(), about.places.last()) {
        (Some(first), Some(last)) if first != last => format!(", from {first} to {last}"),
        _ => String::new(),
    };
    Plot {
        id: about.id,
        told: format!("{}{of}{range}. The same numbers stand in a table.", about.measure.unit),
        title: about.title,
        width: WIDTH,
        height: HEIGHT,
        bars: vec![],
        shapes: vec![],
        lines: vec![],
        ticks: vec![],
        labels: vec![],
        legend: if names.len() > 1 { names } else { vec![] },
        left: LEFT,
        right: WIDTH - RIGHT,
    }
}

fn told(place: &str, series: &str, value: &str) -> String {
    format!("{place}: {value} {series}")
}

/// A coordinate: a tenth of a unit is finer than any screen.
fn at(value: f64) -> String {
    format!("{value:.1}")
}

/// From nothing to the first round number that is enough.
struct Scale {
    most: f64,
    step: f64,
}

impl Scale {
    fn up_to(most: f64, step_min: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let raw = most / TICKS_MAX;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|round| round * power).find(|step| *step >= raw).unwrap_or(10.0 * power);
        let step = step.max(step_min);
        Self { most: step * (most / step).ceil(), step }
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.most * (HEIGHT - TOP - BOTTOM)
    }

    fn ticks(&self) -> Vec<f64> {
        let count = (self.most / self.step).round() as usize;
        (0..=count).map(|tick| tick as f64 * self.step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(places: usize) -> About {
        let places = (0..places).map(|place| format!("place {place}")).collect();
        About {
            id: "x",
            title: "X".into(),
            places,
            measure: Measure { unit: "Things", written: |value| format!("{value:.0}"), step_min: 1.0 },
        }
    }

    #[test]
    fn ticks_are_round_numbers_and_reach_over_everything() {
        for (most, step_min, expected) in [
            (0.0, 0.1, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (0.0, 1.0, vec![0.0, 1.0]),
            (3.0, 1.0, vec![0.0, 1.0, 2.0, 3.0]),
            (7.0, 1.0, vec![0.0, 2.0, 4.0, 6.0, 8.0]),
            (100.0, 1.0, vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (1_234.0, 1.0, vec![0.0, 500.0, 1_000.0, 1_500.0]),
        ] {
            let ticks = Scale::up_to(most, step_min).ticks();
            assert_eq!(ticks.len(), expected.len(), "{most}: {ticks:?}");
            assert!(ticks.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9), "{most}: {ticks:?}");
        }
    }

    #[test]
    fn bars_stand_on_each_other_within_the_plot_and_lines_leave_gaps() {
        let series = [
            Series { name: "a", values: vec![Some(3.0), None, Some(1.0)] },
            Series { name: "b", values: vec![Some(4.0), Some(0.0), Some(2.0)] },
        ];
        let plot = bars(about(3), &series);
        assert_eq!(plot.bars.len(), 4, "nothing is drawn for nothing");
        let number = |text: &str| text.parse::<f64>().expect("a number");
        for bar in &plot.bars {
            assert!(number(&bar.x) >= LEFT && number(&bar.x) + number(&bar.width) <= WIDTH && number(&bar.y) >= TOP - 0.1, "{bar:?}");
        }
        assert!((number(&plot.bars[1].y) + number(&plot.bars[1].height) - number(&plot.bars[0].y)).abs() < 0.2);
        assert_eq!(lines(about(3), &series).lines[0].dots.len(), 2);
        assert_eq!(rows(about(2), &series).labels[0].text, "place 0: 7");
        let many: Vec<Series> = ["a", "b"].map(|name| Series { name, values: vec![Some(2.0); 53] }).into();
        let plot = bars(about(53), &many);
        assert_eq!((plot.bars.len(), plot.shapes.len(), plot.shapes[1].path.matches('z').count()), (0, 2, 53), "one piece a series");
        let plot = lines(about(53), &many);
        assert_eq!((plot.lines[0].dots.len(), plot.lines[0].marks.matches("h0").count()), (0, 53));
        assert!(bars(about(53), &series).labels.len() <= LABELS_MAX);
        assert_eq!(bars(about(0), &[]).bars.len(), 0);
    }
}
