//! Stop strings, found in the text across the borders of tokens. What might be the beginning of one is held back.

/// Watches a text that arrives in pieces.
#[derive(Debug)]
pub(crate) struct Stops {
    stops: Vec<String>,
    /// Text not yet let through: always shorter than the longest stop string.
    held: String,
}

/// What a piece of text led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// This much is certain; more may be held back.
    Text(String),
    /// A stop string appeared; this is the text before it, and the last.
    Stopped(String),
}

impl Stops {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes a piece and gives what is certain. The stop string that begins earliest wins.
    pub(crate) fn push(&mut self, piece: &str) -> Passed {
        self.held.push_str(piece);
        if let Some(place) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(place);
            return Passed::Stopped(std::mem::take(&mut self.held));
        }
        let held_from = self
            .held
            .char_indices()
            .map(|(place, _)| place)
            .find(|place| self.stops.iter().any(|stop| stop.starts_with(&self.held[*place..])))
            .unwrap_or(self.held.len());
        let held = self.held.split_off(held_from);
        Passed::Text(std::mem::replace(&mut self.held, held))
    }

    /// What is held back when the text ends otherwise: it belongs to the text.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds the pieces; gives all text let through and whether it stopped.
    fn through(stops: &[String], pieces: &[String]) -> (String, bool) {
        let mut watch = Stops::new(stops.to_vec());
        let mut text = String::new();
        for piece in pieces {
            match watch.push(piece) {
                Passed::Text(certain) => text.push_str(&certain),
                Passed::Stopped(last) => return (text + &last, true),
            }
        }
        (text + &watch.finish(), false)
    }

    #[test]
    fn a_stop_string_over_three_tokens_is_cut_out() {
        let pieces = ["one ", "EN", "D", " two"].map(str::to_owned);
        assert_eq!(through(&["END".to_owned()], &pieces), ("one ".to_owned(), true));
        let pieces = ["one ", "EN", "T"].map(str::to_owned);
        assert_eq!(through(&["END".to_owned()], &pieces), ("one ENT".to_owned(), false));
    }

    proptest! {
        /// The oracle looks at the text whenever a piece has come, from the start.
        #[test]
        fn it_agrees_with_looking_at_the_whole_text(
            stops in proptest::collection::vec("[abé]{1,3}", 0..3),
            pieces in proptest::collection::vec("[abé]{0,3}", 0..10),
        ) {
            let mut whole = String::new();
            let mut expected = None;
            for piece in &pieces {
                whole.push_str(piece);
                if let Some(place) = stops.iter().filter_map(|stop| whole.find(stop.as_str())).min() {
                    expected = Some((whole[..place].to_owned(), true));
                    break;
                }
            }
            prop_assert_eq!(through(&stops, &pieces), expected.unwrap_or((whole, false)));
        }
    }
}
