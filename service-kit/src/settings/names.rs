//! Names of settings, and names that may have been meant.

use super::Description;

/// How many letters a variable of the environment may differ from a setting that it may have been meant for.
const SLIP: usize = 2;

/// How alike a key of a file has to be to a setting, from 0 to 1.
const ALIKE: f64 = 0.6;

/// Whether a setting, or the file of a secret, is called this, in any case.
pub(super) fn is_known(name: &str, known: &[Description]) -> bool {
    known.iter().any(|setting| {
        setting.name.eq_ignore_ascii_case(name)
            || setting.is_secret && format!("{}_FILE", setting.name).eq_ignore_ascii_case(name)
    })
}

/// The setting that is most like this name, where one is.
pub(super) fn nearest(name: &str, known: &[Description]) -> Option<&'static str> {
    let name = name.to_uppercase();
    let likeness = |setting: &Description| strsim::normalized_damerau_levenshtein(&name, setting.name);
    let best = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) >= ALIKE).then_some(best.name)
}

/// The setting from which this name differs by a slip.
pub(super) fn all_but_the_same(name: &str, known: &[Description]) -> Option<&'static str> {
    let name = name.to_uppercase();
    // Short names are near to everything.
    let is_slip =
        |setting: &str| setting.len() > 3 * SLIP && strsim::damerau_levenshtein(&name, setting) <= SLIP;
    known.iter().map(|setting| setting.name).find(|setting| is_slip(setting))
}
