//! Compute the linear matter power spectrum at redshift zero: [`LinearPower`], and the [`Transfer`] function
//! it is made of; and how fluctuations grew until then, [`growth`](growth()).
//!
//! Wavenumbers are in h/Mpc, lengths in Mpc/h, powers in (Mpc/h)³. Parameters come in the order
//! [`PARAMETER_NAMES`]; everything else is fixed to the values of the CAMELS simulations.

mod growth;
mod linear_power;
mod quadrature;
mod shape_table;
mod transfer;

use crate::{Error, Result};

pub use growth::growth;
pub use linear_power::LinearPower;
pub(crate) use quadrature::Rule;
pub(crate) use shape_table::{K_MIN, ShapeTable};
pub use transfer::Transfer;

/// Names of the free parameters, in the order in which every θ of this crate holds them.
pub const PARAMETER_NAMES: [&str; 2] = ["Omega_m", "sigma_8"];
/// Ranges of the CAMELS Latin hypercubes (Villaescusa-Navarro et al. 2021, arXiv 2010.00619).
pub const BOUNDS: [[f64; 2]; 2] = [[0.1, 0.5], [0.6, 1.0]];
/// H₀ / (100 km/s/Mpc).
pub const HUBBLE: f64 = 0.6711;
/// The slope of the primordial spectrum, n_s.
pub const SPECTRAL_INDEX: f64 = 0.9624;
/// The density of baryons in critical densities, Ω_b.
pub const OMEGA_B: f64 = 0.049;
/// Temperature of the microwave background in kelvin (Fixsen 2009, arXiv 0911.1955).
pub const CMB_TEMPERATURE: f64 = 2.7255;

/// Takes θ apart and looks at σ_8; Ω_m is looked at by [`Transfer::new`].
pub(crate) fn check_theta(theta: &[f64]) -> Result<[f64; 2]> {
    let &[omega_m, sigma_8] = theta else {
        return Err(Error::Invalid(format!(
            "theta has {} numbers; it must hold 2: Omega_m, sigma_8",
            theta.len()
        )));
    };
    // Written so that NaN fails.
    if !(sigma_8 > 0.0 && sigma_8.is_finite()) {
        return Err(Error::Invalid(format!(
            "sigma_8 = {sigma_8} is not allowed; it must be positive and finite"
        )));
    }
    Ok([omega_m, sigma_8])
}
