//! What `sluice pull`, `verify` and `login` take from the environment; they work where no portal is set up.

use std::path::PathBuf;

/// The settings of somebody who fetches models.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// `SLUICE_ENDPOINT`: the portal to ask.
    pub endpoint: Option<String>,
    /// `SLUICE_TOKEN`: the token to show it.
    pub token: Option<String>,
    /// Where tokens and keys are remembered: `sluice` in the user's folder of settings.
    pub config_dir: PathBuf,
}

impl ClientConfig {
    /// The settings of this process.
    #[expect(clippy::disallowed_methods, reason = "the folder of config.rs is the one place that reads the environment")]
    pub fn from_env() -> Result<Self, String> {
        Self::from_lookup(|variable| std::env::var(variable).ok())
    }

    /// The settings as `lookup` tells them; an empty value counts as unset.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |variable: &str| lookup(variable).filter(|value| !value.trim().is_empty()).map(|value| value.trim().to_owned());
        let absolute = |variable: &str| get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let settings = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
        let config_dir =
            settings.ok_or("neither XDG_CONFIG_HOME nor HOME says where your settings are kept; set one of them")?.join("sluice");
        Ok(Self { endpoint: get("SLUICE_ENDPOINT"), token: get("SLUICE_TOKEN"), config_dir })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_lie_where_the_user_keeps_them() {
        let with = |pairs: &'static [(&str, &str)]| {
            ClientConfig::from_lookup(move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(with(&[("HOME", "/home/ada")]).expect("a home").config_dir, PathBuf::from("/home/ada/.config/sluice"));
        let both = with(&[("HOME", "/home/ada"), ("XDG_CONFIG_HOME", "/etc/ada"), ("SLUICE_TOKEN", " slc_x\n")]).expect("a home");
        assert_eq!((both.config_dir, both.token.as_deref()), (PathBuf::from("/etc/ada/sluice"), Some("slc_x")));
        assert!(with(&[("XDG_CONFIG_HOME", "relative")]).is_err());
    }
}
