//! Arguments that several commands share.

use std::path::PathBuf;

use clap::Args;

use crate::data::MapPaths;

/// Where maps and parameters are.
#[derive(Debug, Args)]
pub(super) struct DataArguments {
    /// The HDF5 file of the maps.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// The dataset of the maps in it, of shape (maps, N, N).
    #[arg(long, value_name = "PATH", default_value = "maps")]
    maps: String,
    /// The dataset of the parameters in it, of shape (simulations, parameters).
    #[arg(long, value_name = "PATH", default_value = "params")]
    params: String,
}

impl DataArguments {
    pub(super) fn paths(&self) -> MapPaths {
        MapPaths {
            maps: self.maps.clone(),
            params: self.params.clone(),
        }
    }
}
