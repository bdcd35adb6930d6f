//! The playground's form: texts as a browser sends them, and the settings they mean.

use inference::Prompt;
use serde::Deserialize;

use super::prompt::Settings;
use crate::error::{Error, FieldError};

/// The fields of the form, as typed. Also what a link to the playground may carry.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct PlaygroundForm {
    /// `org/name`
    pub(super) model: String,
    /// The text to continue.
    pub(super) text: String,
    pub(super) max_tokens: String,
    pub(super) temperature: String,
    pub(super) top_p: String,
    /// Empty: all tokens.
    pub(super) top_k: String,
    /// Empty: a new one each time.
    pub(super) seed: String,
    /// One a line; `\n` means a line break.
    pub(super) stop: String,
}

impl Default for PlaygroundForm {
    fn default() -> Self {
        // A little cooler than the model's own distribution: base models drift at 1.
        let [model, text, top_k, seed, stop] = Default::default();
        Self { model, text, max_tokens: "64".into(), temperature: "0.8".into(), top_p: "0.95".into(), top_k, seed, stop }
    }
}

impl PlaygroundForm {
    /// The same with line breaks as the model knows them: browsers send forms with CRLF.
    pub(super) fn tidied(mut self) -> Self {
        for field in [&mut self.text, &mut self.stop] {
            *field = field.replace("\r\n", "\n");
        }
        self
    }

    /// The request the form means. Errors: `Invalid` with every fault, by the form's own field names.
    pub(super) fn request(&self) -> Result<inference::Request, Error> {
        let mut faults = Vec::new();
        let settings = self.settings(&mut faults);
        match settings.request(Prompt::Text(self.text.clone())) {
            Ok(request) if faults.is_empty() => Ok(request),
            Ok(_) => Err(Error::Invalid(faults)),
            Err(Error::Invalid(more)) => {
                faults.extend(more);
                Err(Error::Invalid(faults))
            }
            Err(error) => Err(error),
        }
    }

    /// The settings as far as they can be read.
    pub(super) fn settings(&self, faults: &mut Vec<FieldError>) -> Settings {
        Settings {
            max_tokens: parsed("max_tokens", &self.max_tokens, "is a whole number", faults),
            temperature: parsed("temperature", &self.temperature, "is a number", faults),
            top_p: parsed("top_p", &self.top_p, "is a number", faults),
            top_k: parsed("top_k", &self.top_k, "is a whole number, or empty", faults),
            seed: parsed("seed", &self.seed, "is a whole number, or empty", faults),
            stop: self.stops(),
            ..Settings::default()
        }
    }

    fn stops(&self) -> Vec<String> {
        self.stop.lines().filter(|line| !line.is_empty()).map(|line| line.replace("\\n", "\n")).collect()
    }
}

fn parsed<T: std::str::FromStr>(field: &'static str, raw: &str, message: &'static str, faults: &mut Vec<FieldError>) -> Option<T> {
    let raw = raw.trim();
    if raw.is_empty() {
        return None;
    }
    // People in half of Europe type 0,8.
    let value = raw.replace(',', ".").parse().ok();
    if value.is_none() {
        faults.push(FieldError::new(field, message));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_people_type_it() {
        let form = PlaygroundForm {
            text: "Once\r\nupon".into(),
            temperature: " 0,5 ".into(),
            seed: "7".into(),
            stop: "END\r\n\\n\\n\r\n\r\n".into(),
            ..PlaygroundForm::default()
        };
        let request = form.tidied().request().expect("valid");
        assert_eq!(request.prompt, Prompt::Text("Once\nupon".into()));
        assert_eq!((request.max_tokens, request.sampling.temperature, request.sampling.seed), (64, 0.5, 7));
        assert_eq!(request.stop, ["END", "\n\n"]);
        assert_eq!(request.sampling.top_k, None);
    }

    #[test]
    fn faults_of_shape_and_of_bounds_come_together() {
        let form = PlaygroundForm { max_tokens: "many".into(), temperature: "3".into(), ..PlaygroundForm::default() };
        let Err(Error::Invalid(faults)) = form.request() else { panic!("accepted") };
        let fields: Vec<&str> = faults.iter().map(|fault| &*fault.field).collect();
        assert_eq!(fields, ["max_tokens", "temperature"]);
    }
}
