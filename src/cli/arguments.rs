//! Arguments that several commands share.

use clap::Args;

use crate::data::MapPaths;

/// Where maps and parameters are in files, if that is not found by itself.
#[derive(Debug, Args)]
pub(super) struct DataArguments {
    /// The dataset of the maps in an HDF5 file, of shape (maps, N, N) [default: `maps`, or the only one of that shape].
    #[arg(long, value_name = "PATH")]
    maps: Option<String>,
    /// The parameters of the simulations: a dataset of shape (simulations, parameters) [default: `params`, or the only one
    /// that fits], or a table such as params_LH_IllustrisTNG.txt [default: beside a CAMELS file, by its name].
    #[arg(long, value_name = "PATH|FILE")]
    params: Option<String>,
}

impl DataArguments {
    pub(super) fn paths(&self) -> MapPaths {
        MapPaths {
            maps: self.maps.clone(),
            params: self.params.clone(),
        }
    }
}
