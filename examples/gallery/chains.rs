//! Chains: one sampler that mixes well, and one that does not.

use armilla::pipeline::Method;
use armilla::plot::{autocorrelation, rank, trace};

use super::{Example, Gallery};

pub fn draw(gallery: &mut Gallery, example: &Example) -> armilla::Result<()> {
    let nuts = example.infer(Method::Nuts, 100)?.run;
    let mut stuck = example.infer(Method::Mh, 1000)?.run;
    // The last chain lags behind, as one does that is caught in another mode.
    for (i, x) in stuck.chains[3].draws.iter_mut().enumerate() {
        *x += if i % 2 == 0 { 0.02 } else { -0.02 };
    }
    let caption = "The draws of four chains in order, and their densities.";
    gallery.add("trace", "trace", caption, |path| {
        trace(&nuts, "NUTS, map 0", path)
    })?;
    let title = "Metropolis–Hastings, a chain apart";
    let caption = "Ranks of the draws of four chains: one samples another distribution.";
    gallery.add("rank", "rank", caption, |path| rank(&stuck, title, path))?;
    let caption = "How long chains of Metropolis–Hastings remember.";
    gallery.add("autocorrelation", "autocorrelation", caption, |path| {
        autocorrelation(&stuck, "Metropolis–Hastings, map 0", path)
    })
}
