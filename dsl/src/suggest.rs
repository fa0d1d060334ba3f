//! Did you mean …?

/// Most names that one unknown name is compared with: a file with many thousand names and as many
/// wrong ones must not take minutes.
pub(crate) const MAX_CANDIDATES: usize = 2000;

/// The candidate that `name` most probably was meant to be.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .take(MAX_CANDIDATES)
        .filter(|candidate| *candidate != name && candidate.len().abs_diff(name.len()) <= 2 * most)
        .filter_map(|candidate| {
            if candidate.eq_ignore_ascii_case(name) {
                return Some((0, candidate));
            }
            let distance = strsim::osa_distance(name, candidate);
            (distance <= most).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean `x`?`, or `otherwise` where nothing is near.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    closest(name, candidates).map_or_else(otherwise, |candidate| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let names = ["Tomcat", "MySQL", "Apache", "ip"];
        assert_eq!(closest("Tomact", names), Some("Tomcat"));
        assert_eq!(closest("mysql", names), Some("MySQL"));
        assert_eq!(closest("pi", names), Some("ip"));
        assert_eq!(closest("Nginx", names), None);
    }
}
