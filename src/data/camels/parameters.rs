//! Know the parameters of the CAMELS simulations.

/// The parameters of CAMELS in its order, their ranges, and whether they were sampled evenly in the logarithm
/// (Villaescusa-Navarro et al. 2021, arXiv 2010.00619).
const PARAMETERS: [(&str, [f64; 2], bool); 6] = [
    ("Omega_m", [0.1, 0.5], false),
    ("sigma_8", [0.6, 1.0], false),
    ("A_SN1", [0.25, 4.0], true),
    ("A_AGN1", [0.25, 4.0], true),
    ("A_SN2", [0.5, 2.0], true),
    ("A_AGN2", [0.5, 2.0], true),
];

/// Names for `count` parameters that come without: those of CAMELS where there are 2 or 6, numbered ones otherwise.
pub fn camels_names(count: usize) -> Vec<String> {
    match count {
        2 | 6 => PARAMETERS[..count].iter().map(|p| p.0.to_owned()).collect(),
        _ => (0..count).map(|i| format!("theta_{i}")).collect(),
    }
}

/// The range of the CAMELS parameter `name`, and whether it was sampled evenly in the logarithm.
///
/// ```
/// use armilla::data::camels_range;
/// assert_eq!(camels_range("A_SN1"), Some(([0.25, 4.0], true)));
/// assert_eq!(camels_range("theta_0"), None);
/// ```
pub fn camels_range(name: &str) -> Option<([f64; 2], bool)> {
    let (_, range, logarithmic) = PARAMETERS.iter().find(|p| p.0 == name)?;
    Some((*range, *logarithmic))
}

/// The label here of a parameter that the project's files spell in several ways; others stay as they are.
pub(super) fn label(name: &str) -> &str {
    match name {
        "Omega0" | "Omega_m" | "Omegam" => "Omega_m",
        "sigma8" | "sigma_8" => "sigma_8",
        "ASN1" | "A_SN1" => "A_SN1",
        "AAGN1" | "A_AGN1" => "A_AGN1",
        "ASN2" | "A_SN2" => "A_SN2",
        "AAGN2" | "A_AGN2" => "A_AGN2",
        other => other,
    }
}
