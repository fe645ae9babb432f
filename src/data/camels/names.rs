//! Read the names of files of the CAMELS Multifield Dataset.

use std::path::Path;

/// What the name of a file of the CAMELS Multifield Dataset says (Villaescusa-Navarro et al. 2022, arXiv 2109.10915):
/// `Maps_{field}_{suite}_{set}_z={z}.npy` or `Grids_{field}_{suite}_{set}_{size}_z={z}.npy`.
///
/// ```
/// use armilla::data::CamelsName;
///
/// let name = CamelsName::parse("CMD/Maps_Mcdm_Nbody_SIMBA_LH_z=0.00.npy").unwrap();
/// assert_eq!((name.field.as_str(), name.suite.as_str(), name.set.as_str()), ("Mcdm", "Nbody_SIMBA", "LH"));
/// assert_eq!((name.fields_per_simulation(), name.redshift), (15, 0.0));
/// assert_eq!(name.unit(), Some("(Msun/h)/(Mpc/h)^2"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CamelsName {
    /// Whether it holds maps or grids.
    pub shape: Shape,
    /// The prefix of the physical field, such as `Mcdm`.
    pub field: String,
    /// The suite of simulations, such as `IllustrisTNG` or `Nbody_SIMBA`.
    pub suite: String,
    /// The set of simulations: `LH`, `CV`, `1P`, `EX`, `SB28`…
    pub set: String,
    /// The cells along a side, where the name says them.
    pub size: Option<usize>,
    /// The redshift.
    pub redshift: f64,
}

/// What a file of the Multifield Dataset holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Maps in two dimensions, fifteen of each simulation.
    Maps,
    /// Grids in three, one of each simulation.
    Grids,
}

/// Fields by their prefix, and their units in maps and in grids, as the dataset's documentation corrects its paper.
const FIELDS: [(&str, &str, &str, &str); 13] = [
    ("Mgas", "gas density", AREA, VOLUME),
    ("Vgas", "gas velocity", "km/s", "km/s"),
    ("T", "gas temperature", "K", "K"),
    ("P", "gas pressure", PRESSURE, PRESSURE),
    ("Z", "gas metallicity", "", ""),
    ("HI", "neutral hydrogen density", AREA, VOLUME),
    ("ne", "electron number density", "h^2/cm^3 (Mpc/h)", "h^2/cm^3"),
    ("B", "magnetic field", "Gauss", "Gauss"),
    ("MgFe", "magnesium over iron", "", ""),
    ("Mcdm", "dark matter density", AREA, VOLUME),
    ("Vcdm", "dark matter velocity", "km/s", "km/s"),
    ("Mstar", "stellar mass density", AREA, VOLUME),
    ("Mtot", "total matter density", AREA, VOLUME),
];
const AREA: &str = "(Msun/h)/(Mpc/h)^2";
const VOLUME: &str = "(Msun/h)/(Mpc/h)^3";
const PRESSURE: &str = "h^2 Msun (km/s)^2/kpc^3";

impl CamelsName {
    /// What the name of the file at `path` says; nothing if it is not one of the Multifield Dataset. The folder and
    /// the extension do not matter.
    pub fn parse(path: impl AsRef<Path>) -> Option<Self> {
        let stem = path.as_ref().file_stem()?.to_str()?;
        let (rest, redshift) = stem.rsplit_once("_z=")?;
        let redshift: f64 = redshift.parse().ok()?;
        let (shape, rest) = match rest.split_once('_')? {
            ("Maps", rest) => (Shape::Maps, rest),
            ("Grids", rest) => (Shape::Grids, rest),
            _ => return None,
        };
        let (field, rest) = rest.split_once('_')?;
        let (rest, size) = match rest.rsplit_once('_') {
            // A set has a letter in its name.
            Some((before, size)) if size.bytes().all(|b| b.is_ascii_digit()) => (before, size.parse().ok()),
            _ => (rest, None),
        };
        let (suite, set) = rest.rsplit_once('_')?;
        let named = [field, suite, set].iter().all(|part| !part.is_empty());
        (named && redshift.is_finite()).then(|| Self {
            shape,
            field: field.to_owned(),
            suite: suite.to_owned(),
            set: set.to_owned(),
            size,
            redshift,
        })
    }

    /// How many of its maps or grids come from one simulation: field i comes from simulation i divided by this.
    pub fn fields_per_simulation(&self) -> usize {
        match self.shape {
            Shape::Maps => 15,
            Shape::Grids => 1,
        }
    }

    /// The physical field in words, if it is one of the thirteen of the dataset.
    pub fn quantity(&self) -> Option<&'static str> {
        Some(FIELDS.iter().find(|f| f.0 == self.field)?.1)
    }

    /// The unit of its numbers; empty for a ratio.
    pub fn unit(&self) -> Option<&'static str> {
        let field = FIELDS.iter().find(|f| f.0 == self.field)?;
        Some(match self.shape {
            Shape::Maps => field.2,
            Shape::Grids => field.3,
        })
    }

    /// How many of the parameters matter: simulations without baryons have no feedback, though their tables list it.
    pub fn parameters_that_matter(&self) -> Option<usize> {
        self.suite.starts_with("Nbody").then_some(2)
    }

    /// The names that the table of its parameters may have, the likeliest first.
    pub fn table_names(&self) -> Vec<String> {
        let set = &self.set;
        let mut suites = vec![self.suite.as_str()];
        if let Some(("Nbody", other)) = self.suite.split_once('_') {
            suites.extend([other, "Nbody"]);
        }
        suites
            .into_iter()
            .flat_map(|suite| {
                [
                    format!("params_{set}_{suite}.txt"),
                    format!("params_{suite}.txt"),
                    format!("CosmoAstroSeed_{suite}_L25n256_{set}.txt"),
                    format!("CosmoAstroSeed_{suite}_{set}.txt"),
                ]
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_say() {
        let grid = CamelsName::parse("Grids_Z_IllustrisTNG_LH_256_z=1.5.npy").unwrap();
        assert_eq!((grid.shape, grid.size), (Shape::Grids, Some(256)));
        assert_eq!(
            (grid.fields_per_simulation(), grid.unit(), grid.redshift),
            (1, Some(""), 1.5)
        );
        let map = CamelsName::parse("Maps_HI_SWIFT-EAGLE_1P_z=0.00.npy").unwrap();
        assert_eq!((map.set.as_str(), map.size), ("1P", None));
        assert_eq!(map.quantity(), Some("neutral hydrogen density"));
        assert_eq!(map.table_names()[0], "params_1P_SWIFT-EAGLE.txt");
        let bare = CamelsName::parse("Maps_Mtot_Nbody_IllustrisTNG_LH_z=0.00.npy").unwrap();
        assert_eq!(bare.parameters_that_matter(), Some(2));
        assert!(
            bare.table_names()
                .contains(&"params_LH_IllustrisTNG.txt".to_owned())
        );
        for other in [
            "maps.npy",
            "Maps_z=0.npy",
            "Maps_Mcdm_LH_z=0.npy",
            "Maps_Mcdm_IllustrisTNG_LH_z=x.npy",
            "Maps__a_b_z=0.npy",
            "Pk_galaxies_IllustrisTNG_LH_33_kmax=20.0.npy",
            "Images_T_SIMBA_LH_z=0.00.npy",
        ] {
            assert_eq!(CamelsName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn grids_have_other_units_than_maps() {
        let unit = |name: &str| CamelsName::parse(name).unwrap().unit();
        assert_eq!(unit("Maps_Mgas_SIMBA_LH_z=0.00.npy"), Some(AREA));
        assert_eq!(unit("Grids_Mgas_SIMBA_LH_128_z=0.00.npy"), Some(VOLUME));
        assert_eq!(unit("Maps_X_SIMBA_LH_z=0.00.npy"), None);
    }
}
