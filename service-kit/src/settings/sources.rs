//! What is given for each setting, and where: the environment over `.env` over the configuration file.

use std::{collections::BTreeMap, ffi::OsString};

use super::{BadSettings, Description, Origin, file, names};

/// A value as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// See the module. Empty, nothing is given.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// By their names in lower case, as envy has them.
    given: BTreeMap<String, Given>,
}

impl Sources {
    /// Reads all of them for the service with this name.
    pub(super) fn of(service: &str) -> Result<Self, BadSettings> {
        // Variables of others need not be text.
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let environment: Vec<(String, String)> = std::env::vars_os().filter_map(text).collect();
        match dotenvy::dotenv() {
            Ok(_) => {}
            Err(error) if error.not_found() => {}
            Err(error) => return Err(BadSettings(vec![format!(".env: {error}")])),
        }
        let all = std::env::vars_os().filter_map(text);
        let dot_env = all.filter(|(name, _)| !environment.iter().any(|(known, _)| known == name)).collect();
        Self::layered(service, environment, dot_env)
    }

    /// Lays these over the file that they lead to.
    pub(super) fn layered(
        service: &str,
        environment: Vec<(String, String)>,
        dot_env: Vec<(String, String)>,
    ) -> Result<Self, BadSettings> {
        let mut variables = Self::default();
        variables.lay(dot_env, &Origin::DotEnv)?;
        variables.lay(environment, &Origin::Environment)?;
        let variable = |name: &str| variables.get(name).map(|given| given.text.clone());
        let Some(contents) = file::read(service, variable).map_err(BadSettings)? else {
            return Ok(variables);
        };
        let mut all = Self::default();
        for entry in contents.entries {
            let origin = Origin::File { path: contents.path.clone(), key: entry.key };
            all.add(entry.name, &entry.text, &origin);
        }
        all.given.append(&mut variables.given);
        Ok(all)
    }

    /// These variables alone.
    pub(super) fn of_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BadSettings> {
        let mut sources = Self::default();
        sources.lay(variables, &Origin::Environment)?;
        Ok(sources)
    }

    fn lay(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        origin: &Origin,
    ) -> Result<(), BadSettings> {
        let read: Result<BTreeMap<String, String>, _> = envy::from_iter(variables);
        for (name, text) in read.map_err(|error| BadSettings(vec![error.to_string()]))? {
            self.add(name, &text, origin);
        }
        Ok(())
    }

    /// What is empty is as if it were not there.
    fn add(&mut self, name: String, text: &str, origin: &Origin) {
        let text = text.trim();
        if !text.is_empty() {
            self.given.insert(name, Given { text: text.to_owned(), origin: origin.clone() });
        }
    }

    /// What is given for the setting of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.given.get(&name.to_lowercase())
    }

    /// What a file has and no setting is called, with the setting that is nearest.
    pub(super) fn unknown_in_files(&self, known: &[Description]) -> Vec<String> {
        let unknown = self.given.iter().filter(|(name, given)| {
            matches!(given.origin, Origin::File { .. }) && !names::is_known(name, known)
        });
        let told = unknown.map(|(name, given)| {
            let nearest = names::nearest(name, known).map(|nearest| format!("; is {nearest} meant?"));
            format!("{}: there is no such setting{}", given.origin, nearest.unwrap_or_default())
        });
        told.collect()
    }

    /// Variables that no setting is called, and that are so near to one that it may have been meant.
    pub(super) fn doubtful_variables(&self, known: &[Description]) -> Vec<String> {
        let others = self.given.iter().filter(|(name, given)| {
            matches!(given.origin, Origin::Environment | Origin::DotEnv) && !names::is_known(name, known)
        });
        let told = others.filter_map(|(name, given)| {
            let nearest = names::all_but_the_same(name, known)?;
            Some(format!(
                "{} ({}): there is no such setting; is {nearest} meant?",
                name.to_uppercase(),
                given.origin
            ))
        });
        told.collect()
    }
}
