//! Posteriors.

use armilla::pipeline::Method;
use armilla::plot::{
    Corner, Histograms, Posterior, Surface, corner, likelihood_surface, posterior_histogram,
};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::{Example, Gallery, TRUTH, random};

/// Draws such as a map gives: the first two parameters are well measured and degenerate, the third less.
fn three(index: u64, shift: f64) -> Vec<Vec<f64>> {
    let mut rng = random(index);
    let mut values = vec![Vec::new(); 3];
    for _ in 0..4000 {
        let [a, b, c]: [f64; 3] = [(); 3].map(|()| rng.sample(StandardNormal));
        let x = [
            0.31 + shift + 0.02 * a,
            0.82 - 0.016 * a + 0.008 * b,
            1.2 * (0.35 * c).exp(),
        ];
        values.iter_mut().zip(x).for_each(|(column, x)| column.push(x));
    }
    values
}

pub fn draw(gallery: &mut Gallery, example: &Example) -> armilla::Result<()> {
    let nuts = example.infer(Method::Nuts, 2000)?;
    let grid = example.infer(Method::Grid, 0)?;
    let columns = |run: &armilla::samplers::Run| -> Vec<Vec<f64>> {
        (0..run.dim()).map(|i| run.parameter(i).concat()).collect()
    };
    let (values, cells, weights) = (columns(&nuts.run), columns(&grid.run), grid.run.weights());
    let names = &nuts.run.names;
    let means: Vec<f64> = nuts.report.parameters.iter().map(|p| p.estimate).collect();
    let (title, truth, estimate) = ("NUTS, map 0", Some(&TRUTH[..]), Some(&means[..]));
    let plot = Histograms {
        title,
        names,
        values: &values,
        weights: None,
        truth,
        estimate,
    };
    let caption = "The draws of each parameter, with estimate and truth.";
    gallery.add("posterior_histogram", "posterior_histogram", caption, |path| {
        posterior_histogram(&plot, path)
    })?;

    let posteriors = [
        Posterior {
            label: "grid",
            values: &cells,
            weights: Some(&weights),
        },
        Posterior {
            label: "NUTS",
            values: &values,
            weights: None,
        },
    ];
    let bounds = Some(&[(0.1, 0.5), (0.6, 1.0)][..]);
    let plot = Corner {
        names,
        posteriors: &posteriors,
        truth,
        bounds,
    };
    let caption = "Two posteriors of two parameters with 68 % and 95 % regions.";
    gallery.add("corner_two", "corner", caption, |path| corner(&plot, path))?;

    let camels = ["Omega_m", "sigma_8", "A_SN1"].map(str::to_owned);
    let (first, second) = (three(60, 0.0), three(61, 0.025));
    let posteriors = [
        Posterior {
            label: "flow matching",
            values: &first,
            weights: None,
        },
        Posterior {
            label: "moment network",
            values: &second,
            weights: None,
        },
    ];
    let bounds = [(0.1, 0.5), (0.6, 1.0), (0.25, 4.0)];
    let truth = [0.309, 0.816, 1.1];
    let plot = Corner {
        names: &camels,
        posteriors: &posteriors,
        truth: Some(&truth),
        bounds: Some(&bounds),
    };
    let caption = "Two posteriors of three parameters overlaid.";
    gallery.add("corner_three", "corner", caption, |path| corner(&plot, path))?;

    let Some(surface) = &grid.surface else {
        return Ok(());
    };
    let (x, y) = (&surface.axes[0].centres, &surface.axes[1].centres);
    // The cells are ordered by the first parameter, the picture's rows are values of the second.
    let transposed = (0..x.len() * y.len()).map(|k| surface.log_density[k % x.len() * y.len() + k / x.len()]);
    let log_density: Vec<f64> = transposed.collect();
    let (title, names) = ("Log posterior, map 0", ["Omega_m", "sigma_8"]);
    let plot = Surface {
        title,
        names,
        x,
        y,
        log_density: &log_density,
        truth: Some(TRUTH),
    };
    let caption = "A log posterior on a grid, with 68 % and 95 % contours.";
    gallery.add("likelihood_surface", "likelihood_surface", caption, |path| {
        likelihood_surface(&plot, path)
    })
}
